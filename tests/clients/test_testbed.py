"""The gate between two real libvirt hosts, for real QEMU guests."""

import harness
import pytest
import pywbem
from twohosts.guest import Spec, guest_uuid
from twohosts.host import wait_until

TESTBED = harness.REPOSITORY / "tests" / "testbed" / "testbed"

CONFIG = """
[[hypervisor]]
uri = "{uri}"
prefix = "KVM"

[auth]
mode = "none"

[checks]
directory = "{checks}"
timeout = "5s"

[migration]
default-transport = "tcp"

[migration.destinations.hostb]
uri = "{peer}"

[migration.destinations.myself]
uri = "{uri}"
"""


@pytest.fixture(scope="module")
def bed_checks(tmp_path_factory):
    return harness.Checks(tmp_path_factory.mktemp("bed") / "checks")


@pytest.fixture(scope="module")
def bed_daemon(bed, bed_checks, tmp_path_factory):
    """A daemon outside the namespaces that drives both hosts through their sockets."""
    home = tmp_path_factory.mktemp("daemon")
    config = CONFIG.format(uri=bed.a.uri(), peer=bed.b.uri(), checks=bed_checks.directory)
    daemon = harness.Daemon(home, config).start()
    yield daemon
    assert daemon.stop() == 0, daemon.log()


@pytest.fixture
def guest(bed):
    guest = bed.guest("web")
    guest.define(bed.a)
    guest.start(bed.a)
    yield guest
    guest.remove()


@pytest.fixture
def gate(bed_daemon, bed_checks):
    bed_checks.clear()
    return harness.Gate(bed_daemon.connect())


def test_a_real_guest_may_move(gate, guest, bed_checks):
    bed_checks.add("10-good", "exit 0")
    assert gate.check("web", "hostb") == (True, [])


def test_a_check_keeps_it(gate, guest, bed_checks):
    bed_checks.add("10-bad", "echo not today; exit 1")
    may_migrate, findings = gate.check("web", "hostb")
    assert may_migrate is False
    assert "not today" in findings[0]["Message"]


def test_its_state_is_seen(gate, guest, bed):
    """The daemon learns of a change by an event, a moment after it has happened."""

    def shows(state):
        path = gate.guest("web")
        return wait_until(lambda: gate.connection.GetInstance(path)["EnabledState"] == state, harness.PATIENCE)

    assert shows(2)
    bed.a.run("virsh", "suspend", "web")
    assert shows(9)
    bed.a.run("virsh", "resume", "web")
    assert shows(2)
    bed.a.run("virsh", "destroy", "web")
    assert shows(3)


def test_the_name_is_taken_at_the_destination(gate, guest, bed):
    bed.b.run("virsh", "define", write_other_guest(bed, "web"))
    may_migrate, findings = gate.check("web", "hostb")
    assert may_migrate is False
    assert any("web" in finding["Message"] for finding in findings)


def write_other_guest(bed, name):
    """A guest of the same name that is another one."""
    path = bed.directory / "shared" / "other.xml"
    xml = bed.guest(name).xml(Spec())
    path.write_text(xml.replace(guest_uuid(name), "99999999-9999-4999-8999-999999999999"))
    return str(path)


def test_not_to_itself(gate, guest):
    """The same host, whatever it is called."""
    may_migrate, findings = gate.check("web", "myself")
    assert may_migrate is False
    assert findings


def test_a_destination_that_went_away(gate, guest, bed):
    bed.b.stop_libvirtd()
    try:
        with pytest.raises(pywbem.CIMError) as refused:
            gate.check("web", "hostb")
        assert refused.value.status_code == pywbem.CIM_ERR_FAILED
        assert refused.value.status_description.startswith("Failed to connect to remote host (")
    finally:
        bed.b.start_libvirtd()
    assert gate.check("web", "hostb")[0] is True


def test_the_daemon_survives_its_libvirtd(gate, guest, bed):
    bed.a.stop_libvirtd("KILL")
    assert gate.connection.EnumerateInstances("KVM_ComputerSystem") == []
    bed.a.start_libvirtd()

    def sees_the_guest():
        return len(gate.connection.EnumerateInstances("KVM_ComputerSystem")) == 1

    assert wait_until(sees_the_guest, harness.PATIENCE)
    assert gate.check("web", "hostb")[0] is True


@pytest.fixture
def daemon_inside(bed, bed_checks, tmp_path, monkeypatch):
    """As it is installed: on the host, with its libvirtd, reaching the other one by name."""
    monkeypatch.setenv("TESTBED_DIR", str(bed.directory))
    config = CONFIG.format(uri="qemu:///system", peer=bed.b.peer_uri("tls"), checks=bed_checks.directory)
    daemon = harness.Daemon(tmp_path, config, command=[TESTBED, "run", "hosta"]).start()
    yield daemon
    assert daemon.stop() == 0, daemon.log()


def test_virtcimctl_inside_a_host(bed, guest, bed_checks, daemon_inside):
    def check():
        command = [str(harness.program("virtcimctl")), "--url", daemon_inside.url, "check", "web", "hostb"]
        return bed.a.run(*command, "--transport", "tls-strict", check=False)

    bed_checks.clear()
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    bed_checks.add("10-bad", "echo not from here; exit 1")
    done = check()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "10-bad" in done.stdout
    assert "not from here" in done.stdout
