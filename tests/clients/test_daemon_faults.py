"""What goes wrong with the daemon while guests move on two real hosts: it dies, its disk is full, it has much to do.

Each test ends as those of test_faults do: exactly one guest runs, the job says the truth, and nothing is left behind.
"""

import threading

import pytest
import pywbem
from moving import (
    BUSY,
    CANCELLED,
    CHECKING,
    COPYING,
    DONE,
    FAILED,
    OFFLINE,
    QUEUED,
    RESTART,
    SWITCHING,
    Mover,
    describe,
    failed,
    succeeded,
)
from twohosts import network
from twohosts.guest import Spec
from twohosts.host import wait_until

# A dead peer is noticed within seconds, not half a minute.
KEEPALIVE = "1 3"


# ---------------------------------------------------------------------- the daemon dies


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_the_daemon_ends_while_copying(bed, own_mover, make_guest, link, how):
    """libvirt carries on; whoever comes next watches on, to the true end."""
    _, truth = make_guest(BUSY)
    mover = own_mover()
    path = mover.migrate()
    mover.copying(path)
    before = mover.job(path)
    getattr(mover, how)()
    mover.start()
    job = mover.wait_for(path, COPYING, SWITCHING)
    assert job["JobState"] == 4
    assert job["PercentComplete"] >= before["PercentComplete"]
    mover.copying(path)
    network.restore(bed.a, bed.b)
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


def test_an_adopted_job_can_be_aborted(bed, own_mover, make_guest, link):
    _, truth = make_guest(BUSY)
    mover = own_mover()
    path = mover.migrate()
    mover.copying(path)
    mover.kill()
    mover.start()
    mover.wait_for(path, COPYING)
    mover.abort(path)
    assert mover.end_of(path)["MigrationPhase"] == CANCELLED
    truth.at(bed.a)


def test_the_daemon_is_dead_when_the_move_ends(bed, own_mover, make_guest, link):
    guest, truth = make_guest(BUSY)
    mover = own_mover()
    path = mover.migrate()
    mover.copying(path)
    mover.kill()
    network.restore(bed.a, bed.b)
    assert wait_until(lambda: guest.state(bed.b) == "running", 60)
    mover.start()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


def test_the_daemon_dies_in_direct_mode(bed, own_mover, make_guest, link):
    """libvirt cancels a move whose client is dead: the guest stays, and the job says so."""
    _, truth = make_guest(BUSY)
    mover = own_mover(migration='mode = "direct"')
    path = mover.migrate()
    mover.copying(path)
    mover.kill()
    mover.start()
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.at(bed.a)


def test_the_daemon_dies_while_checking(bed, own_mover, make_guest):
    """No host was touched: the job begins again."""
    _, truth = make_guest()
    mover = own_mover()
    wait = mover.directory / "go"
    mover.checks.add("10-wait", f"while [ ! -e {wait} ]; do sleep 0.05; done")
    path = mover.migrate()
    mover.wait_for(path, CHECKING)
    mover.kill()
    mover.start()
    wait.touch()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


def test_the_daemon_dies_while_jobs_wait(bed, own_mover, make_guest, link):
    mover = own_mover(migration="max-outgoing = 1")
    _, first_truth = make_guest(BUSY)
    _, second_truth = make_guest(name="db")
    first = mover.migrate()
    mover.copying(first)
    second = mover.migrate("db")
    mover.wait_for(second, QUEUED)
    mover.kill()
    mover.start()
    mover.wait_for(second, QUEUED)
    network.restore(bed.a, bed.b)
    for path, truth in ((first, first_truth), (second, second_truth)):
        job = mover.end_of(path)
        assert succeeded(job), describe(job)
        truth.at(bed.b)


# ---------------------------------------------------------------------- the disk is full


