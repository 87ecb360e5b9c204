"""Migrations whose key to the destination a client puts in place, against a real sshd."""

import contextlib

import pytest
import pywbem
from moving import Mover, describe, succeeded

SSH = pywbem.Uint16(2)
# No name of the configuration's: its URI is made of the setting data.
DESTINATION = "10.77.0.2"

AUTHORIZED = "/etc/ssh/authorized_keys"
NOT_ENABLED = "Migration with special ssh key is not enabled in config file."


@pytest.fixture
def keys(bed, tmp_path):
    """A directory of keys, as hosta sees it; hostb's sshd takes one of them, and no other key."""
    directory = tmp_path / "keys"
    directory.mkdir()
    for name in ("good", "bad"):
        bed.a.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    before = bed.b.run("cat", AUTHORIZED).stdout
    bed.b.run("sh", "-c", 'printf "%s" "$1" >"$0"', AUTHORIZED, (directory / "good.pub").read_text())
    yield directory
    bed.b.run("sh", "-c", 'printf "%s" "$1" >"$0"', AUTHORIZED, before)


@pytest.fixture
def mover(bed, keys):
    mover = Mover(bed, migration=f'ssh-key-directory = "{keys}"').start()
    yield mover
    mover.close()


def call(mover, method, **arguments):
    value, _ = mover.connection.InvokeMethod(method, mover.gate().service, **arguments)
    assert value == 0


def migrate(mover, **parameters):
    gate = mover.gate()
    value, out = mover.connection.InvokeMethod(
        "MigrateVirtualSystemToHost",
        gate.service,
        ComputerSystem=gate.guest("web"),
        DestinationHost=DESTINATION,
        MigrationSettingData=gate.settings(TransportType=SSH),
        **parameters,
    )
    assert value == 4096
    return out["Job"]


@contextlib.contextmanager
def refused(words):
    with pytest.raises(pywbem.CIMError) as error:
        yield
    assert error.value.status_code == pywbem.CIM_ERR_FAILED
    assert words in error.value.status_description


def test_a_guest_moves_with_the_key(bed, mover, make_guest, keys):
    _, truth = make_guest()
    # The hosts' own key is not enough here, nor one that is not there or the wrong one.
    with refused("Failed to connect to remote host ("):
        migrate(mover)
    with refused("Failed to connect to remote host ("):
        migrate(mover, MigrationWithoutRootKey=True)
    call(mover, "MigrateSSHKeyCopy", SSH_Key_Src=str(keys / "bad"))
    with refused("Failed to connect to remote host ("):
        migrate(mover, MigrationWithoutRootKey=True)
    call(mover, "MigrateSSHKeyCopy", SSH_Key_Src=str(keys / "good"))
    with refused("Failed to connect to remote host ("):
        migrate(mover)
    job = mover.end_of(migrate(mover, MigrationWithoutRootKey=True))
    assert succeeded(job), describe(job)
    truth.at(bed.b)
    # What is nobody's any more opens nothing.
    call(mover, "MigrateSSHKeyDelete")
    assert sorted(path.name for path in keys.iterdir()) == ["bad", "bad.pub", "good", "good.pub"]
    with refused("Can not find file ["):
        call(mover, "MigrateSSHKeyDelete")


def test_only_keys_of_the_directory(bed, mover, keys):
    for source in ("/etc/ssh/user_key", str(keys / ".." / "keys" / "good"), str(keys / "none"), "$(id)"):
        with refused("Got error in copying ssh key from ["):
            call(mover, "MigrateSSHKeyCopy", SSH_Key_Src=source)


def test_it_must_be_enabled(bed, own_mover, make_guest):
    make_guest()
    mover = own_mover()
    with refused(NOT_ENABLED):
        call(mover, "MigrateSSHKeyCopy", SSH_Key_Src="/etc/ssh/user_key")
    with refused(NOT_ENABLED):
        call(mover, "MigrateSSHKeyDelete")
    with refused(NOT_ENABLED):
        migrate(mover, MigrationWithoutRootKey=True)
