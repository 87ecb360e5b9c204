"""Migrations between the two hosts of the test bed, asked for through a real daemon on hosta."""

import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import harness
import pywbem
from twohosts import network
from twohosts.guest import Spec
from twohosts.host import wait_until

FAKETIME = Path("/usr/lib")
TESTBED = harness.REPOSITORY / "tests" / "testbed" / "testbed"

CONFIG = """
[[hypervisor]]
uri = "qemu:///system"
prefix = "KVM"

[auth]
mode = "none"

[checks]
directory = "{directory}/checks"
timeout = "60s"

[checks.builtin]
{builtin}

[migration]
default-transport = "tcp"
shutdown-timeout = "{shutdown}"
late-shutdown = "{late}"
{migration}

[migration.destinations.hostb]
uri = "qemu+tcp://hostb/system"

{more}
"""

# The log tells what no client sees.
DETAILED = '[log]\nlevel = "debug"'

# A guest whose copy lasts as long as a test needs: it dirties memory faster than the link carries it.
BUSY = Spec(memory=64, busy=16, keep=4)
SLOW = "24mbit"

# MigrationPhase.
QUEUED, CHECKING, PREPARING, COPYING, SWITCHING, CONFIRMING, CLEANING_UP, DONE, FAILED, CANCELLED = range(1, 11)

# RequestStateChange: what is asked for, and what is answered.
KILL = 5
STARTED, INVALID_TRANSITION = 4096, 4097

# MigrationType.
OFFLINE, LIVE, RESUME, RESTART = range(1, 5)


class Tunnel:
    """A port of this machine that leads to a unix socket in a host's namespaces."""

    def __init__(self, path):
        self.path = str(path)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client):
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self.path)
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join()

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self):
        # A thread that waits in accept() is not woken by close() alone.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@dataclass
