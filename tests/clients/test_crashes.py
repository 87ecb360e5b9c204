"""The daemon is killed in each phase of a job, on two real hosts.

Where a phase lasts only milliseconds it is held: a libvirt is made to hang in the very call that the
phase waits for. What a client sees of a job is stored before it is shown, so a phase that shows is what
the next daemon finds. Queued, checking and copying are in test_faults.py.
"""

import pywbem
from moving import (
    BUSY,
    CLEANING_UP,
    CONFIRMING,
    RESTART,
    SWITCHING,
    describe,
    failed,
    frozen,
    hooked,
    no_autostart,
    not_undefinable,
    succeeded,
    undefinable,
)
from twohosts import network
from twohosts.guest import Spec
from twohosts.host import wait_until

# A dead peer is noticed within seconds, not half a minute.
KEEPALIVE = "1 3"


# ---------------------------------------------------------------------- a move


def test_switching(bed, own_mover, make_guest):
    """All the memory is over, and the source does not know it yet."""
    _, truth = make_guest(Spec(memory=64, keep=16))
    mover = own_mover()
    path = mover.migrate(Bandwidth=pywbem.Uint64(2))
    mover.copying(path)
    # Late, for libvirt breaks with a host that stands still for some seconds.
    assert wait_until(lambda: mover.job(path)["DataProcessed"] > 14_000_000, 60)
    with frozen(bed.b):
        mover.wait_for(path, SWITCHING)
        mover.kill()
    mover.start()
    job = mover.end_of(path)
    truth.at(bed.b if succeeded(job) else bed.a)
    assert succeeded(job) or failed(job), describe(job)


def test_confirming(bed, own_mover, make_guest, link):
    """The move has failed and the destination can't be asked what it has of the guest."""
    guest, truth = make_guest(BUSY)
    mover = own_mover()
    path = mover.migrate()
    mover.copying(path)
    network.blackhole(bed.a, bed.b)
    mover.wait_for(path, CONFIRMING)
    mover.kill()
    mover.start()
    mover.wait_for(path, CONFIRMING)
    guest.wait_for_tick(bed.a, guest.ticks(bed.a) + 2)
    network.restore(bed.a, bed.b)
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.at(bed.a)


def test_cleaning_up(bed, own_mover, make_guest):
    """The guest has arrived; that it starts with its new host is still to be arranged."""
    _, truth = make_guest()
    bed.a.run("virsh", "autostart", "web")
    mover = own_mover()
    with no_autostart(bed.b, "web"):
        path = mover.migrate()
        mover.wait_for(path, CLEANING_UP)
        mover.kill()
    mover.start()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)
    assert "Autostart:      enable" in bed.b.run("virsh", "dominfo", "web").stdout


# ---------------------------------------------------------------------- a restart


def test_restart_defining(bed, own_mover, make_guest):
    """The definition is on its way: what is missing is done again."""
    _, truth = make_guest()
    mover = own_mover()
    with undefinable(bed.b, "web"):
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, "Defining")
        mover.kill()
    mover.start()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.settled_at(bed.b)


def test_restart_shutting_down(bed, own_mover, make_guest):
    """The guest obeys, and nobody is there to see it: it is started at the destination."""
    _, truth = make_guest(Spec(deaf=True))
    mover = own_mover()
    path = mover.migrate(how=RESTART)
    mover.wait_for_status(path, "Shutting")
    mover.kill()
    bed.a.run("virsh", "destroy", "web")
    mover.start()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.settled_at(bed.b)


def test_restart_shutting_down_in_vain(bed, own_mover, make_guest):
    _, truth = make_guest(Spec(deaf=True))
    mover = own_mover()
    path = mover.migrate(how=RESTART)
    mover.wait_for_status(path, "Shutting")
    mover.kill()
    mover.start()
    job = mover.end_of(path)
    assert failed(job), describe(job)
    truth.at(bed.a)


def test_restart_starting(bed, own_mover, make_guest):
    """The destination is about to start the guest: it must not be started anywhere else."""
    guest, truth = make_guest()
    mover = own_mover()
    with hooked(bed.b, "prepare"):
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, "Starting")
        mover.kill()
        assert guest.state(bed.a) == "shut off"
    mover.start()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.settled_at(bed.b)


def test_restart_cleaning_up(bed, own_mover, make_guest):
    """The guest runs at the destination; the source still has its definition."""
    _, truth = make_guest()
    mover = own_mover()
    with not_undefinable(bed.a, "web"):
        path = mover.migrate(how=RESTART)
        mover.wait_for(path, CLEANING_UP)
        mover.kill()
    mover.start()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.settled_at(bed.b)
