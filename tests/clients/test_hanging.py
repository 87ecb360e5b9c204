"""A host that answers and does not come to an end with what it was told to do, on two real hosts.

Nothing is done a second time while the first may still happen. Whoever looks at the job sees why it
waits, and may end it.
"""

from moving import (
    CANCELLED,
    COPYING,
    INVALID_TRANSITION,
    KILL,
    RESTART,
    STARTED,
    describe,
    failed,
    hooked,
    succeeded,
    wait_until_held,
)
from twohosts.host import wait_until

PATIENCE = 'patience = "1s"'
OVERDUE = "a host has not come to an end with what it was told to do"


def test_it_is_waited_for(bed, own_mover, make_guest):
    _, truth = make_guest()
    mover = own_mover(migration=PATIENCE)
    with hooked(bed.b, "prepare") as go_on:
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, f"Starting the guest at the destination: {OVERDUE}")
        wait_until_held(bed.b, "web")
        assert list(mover.job(path)["OperationalStatus"]) == [3]
        assert mover.abort(path) == INVALID_TRANSITION
        go_on()
        job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.settled_at(bed.b)


def test_the_kill_leaves_it(bed, own_mover, make_guest):
    """What was begun goes on: the guest starts once, and nobody is there any more to tidy up."""
    guest, _ = make_guest()
    mover = own_mover(migration=PATIENCE)
    with hooked(bed.b, "prepare") as go_on:
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, f"Starting the guest at the destination: {OVERDUE}")
        assert mover.abort(path, KILL) == STARTED
        job = mover.end_of(path)
        assert failed(job), describe(job)
        assert job["ErrorDescription"].startswith(f"ended on request while waiting: {OVERDUE}")
        go_on()
        assert wait_until(lambda: guest.state(bed.b) == "running", 60)
    assert (guest.state(bed.a), guest.is_persistent(bed.a)) == ("shut off", True)
    assert (guest.starts(bed.a), guest.starts(bed.b)) == (1, 1)


def test_a_cancelled_move_does_not_end(bed, own_mover, make_guest):
    """The destination's libvirt is still about to receive the guest, and the source's waits for it."""
    _, truth = make_guest()
    mover = own_mover(migration=PATIENCE)
    with hooked(bed.b, "prepare") as go_on:
        path = mover.migrate()
        mover.wait_for(path, COPYING)
        assert mover.abort(path) == STARTED
        mover.wait_for_status(path, f"Copying: asked to stop: {OVERDUE}")
        go_on()
        job = mover.end_of(path)
    assert job["MigrationPhase"] == CANCELLED, describe(job)
    truth.at(bed.a)
