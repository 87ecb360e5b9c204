"""Instances as pywbem reads them: values, keys, flags."""

import pytest
import pywbem
from harness import NAMESPACE, uuid_of

ONE_OF_EACH_HOST = [
    "KVM_HostSystem",
    "KVM_VirtualSystemMigrationService",
    "KVM_VirtualSystemMigrationCapabilities",
    "KVM_VirtualSystemMigrationSettingData",
    "KVM_VirtualSystemManagementService",
]
ONE_OF_EACH_GUEST = ["KVM_ComputerSystem", "KVM_VirtualSystemSettingData"]


@pytest.mark.parametrize("class_name", ONE_OF_EACH_HOST)
def test_a_host_has_exactly_one(connection, class_name):
    (path,) = connection.EnumerateInstanceNames(class_name)
    (instance,) = connection.EnumerateInstances(class_name)
    assert instance.path == path
    assert connection.GetInstance(path).properties == instance.properties


@pytest.mark.parametrize("class_name", ONE_OF_EACH_GUEST)
def test_every_guest_has_one(connection, class_name):
    paths = connection.EnumerateInstanceNames(class_name)
    assert len(paths) == 4
    for instance in connection.EnumerateInstances(class_name):
        assert instance.path in paths
        assert connection.GetInstance(instance.path).properties == instance.properties


@pytest.mark.parametrize(
    "class_name, expected",
    [
        (
            "KVM_VirtualSystemMigrationService",
            {
                "CreationClassName": "KVM_VirtualSystemMigrationService",
                "Name": "MigrationService",
                "SystemCreationClassName": "KVM_HostSystem",
                "EnabledState": 5,
                "RequestedState": 12,
                "EnabledDefault": 2,
            },
        ),
        (
            "KVM_VirtualSystemMigrationCapabilities",
            {
                "InstanceID": "MigrationCapabilities",
                "AsynchronousMethodsSupported": [2, 3],
                "SynchronousMethodsSupported": [4, 5],
                "DestinationHostFormatsSupported": [2, 3, 4],
            },
        ),
        (
            "KVM_VirtualSystemMigrationSettingData",
            {
                "InstanceID": "MigrationSettingData",
                "MigrationType": 2,
                "Priority": 0,
                "TransportType": 2,
                "CheckParameters": None,
            },
        ),
        ("KVM_HostSystem", {"CreationClassName": "KVM_HostSystem"}),
        ("KVM_VirtualSystemManagementService", {"Name": "Management Service", "OperationalStatus": [2]}),
    ],
)
def test_values_are_those_of_libvirt_cim(connection, class_name, expected):
    (instance,) = connection.EnumerateInstances(class_name)
    assert {name: instance.get(name) for name in expected} == expected


def test_the_revision_is_one_that_old_test_suites_know(connection):
    (service,) = connection.EnumerateInstances("KVM_VirtualSystemManagementService")
    assert int(service["Revision"]) >= 1312


@pytest.mark.parametrize(
    "name, enabled, health, operational, operating",
    [
        ("web", 2, 5, [2], 32768),
        ("old", 9, 5, [2], 7),
        ("db", 3, 0, [15], 5),
        ("asleep", 6, 0, [15], 5),
    ],
)
def test_a_guest_shows_its_state(connection, name, enabled, health, operational, operating):
    keys = {"CreationClassName": "KVM_ComputerSystem", "Name": name}
    guest = connection.GetInstance(pywbem.CIMInstanceName("KVM_ComputerSystem", keys))
    assert guest["EnabledState"] == enabled
    assert guest["HealthState"] == health
    assert guest["OperationalStatus"] == operational
    assert guest["OperatingStatus"] == operating
    assert guest["UUID"] == uuid_of(name)
    assert guest["ElementName"] == name
    assert guest["OtherIdentifyingInfo"] == ["Virtual System", "KVM Virtual System", uuid_of(name)]
    assert guest["IdentifyingDescriptions"] == ["Type", "Model", "UUID"]


