"""Somebody wants a guest to stay, in each phase of its job, on two real hosts.

Queued, checking and copying are in test_faults.py, switching is in test_switching.py, and a host that
does not come to an end with what it does is in test_hanging.py.
"""

from moving import (
    BUSY,
    CANCELLED,
    CLEANING_UP,
    CONFIRMING,
    DETAILED,
    INVALID_TRANSITION,
    KILL,
    RESTART,
    STARTED,
    describe,
    failed,
    hooked,
    no_autostart,
    preparing,
    succeeded,
    undefinable,
    wait_until_held,
)
from twohosts import network
from twohosts.guest import Spec
from twohosts.host import wait_until

# A dead peer is noticed within seconds, not half a minute.
KEEPALIVE = "1 3"


def is_cancelled(job):
    return (job["MigrationPhase"], job["JobState"]) == (CANCELLED, 8)


def test_preparing(bed, own_mover, make_guest):
    """Nothing is changed yet, so nobody waits for the host that does not answer."""
    _, truth = make_guest()
    mover = own_mover(more=DETAILED)
    with preparing(mover, bed.b) as path:
        assert mover.abort(path) == STARTED
        job = mover.end_of(path)
        assert is_cancelled(job), describe(job)
    truth.at(bed.a)


def test_restart_defining(bed, mover, make_guest):
    """What has begun is waited for, and undone."""
    guest, truth = make_guest()
    with undefinable(bed.b, "web"):
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, "Defining")
        wait_until_held(bed.b, "web")
        assert mover.abort(path) == STARTED
        guest.wait_for_tick(bed.a, guest.ticks(bed.a) + 2)
    job = mover.end_of(path)
    assert is_cancelled(job), describe(job)
    truth.at(bed.a)


def test_restart_shutting_down(bed, mover, make_guest):
    """The guest does not obey: it stays."""
    _, truth = make_guest(Spec(deaf=True))
    path = mover.migrate(how=RESTART)
    mover.wait_for_status(path, "Shutting")
    assert mover.abort(path) == STARTED
    job = mover.end_of(path)
    assert is_cancelled(job), describe(job)
    truth.at(bed.a)


def test_restart_starting(bed, mover, make_guest):
    """Too late, and said so: the destination may have started the guest."""
    _, truth = make_guest()
    with hooked(bed.b, "prepare") as go_on:
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, "Starting")
        wait_until_held(bed.b, "web")
        assert mover.abort(path) == INVALID_TRANSITION
        go_on()
        job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.settled_at(bed.b)


def test_confirming(bed, mover, make_guest, link):
    """Only the kill ends a job that waits for a host, and it touches nothing."""
    guest, truth = make_guest(BUSY)
    path = mover.migrate()
    mover.copying(path)
    network.blackhole(bed.a, bed.b)
    mover.wait_for_status(path, "Confirming: ")
    assert mover.abort(path) == INVALID_TRANSITION
    assert mover.abort(path, KILL) == STARTED
    job = mover.end_of(path)
    assert failed(job), describe(job)
    assert job["ErrorDescription"].startswith("ended on request while waiting: ")
    network.restore(bed.a, bed.b)
    # libvirt itself gives up what has arrived of it.
    assert wait_until(lambda: guest.state(bed.b) == "absent", 60)
    truth.at(bed.a)


def test_cleaning_up(bed, mover, make_guest):
    """The guest is there already."""
    _, truth = make_guest()
    bed.a.run("virsh", "autostart", "web")
    with no_autostart(bed.b, "web"):
        path = mover.migrate()
        mover.wait_for(path, CLEANING_UP)
        assert mover.abort(path) == INVALID_TRANSITION
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)
