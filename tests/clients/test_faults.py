"""What goes wrong while a guest moves, on two real hosts.

Each test ends the same way: exactly one guest runs and exactly one definition is there, the guest never
ran twice nor lost memory, the job says the truth, and nothing is left behind.
"""

import pytest
import pywbem
from moving import (
    BUSY,
    CANCELLED,
    CHECKING,
    CONFIRMING,
    COPYING,
    QUEUED,
    RESTART,
    SWITCHING,
    describe,
    failed,
    frozen,
)
from twohosts import network
from twohosts.guest import Spec, guest_uuid
from twohosts.host import wait_until

# A dead peer is noticed within seconds, not half a minute.
KEEPALIVE = "1 3"


# ---------------------------------------------------------------------- a destination that does not want it


def test_the_name_is_taken_there(bed, mover, make_guest):
    guest, truth = make_guest()
    other = bed.directory / "shared" / "other.xml"
    other.write_text(guest.xml().replace(guest_uuid("web"), "99999999-9999-4999-8999-999999999999"))
    bed.b.run("virsh", "define", str(other))
    job = mover.end_of(mover.migrate())
    assert failed(job), describe(job)
    assert "web" in job["ErrorDescription"]
    bed.b.run("virsh", "undefine", "web")
    truth.at(bed.a)


def test_libvirt_itself_refuses_there(bed, own_mover, make_guest):
    """What the gate does not look at, because it was told not to: the disk is not there."""
    mover = own_mover(builtin='VMC005 = "off"\nVMC006 = "off"')
    _, truth = make_guest(Spec(disk="local"))
    job = mover.end_of(mover.migrate())
    assert failed(job), describe(job)
    assert job["Status"].startswith("Migration Failed")
    truth.at(bed.a)


def test_a_check_refuses_when_it_begins(bed, mover, make_guest):
    """The answer ages: the check is asked again, in the phase `migrate`."""
    _, truth = make_guest()
    mover.checks.add("10-phase", '[ "$VIRTCIMD_PHASE" = check ] || { echo "not now"; exit 1; }')
    assert mover.gate().check("web", "hostb", mover.gate().settings())[0] is True
    path = mover.migrate()
    job = mover.end_of(path)
    assert failed(job), describe(job)
    assert job["Status"] == "Migration check `10-phase' failed: not now"
    _, out = mover.connection.InvokeMethod("GetErrors", path)
    assert [error["MessageID"] for error in out["Errors"]] == ["VMX001"]
    truth.at(bed.a)


# ---------------------------------------------------------------------- hosts, links and emulators that fail


def test_the_link_is_cut_for_good(bed, mover, make_guest, link):
    _, truth = make_guest(BUSY)
    path = mover.migrate()
    mover.copying(path)
    network.blackhole(bed.a, bed.b)
    # The source gives up by itself; where the guest is shows when the destination can be asked again.
    assert wait_until(lambda: mover.job(path)["MigrationPhase"] > COPYING, 60)
    truth.guest.wait_for_tick(bed.a, truth.guest.ticks(bed.a) + 2)
    network.restore(bed.a, bed.b)
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.at(bed.a)


def test_the_link_is_cut_at_the_switch_over(bed, own_mover, make_guest):
    """The destination runs the guest and can't say so until both hosts have given each other up.

    Then the source's libvirt lets its half go on, too: it knows of this case and has no means against it
    but a lock manager. No job can keep it from doing so, but it says so, and touches neither half.
    """
    guest, truth = make_guest(Spec(memory=64, keep=16))
    # Long enough for both to be seen twice.
    mover = own_mover(migration='patience = "5s"')
    path = mover.migrate(Bandwidth=pywbem.Uint64(2))
    mover.copying(path)
    # Late, for libvirt breaks with a host that stands still for some seconds.
    assert wait_until(lambda: mover.job(path)["DataProcessed"] > 14_000_000, 60)
    with frozen(bed.b):
        mover.wait_for(path, SWITCHING)
        network.blackhole(bed.a, bed.b)
    mover.wait_for(path, CONFIRMING)
    assert wait_until(lambda: guest.state(bed.a) == guest.state(bed.b) == "running", 30), truth.describe()
    network.restore(bed.a, bed.b)
    job = mover.end_of(path)
    assert failed(job), describe(job)
    assert "both hosts run the guest" in job["ErrorDescription"]
    for host in bed.hosts:
        assert guest.state(host) == "running"
        guest.wait_for_tick(host, guest.ticks(host) + 2)


def restart_libvirtd(host):
    host.stop_libvirtd("KILL")
    host.start_libvirtd()


BREAKS = {
    "libvirtd of the destination": lambda bed, guest: restart_libvirtd(bed.b),
    "libvirtd of the source": lambda bed, guest: restart_libvirtd(bed.a),
    "qemu of the destination": lambda bed, guest: guest.kill_qemu(bed.b),
}


@pytest.mark.parametrize("break_it", BREAKS.values(), ids=BREAKS)
def test_a_daemon_is_killed(bed, mover, make_guest, link, break_it):
    guest, truth = make_guest(BUSY)
    path = mover.migrate()
    mover.copying(path)
    break_it(bed, guest)
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.at(bed.a)


def test_the_sources_qemu_is_killed(bed, mover, make_guest, link):
    """The guest has crashed. That is not undone, but its definition stays where it was."""
    guest, truth = make_guest(BUSY)
    path = mover.migrate()
    mover.copying(path)
    guest.kill_qemu(bed.a)
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.ended_at_a()


