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
    DETAILED,
    RESTART,
    describe,
    failed,
    hooked,
    no_autostart,
    not_undefinable,
    preparing,
    succeeded,
    undefinable,
    wait_until_held,
)
from twohosts import network
from twohosts.guest import Spec

# A dead peer is noticed within seconds, not half a minute.
KEEPALIVE = "1 3"

# The JobStatus of a job whose destination was asked in vain.
IN_DOUBT = "Confirming: the destination host can't be asked"


# ---------------------------------------------------------------------- a move


def test_preparing(bed, own_mover, make_guest):
    """No host was changed yet: the job begins again."""
    _, truth = make_guest()
    mover = own_mover(more=DETAILED)
    with preparing(mover, bed.b) as path:
        mover.kill()
    mover.start()
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


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
    """The definition is on its way, also when the next daemon looks: what is missing is done again."""
    guest, truth = make_guest()
    mover = own_mover()
    with undefinable(bed.b, "web"):
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, "Defining")
        wait_until_held(bed.b, "web")
        mover.kill()
        mover.start()
        mover.wait_for_status(path, IN_DOUBT)
        # Nobody asks it to shut down for a destination that may have no definition.
        guest.wait_for_tick(bed.a, guest.ticks(bed.a) + 2)
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
    """The destination is about to start the guest, also when the next daemon looks: nobody else may start it."""
    guest, truth = make_guest()
    mover = own_mover()
    with hooked(bed.b, "prepare") as go_on:
        path = mover.migrate(how=RESTART)
        mover.wait_for_status(path, "Starting")
        wait_until_held(bed.b, "web")
        mover.kill()
        assert guest.state(bed.a) == "shut off"
        mover.start()
        mover.wait_for_status(path, IN_DOUBT)
        assert guest.state(bed.a) == "shut off"
        go_on()
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
