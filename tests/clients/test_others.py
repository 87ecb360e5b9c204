"""Others act on the guest, too, on two real hosts: what they do is neither ours nor undone."""

import subprocess

from moving import BUSY, CANCELLED, STARTED, describe, failed
from twohosts import network
from twohosts.host import wait_until


def test_another_migration_is_not_taken_for_ours(bed, own_mover, make_guest, link):
    """Ours was cancelled while the daemon was dead, and somebody began another one to the same host."""
    guest, truth = make_guest(BUSY)
    mover = own_mover()
    path = mover.migrate()
    mover.copying(path)
    mover.kill()
    bed.a.run("virsh", "domjobabort", "web")
    assert wait_until(lambda: guest.state(bed.b) == "absent", 30)
    # By the second it is told apart when a migration began.
    guest.wait_for_tick(bed.a, guest.ticks(bed.a) + 2)
    by_hand = ["virsh", "migrate", "web", "qemu+tcp://hostb/system", "--live", "--p2p", "--persistent", "--undefinesource"]
    with subprocess.Popen(bed.a.enter(*by_hand), env=bed.a.environment()) as other:
        # A guest on its way in.
        assert wait_until(lambda: guest.state(bed.b) == "paused", 30)
        mover.start()
        job = mover.end_of(path)
        assert failed(job), describe(job)
        assert "another migration moves the guest" in job["ErrorDescription"]
        network.restore(bed.a, bed.b)
        assert other.wait(120) == 0
    truth.at(bed.b)


def test_a_definition_that_was_there_stays(bed, mover, make_guest, link):
    guest, truth = make_guest(BUSY)
    older = bed.directory / "shared" / "older.xml"
    older.write_text(guest.xml(BUSY))
    bed.b.run("virsh", "define", str(older))
    path = mover.migrate()
    mover.copying(path)
    assert mover.abort(path) == STARTED
    job = mover.end_of(path)
    assert job["MigrationPhase"] == CANCELLED, describe(job)
    assert (guest.state(bed.b), guest.is_persistent(bed.b)) == ("shut off", True)
    bed.b.run("virsh", "undefine", "web")
    truth.at(bed.a)
