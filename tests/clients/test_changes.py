"""What NewResourceSettingData makes different at the destination, on two real hosts."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import pywbem
from moving import LIVE, OFFLINE, RESTART, describe, failed, succeeded
from twohosts.guest import Spec

ETHERNET, DISK, GRAPHICS = 10, 17, 24

LAN = """
<network>
  <name>lan</name>
  <bridge name='virbr9' stp='off' delay='0'/>
</network>
"""


def resource(kind, **properties):
    return pywbem.CIMInstance(
        "CIM_ResourceAllocationSettingData", {"ResourceType": pywbem.Uint16(kind), **properties}
    )


def ask(mover, method, resources, how=LIVE, **settings):
    """Return value and output of a Check or Migrate method for the guest `web`."""
    gate = mover.gate()
    return mover.connection.InvokeMethod(
        method,
        gate.service,
        ComputerSystem=gate.guest("web"),
        DestinationHost="hostb",
        MigrationSettingData=gate.settings(MigrationType=pywbem.Uint16(how), **settings),
        NewResourceSettingData=resources,
    )


def check(mover, *resources, how=LIVE):
    """Whether the guest may migrate so, and the codes of the findings."""
    value, out = ask(mover, "CheckVirtualSystemIsMigratableToHost", list(resources), how)
    assert value == 0
    return out["IsMigratable"], [finding["MessageID"] for finding in out.get("Findings") or []]


def migrate(mover, *resources, how=LIVE, **settings):
    value, out = ask(mover, "MigrateVirtualSystemToHost", list(resources), how, **settings)
    assert value == 4096
    return mover.end_of(out["Job"])


def devices(host, kind, *options):
    """The guest's devices of that kind, as the host's libvirt has them."""
    xml = host.run("virsh", "-q", "dumpxml", "web", *options).stdout
    return ElementTree.fromstring(xml).findall(f"devices/{kind}")


def both_forms(host, kind):
    """The only device of that kind, as it is now and as it will be after the next start."""
    forms = [devices(host, kind), devices(host, kind, "--inactive")]
    assert [len(form) for form in forms] == [1, 1]
    return [form[0] for form in forms]


def audited(mover, change):
    lines = [line for line in mover.daemon.log().splitlines() if "guest is changed on the way" in line]
    return any(change in line.replace("\\", "") for line in lines)


@pytest.fixture
def lan(bed):
    """Only hostb has the network `lan`, and not `default`."""
    path = bed.directory / "shared" / "lan.xml"
    path.write_text(LAN)
    bed.b.run("virsh", "net-destroy", "default")
    bed.b.run("virsh", "net-create", str(path))
    yield
    bed.b.run("virsh", "net-destroy", "lan", check=False)
    bed.b.run("virsh", "net-start", "default")


def mac(host):
    (interface,) = devices(host, "interface")
    return interface.find("mac").get("address")


def test_another_network(bed, mover, make_guest, lan):
    """The checks ask for the network that it will be connected to, not for the one it leaves."""
    _, truth = make_guest(Spec(nic=True))
    address = mac(bed.a)
    to = lambda name: resource(ETHERNET, Address=address.upper(), Connection=[name])
    assert check(mover) == (False, ["VMC008"])
    assert check(mover, to("wan")) == (False, ["VMC008"])
    assert check(mover, to("lan")) == (True, [])
    job = migrate(mover, to("wan"))
    assert failed(job), describe(job)
    assert job["Status"] == f"Network wan of interface {address} does not exist at the destination."
    truth.at(bed.a)
    job = migrate(mover, to("lan"))
    assert succeeded(job), describe(job)
    for interface in both_forms(bed.b, "interface"):
        assert interface.find("source").get("network") == "lan"
        assert interface.find("mac").get("address") == address
    truth.at(bed.b)
    assert audited(mover, f'interface "{address.upper()}" to network "lan"')


def test_another_disk_image(bed, own_mover, make_guest):
    """The same image under another path."""
    # The file system is one that libvirt does not know as shared, though it is.
    mover = own_mover(builtin='VMC006 = "warn"')
    guest, truth = make_guest(Spec(disk="shared"))
    image = bed.directory / "shared" / "images" / "web.img"
    other = bed.directory / "shared" / "images" / "elsewhere.img"
    other.hardlink_to(image)
    bed.b.run("virsh", "pool-refresh", "shared")
    to = lambda path: resource(DISK, AddressOnParent="vda", HostResource=[str(path)])
    try:
        missing = image.with_name("nothing.img")
        assert check(mover, to(missing)) == (True, ["VMC005", "VMC006"])
        job = migrate(mover, to(missing))
        assert failed(job), describe(job)
        assert str(missing) in job["ErrorDescription"]
        truth.at(bed.a)
        assert check(mover, to(other)) == (True, ["VMC006"])
        job = migrate(mover, to(other))
        assert succeeded(job), describe(job)
        for disk in both_forms(bed.b, "disk"):
            assert disk.find("source").get("file") == str(other)
        truth.at(bed.b)
        assert audited(mover, f'disk "vda" to "{other}"')
    finally:
        guest.remove()
        other.unlink()


def test_a_copy_under_another_name(bed, mover, make_guest):
    _, truth = make_guest(Spec(disk="local"))
    to = "/var/lib/libvirt/images/moved.img"
    resources = resource(DISK, AddressOnParent="vda", HostResource=[to])
    try:
        job = migrate(mover, resources, StorageCopy=pywbem.Uint16(1))
        assert succeeded(job), describe(job)
        for disk in both_forms(bed.b, "disk"):
            assert disk.find("source").get("file") == to
        truth.at(bed.b)
    finally:
        bed.b.run("rm", "-f", to)


def test_another_console(bed, mover, make_guest):
    _, truth = make_guest(Spec(vnc=True))
    console = resource(GRAPHICS, ResourceSubType="vnc", Address="0.0.0.0:5987")
    assert check(mover, console) == (True, [])
    job = migrate(mover, console)
    assert succeeded(job), describe(job)
    for graphics in both_forms(bed.b, "graphics"):
        assert (graphics.get("port"), graphics.get("listen")) == ("5987", "0.0.0.0")
    assert re.search(r"\b0\.0\.0\.0:5987\b", bed.b.run("ss", "-ltn").stdout)
    truth.at(bed.b)


@pytest.mark.parametrize("how", [RESTART, OFFLINE], ids=["restart", "offline"])
def test_all_at_once_without_memory(bed, mover, make_guest, lan, how):
    guest, truth = make_guest(Spec(nic=True, vnc=True))
    resources = [
        resource(ETHERNET, Address=mac(bed.a), Connection=["lan"]),
        resource(GRAPHICS, Address="127.0.0.1:5988"),
    ]
    settings = {}
    if how == OFFLINE:
        bed.a.run("virsh", "destroy", "web")
        settings["PersistAtDestination"] = True
    assert check(mover, *resources, how=how) == (True, [])
    job = migrate(mover, *resources, how=how, **settings)
    assert succeeded(job), describe(job)
    (interface,) = devices(bed.b, "interface", "--inactive")
    assert interface.find("source").get("network") == "lan"
    (graphics,) = devices(bed.b, "graphics", "--inactive")
    assert graphics.get("port") == "5988"
    if how == RESTART:
        truth.settled_at(bed.b)
    else:
        assert (guest.state(bed.a), guest.state(bed.b)) == ("absent", "shut off")


def test_what_can_not_be_changed(bed, mover, make_guest):
    _, truth = make_guest(Spec(nic=True))
    address = mac(bed.a)
    to = lambda name: resource(ETHERNET, Address=address, Connection=[name])
    nobody = resource(ETHERNET, Address="52:54:00:00:00:99", Connection=["default"])
    assert check(mover, nobody) == (False, ["VMC022"])
    job = migrate(mover, nobody)
    assert failed(job), describe(job)
    assert "the guest has no interface `52:54:00:00:00:99`" in job["ErrorDescription"]
    before = len(mover.connection.EnumerateInstanceNames("KVM_MigrationJob"))
    for method in ("CheckVirtualSystemIsMigratableToHost", "MigrateVirtualSystemToHost"):
        with pytest.raises(pywbem.CIMError) as refused:
            ask(mover, method, [to("default"), to("lan")])
        assert refused.value.status_code == pywbem.CIM_ERR_INVALID_PARAMETER
        assert f"interface `{address}` is to be changed more than once" in refused.value.status_description
    assert len(mover.connection.EnumerateInstanceNames("KVM_MigrationJob")) == before
    truth.at(bed.a)
    # Its place is free for the next one.
    job = migrate(mover, to("default"))
    assert succeeded(job), describe(job)
    truth.at(bed.b)
