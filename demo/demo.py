#!/usr/bin/env python3
"""The gate and a live migration on two real libvirt hosts of this one machine: `make demo`."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "demo"), str(REPOSITORY / "tests" / "testbed")]

import pywbem  # noqa: E402  (the path comes first)
from show import answer, bold, code, command, dim, explain, green, heading, red  # noqa: E402
from twohosts import network  # noqa: E402
from twohosts.bed import Bed, missing  # noqa: E402
from twohosts.enter import join  # noqa: E402
from twohosts.guest import Spec  # noqa: E402

PROGRAMS = REPOSITORY / "target" / "debug"
USER, PASSWORD = "anna", "demo"

CONFIG = """\
[[hypervisor]]
uri = "{source}"
prefix = "KVM"

[listen]
http = "127.0.0.1:{port}"

[auth]
users-file = "{home}/users"

[checks]
directory = "{home}/checks"
timeout = "2s"
{destination}
[store]
path = "{home}/virtcimd.db"

[daemon]
runtime-directory = "{home}/run"
"""

DESTINATION = """
[migration.destinations.{name}]
uri = "{uri}"
"""


class Stage:
    """Where the demo plays: how to start the daemon, who moves and where to."""

    def __init__(self, guest, destination, transport, config, run=(), bed=None):
        self.guest = guest
        self.destination = destination
        self.transport = transport
        self.config = config
        # What must be put before a command so that it runs on the source host.
        self.run = list(run)
        # The two hosts, if the guest can really move.
        self.bed = bed


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    become_root_if_that_helps()
    print(f"\n{bold('virtcimd')}: ask before a virtual machine moves")
    with contextlib.ExitStack() as cleanup:
        home = Path(tempfile.mkdtemp(prefix="virtcimd-demo."))
        cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        reasons = missing()
        stage = test_driver(home, reasons) if reasons else two_hosts(home, cleanup)
        install_checks(home)
        start_daemon(home, stage, cleanup)
        client = show_the_gate(home, stage)
        if stage.bed:
            show_a_migration(stage, client)
    print(f"\n{green('Done.')} Nothing is left running, and nothing is left on disk.\n")


def become_root_if_that_helps():
    """Namespaces need root; sudo asks its own questions."""
    if os.geteuid() != 0 and shutil.which("sudo"):
        print("The two hosts live in namespaces, which only root can make: starting again with sudo.")
        os.execvp("sudo", ["sudo", sys.executable, *sys.argv])


# ------------------------------------------------------------------ the stage


def two_hosts(home, cleanup):
    heading(1, "Two libvirt hosts")
    explain(
        """hosta and hostb are real: each has a libvirtd, QEMU, certificates and a network of its own,
        in namespaces of this machine. On hosta runs a guest, web."""
    )
    bed = Bed(home / "bed")
    cleanup.callback(bed.down)
    began = time.monotonic()
    bed.up()
    guest = bed.guest("web")
    # Enough memory that the copy takes its time on the link below.
    guest.define(bed.a, Spec(memory=128, keep=48))
    guest.start(bed.a)
    answer(dim(f"both up and the guest started after {time.monotonic() - began:.1f} s"))
    list_guests(bed)
    # From here on 127.0.0.1 is hosta's, for us and the clients that we start.
    join(bed.a, ["net"])
    os.environ["TESTBED_DIR"] = str(bed.directory)
    run = [REPOSITORY / "tests" / "testbed" / "testbed", "run", "hosta"]
    config = CONFIG.format(source="qemu:///system", home=home, port=5988, destination="")
    return Stage("web", "hostb", "tls-strict", config, run, bed)


def list_guests(bed):
    for host in bed.hosts:
        print(f"\n  {bold(host.name)}{dim('$')} virsh list")
        answer(host.run("virsh", "-q", "list").stdout.strip("\n") or "(no guests)")


def test_driver(home, reasons):
    heading(1, "libvirt's test driver")
    explain("The demo would bring up two real libvirt hosts with QEMU, but not on this machine:")
    for reason in reasons:
        answer(f"- {reason}")
    explain("So the gate is shown on libvirt's test driver: a guest that exists in memory only.")
    other = home / "other.xml"
    other.write_text("<node/>\n")
    destination = DESTINATION.format(name="hostb", uri=f"test://{other}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = CONFIG.format(source="test:///default", home=home, port=port, destination=destination)
    return Stage("test", "hostb", "tcp", config)


def install_checks(home):
    heading(2, "Three checks")
    explain(
        """The administrator of the host decides what is checked: each executable in one directory is
        run. Exit 0 lets the guest go, anything else keeps it, and its first line of output says why."""
    )
    checks = home / "checks"
    checks.mkdir(mode=0o755)
    for source in sorted((REPOSITORY / "demo" / "checks").iterdir()):
        shutil.copyfile(source, checks / source.name)
        (checks / source.name).chmod(0o755)
        print(f"\n  {bold(source.name)}")
        code("\n".join(source.read_text().splitlines()[1:]))
    (home / "mounts-of-hostb").write_text("/srv/images\n")
    (home / "backup-server").write_text("idle\n")


def start_daemon(home, stage, cleanup):
    heading(3, "The daemon")
    explain("One program, a small file of settings, one user with the role operator.")
    config = home / "virtcimd.toml"
    config.write_text(stage.config)
    code(stage.config)
    add = ["user", "add", USER, "--role", "operator", "--users-file", home / "users"]
    subprocess.run([PROGRAMS / "virtcimd", *add], input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)
    serve = [*stage.run, PROGRAMS / "virtcimd", "serve", "--config", config]
    log = home / "virtcimd.log"
    with log.open("w") as output, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(home / "ready"))
        environment = {**os.environ, "NOTIFY_SOCKET": str(home / "ready")}
        daemon = subprocess.Popen(serve, stdout=output, stderr=output, env=environment)
        cleanup.callback(end, daemon)
        wait_until_ready(daemon, ready, log)
    print()
    command(["virtcimd", "serve", "--config", "virtcimd.toml"])


def wait_until_ready(daemon, ready, log):
    """The daemon tells its service manager that it is ready; here that is us."""
    ready.settimeout(0.1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and daemon.poll() is None:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in ready.recv(4096):
                return
    raise SystemExit(f"{red('The daemon did not start.')} Its log:\n{log.read_text()}")


def end(daemon):
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


# ------------------------------------------------------------------ the show


def show_the_gate(home, stage):
    heading(4, "A pywbem client asks")
    explain("Any WBEM client can ask. This is all that a Python program needs:")
    code(
        f"""
        answer = server.InvokeMethod("CheckVirtualSystemIsMigratableToHost", service,
            ComputerSystem=web, DestinationHost="{stage.destination}",
            MigrationSettingData=settings)   # with CheckParameters ["owner=anna"]
        """
    )
    client = Client(stage)
    client.ask("All three checks pass.", expected=True)

    heading(5, "A check refuses")
    explain(f"Somebody unmounts the images on {stage.destination}. The next client hears of it, and why:")
    (home / "mounts-of-hostb").write_text("")
    client.ask("20-storage fails.", expected=False)
    (home / "mounts-of-hostb").write_text("/srv/images\n")

    heading(6, "A check hangs")
    explain(
        """The backup server is gone, and 30-backup waits for it for an hour. It has 2 seconds; then
        all its processes are killed. No answer is not a yes."""
    )
    (home / "backup-server").unlink()
    client.ask("30-backup is killed.", expected=False)
    left = subprocess.run(["pgrep", "-f", "sleep 3607"], capture_output=True, text=True, check=False).stdout.split()
    answer(dim("its children that are left: ") + (", ".join(left) if left else green("none")))

    heading(7, "The same on a terminal")
    explain("virtcimctl, for those who have no program to write:")
    virtcimctl("check", stage, client.url)
    (home / "backup-server").write_text("idle\n")
    explain("And when the backup server is back:")
    virtcimctl("check", stage, client.url)
    return client


def show_a_migration(stage, client):
    heading(8, "The guest moves, live")
    explain(
        """The same gate stands before the migration itself. Then libvirt copies the running guest, over a
        link that is slowed down so that there is something to see. The guest writes a tick a second
        all the while, and checks its memory before each."""
    )
    bed, guest = stage.bed, stage.bed.guest(stage.guest)
    network.rate(bed.a, bed.b, "100mbit")
    if virtcimctl("migrate", stage, client.url) != 0:
        raise SystemExit(red("The guest should have moved."))
    guest.wait_for_tick(bed.b, guest.ticks(bed.b) + 2)
    list_guests(bed)
    print()
    answer(f"the guest's own account: {guest.account()}")
    print()
    explain("What became of it stays on record:")
    virtcimctl("jobs", stage, client.url)


class Client:
    """What a management program would hold on to."""

    def __init__(self, stage):
        self.stage = stage
        port = stage.config.split('http = "127.0.0.1:')[1].split('"')[0]
        self.url = f"http://127.0.0.1:{port}"
        self.server = pywbem.WBEMConnection(self.url, (USER, PASSWORD), default_namespace="root/virt")
        (self.service,) = self.server.EnumerateInstanceNames("KVM_VirtualSystemMigrationService")

    def ask(self, what, expected):
        keys = {"CreationClassName": "KVM_ComputerSystem", "Name": self.stage.guest}
        transports = {"tls-strict": 4, "tcp": 5}
        settings = pywbem.CIMInstance(
            "KVM_VirtualSystemMigrationSettingData",
            {
                "MigrationType": pywbem.Uint16(2),
                "TransportType": pywbem.Uint16(transports[self.stage.transport]),
                "CheckParameters": ["owner=anna"],
            },
        )
        began = time.monotonic()
        _, out = self.server.InvokeMethod(
            "CheckVirtualSystemIsMigratableToHost",
            self.service,
            ComputerSystem=pywbem.CIMInstanceName("KVM_ComputerSystem", keys, namespace="root/virt"),
            DestinationHost=self.stage.destination,
            MigrationSettingData=settings,
        )
        took = time.monotonic() - began
        verdict = out["IsMigratable"]
        print(f"\n  {what}")
        answer(f"IsMigratable = {green('TRUE') if verdict else red('FALSE')}   {dim(f'after {took * 1000:.0f} ms')}")
        for finding in out.get("Findings") or []:
            answer(f"{dim(finding['MessageID'])} {finding['Message']}")
        if verdict is not expected:
            raise SystemExit(red("That is not the answer that was to be shown."))


def virtcimctl(verb, stage, url):
    """Shows what somebody would type, and what they would see; returns the exit status."""
    where = [stage.guest, stage.destination, "--transport", stage.transport, "--parameter", "owner=anna"]
    arguments = [verb] if verb == "jobs" else [verb, *where]
    command(["virtcimctl", *arguments])
    environment = {**os.environ, "VIRTCIMCTL_URL": url, "VIRTCIMCTL_USER": USER, "VIRTCIMCTL_PASSWORD": PASSWORD}
    # On a terminal a migration draws its progress itself.
    own_screen = verb == "migrate" and sys.stdout.isatty()
    done = subprocess.run(
        [PROGRAMS / "virtcimctl", *arguments],
        env=environment,
        stdout=None if own_screen else subprocess.PIPE,
        stderr=None if own_screen else subprocess.STDOUT,
        text=True,
        check=False,
    )
    answer(done.stdout or "")
    answer(dim(f"exit status {done.returncode}"))
    print()
    return done.returncode


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