class Mover:
    """A daemon on hosta and a pywbem client that migrates with it."""

    bed: object
    migration: str = ""
    builtin: str = ""
    shutdown: str = "3s"
    late: str = "2s"
    more: str = ""
    # Whether the test sets its wall clock.
    clock: bool = False
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="move", dir="/tmp")))
    daemon: harness.Daemon = None

    def __post_init__(self):
        self.directory.chmod(0o755)
        self.checks = harness.Checks(self.directory / "checks")
        self.tunnel = Tunnel(self.directory / "socket")
        config = CONFIG.format(
            directory=self.directory,
            migration=self.migration,
            builtin=self.builtin,
            shutdown=self.shutdown,
            late=self.late,
            more=self.more,
        )
        command = ["env", f"TESTBED_DIR={self.bed.directory}", TESTBED, "run", "hosta"]
        if self.clock:
            self.set_clock(0)
            (library,) = FAKETIME.glob("*/faketime/libfaketime.so.1")
            # Only the daemon's clock, and only the one on the wall.
            command += [
                "env",
                f"LD_PRELOAD={library}",
                f"FAKETIME_TIMESTAMP_FILE={self.directory}/clock",
                "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
            ]
        self.daemon = harness.Daemon(self.directory, config, command=command)

    def start(self):
        self.daemon.start()
        url = f"http://127.0.0.1:{self.tunnel.port}"
        self.connection = pywbem.WBEMConnection(url, default_namespace=harness.NAMESPACE, timeout=120)
        return self

    def set_clock(self, hours):
        """Lets the daemon's wall clock jump: so many hours from the machine's."""
        new = self.directory / "clock.new"
        new.write_text(f"{hours:+d}h\n")
        new.rename(self.directory / "clock")

    def pid(self):
        """The daemon's own; `testbed run` is its parent."""
        parent = self.daemon.process.pid
        (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(child)

    def kill(self):
        """As the kernel would for want of memory: nothing is told to anybody."""
        os.kill(self.pid(), signal.SIGKILL)
        self.daemon.process.wait()

    def stop(self):
        return self.daemon.stop()

    def close(self):
        if self.daemon.process is not None:
            self.daemon.stop()
        self.tunnel.close()
        shutil.rmtree(self.directory)

    # ------------------------------------------------------------------ asking

    def gate(self):
        return harness.Gate(self.connection)

    def migrate(self, guest="web", how=LIVE, destination="hostb", **settings):
        """The path of the job; the method must accept the request."""
        gate = self.gate()
        value, out = self.connection.InvokeMethod(
            "MigrateVirtualSystemToHost",
            gate.service,
            ComputerSystem=gate.guest(guest),
            DestinationHost=destination,
            MigrationSettingData=gate.settings(MigrationType=pywbem.Uint16(how), **settings),
        )
        assert value == 4096
        return out["Job"]

    def job(self, path):
        return self.connection.GetInstance(path)

    def wait_for(self, path, *phases, seconds=120):
        """The job as soon as it is in one of the phases; it must not end in another."""
        last = None

        def arrived():
            nonlocal last
            last = self.job(path)
            return last["MigrationPhase"] in phases or last["MigrationPhase"] >= DONE

        assert wait_until(arrived, seconds), f"the job stays where it is: {describe(last)}\n{self.daemon.log()}"
        assert last["MigrationPhase"] in phases, f"the job ended too soon: {describe(last)}\n{self.daemon.log()}"
        return last

    def end_of(self, path, seconds=120):
        return self.wait_for(path, DONE, FAILED, CANCELLED, seconds=seconds)

    def copying(self, path):
        """Waits until memory is on its way."""
        self.wait_for(path, COPYING)

        def flows():
            return (self.job(path)["DataProcessed"] or 0) > 0

        assert wait_until(flows, 60), describe(self.job(path))

    def wait_for_status(self, path, beginning):
        """For what is no phase of its own to a client: a restart's steps."""

        def arrived():
            return self.job(path)["JobStatus"].startswith(beginning)

        assert wait_until(arrived, 60), f"{describe(self.job(path))}\n{self.daemon.log()}"

    def abort(self, path, state=4):
        """RequestStateChange: 4 terminate, 5 kill."""
        value, _ = self.connection.InvokeMethod("RequestStateChange", path, RequestedState=pywbem.Uint16(state))
        return value


def describe(job):
    names = ("MigrationPhase", "JobState", "JobStatus", "Status", "ErrorDescription", "DataProcessed", "DataRemaining")
    return ", ".join(f"{name}={job.get(name)!r}" for name in names)


def succeeded(job):
    return (job["JobState"], job["Status"], job["PercentComplete"], job["ErrorCode"]) == (7, "Completed", 100, 0)


def failed(job):
    return job["JobState"] == 7 and list(job["OperationalStatus"]) == [17, 6] and job["ErrorCode"] != 0


@dataclass
class Truth:
    """What both hosts show of a guest; the only judge of a migration."""

    guest: object

    def at(self, host):
        """Where it must be, alone: running there, defined there, whole, and able to go on."""
        bed = self.guest.bed
        other = bed.b if host is bed.a else bed.a
        assert self.guest.state(host) == "running", self.describe()
        assert self.guest.is_persistent(host), self.describe()
        # The tick program's next ticks: it runs, and does not only seem to.
        self.guest.wait_for_tick(host, self.guest.ticks(host) + 2)
        assert self.guest.state(other) == "absent", self.describe()
        self.is_whole()

    def settled_at(self, host):
        """As `at`, for a guest that ran at hosta, was shut down once, and was started once more at that host."""
        bed = self.guest.bed
        other = bed.b if host is bed.a else bed.a
        assert self.guest.state(host) == "running", self.describe()
        assert self.guest.is_persistent(host), self.describe()
        assert self.guest.state(other) == "absent", self.describe()
        # It counts from one again, and no third life of it has left a line, be it ever so short.
        self.guest.wait_for_tick(host, self.guest.ticks(host) + 2)
        expected = {bed.a: 1, bed.b: 0}
        expected[host] += 1
        for place, lives in expected.items():
            assert self.guest.first_ticks(place) == lives, self.describe()
            # The emulator was started no more often than that, be it for a guest that never came to tick.
            assert self.guest.starts(place) == lives, self.describe()

    def ended_at_a(self):
        """A guest that stopped at hosta: off there, defined there alone, and it ran nowhere else."""
        bed = self.guest.bed
        assert self.guest.state(bed.a) == "shut off", self.describe()
        assert self.guest.is_persistent(bed.a), self.describe()
        assert self.guest.state(bed.b) == "absent", self.describe()
        assert self.guest.ticks(bed.b) == 0, self.describe()
        assert self.guest.first_ticks(bed.a) == 1, self.describe()
        self.is_whole()

    def is_back(self, persistent=True):
        """It was started at hosta again, as what it was."""
        bed = self.guest.bed
        assert self.guest.state(bed.a) == "running", self.describe()
        assert self.guest.is_persistent(bed.a) == persistent, self.describe()
        assert self.guest.state(bed.b) == "absent", self.describe()
        obeyed_and_booted = re.compile(r"power button\n(tick \d+\n)*tick 1\n")
        assert wait_until(lambda: obeyed_and_booted.search(self.guest.console(bed.a)), 30), self.describe()

    def is_whole(self):
        account = self.guest.account()
        assert account.whole, f"{account}\n{self.describe()}"

    def describe(self):
        return "; ".join(
            f"{host.name}: {self.guest.state(host)}, persistent {self.guest.is_persistent(host)}, "
            f"tick {self.guest.ticks(host)}, {self.guest.first_ticks(host)} times from one, "
            f"QEMU started {self.guest.starts(host)} times"
            for host in self.guest.bed.hosts
        )


@contextlib.contextmanager
def slow_link(bed, rate=SLOW):
    network.rate(bed.a, bed.b, rate)
    try:
        yield
    finally:
        network.restore(bed.a, bed.b)


@contextlib.contextmanager
def frozen(host):
    """The host's libvirtd stands still: it answers nothing and breaks off nothing."""
    pid = str(host.libvirtd_pid())
    host.run("kill", "-STOP", pid)
    try:
        yield
    finally:
        host.run("kill", "-CONT", pid, check=False)


@contextlib.contextmanager
def preparing(mover, destination):
    """A job that asks a destination which does not answer any more: it was frozen while a check waited.

    The mover must have a DETAILED log.
    """
    go = mover.directory / "go"
    mover.checks.add("10-wait", f"while [ ! -e {go} ]; do sleep 0.05; done")
    path = mover.migrate()
    # The built-in checks ask the destination, too.
    assert wait_until(lambda: "built-in checks have run" in mover.daemon.log(), 60), mover.daemon.log()
    with frozen(destination):
        go.touch()
        mover.wait_for(path, PREPARING)
        yield path


@contextlib.contextmanager
def hooked(host, operation):
    """The host's libvirt does not get past `operation` of any guest until it is told to, by the function given."""
    hook, go = "/etc/libvirt/hooks/qemu", "/run/go-on"
    script = f'[ "$2" != {operation} ] || while [ ! -e {go} ]; do sleep 0.05; done'
    host.run("sh", "-c", f"mkdir -p ${{0%/*}}; printf '#!/bin/sh\\n%s\\n' \"$1\" >$0; chmod +x $0", hook, script)
    # It looks for hooks when it starts.
    host.stop_libvirtd()
    host.start_libvirtd()
    try:
        yield lambda: host.run("touch", go)
    finally:
        host.run("touch", go)
        host.stop_libvirtd()
        host.run("rm", "-f", hook, go)
        host.start_libvirtd()


def wait_until_held(host, guest):
    """Returns when the host's libvirt is in the midst of a call about the guest: any other one waits."""
    ask = ["timeout", "3", "virsh", "-q", "domstate", guest]
    assert wait_until(lambda: host.run(*ask, check=False).returncode == 124, 60), f"nothing holds {guest}"


@contextlib.contextmanager
def undefinable(host, guest):
    """The host's libvirt hangs when it writes the guest's definition: the file is a pipe that nobody reads."""
    pipe = f"/etc/libvirt/qemu/{guest}.xml.new"
    host.run("mkfifo", pipe)
    try:
        yield
    finally:
        # A writer that waits is let go; a definition in a pipe is an error to libvirt.
        host.run("sh", "-c", f"timeout 1 cat {pipe}; rm -f {pipe}")


@contextlib.contextmanager
def not_undefinable(host, guest):
    """The host's libvirt can't remove the guest's definition: the file is busy."""
    path = f"/etc/libvirt/qemu/{guest}.xml"
    host.run("mount", "--bind", path, path)
    try:
        yield
    finally:
        host.run("umount", path)


@contextlib.contextmanager
def no_autostart(host, guest):
    """The host's libvirt can't let the guest start with the host: something is in its place."""
    path = f"/etc/libvirt/qemu/autostart/{guest}.xml"
    host.run("mkdir", "-p", path)
    try:
        yield
    finally:
        host.run("rmdir", path)


def traces(mover):
    """What a job must not leave behind: files of checks, children, incoming QEMUs."""
    left = [str(path) for path in (mover.directory / "run").rglob("*") if path.is_file()]
    for host in mover.bed.hosts:
        listed = host.run("virsh", "-q", "list", "--state-paused", "--name", check=False)
        left += [f"{host.name}: {name} is paused" for name in listed.stdout.split()]
    return left
