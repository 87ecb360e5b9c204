"""The pair of hosts: up, down, and what they need of the machine."""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import guest, keys, network, settings
from .errors import BedError
from .host import PATH, Host

DEFAULT_DIRECTORY = "/tmp/virtcimd-testbed"
SUBNET = "10.77.0"
# The longest socket is HOST/run/libvirt/libvirt-admin-sock, and the address of
# a socket holds 107 characters.
LONGEST_DIRECTORY = 70
# libvirt's own defaults: a dead peer is noticed after some 26 seconds.
KEEPALIVE = "5 5"

# Program: the Debian package that has it.
TOOLS = {
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pkill": "procps",
    "openssl": "openssl",
    "ssh-keygen": "openssh-client",
    "as": "binutils",
    "ld": "binutils",
}


def missing():
    """Why this machine cannot hold a bed: sentences, none when it can."""
    reasons = [
        f"{tool} is missing (Debian package {package})"
        for tool, package in TOOLS.items()
        if shutil.which(tool, path=PATH) is None
    ]
    if os.geteuid() != 0:
        reasons.append("it needs root, for namespaces and mounts")
    elif not reasons:
        try_out = "mount -t tmpfs tmpfs /mnt && mount -t sysfs sysfs /mnt && ip link add type veth"
        command = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "sh", "-c", try_out]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            reasons.append(f"namespaces cannot be made here: {done.stderr.strip()}")
    return reasons


class Bed:
    """The state directory and the two hosts in it."""

    def __init__(self, directory=None):
        directory = str(directory or os.environ.get("TESTBED_DIR") or DEFAULT_DIRECTORY)
        if not re.fullmatch(r"/[A-Za-z0-9._/-]+", directory) or len(directory) > LONGEST_DIRECTORY:
            raise BedError(f"TESTBED_DIR must be a plain absolute path of at most {LONGEST_DIRECTORY} characters")
        self.directory = Path(directory)
        self.mark = self.directory / ".two-host-testbed"
        self.hosts = (
            self._host("hosta", 1, "a0000000-7e57-4bed-8000-00000000000a"),
            self._host("hostb", 2, "b0000000-7e57-4bed-8000-00000000000b"),
        )
        self.a, self.b = self.hosts

    def _host(self, name, number, uuid):
        mac = f"02:00:0a:4d:00:{number:02x}"
        return Host(name, f"{SUBNET}.{number}", mac, uuid, self.directory / name)

    def host(self, name):
        for host in self.hosts:
            if host.name == name:
                return host
        raise BedError(f"no host '{name}', only hosta and hostb")

    def guest(self, name):
        return guest.Guest(self, name)

    def tick_image(self):
        return self.directory / "shared" / "tick.bin"

    # ---------------------------------------------------------- up and down

    def up(self):
        """Starts what does not run; a bed that is up is left as it is."""
        reasons = missing()
        if reasons:
            raise BedError("this machine cannot hold two hosts:\n  " + "\n  ".join(reasons))
        with self._lock():
            self._claim_directory()
            keys.make(self.directory / "pki", self.hosts)
            guest.build_tick(self.tick_image())
            # Half a bed (a crash, one init killed) is made again from scratch.
            if not all(host.is_made() for host in self.hosts):
                self._end_hosts()
                for host in self.hosts:
                    self._make(host)
            network.make(self.a, self.b)
            # Together, because each libvirtd probes QEMU for a second.
            with ThreadPoolExecutor() as pool:
                list(pool.map(Host.start_daemons, self.hosts))

    def down(self):
        """Ends every process of the bed and removes its directory."""
        with self._lock() as lock:
            if self.mark.exists():
                self._end_hosts()
                shutil.rmtree(self.directory)
            lock.unlink()

    def is_up(self):
        return all(host.is_made() and host.libvirtd_pid() is not None for host in self.hosts)

    def _make(self, host):
        keepalive = os.environ.get("TESTBED_KEEPALIVE", KEEPALIVE).split()
        shared = self.directory / "shared" / "images"
        host.directory.mkdir(exist_ok=True)
        settings.write(host.directory / "etc", host, self.hosts, self.directory / "pki", shared, keepalive)
        host.make()

    def _end_hosts(self):
        for host in self.hosts:
            host.end()

    def _claim_directory(self):
        """A name in /tmp may be anybody's: only an own or an empty one will do."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        status = self.directory.lstat()
        if self.directory.is_symlink() or status.st_uid != os.geteuid():
            raise BedError(f"{self.directory} belongs to somebody else")
        if not self.mark.exists() and any(self.directory.iterdir()):
            raise BedError(f"{self.directory} exists and is not a test bed's")
        self.mark.touch()
        (self.directory / "shared" / "images").mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _lock(self):
        """Held while hosts are made or ended.

        `down` removes the file, so what was locked must still be what the name
        means when the lock is had.
        """
        path = Path(f"{self.directory}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    yield path
                    return

    # ---------------------------------------------------------- for programs

    def environment(self):
        """What a test needs to know, as variables."""
        values = {"TESTBED_DIR": str(self.directory)}
        for host in self.hosts:
            prefix = f"TESTBED_{host.name.upper()}"
            values[f"{prefix}_URI"] = host.uri()
            values[f"{prefix}_ADDRESS"] = host.address
            values[f"{prefix}_UUID"] = host.uuid
            values[f"{prefix}_RUN"] = str(host.directory / "run")
            for transport in ("tcp", "tls", "ssh"):
                values[f"{prefix}_PEER_{transport.upper()}"] = host.peer_uri(transport)
        return values
