"""Real guests that move between two real hosts, followed as clients follow them."""

import json
import time

import harness
import pytest
import pywbem
from twohosts.guest import Spec
from twohosts.host import wait_until

TESTBED = harness.REPOSITORY / "tests" / "testbed" / "testbed"

# How long a small guest may take on a busy machine.
PATIENCE = 120

CONFIG = """
[[hypervisor]]
uri = "{uri}"
prefix = "KVM"

[auth]
mode = "none"

[checks]
directory = "{checks}"

[migration]
mode = "{mode}"

[migration.destinations.hostb]
uri = "{peer}"
"""


@pytest.fixture(scope="module")
def bed_checks(tmp_path_factory):
    return harness.Checks(tmp_path_factory.mktemp("bed") / "checks")


@pytest.fixture
def outside(bed, bed_checks, tmp_path):
    """A daemon beside the hosts, which carries the migrations itself."""
    bed_checks.clear()
    config = CONFIG.format(uri=bed.a.uri(), peer=bed.b.uri(), mode="direct", checks=bed_checks.directory)
    daemon = harness.Daemon(tmp_path, config).start()
    yield daemon
    assert daemon.stop() == 0, daemon.log()


@pytest.fixture
def inside(bed, bed_checks, tmp_path, monkeypatch):
    """As it is installed: on the host, whose libvirtd carries the migrations."""
    bed_checks.clear()
    monkeypatch.setenv("TESTBED_DIR", str(bed.directory))
    peer = bed.b.peer_uri("tcp")
    config = CONFIG.format(uri="qemu:///system", peer=peer, mode="peer-to-peer", checks=bed_checks.directory)
    daemon = harness.Daemon(tmp_path, config, command=[TESTBED, "run", "hosta"]).start()
    yield daemon
    assert daemon.stop() == 0, daemon.log()


@pytest.fixture
def guest(bed):
    guest = bed.guest("web")
    yield guest
    guest.remove()


def follow(connection, job):
    """As cimtest does: looks for the job by its InstanceID every now and then, and knows two states."""
    percents = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        jobs = connection.EnumerateInstances("KVM_MigrationJob")
        (found,) = [it for it in jobs if it["InstanceID"] == job["InstanceID"]]
        percents.append(found["PercentComplete"])
        assert percents == sorted(percents)
        if found["JobState"] == 7:
            return found
        assert found["JobState"] == 4, found.tomof()
        assert found["PercentComplete"] <= 99
        time.sleep(0.2)
    raise AssertionError(f"the job did not end: {found.tomof()}")


@pytest.mark.parametrize("kind", [1, 2, 3, 4], ids=["offline", "live", "resume", "restart"])
def test_a_guest_moves(bed, outside, guest, kind):
    guest.define(bed.a)
    if kind != 1:
        guest.start(bed.a)
        guest.wait_for_tick(bed.a, 3)
    gate = harness.Gate(outside.connect())
    assert gate.check("web", "hostb", gate.settings(MigrationType=pywbem.Uint16(kind))) == (True, [])
    job = follow(gate.connection, gate.migrate("web", "hostb", MigrationType=pywbem.Uint16(kind)))
    assert (job["Status"], job["ErrorCode"]) == ("Completed", 0), job.tomof() + outside.log()
    assert job["OperationalStatus"] == [17, 2]
    assert guest.state(bed.a) == "absent"
    assert guest.state(bed.b) == ("shut off" if kind == 1 else "running")
    assert guest.is_persistent(bed.b)
    if kind in (2, 3):
        guest.wait_for_tick(bed.b, 5)
        assert guest.account().whole, guest.account()
        assert job["DataProcessed"] > 0
        assert job["Downtime"] is not None


