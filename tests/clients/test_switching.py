"""The last moment of a move, on two real hosts: the guest stands still, all its memory is over, and the
destination does not say so.

The destination's libvirt is made to stand still then. The hosts are patient with each other here, so that
this does not end the move.
"""

import contextlib

import pytest
import pywbem
from moving import CANCELLED, SWITCHING, describe, frozen, succeeded
from twohosts import network
from twohosts.guest import Spec
from twohosts.host import wait_until

KEEPALIVE = "5 5"


@contextlib.contextmanager
def switching(bed, mover):
    """A job that stays where it is in the midst of the switch-over."""
    path = mover.migrate(Bandwidth=pywbem.Uint64(2))
    mover.copying(path)
    # Late, for the copying goes on without the destination's libvirt, but not its beginning.
    assert wait_until(lambda: mover.job(path)["DataProcessed"] > 14_000_000, 60)
    with frozen(bed.b):
        mover.wait_for(path, SWITCHING)
        yield path


# Most of it is sent once, and takes some seconds.
SPEC = Spec(memory=64, keep=16)


def test_the_daemon_is_killed(bed, own_mover, make_guest):
    """The next one finds the guest standing still at the source, and leaves it at that."""
    guest, truth = make_guest(SPEC)
    mover = own_mover()
    with switching(bed, mover) as path:
        mover.kill()
        mover.start()
        assert mover.job(path)["MigrationPhase"] == SWITCHING
        assert guest.state(bed.a) == "paused"
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


@pytest.mark.parametrize("state", [4, 5], ids=["terminate", "kill"])
def test_an_abort(bed, mover, make_guest, state):
    """It may come too late for libvirt; then it says so."""
    _, truth = make_guest(SPEC)
    with switching(bed, mover) as path:
        assert mover.abort(path, state) == 4096
    job = mover.end_of(path)
    assert succeeded(job) or job["MigrationPhase"] == CANCELLED, describe(job)
    truth.at(bed.b if succeeded(job) else bed.a)


def test_the_link_is_dead_for_a_while(bed, mover, make_guest):
    guest, truth = make_guest(SPEC)
    with switching(bed, mover) as path:
        network.blackhole(bed.a, bed.b)
        assert guest.state(bed.a) == "paused"
    # The destination has been told to go on, and says so to nobody.
    assert wait_until(lambda: guest.state(bed.b) == "running", 20)
    assert guest.state(bed.a) == "paused"
    network.restore(bed.a, bed.b)
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)