def test_a_guest_has_its_setting_data(connection):
    settings = connection.GetInstance(
        pywbem.CIMInstanceName("KVM_VirtualSystemSettingData", {"InstanceID": "KVM:web"})
    )
    assert settings["VirtualSystemIdentifier"] == "web"
    assert settings["VirtualSystemType"] == "KVM"
    assert settings["UUID"] == uuid_of("web")


def test_a_superclass_gives_the_instances_of_its_subclasses(connection):
    systems = connection.EnumerateInstances("CIM_ComputerSystem")
    assert sorted(system.classname for system in systems) == ["KVM_ComputerSystem"] * 4 + ["KVM_HostSystem"]


def test_without_deep_inheritance_properties_are_those_of_the_class_asked_for(connection):
    declared = connection.GetClass("CIM_ComputerSystem", LocalOnly=False).properties.keys()
    for system in connection.EnumerateInstances("CIM_ComputerSystem", DeepInheritance=False):
        assert set(system.properties.keys()) <= set(declared)
        assert "UUID" not in system


def test_local_only_does_not_strip_instances(connection):
    (settings,) = connection.EnumerateInstances("KVM_VirtualSystemMigrationSettingData", LocalOnly=True)
    assert settings["MigrationType"] == 2


@pytest.mark.parametrize(
    "wanted, expected",
    [
        (["Name"], {"Name"}),
        (["nAME", "Name", "EnabledState"], {"Name", "EnabledState"}),
        (["NoSuchProperty"], set()),
        ([], set()),
    ],
)
def test_a_property_list_restricts(connection, wanted, expected):
    instances = connection.EnumerateInstances("KVM_ComputerSystem", PropertyList=wanted)
    assert {name for instance in instances for name in instance.properties} == expected
    (instance,) = [i for i in instances if i.path["Name"] == "web"]
    assert set(connection.GetInstance(instance.path, PropertyList=wanted).properties) == expected


def test_class_origin_is_told_on_request(connection):
    (plain,) = connection.EnumerateInstances("KVM_VirtualSystemMigrationSettingData")
    assert plain.properties["MigrationType"].class_origin is None
    (told,) = connection.EnumerateInstances("KVM_VirtualSystemMigrationSettingData", IncludeClassOrigin=True)
    assert told.properties["MigrationType"].class_origin == "CIM_VirtualSystemMigrationSettingData"
    assert told.properties["InstanceID"].class_origin == "CIM_ManagedElement"


def test_names_are_compared_without_case(connection):
    keys = {"name": "web", "CREATIONCLASSNAME": "kvm_computersystem"}
    path = pywbem.CIMInstanceName("kvm_COMPUTERsystem", keys, namespace="ROOT/Virt")
    assert connection.GetInstance(path)["Name"] == "web"


def test_superfluous_keys_do_no_harm(connection):
    keys = {"InstanceID": "MigrationCapabilities", "CreationClassName": "KVM_VirtualSystemMigrationCapabilities"}
    path = pywbem.CIMInstanceName("KVM_VirtualSystemMigrationCapabilities", keys)
    assert connection.GetInstance(path)["InstanceID"] == "MigrationCapabilities"


@pytest.mark.parametrize("prefix", ["Xen", "LXC"])
def test_without_a_hypervisor_there_are_no_instances(connection, prefix):
    for base in ("HostSystem", "ComputerSystem", "VirtualSystemMigrationService"):
        assert connection.EnumerateInstances(f"{prefix}_{base}") == []


def test_pywbems_iterators_work_whatever_the_server_offers(daemon):
    for use_pull in (None, False):
        connection = daemon.connect(use_pull_operations=use_pull)
        names = [path["Name"] for path in connection.IterEnumerateInstancePaths("KVM_ComputerSystem")]
        assert sorted(names) == ["asleep", "db", "old", "web"]
        instances = list(connection.IterEnumerateInstances("KVM_ComputerSystem", namespace=NAMESPACE))
        assert sorted(instance["Name"] for instance in instances) == sorted(names)
