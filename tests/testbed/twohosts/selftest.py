"""Shows that the bed works: each step is a line PASS or FAIL with its time."""

import subprocess
import tempfile
import time

from . import network
from .bed import Bed
from .errors import BedError
from .guest import Spec
from .host import wait_until

NAME = "selftest"


def run(bed):
    """Returns 0 when every step passed.  A bed that was up stays up."""
    was_up = bed.mark.exists() and bed.is_up()
    steps = Steps()
    steps.step("the bed comes up", bed.up)
    if not steps.failed:
        guest = bed.guest(NAME)
        for chapter in (hosts, migrations, busy_guest, disks, faults):
            guest.remove()
            chapter(bed, guest, steps.step)
        guest.remove()
    if not was_up:
        steps.step("the bed goes down", bed.down)
        steps.step("nothing is left of it", lambda: not bed.directory.exists())
        steps.step("several beds at once", several_beds)
    print(f"selftest: {steps.passed} passed, {steps.failed} failed")
    return 1 if steps.failed else 0


class Steps:
    """Runs steps and counts them."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def step(self, what, act):
        """A step fails when it raises, or says False."""
        start = time.monotonic()
        try:
            problem = "it is not so" if act() is False else None
        except (BedError, OSError, subprocess.SubprocessError) as error:
            problem = str(error)
        seconds = time.monotonic() - start
        if problem is None:
            self.passed += 1
            print(f"PASS {what:<58} {seconds:6.2f} s", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {what}\n     {problem}", flush=True)


def migrate(source, destination, *options, transport="tcp"):
    source.run("virsh", "migrate", *options, NAME, destination.peer_uri(transport))


# ------------------------------------------------------------------ chapters


def hosts(bed, _guest, step):
    a, b = bed.hosts
    step("coming up again changes nothing", bed.up)
    for transport in ("tcp", "tls", "ssh"):
        uri = b.peer_uri(transport)
        step(f"hosta reaches hostb by {transport}", lambda uri=uri: "hostb" in a.run("virsh", "-c", uri, "hostname").stdout)
    command = ["virsh", "-c", b.uri(), "hostname"]
    step("the machine reaches hostb by its socket", lambda: subprocess.run(command, check=True, capture_output=True))
    step("the two have different identities", lambda: a.uuid in a.run("virsh", "capabilities").stdout)


def migrations(bed, guest, step):
    a, b = bed.hosts
    step("a guest starts", lambda: (guest.define(a), guest.start(a)))
    step("it ticks", lambda: guest.wait_for_tick(a, 1))
    step("live migration by tcp", lambda: migrate(a, b, "--live"))
    step("it goes on counting on hostb", lambda: guest.wait_for_tick(b, guest.ticks(a) + 1))
    step("hosta keeps its definition", lambda: guest.state(a) == "shut off")
    step("live migration back, peer to peer by tls", lambda: migrate(b, a, "--live", "--p2p", transport="tls"))
    step("it goes on counting on hosta", lambda: guest.wait_for_tick(a, guest.ticks(b) + 1))
    step("nothing of it stays on hostb", lambda: guest.state(b) == "absent")
    step("live migration peer to peer by ssh", lambda: migrate(a, b, "--live", "--p2p", transport="ssh"))
    step("it goes on counting on hostb again", lambda: guest.wait_for_tick(b, guest.ticks(a) + 1))
    step("it stayed whole", lambda: judge(guest))
    step("the power button ends it", lambda: b.run("virsh", "shutdown", NAME))
    step("it is gone from hostb", lambda: wait_until(lambda: guest.state(b) == "absent", 10))
    step("offline migration", lambda: migrate(a, b, "--offline", "--persistent"))
    step("hostb has it defined", lambda: guest.state(b) == "shut off" and guest.is_persistent(b))


def busy_guest(bed, guest, step):
    a, b = bed.hosts
    step("a busy, deaf guest starts", lambda: guest.create(a, Spec(memory=64, busy=32, deaf=True)))
    step("it ticks", lambda: guest.wait_for_tick(a, 1))
    slow = ["virsh", "migrate", "--live", "--p2p", "--bandwidth", "4", NAME, b.peer_uri()]
    with subprocess.Popen(
        a.enter(*slow), env=a.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as migration:
        step("its migration shows progress", lambda: wait_until(lambda: "Data remaining" in job(a), 10))
        step("its migration can be cancelled", lambda: a.run("virsh", "domjobabort", NAME))
        step("the migration says so", lambda: "canceled by client" in migration.communicate()[1])
    step("it runs on hosta", lambda: guest.state(a) == "running")
    postcopy = ("--live", "--p2p", "--bandwidth", "20", "--postcopy", "--postcopy-after-precopy")
    step("post-copy migration", lambda: migrate(a, b, *postcopy))
    step("it goes on counting on hostb", lambda: guest.wait_for_tick(b, guest.ticks(a) + 1))
    step("it stayed whole", lambda: judge(guest))
    step("it does not obey the power button", lambda: (b.run("virsh", "shutdown", NAME), guest.wait_for_tick(b, guest.ticks(b) + 2)))


def disks(bed, guest, step):
    a, b = bed.hosts
    step("a guest with a disk of hosta's starts", lambda: guest.create(a, Spec(disk="local", nic=True)))
    step("moving it without its disk is refused", lambda: refused(lambda: migrate(a, b, "--live"), "Unsafe migration"))
    step("moving it with its disk", lambda: migrate(a, b, "--live", "--copy-storage-all"))
    step("it runs on hostb", lambda: guest.state(b) == "running")
    guest.remove()
    step("a guest with an NBD disk starts", lambda: guest.create(a, Spec(disk="nbd")))
    step("moving it needs no copy", lambda: migrate(a, b, "--live"))


def faults(bed, guest, step):
    a, b = bed.hosts
    step("a guest that ends after two ticks", lambda: guest.create(a, Spec(stop=2)))
    step("it ends by itself", lambda: wait_until(lambda: guest.state(a) == "absent", 15) and guest.ticks(a) == 2)
    step("a killed QEMU", lambda: (guest.create(a), guest.kill_qemu(a)))
    step("its guest is gone", lambda: wait_until(lambda: guest.state(a) == "absent", 10))
    for name, change in (("cut", network.cut), ("blackhole", network.blackhole)):
        step(f"link: {name}", lambda change=change: change(a, b))
        step(f"link: {name} is what it says", lambda name=name: network.state(a) == name)
        step("hostb does not answer", lambda: not answers(a, b))
        step("link: restored", lambda: network.restore(a, b))
        step("hostb answers", lambda: wait_until(lambda: answers(a, b), 10) and network.state(a) == "up")
    step("link: limited", lambda: network.rate(a, b, "20mbit"))
    step("link: the limit is there", lambda: network.state(a) == "rate 20Mbit")
    step("link: unlimited", lambda: network.restore(a, b))
    step("libvirtd killed", lambda: b.stop_libvirtd("KILL"))
    step("libvirtd started again", lambda: (b.start_libvirtd(), b.run("virsh", "list")))


def several_beds():
    with tempfile.TemporaryDirectory(prefix="vb") as place:
        beds = [Bed(f"{place}/{name}") for name in ("one", "two")]
        try:
            for bed in beds:
                bed.up()
            beds[0].guest(NAME).create(beds[0].a)
            return beds[1].guest(NAME).state(beds[1].a) == "absent"
        finally:
            for bed in beds:
                bed.down()


# ------------------------------------------------------------------ helpers


def job(host):
    return host.run("virsh", "domjobinfo", NAME, check=False).stdout


def answers(host, peer):
    connect = f"exec 3<>/dev/tcp/{peer.address}/16509"
    return host.run("timeout", "1", "bash", "-c", connect, check=False).returncode == 0


def judge(guest):
    account = guest.account()
    if not account.whole:
        raise BedError(str(account))


def refused(act, because):
    try:
        act()
    except BedError as error:
        return because in str(error)
    return False