def test_the_guest_shuts_itself_down(bed, mover, make_guest, link):
    _, truth = make_guest(Spec(memory=64, busy=16, keep=4, stop=8))
    path = mover.migrate()
    mover.copying(path)
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.ended_at_a()


# ---------------------------------------------------------------------- somebody changes his mind


def test_abort_while_queued(bed, own_mover, make_guest, link):
    mover = own_mover(migration="max-outgoing = 1")
    _, first_truth = make_guest(BUSY)
    _, second_truth = make_guest(name="db")
    first = mover.migrate()
    mover.copying(first)
    second = mover.migrate("db")
    job = mover.wait_for(second, QUEUED)
    assert job["JobState"] == 4
    assert job["JobStatus"].startswith("Queued: ")
    assert mover.abort(second) in (0, 4096)
    assert mover.end_of(second)["MigrationPhase"] == CANCELLED
    mover.abort(first)
    assert mover.end_of(first)["MigrationPhase"] == CANCELLED
    first_truth.at(bed.a)
    second_truth.at(bed.a)


def test_abort_while_checking(bed, mover, make_guest):
    _, truth = make_guest()
    mover.checks.add("10-long", '[ "$VIRTCIMD_PHASE" = check ] || exec sleep 3597')
    path = mover.migrate()
    mover.wait_for(path, CHECKING)
    mover.abort(path)
    assert mover.end_of(path)["MigrationPhase"] == CANCELLED
    assert wait_until(lambda: bed.a.run("pgrep", "-f", "^sleep 3597", check=False).returncode == 1, 20)
    truth.at(bed.a)


@pytest.mark.parametrize("state", [4, 5], ids=["terminate", "kill"])
def test_abort_while_copying(bed, mover, make_guest, link, state):
    _, truth = make_guest(BUSY)
    path = mover.migrate()
    mover.copying(path)
    mover.abort(path, state)
    job = mover.end_of(path)
    assert job["MigrationPhase"] == CANCELLED, describe(job)
    assert job["JobState"] == 8
    truth.at(bed.a)


# ---------------------------------------------------------------------- restart


def test_a_guest_that_does_not_obey_the_power_button(bed, mover, make_guest):
    guest, truth = make_guest(Spec(deaf=True))
    job = mover.end_of(mover.migrate(how=RESTART))
    assert failed(job), describe(job)
    truth.at(bed.a)


# Long for a guest that obeys some seconds after the job has given up.
LATE = "60s"


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "transient"])
def test_a_guest_that_obeys_late_comes_back(bed, own_mover, make_guest, persistent):
    """The request to shut down can't be taken back; what it does after the failure is ours to mend."""
    mover = own_mover(late=LATE)
    guest, truth = make_guest(Spec(late=10))
    if not persistent:
        bed.a.run("virsh", "undefine", "web")
    path = mover.migrate(how=RESTART, PersistAtDestination=True)
    mover.wait_for_status(path, "Confirming: the guest has not shut down when asked to")
    assert guest.state(bed.b) == "absent"
    job = mover.end_of(path)
    assert failed(job), describe(job)
    assert job["ErrorDescription"].endswith("the guest shut down late and was started again")
    truth.is_back(persistent)


def test_a_guest_that_obeys_a_dead_daemon_comes_back(bed, own_mover, make_guest):
    mover = own_mover(late=LATE)
    guest, truth = make_guest(Spec(late=10))
    path = mover.migrate(how=RESTART)
    mover.wait_for_status(path, "Confirming: the guest has not shut down when asked to")
    mover.kill()
    assert wait_until(lambda: guest.state(bed.a) == "shut off", 30)
    mover.start()
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.is_back()


def test_a_guest_that_is_ended_late_stays_off(bed, own_mover, make_guest):
    """Whoever pulls the plug has the last word."""
    mover = own_mover(late=LATE)
    guest, _ = make_guest(Spec(deaf=True))
    path = mover.migrate(how=RESTART)
    mover.wait_for_status(path, "Confirming: the guest has not shut down when asked to")
    bed.a.run("virsh", "destroy", "web")
    job = mover.end_of(path)
    assert failed(job), describe(job)
    assert "not by its own shutdown" in job["ErrorDescription"]
    assert guest.state(bed.a) == "shut off"
    assert guest.is_persistent(bed.a)
    assert guest.state(bed.b) == "absent"


def test_a_guest_that_can_not_start_there_comes_back(bed, own_mover, make_guest):
    mover = own_mover(builtin='VMC005 = "off"\nVMC006 = "off"')
    _, truth = make_guest(Spec(disk="local"))
    job = mover.end_of(mover.migrate(how=RESTART))
    assert failed(job), describe(job)
    truth.settled_at(bed.a)


def test_a_refusal_leaves_no_job(bed, mover, make_guest):
    _, truth = make_guest()
    before = len(mover.connection.EnumerateInstanceNames("KVM_MigrationJob"))
    for wrong in ({"destination": "host/b?command=x"}, {"guest": "nobody"}, {"MaxDowntime": pywbem.Uint64(2**63)}):
        with pytest.raises(pywbem.CIMError):
            mover.migrate(**wrong)
    assert len(mover.connection.EnumerateInstanceNames("KVM_MigrationJob")) == before
    truth.at(bed.a)
