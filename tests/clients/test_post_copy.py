"""A guest that runs at the destination while a part of its memory is still at the source, and a link
that breaks just then. Neither half is the guest; none may be ended, none resumed."""

import pytest
import pywbem
from moving import CONFIRMING, SWITCHING, describe, failed, succeeded
from twohosts import network
from twohosts.guest import Spec
from twohosts.host import wait_until

# A dead peer is noticed within seconds, not half a minute.
KEEPALIVE = "1 3"

# TimeoutAction.
POST_COPY = pywbem.Uint16(3)


def reason(host):
    """The guest's state there and why, in libvirt's words."""
    return host.run("virsh", "-q", "domstate", "--reason", "web", check=False).stdout.strip()


@pytest.fixture
def half(bed, own_mover, make_guest):
    """A guest half of which is at hostb, a cut link, and the job that knows it."""
    guest, truth = make_guest(Spec(memory=64, busy=2, keep=24))
    mover = own_mover()
    path = mover.migrate(
        PostCopy=True,
        Bandwidth=pywbem.Uint64(2),
        MigrationTimeout=pywbem.Uint32(2),
        TimeoutAction=POST_COPY,
    )
    mover.wait_for(path, SWITCHING)
    assert wait_until(lambda: reason(bed.b) == "running (post-copy)", 60), reason(bed.b)
    network.blackhole(bed.a, bed.b)
    broken(mover, path)
    return mover, path, truth


def broken(mover, path):
    """Waits until the job says so."""
    job = mover.wait_for(path, CONFIRMING)
    assert wait_until(lambda: "post-copy broke off" in mover.job(path)["JobStatus"], 60), describe(job)


def is_half(bed, mover, path):
    job = mover.job(path)
    assert (job["JobState"], job["OperationalStatus"]) == (4, [3]), describe(job)
    assert reason(bed.a) == "paused (post-copy failed)"
    assert reason(bed.b).startswith("running (post-copy")


def test_it_is_brought_together(bed, half):
    """By itself, as soon as the link is back, although the daemon has died meanwhile."""
    mover, path, truth = half
    is_half(bed, mover, path)
    status = mover.job(path)["JobStatus"]
    assert "virsh domjobabort web --postcopy; virsh migrate web qemu+tcp://hostb/system" in status
    # Nobody can have it stay where it is not.
    assert mover.abort(path) == 4097
    mover.kill()
    mover.start()
    broken(mover, path)
    is_half(bed, mover, path)
    network.restore(bed.a, bed.b)
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


def test_a_move_that_was_found_again_is_brought_together(bed, own_mover, make_guest):
    """The daemon that sees the link break is not the one that asked for the move."""
    _, truth = make_guest(Spec(memory=64, busy=2, keep=32))
    mover = own_mover()
    path = mover.migrate(
        PostCopy=True,
        Bandwidth=pywbem.Uint64(2),
        MigrationTimeout=pywbem.Uint32(2),
        TimeoutAction=POST_COPY,
    )
    mover.wait_for(path, SWITCHING)
    mover.kill()
    mover.start()
    mover.wait_for(path, SWITCHING)
    network.blackhole(bed.a, bed.b)
    broken(mover, path)
    is_half(bed, mover, path)
    network.restore(bed.a, bed.b)
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


def test_the_job_is_ended_by_force(bed, half):
    """Both halves are left as they are; whoever did that can do by hand what the job would have done."""
    mover, path, truth = half
    mover.abort(path, state=5)
    job = mover.end_of(path)
    assert failed(job), describe(job)
    assert "ended on request while waiting: post-copy broke off" in job["ErrorDescription"]
    assert reason(bed.a) == "paused (post-copy failed)"
    assert reason(bed.b).startswith("running (post-copy")
    network.restore(bed.a, bed.b)
    bed.a.run("virsh", "domjobabort", "web", "--postcopy", check=False)
    resume = "virsh migrate web qemu+tcp://hostb/system --live --p2p --postcopy --postcopy-resume".split()
    keep = ["--persistent", "--undefinesource"]
    # libvirt needs a moment to see that it is broken.
    assert wait_until(lambda: bed.a.run(*resume, *keep, check=False).returncode == 0, 60)
    truth.at(bed.b)
