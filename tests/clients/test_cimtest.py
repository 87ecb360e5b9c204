"""What libvirt-cim's own test suite asks of a server, done the way it does it.

It looks for exact counts, keys and texts, calls methods on classes, and leaves keys in paths that do
not belong there.
"""

import socket

import pytest
import pywbem

PREFIX = "KVM"


def key_errors(keys):
    """The four ways in which cimtest spoils a pair of keys: (keys, the key it expects to hear of)."""
    for name in keys:
        yield {**keys, name: "wrong"}, name
        yield {("Wrong" if other == name else other): value for other, value in keys.items()}, name


@pytest.fixture
def all_of(connection):
    """Enumerates names and gets each instance, never the instances at once."""

    def enumerate_and_get(class_name):
        paths = connection.EnumerateInstanceNames(f"{PREFIX}_{class_name}")
        return [connection.GetInstance(path, LocalOnly=False) for path in paths]

    return enumerate_and_get


@pytest.fixture
def one(connection):
    def only(class_name):
        (path,) = connection.EnumerateInstanceNames(f"{PREFIX}_{class_name}")
        return path

    return only


def test_one_host_with_the_name_that_the_machine_has(all_of):
    (host,) = all_of("HostSystem")
    assert host["CreationClassName"] == "KVM_HostSystem"
    assert host["Name"].split(".")[0] == socket.gethostname().split(".")[0]


def test_one_capabilities(all_of):
    (capabilities,) = all_of("VirtualSystemMigrationCapabilities")
    assert capabilities["InstanceID"] == "MigrationCapabilities"


def test_one_default_setting_data(all_of):
    (settings,) = all_of("VirtualSystemMigrationSettingData")
    assert (settings["InstanceID"], settings["MigrationType"], settings["Priority"]) == ("MigrationSettingData", 2, 0)


def test_the_guests_are_those_of_virsh(all_of):
    assert sorted(guest["Name"] for guest in all_of("ComputerSystem")) == ["asleep", "db", "old", "web"]
    assert sorted(settings["InstanceID"] for settings in all_of("VirtualSystemSettingData")) == [
        "KVM:asleep",
        "KVM:db",
        "KVM:old",
        "KVM:web",
    ]


@pytest.mark.parametrize("base", ["HostSystem", "VirtualSystemMigrationService"])
def test_spoilt_keys_are_named(connection, one, base):
    path = one(base)
    for keys, name in key_errors(dict(path.keybindings)):
        spoilt = pywbem.CIMInstanceName(path.classname, keys, namespace=path.namespace)
        with pytest.raises(pywbem.CIMError) as refused:
            connection.GetInstance(spoilt)
        assert refused.value.status_code == pywbem.CIM_ERR_NOT_FOUND
        assert refused.value.status_description.startswith(f"No such instance ({name})")


@pytest.mark.parametrize(
    "base, association",
    [("HostSystem", "HostedService"), ("VirtualSystemMigrationService", "HostedService"), ("HostSystem", "HostedDependency")],
)
def test_associations_name_spoilt_keys_too(connection, one, base, association):
    path = one(base)
    for keys, name in key_errors(dict(path.keybindings)):
        spoilt = pywbem.CIMInstanceName(path.classname, keys, namespace=path.namespace)
        with pytest.raises(pywbem.CIMError) as refused:
            connection.AssociatorNames(spoilt, AssocClass=f"{PREFIX}_{association}")
        assert refused.value.status_code == pywbem.CIM_ERR_NOT_FOUND
        assert refused.value.status_description.startswith(f"No such instance ({name})")


def test_capabilities_lead_back_to_one_host_and_one_service(connection, one):
    found = connection.AssociatorNames(one("VirtualSystemMigrationCapabilities"), AssocClass="KVM_ElementCapabilities")
    classes = [path.classname for path in found]
    assert classes.count("KVM_HostSystem") == 1
    assert classes.count("KVM_VirtualSystemMigrationService") == 1
    assert classes[0] == "KVM_VirtualSystemMigrationService"


def test_the_host_has_its_services(connection, one):
    found = connection.AssociatorNames(one("HostSystem"), AssocClass="KVM_HostedService")
    names = {path.classname: path["Name"] for path in found}
    assert names["KVM_VirtualSystemMigrationService"] == "MigrationService"
    assert names["KVM_VirtualSystemManagementService"] == "Management Service"
    for service in found:
        (host,) = connection.AssociatorNames(service, AssocClass="KVM_HostedService")
        assert host.classname == "KVM_HostSystem"


def test_a_guest_looks_the_same_from_the_host(connection, one, all_of):
    from_host = connection.Associators(one("HostSystem"), AssocClass="KVM_HostedDependency")
    seen = {guest["Name"]: (guest["EnabledState"], guest["RequestedState"]) for guest in from_host}
    assert seen == {guest["Name"]: (guest["EnabledState"], guest["RequestedState"]) for guest in all_of("ComputerSystem")}


def test_setting_data_of_a_guest_is_associated_with_itself(connection):
    path = pywbem.CIMInstanceName("KVM_VirtualSystemSettingData", {"InstanceID": "KVM:web"}, namespace="root/virt")
    (found,) = connection.Associators(path, AssocClass="KVM_ElementSettingData")
    assert found.properties == connection.GetInstance(path).properties


def test_a_guest_and_its_setting_data(connection):
    keys = {"CreationClassName": "KVM_ComputerSystem", "Name": "web"}
    guest = pywbem.CIMInstanceName("KVM_ComputerSystem", keys, namespace="root/virt")
    (settings,) = connection.Associators(guest, AssocClass="KVM_SettingsDefineState")
    assert settings.properties == connection.GetInstance(settings.path).properties
    (back,) = connection.AssociatorNames(settings.path, AssocClass="KVM_SettingsDefineState")
    assert back["Name"] == "web"


def test_an_association_that_does_not_lead_there_is_empty(connection, one):
    assert connection.AssociatorNames(one("VirtualSystemMigrationSettingData"), AssocClass="KVM_HostedService") == []
    assert connection.Associators(one("VirtualSystemMigrationService"), AssocClass="KVM_SettingsDefineState") == []
