"""What the client tests share: a daemon with guests of libvirt's test driver."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness  # noqa: E402  (the path comes first)

sys.path.insert(0, str(harness.REPOSITORY / "tests" / "testbed"))

from moving import Mover, Truth, slow_link, traces  # noqa: E402
from twohosts import network  # noqa: E402
from twohosts.bed import Bed, missing  # noqa: E402
from twohosts.guest import Spec  # noqa: E402

GUESTS = {"web": "running", "old": "paused", "db": "shut off", "asleep": "saved"}

CONFIG = """
[[hypervisor]]
uri = "{source}"
prefix = "KVM"

[auth]
mode = "none"

[checks]
directory = "{checks}"
timeout = "5s"

[migration.destinations.other]
uri = "{destination}"
"""


def pytest_addoption(parser):
    parser.addoption("--record", action="store_true", help="write what is answered as what is expected")


class AtOnce:
    """Tells of a failure when it happens: where tests run in several processes, dots don't say where they are."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message.partition("\n")[0] if crash else "the reason stands below"
            reporter.write_line(f"\nFAILED {report.nodeid} ({report.when}): {reason}", red=True)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(config))


def pytest_collection_modifyitems(items):
    """What lasts long comes first, for started late it would end alone: files with many tests on a test bed.

    Others say by WEIGHT how many such tests they are worth.
    """
    weights = Counter(item.path for item in items if "bed" in getattr(item, "fixturenames", ()))
    items.sort(key=lambda item: -weights[item.path] - getattr(item.module, "WEIGHT", 0))


@pytest.fixture(scope="session", autouse=True)
def daemon_is_built():
    if not harness.program().exists():
        pytest.exit(f"{harness.program()} is missing: run `cargo build --bins` first", returncode=1)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A directory whose every parent is safe for check programs."""
    return tmp_path_factory.mktemp("virtcimd")


@pytest.fixture(scope="session")
def checks(home):
    return harness.Checks(home / "checks")


@pytest.fixture(scope="session")
def config(home, checks):
    source = harness.driver_host(home / "source.xml", GUESTS)
    destination = harness.driver_host(home / "destination.xml", {})
    return CONFIG.format(source=source, destination=destination, checks=checks.directory)


@pytest.fixture(scope="session")
def daemon(home, config):
    daemon = harness.Daemon(home, config).start()
    yield daemon
    assert daemon.stop() == 0, daemon.log()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory, config):
    """A daemon that wants to know who is asking."""
    home = tmp_path_factory.mktemp("guarded")
    users = home / "users"
    # wbemcli takes the password from a URL and decodes nothing, so one is plain.
    for name, role, password in (("vera", "viewer", "vera's secret"), ("carl", "checker", "plain")):
        command = [harness.program(), "user", "add", name, "--role", role, "--users-file", users]
        subprocess.run(command, input=f"{password}\n", text=True, check=True, capture_output=True)
    guarded_config = config.replace('mode = "none"', f'mode = "users-file"\nusers-file = "{users}"')
    daemon = harness.Daemon(home, guarded_config).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def start_daemon(tmp_path):
    """For tests that need a daemon configured in their own way."""
    daemons = []

    def start(config):
        daemons.append(harness.Daemon(tmp_path, config).start())
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.stop()


@pytest.fixture(scope="module")
def bed(request, tmp_path_factory):
    """Two real libvirt hosts; KEEPALIVE of the module is theirs."""
    if reasons := missing():
        pytest.skip("; ".join(reasons))
    bed = Bed(tmp_path_factory.mktemp("b") / "bed")
    with pytest.MonkeyPatch.context() as patch:
        if keepalive := getattr(request.module, "KEEPALIVE", None):
            patch.setenv("TESTBED_KEEPALIVE", keepalive)
        bed.up()
    yield bed
    bed.down()


@pytest.fixture(scope="module")
def shared_mover(bed):
    mover = Mover(bed).start()
    yield mover
    mover.close()


@pytest.fixture
def mover(shared_mover):
    """A daemon that many tests share."""
    shared_mover.checks.clear()
    yield shared_mover
    shared_mover.checks.clear()
    assert traces(shared_mover) == []


@pytest.fixture
def own_mover(bed):
    """Starts a daemon configured for one test."""
    movers = []

    def start(**options):
        movers.append(Mover(bed, **options).start())
        return movers[-1]

    yield start
    for mover in movers:
        try:
            assert traces(mover) == []
        finally:
            mover.close()


@pytest.fixture
def make_guest(bed):
    """Defines and starts a guest on hosta; gives the guest and the truth about it."""
    guests = []

    def make(spec=Spec(), name="web"):
        guest = bed.guest(name)
        guests.append(guest)
        guest.define(bed.a, spec)
        guest.start(bed.a)
        guest.wait_for_tick(bed.a, 2)
        return guest, Truth(guest)

    yield make
    network.restore(bed.a, bed.b)
    for host in bed.hosts:
        host.start_libvirtd()
    for guest in guests:
        guest.remove()


@pytest.fixture
def link(bed):
    """A link on which a busy guest never arrives."""
    with slow_link(bed):
        yield


@pytest.fixture
def connection(daemon):
    return daemon.connect()


@pytest.fixture
def gate(connection, checks):
    """The gate with an empty check directory."""
    checks.clear()
    yield harness.Gate(connection)
    checks.clear()


@pytest.fixture
def recorded(request):
    """Compares a text with the file of that name; --record writes the file."""

    def compare(name, text):
        path = harness.DATA / name
        if request.config.getoption("--record"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"differs from {path} (--record accepts it)"

    return compare
