"""Guests whose disks travel with them, between two real hosts.

The guest does not use its disk, so what must arrive is what was written into the image.
"""

import contextlib

import pytest
import pywbem
from moving import CANCELLED, COPYING, describe, failed, succeeded
from twohosts.guest import Spec

# A dead peer is noticed within seconds, not half a minute.
KEEPALIVE = "1 3"

IMAGE = "/var/lib/libvirt/images/web.img"
# StorageCopy.
FULL, INCREMENTAL = pywbem.Uint16(1), pywbem.Uint16(2)


@pytest.fixture
def disk_guest(bed, make_guest):
    """A guest with something on its own disk."""
    guest, truth = make_guest(Spec(disk="local"))
    bed.a.run("dd", "if=/dev/urandom", f"of={IMAGE}", "bs=1M", "count=16", "conv=notrunc")
    return guest, truth


def checksum(host):
    """Of what the guest has read from its disk; it must not run."""
    read = f"qemu-img convert -O raw {IMAGE} /tmp/raw && sha256sum </tmp/raw; rm -f /tmp/raw"
    return host.run("sh", "-c", read).stdout.split()[0]


def exists(host, path=IMAGE):
    return host.run("test", "-e", path, check=False).returncode == 0


def volumes(host):
    return host.run("virsh", "-q", "vol-list", "default").stdout.split()


def codes(findings):
    return [(finding["MessageID"], finding["Message"]) for finding in findings]


# ---------------------------------------------------------------------- copies


def test_a_whole_disk(bed, mover, disk_guest):
    guest, truth = disk_guest
    job = mover.end_of(mover.migrate(StorageCopy=FULL, StorageCopyDisks=["vda"]))
    assert succeeded(job), describe(job)
    truth.at(bed.b)
    bed.b.run("virsh", "destroy", "web")
    assert checksum(bed.b) == checksum(bed.a)


def test_what_lies_above_the_backing_image(bed, mover, make_guest):
    guest, truth = make_guest(Spec(disk="overlay"))
    refused, findings = check(mover, StorageCopy=INCREMENTAL)
    assert refused is False
    (finding,) = findings
    assert finding["MessageID"] == "VMC005"
    assert f"no image {IMAGE}" in finding["Message"]
    guest.make_overlay(bed.b)
    job = mover.end_of(mover.migrate(StorageCopy=INCREMENTAL))
    assert succeeded(job), describe(job)
    truth.at(bed.b)
    bed.b.run("virsh", "destroy", "web")
    assert checksum(bed.b) == checksum(bed.a)
    # The backing image did not travel.
    size = int(bed.b.run("stat", "-c", "%s", IMAGE).stdout)
    assert size < 4 << 20


# ---------------------------------------------------------------------- refusals


def check(mover, **settings):
    gate = mover.gate()
    return gate.check("web", "hostb", gate.settings(**settings))


def refused(bed, mover, truth, code, words, **settings):
    """The gate says so, the job says so, and nothing is made at the destination."""
    verdict, findings = check(mover, **settings)
    assert verdict is False
    assert [finding["MessageID"] for finding in findings] == [code], codes(findings)
    assert words in findings[0]["Message"]
    job = mover.end_of(mover.migrate(**settings))
    assert failed(job), describe(job)
    assert words in job["ErrorDescription"]
    truth.at(bed.a)
    assert not exists(bed.b)


def test_no_pool(bed, mover, disk_guest):
    bed.b.run("virsh", "pool-destroy", "default")
    try:
        refused(bed, mover, disk_guest[1], "VMC005", "no active pool over /var/lib", StorageCopy=FULL)
    finally:
        bed.b.run("virsh", "pool-start", "default")


@contextlib.contextmanager
def small_pool(host):
    """The host has room for half a disk."""
    host.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", IMAGE.rpartition("/")[0])
    host.run("virsh", "pool-refresh", "default")
    try:
        yield
    finally:
        host.run("umount", IMAGE.rpartition("/")[0])
        host.run("virsh", "pool-refresh", "default")


def test_no_room(bed, mover, disk_guest):
    with small_pool(bed.b):
        refused(bed, mover, disk_guest[1], "VMC014", "need 16 MiB in pool default", StorageCopy=FULL)


def test_no_such_disk(bed, mover, disk_guest):
    settings = {"StorageCopy": FULL, "StorageCopyDisks": ["vda", "vdz"]}
    refused(bed, mover, disk_guest[1], "VMC005", "no disk vdz to copy", **settings)


# ---------------------------------------------------------------------- copies that are broken off


@pytest.mark.parametrize("dies", [False, True], ids=["alive", "killed"])
def test_what_was_copied_in_vain_is_removed(bed, own_mover, disk_guest, link, dies):
    guest, truth = disk_guest
    mover = own_mover()
    path = mover.migrate(StorageCopy=FULL)
    mover.copying(path)
    assert exists(bed.b)
    if dies:
        mover.kill()
        mover.start()
        mover.wait_for(path, COPYING)
    mover.abort(path)
    job = mover.end_of(path)
    assert job["MigrationPhase"] == CANCELLED, describe(job)
    truth.at(bed.a)
    assert not exists(bed.b)
    assert volumes(bed.b) == []
    assert exists(bed.a)


def test_what_was_there_before_stays(bed, mover, disk_guest, link):
    """Nobody deletes an image that he has not made, not even one that no pool has noticed."""
    guest, truth = disk_guest
    bed.b.run("truncate", "-s", "16M", IMAGE)
    try:
        path = mover.migrate(StorageCopy=FULL)
        mover.copying(path)
        mover.abort(path)
        job = mover.end_of(path)
        assert job["MigrationPhase"] == CANCELLED, describe(job)
        truth.at(bed.a)
        assert exists(bed.b)
    finally:
        bed.b.run("rm", "-f", IMAGE)
        bed.b.run("virsh", "pool-refresh", "default")
