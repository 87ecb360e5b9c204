"""The test bed: what it concludes from what guests print, which needs no root, and all of it where it can run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Its own test lasts most of a minute: see tests/clients/conftest.py.
WEIGHT = 5
sys.path.insert(0, str(Path(__file__).parent))

from twohosts.bed import Bed, missing  # noqa: E402  (the path comes first)
from twohosts.errors import BedError  # noqa: E402
from twohosts.guest import Spec, guest_uuid  # noqa: E402


@pytest.fixture
def guest(tmp_path, monkeypatch):
    bed = Bed("/tmp/nowhere")
    for host in bed.hosts:
        host.directory = tmp_path / host.name
        (host.directory / "log" / "qemu").mkdir(parents=True)

    def write(a, b=""):
        for host, text in zip(bed.hosts, (a, b)):
            (host.directory / "log" / "qemu" / "web.serial").write_text(text)
        return bed.guest("web").account()

    return write


def ticks(first, last):
    return "".join(f"tick {n}\r\n" for n in range(first, last + 1))


@pytest.mark.parametrize(
    "a, b",
    [
        ("", ""),
        (ticks(1, 5), ""),
        (ticks(1, 5), ticks(6, 9)),
        (ticks(1, 3) + ticks(7, 9), ticks(4, 6)),
        (ticks(1, 3) + "ti", "ck 4\r\n" + ticks(5, 6)),
        (ticks(1, 3) + "power button\r\n", ""),
    ],
)
def test_a_guest_that_stayed_whole(guest, a, b):
    assert guest(a, b).whole


@pytest.mark.parametrize(
    "a, b, flaw",
    [
        (ticks(1, 6), ticks(6, 9), "twice: (6,)"),
        (ticks(1, 3), ticks(5, 9), "missing: (4,)"),
        (ticks(1, 3), ticks(1, 2), "twice: (1, 2)"),
        (ticks(1, 3) + "lost 2097152\r\n", ticks(4, 5), "lost 2097152"),
        (ticks(1, 3) + "ti", "ck 4\r\n" + ticks(6, 7), "missing: (4, 5)"),
    ],
)
def test_a_guest_that_did_not(guest, a, b, flaw):
    account = guest(a, b)
    assert not account.whole
    assert flaw in str(account)


def test_a_guest_must_fit_its_memory():
    Spec(memory=64, busy=32, keep=16).check()
    with pytest.raises(BedError):
        Spec(memory=32, busy=30).check()


def test_a_uuid_is_foretold():
    assert guest_uuid("web") == guest_uuid("web") != guest_uuid("db")


@pytest.mark.parametrize("directory", ["relative", "/with space", "/" + "x" * 80, ""])
def test_a_directory_that_will_not_do(directory, monkeypatch):
    monkeypatch.delenv("TESTBED_DIR", raising=False)
    if directory:
        with pytest.raises(BedError):
            Bed(directory)
    else:
        assert str(Bed(directory).directory).startswith("/tmp/")


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a;b"])
def test_a_name_that_will_not_do(name):
    with pytest.raises(BedError):
        Bed("/tmp/nowhere").guest(name)


def test_what_it_says_of_itself():
    if reasons := missing():
        pytest.skip("; ".join(reasons))
    done = subprocess.run([ROOT / "tools" / "test-testbed"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