@pytest.fixture
def small_disk(bed, tmp_path):
    """A directory, as hosta sees it, on a disk of its own."""
    bed.a.run("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path))
    yield tmp_path
    bed.a.run("umount", str(tmp_path))


def test_the_store_is_full(bed, small_disk, make_guest):
    """No job is accepted that could not be remembered; nothing happens to the guest, and it passes."""
    _, truth = make_guest()
    mover = Mover(bed)
    mover.daemon.store = small_disk / "virtcimd.db"
    mover.start()
    try:
        mover.checks.add("10-no", "exit 1")
        bed.a.run("sh", "-c", f"cat /dev/zero >{small_disk}/ballast", check=False)
        refused = use_up(mover)
        assert refused.status_code == pywbem.CIM_ERR_FAILED
        assert "no room left" in refused.status_description
        truth.at(bed.a)
        bed.a.run("rm", f"{small_disk}/ballast")
        mover.checks.clear()
        assert wait_until(lambda: all(job["MigrationPhase"] >= DONE for job in jobs(mover)), 60)
        job = mover.end_of(mover.migrate())
        assert succeeded(job), describe(job)
        truth.at(bed.b)
    finally:
        mover.close()


def test_abort_while_the_store_is_full(bed, small_disk, make_guest, link):
    """Whoever wants a guest to stay gets that, though nobody can write it down."""
    make_guest(name="db")
    _, truth = make_guest(BUSY)
    mover = Mover(bed)
    mover.daemon.store = small_disk / "virtcimd.db"
    mover.start()
    try:
        path = mover.migrate()
        mover.copying(path)
        mover.checks.add("10-no", "exit 1")
        bed.a.run("sh", "-c", f"cat /dev/zero >{small_disk}/ballast", check=False)
        use_up(mover, "db")
        assert mover.abort(path) == 4096
        job = mover.end_of(path)
        assert job["MigrationPhase"] == CANCELLED, describe(job)
        truth.at(bed.a)
        bed.a.run("rm", f"{small_disk}/ballast")
        # The daemon writes it down before it ends.
        mover.stop()
        mover.start()
        assert mover.job(path)["MigrationPhase"] == CANCELLED
    finally:
        mover.close()


def test_what_waits_for_the_store_is_decided_anew(bed, small_disk, make_guest):
    """The guest is off and is to start at the destination. Before that can be written down somebody starts it here."""
    make_guest(name="db")
    guest, truth = make_guest(Spec(deaf=True))
    mover = Mover(bed, shutdown="60s")
    mover.daemon.store = small_disk / "virtcimd.db"
    mover.start()
    try:
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, "Shutting")
        mover.checks.add("10-no", "exit 1")
        bed.a.run("sh", "-c", f"cat /dev/zero >{small_disk}/ballast", check=False)
        use_up(mover, "db")
        bed.a.run("virsh", "destroy", "web")
        # What follows is why it can't be stored.
        mover.wait_for_status(path, "Starting the guest at the destination: ")
        bed.a.run("virsh", "start", "web")
        bed.a.run("rm", f"{small_disk}/ballast")
        job = mover.end_of(path)
        assert failed(job), describe(job)
        assert job["ErrorDescription"].endswith("the guest was started at the source meanwhile")
        truth.settled_at(bed.a)
    finally:
        mover.close()


def use_up(mover, guest="web"):
    """What the database has in reserve on a full disk; how it then refuses a request."""
    for _ in range(300):
        try:
            path = mover.migrate(guest)
        except pywbem.CIMError as error:
            return error
        mover.wait_for(path, CHECKING, FAILED)
    pytest.fail("the database still has room")


def jobs(mover):
    return mover.connection.EnumerateInstances("KVM_MigrationJob")


# ---------------------------------------------------------------------- too many at once


def test_two_requests_for_one_guest(bed, mover, make_guest, link):
    _, truth = make_guest(BUSY)
    outcomes = []

    def ask():
        try:
            outcomes.append(mover.migrate())
        except pywbem.CIMError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = [outcome for outcome in outcomes if isinstance(outcome, pywbem.CIMInstanceName)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, pywbem.CIMError)]
    assert (len(accepted), len(refused)) == (1, 1), outcomes
    network.restore(bed.a, bed.b)
    job = mover.end_of(accepted[0])
    assert succeeded(job), describe(job)
    truth.at(bed.b)


def test_fifty_at_once(bed, own_mover, make_guest):
    """Two at a time, never more, and each arrives."""
    mover = own_mover(migration="max-outgoing = 2")
    wait = mover.directory / "go"
    mover.checks.add("10-wait", f"while [ ! -e {wait} ]; do sleep 0.05; done")
    names = [f"guest{number}" for number in range(50)]
    guests = [bed.guest(name) for name in names]
    try:
        for guest in guests:
            guest.define(bed.a)
        paths = [mover.migrate(name, OFFLINE, PersistAtDestination=True) for name in names]
        most = 0

        def phases():
            nonlocal most
            phases = [job["MigrationPhase"] for job in jobs(mover)]
            most = max(most, sum(QUEUED < phase < DONE for phase in phases))
            return sorted(phases)

        # Nobody gets on as long as the check waits, so all places are taken.
        assert wait_until(lambda: phases() == [QUEUED] * 48 + [CHECKING] * 2, 30), phases()
        wait.touch()
        assert wait_until(lambda: phases() == [DONE] * 50, 120), phases()
        for path in paths:
            job = mover.job(path)
            assert succeeded(job), describe(job)
        assert most == 2
        for guest in guests:
            assert (guest.state(bed.a), guest.state(bed.b)) == ("absent", "shut off")
    finally:
        for guest in guests:
            guest.remove()