def test_an_abort_leaves_the_guest_where_it_was(bed, outside, guest):
    guest.define(bed.a, Spec(memory=96, keep=64))
    guest.start(bed.a)
    guest.wait_for_tick(bed.a, 3)
    gate = harness.Gate(outside.connect())
    job = gate.migrate("web", "hostb", Bandwidth=pywbem.Uint64(1))

    def shows(property_name, value):
        return wait_until(lambda: gate.connection.GetInstance(job)[property_name] == value, PATIENCE)

    assert shows("MigrationPhase", 4)
    guest_path = gate.guest("web")
    assert gate.connection.GetInstance(guest_path)["OperatingStatus"] == 9
    (service,) = gate.connection.Associators(job, AssocClass="CIM_OwningJobElement")
    assert service.classname == "KVM_VirtualSystemMigrationService"
    (affected,) = gate.connection.Associators(job, AssocClass="CIM_AffectedJobElement")
    assert affected["Name"] == "web"
    code, _ = gate.connection.InvokeMethod("RequestStateChange", job, RequestedState=pywbem.Uint16(4))
    assert code in (0, 4096)
    assert shows("JobState", 8)
    assert guest.state(bed.a) == "running"
    assert guest.state(bed.b) == "absent"
    gate.connection.DeleteInstance(job)
    records = gate.connection.EnumerateInstances("Virtcimd_MigrationJobRecord")
    assert job["InstanceID"] in [record["InstanceID"] for record in records]


def test_a_check_ends_the_job_before_the_guest_moves(bed, outside, guest, bed_checks):
    guest.define(bed.a)
    guest.start(bed.a)
    bed_checks.add("10-bad", '[ "$VIRTCIMD_PHASE" = check ] || { echo changed my mind; exit 1; }')
    gate = harness.Gate(outside.connect())
    assert gate.check("web", "hostb") == (True, [])
    job = follow(gate.connection, gate.migrate("web", "hostb"))
    assert job["Status"] == "Migration check `10-bad' failed: changed my mind"
    assert (job["ErrorCode"], job["OperationalStatus"]) == (1, [17, 6])
    _, out = gate.connection.InvokeMethod("GetErrors", job.path)
    assert [error["MessageID"] for error in out["Errors"]] == ["VMX001"]
    assert guest.state(bed.a) == "running"


def test_virtcimctl_does_the_same(bed, inside, guest):
    def ctl(*arguments, json_lines=False):
        url = ["--url", inside.url, *(["--json"] if json_lines else [])]
        return bed.a.run(str(harness.program("virtcimctl")), *url, *arguments, check=False)

    guest.define(bed.a)
    guest.start(bed.a)
    guest.wait_for_tick(bed.a, 3)
    done = ctl("migrate", "nobody", "hostb")
    assert done.returncode == 1, done.stdout + done.stderr
    done = ctl("migrate", "web", "nowhere.invalid", "--transport", "tcp")
    assert done.returncode == 1
    assert "Failed to connect to remote host (" in done.stderr

    done = ctl("--json", "migrate", "web", "hostb", "--detach", "--bandwidth", "1", "--migration-timeout", "90")
    assert done.returncode == 0, done.stdout + done.stderr
    job = json.loads(done.stdout)["job"]
    aborted = ctl("abort", job[:8])
    assert aborted.returncode == 0, aborted.stdout + aborted.stderr
    assert guest.state(bed.a) == "running"

    done = ctl("migrate", "web", "hostb")
    assert done.returncode == 0, done.stdout + done.stderr + inside.log()
    assert "Migration completed" in done.stdout
    assert guest.state(bed.a) == "absent"
    assert guest.state(bed.b) == "running"
    guest.wait_for_tick(bed.b, 5)
    assert guest.account().whole, guest.account()
    listed = [json.loads(line) for line in ctl("--json", "jobs", "--all").stdout.splitlines()][0]
    assert {record["state"] for record in listed} == {7, 8}
    assert "web to hostb, live" in ctl("jobs").stdout
    unreachable = bed.a.run(
        str(harness.program("virtcimctl")), "--url", "http://127.0.0.1:1", "jobs", check=False
    )
    assert unreachable.returncode == 3
