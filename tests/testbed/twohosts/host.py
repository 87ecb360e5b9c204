"""One host: the namespaces, and the daemons in them."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .errors import BedError

INIT = Path(__file__).resolve().parent / "init.sh"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# Seconds after which a command in a host is taken to hang, as virsh does at a libvirtd that was stopped.
HANGS = 300
NAMESPACES = ("mount", "net", "uts", "ipc", "pid")


def wait_until(condition, seconds):
    """True as soon as `condition()` is; False when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Process:
    """A process recorded in a file as its number and start time.

    The start time tells it from a later process of the same number.  A zombie
    counts as dead: not every machine's first process reaps at once.
    """

    def __init__(self, record):
        self.record = record

    def keep(self, stat_line):
        self.record.write_text(stat_line)

    def pid(self):
        """Its number as the machine counts, or None when it does not run."""
        try:
            pid, start = self._identity(self.record.read_text())[:2]
            now = self._identity(Path(f"/proc/{pid}/stat").read_text())
        except (OSError, ValueError):
            return None
        return pid if now[1] == start and now[2] not in "ZX" else None

    def kill(self):
        """Ends it, and with it its PID namespace; returns when it is gone."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            if not wait_until(lambda: self.pid() is None, 20):
                raise BedError(f"process {pid} does not die")
        self.record.unlink(missing_ok=True)

    @staticmethod
    def _identity(stat_line):
        # The name, in parentheses, may hold anything.
        pid, rest = stat_line.split(" ", 1)
        fields = rest.rpartition(")")[2].split()
        return int(pid), fields[19], fields[0]


class Host:
    """`hosta` or `hostb` of a bed."""

    def __init__(self, name, address, mac, uuid, directory):
        self.name = name
        self.address = address
        self.mac = mac
        self.uuid = uuid
        self.directory = directory
        self.init = Process(directory / "init.stat")
        self.made = directory / "made"

    @property
    def socket(self):
        return self.directory / "run" / "libvirt" / "libvirt-sock"

    def uri(self):
        """Reaches the host from outside, through its socket."""
        return f"qemu:///system?socket={self.socket}"

    def peer_uri(self, transport="tcp"):
        """Reaches the host from the other one."""
        if transport == "ssh":
            return f"qemu+ssh://root@{self.name}/system"
        return f"qemu+{transport}://{self.name}/system"

    # ---------------------------------------------------------- namespaces

    def make(self):
        """Starts the init; returns when all mounts are in place."""
        for name in ("etc", "mnt", "cache", "lib/images", "log/qemu", "run/lock", "run/sshd", "run/libvirt"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "run" / "sshd").chmod(0o755)
        for stale in (self.directory / "run").glob("*.pid"):
            stale.unlink()
        log_path = self.directory / "log" / "init.log"
        with log_path.open("w") as log:
            maker = subprocess.Popen(
                # The shell's first child is the first of the PID namespace; the
                # shell itself does not linger as its parent.
                ["unshare", *(f"--{ns}" for ns in NAMESPACES)]
                + ["sh", "-c", 'exec 3<&0; "$@" <&3 3<&- &', "sh", str(INIT), self.name, str(self.directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={"PATH": PATH, "LC_ALL": "C"},
                start_new_session=True,
            )
        with maker:
            stat_line = maker.stdout.readline()
            if stat_line:
                self.init.keep(stat_line)
                print("recorded", file=maker.stdin, flush=True)
                if maker.stdout.readline() == "ready\n":
                    self.made.touch()
                    return
        raise BedError(f"{self.name}: no namespaces: {log_path.read_text().strip()}")

    def is_made(self):
        return self.made.exists() and self.init.pid() is not None

    def end(self):
        self.made.unlink(missing_ok=True)
        self.init.kill()

    def run(self, *command, check=True, namespaces=NAMESPACES):
        """Runs a command in the host and returns the finished process."""
        done = subprocess.run(
            self.enter(*command, namespaces=namespaces),
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            env=self.environment(),
            timeout=HANGS,
        )
        if check and done.returncode != 0:
            raise BedError(f"{self.name}: {' '.join(command)}: {(done.stderr or done.stdout).strip()}")
        return done

    def enter(self, *command, namespaces=NAMESPACES):
        """The command line that runs `command` in the host."""
        pid = self.init.pid()
        if pid is None:
            raise BedError(f"{self.name} is not up")
        return ["nsenter", f"--target={pid}", *(f"--{ns}" for ns in namespaces), "--", *command]

    @staticmethod
    def environment():
        # Debian's tools first, whatever the caller put in front.
        return {
            **os.environ,
            "PATH": f"{PATH}:{os.environ.get('PATH', '')}",
            "LC_ALL": "C",
            "LIBVIRT_DEFAULT_URI": "qemu:///system",
        }

    # ---------------------------------------------------------- daemons

    def libvirtd_pid(self):
        """The daemon's number as the host counts, or None."""
        try:
            pid = int((self.directory / "run" / "libvirtd.pid").read_text())
        except (OSError, ValueError):
            return None
        name = self.run("cat", f"/proc/{pid}/comm", check=False).stdout
        return pid if name == "libvirtd\n" else None

    def start_libvirtd(self):
        """Returns when its sockets accept connections."""
        if self.libvirtd_pid() is not None:
            return
        done = self.run("libvirtd", "--daemon", "--listen", "--timeout", "0", check=False)
        # One that an interrupted "up" began may have taken the PID file.
        if done.returncode != 0 and not wait_until(lambda: self.libvirtd_pid() is not None, 5):
            raise BedError(f"{self.name}: libvirtd did not start: {self._log_end()}")

    def stop_libvirtd(self, signal_name="TERM"):
        pid = self.libvirtd_pid()
        if pid is None:
            return
        self.run("kill", f"-{signal_name}", str(pid))
        if not wait_until(lambda: self.libvirtd_pid() is None, 20):
            raise BedError(f"{self.name}: libvirtd does not stop")

    def start_daemons(self):
        self.start_libvirtd()
        self.start_sshd()

    def start_sshd(self):
        """The transport "ssh" needs it; nothing else does."""
        sshd = shutil.which("sshd", path=PATH)
        if sshd:
            self.run("sh", "-c", f'kill -0 "$(cat /run/sshd.pid)" 2>/dev/null || exec {sshd}')

    def _log_end(self):
        log = self.directory / "log" / "libvirtd.log"
        return "\n".join(log.read_text().splitlines()[-5:]) if log.exists() else "it wrote no log"
