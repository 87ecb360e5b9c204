#!/usr/bin/env python3
"""Migrations through the daemon against `virsh migrate`, of the same guest on the same two hosts.

Both move the guest to hostb in alternation; in between it goes back by virsh, unmeasured. Prints the
ratio of the medians (budget 1.05 with the time that a client takes to see the end left in), and how
long it takes from the request to the first byte moved.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests" / "clients"), str(REPOSITORY / "tests" / "testbed")]

import pywbem  # noqa: E402
from moving import DONE, Mover  # noqa: E402  (the path comes first)
from twohosts.bed import Bed, missing  # noqa: E402
from twohosts.guest import Spec  # noqa: E402

ROUNDS = 5
# Big enough that copying is what takes the time, as it is for guests that matter.
GUEST = Spec(memory=512, keep=300)
# MiB/s. Unlimited, a second of copying would hang on who else gets the processors; the client too.
BANDWIDTH = 64
# How often the client looks, in seconds.
LOOK = 0.05
MIGRATE = ["virsh", "-q", "migrate", "--live", "--p2p", "--persistent", "--undefinesource", "web"]


def main():
    if reasons := missing():
        print(f"NOT MEASURED: migrations, which need two hosts: {'; '.join(reasons)}")
        return
    with contextlib.ExitStack() as cleanup:
        directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench", dir="/tmp"))
        bed = Bed(Path(directory) / "bed")
        cleanup.callback(bed.down)
        bed.up()
        guest = bed.guest("web")
        guest.define(bed.a, GUEST)
        guest.start(bed.a)
        guest.wait_for_tick(bed.a, 3)
        mover = Mover(bed).start()
        cleanup.callback(mover.close)
        report(*measure(bed, mover))


def measure(bed, mover):
    ours, first_bytes, virsh = [], [], []
    # The first round warms up both.
    for number in range(ROUNDS + 1):
        took, first = through_the_daemon(mover)
        back(bed)
        took_virsh = by_virsh(bed)
        back(bed)
        if number:
            ours.append(took)
            first_bytes.append(first)
            virsh.append(took_virsh)
    return ours, first_bytes, virsh


def through_the_daemon(mover):
    began = time.monotonic()
    path = mover.migrate(Bandwidth=pywbem.Uint64(BANDWIDTH))
    first = None
    while (job := mover.job(path))["MigrationPhase"] < DONE:
        if first is None and job["DataProcessed"]:
            first = time.monotonic() - began
        time.sleep(LOOK)
    took = time.monotonic() - began
    if job["MigrationPhase"] != DONE:
        raise SystemExit(f"the guest did not move: {job['Status']}")
    return took, first if first is not None else took


def by_virsh(bed):
    began = time.monotonic()
    bed.a.run(*MIGRATE, bed.b.peer_uri(), "--bandwidth", str(BANDWIDTH))
    return time.monotonic() - began


def back(bed):
    bed.b.run(*MIGRATE, bed.a.peer_uri())


def report(ours, first_bytes, virsh):
    ratio = statistics.median(ours) / statistics.median(virsh)
    print(f"migration of a guest with {GUEST.keep} MiB in use at {BANDWIDTH} MiB/s, medians of {ROUNDS}")
    print(f"  virsh migrate          {statistics.median(virsh):7.3f} s")
    print(f"  through the daemon     {statistics.median(ours):7.3f} s   {ratio:.2f} times (budget 1.05)")
    print(f"  request to first byte  {statistics.median(first_bytes):7.3f} s   (the gate included)")


if __name__ == "__main__":
    main()
