"""Time that passes without progress, and clocks that jump, while guests move between two real hosts.

The hosts have libvirt's own patience here: a link may be dead for some seconds.
"""

import re
from datetime import UTC, datetime, timedelta

import pytest
import pywbem
from moving import CANCELLED, COPYING, QUEUED, Mover, describe, succeeded
from twohosts import network
from twohosts.guest import Spec
from twohosts.host import wait_until

# Moves at 2 MiB/s for a quarter of a minute.
SLOW = Spec(memory=64, keep=32)
MIB_PER_SECOND = pywbem.Uint64(2)


# ---------------------------------------------------------------------- a link that is dead for a while


def domjobinfo(host):
    """Milliseconds and bytes of libvirt's own report."""
    text = host.run("virsh", "domjobinfo", "web", check=False).stdout
    elapsed = re.search(r"Time elapsed: +(\d+)", text)
    sent = re.search(r"Data processed: +([\d.]+) (\S+)", text)
    if not elapsed or not sent:
        return None
    return int(elapsed[1]), float(sent[1]) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[sent[2]]


def received(host):
    """Bytes that came through the link; what is addressed to nobody does not count."""
    names, values = [line.split() for line in host.run("grep", "^IpExt", "/proc/net/netstat").stdout.splitlines()]
    return int(values[names.index("InOctets")])


def stands_still(bed):
    """Whether several reports over two seconds show the same; the bytes, once they do."""
    first, reports, seen = None, 0, None

    def still():
        nonlocal first, reports, seen
        now = domjobinfo(bed.a), received(bed.b)
        if now[0] is None:
            return False
        if first is None or (now[0][1], now[1]) != (first[0][1], first[1]):
            first, reports = now, 1
            return False
        reports += 1
        seen = now[0][1]
        return reports >= 5 and now[0][0] - first[0][0] >= 2000

    assert wait_until(still, 20), "bytes go through a black hole"
    return seen


def test_the_link_comes_back_in_time(bed, mover, make_guest):
    _, truth = make_guest(Spec(memory=64, keep=20))
    path = mover.migrate(Bandwidth=MIB_PER_SECOND)
    mover.copying(path)
    network.blackhole(bed.a, bed.b)
    still = stands_still(bed)
    job = mover.job(path)
    assert job["MigrationPhase"] == COPYING, describe(job)
    # The client sees it standing, too; libvirt rounds for people.
    assert wait_until(lambda: abs(mover.job(path)["DataProcessed"] - still) < 10_000, 5), describe(mover.job(path))
    network.restore(bed.a, bed.b)
    assert wait_until(lambda: mover.job(path)["DataProcessed"] > still + 100_000, 30), describe(mover.job(path))
    job = mover.end_of(path)
    assert succeeded(job), describe(job)
    truth.at(bed.b)


# ---------------------------------------------------------------------- clocks


HOURS = 5


@pytest.fixture
def clock(bed):
    """A daemon whose wall clock the test sets, by hours."""
    mover = Mover(bed, migration="max-outgoing = 1", clock=True).start()
    idle = bed.guest("idle")
    idle.define(bed.a)
    yield mover
    idle.remove()
    mover.close()


def jump(clock, hours):
    """Sets the daemon's clock, and sees that it reads it."""
    clock.set_clock(hours)
    path = clock.migrate("idle")
    submitted = clock.job(path)["TimeSubmitted"].datetime
    clock.abort(path)
    keep_for(clock, path, timedelta(0))
    assert abs(submitted - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(minutes=10)


def elapsed(job):
    return job["ElapsedTime"].timedelta


def is_sane(job):
    """Nothing negative, nothing that has hours in it."""
    assert timedelta(0) <= elapsed(job) < timedelta(minutes=10), describe(job)
    left = job["EstimatedTimeLeft"]
    assert left is None or timedelta(0) <= left.timedelta < timedelta(minutes=10), left
    assert 0 <= job["PercentComplete"] <= 100


def test_the_clock_jumps(bed, clock, make_guest):
    """While one guest moves and one waits, and when both have arrived."""
    guest, truth = make_guest(SLOW)
    _, other = make_guest(name="db")
    limits = {"Bandwidth": MIB_PER_SECOND, "MigrationTimeout": pywbem.Uint32(600)}
    first, second = clock.migrate(**limits), clock.migrate("db")
    clock.wait_for(second, QUEUED)
    clock.copying(first)
    for hours in (HOURS, -HOURS):
        jump(clock, hours)
        sent = clock.job(first)["DataProcessed"]
        # It goes on, and so do its numbers.
        assert wait_until(lambda sent=sent: clock.job(first)["DataProcessed"] > sent, 20)
        job = clock.job(first)
        assert job["MigrationPhase"] == COPYING, describe(job)
        is_sane(job)
        waits = clock.job(second)
        assert (waits["MigrationPhase"], elapsed(waits)) == (QUEUED, timedelta(0)), describe(waits)
    for path, there in ((first, truth), (second, other)):
        job = clock.end_of(path)
        assert succeeded(job), describe(job)
        is_sane(job)
        there.at(bed.b)
    # Neither gone too early nor there for ever.
    jump(clock, HOURS)
    keeps_house(clock)
    assert clock.job(first)["MigrationPhase"] == clock.job(second)["MigrationPhase"]
    jump(clock, -HOURS)
    keep_for(clock, first, timedelta(0))
    assert wait_until(lambda: first not in paths(clock), 20)
    # A daemon that starts anew has the kernel's clock to tell how much time has passed.
    took = elapsed(clock.job(second))
    for hours in (HOURS, -HOURS):
        clock.stop()
        clock.set_clock(hours)
        clock.start()
        jump(clock, hours)
        keeps_house(clock)
        assert elapsed(clock.job(second)) == took
    keep_for(clock, second, timedelta(0))
    assert wait_until(lambda: second not in paths(clock), 20)


def test_the_clock_jumps_while_nobody_looks(bed, clock, make_guest):
    """A move that is found again has taken as long as it took.

    Only backwards: our move is known by when it began, of which libvirt tells by the same clock. Here the
    daemon's alone jumps, and with hours added libvirt's job seems to have begun after ours.
    """
    _, truth = make_guest(SLOW)
    path = clock.migrate(Bandwidth=MIB_PER_SECOND, MigrationTimeout=pywbem.Uint32(600))
    for hours in (-HOURS, -2 * HOURS):
        clock.copying(path)
        before = elapsed(clock.job(path))
        clock.kill()
        clock.set_clock(hours)
        clock.start()
        clock.wait_for(path, COPYING)
        job = clock.job(path)
        is_sane(job)
        assert elapsed(job) >= before
    clock.abort(path)
    job = clock.end_of(path)
    assert job["MigrationPhase"] == CANCELLED, describe(job)
    truth.at(bed.a)


def paths(mover):
    return mover.connection.EnumerateInstanceNames("KVM_MigrationJob")


def keep_for(mover, path, time):
    job = mover.job(path)
    job["TimeBeforeRemoval"] = pywbem.CIMDateTime(time)
    mover.connection.ModifyInstance(job, PropertyList=["TimeBeforeRemoval"])


def keeps_house(mover):
    """Waits until the daemon has looked what can be removed: a job that may go at once is gone."""
    path = mover.migrate("idle")
    mover.end_of(path)
    keep_for(mover, path, timedelta(0))
    assert wait_until(lambda: path not in paths(mover), 20)
