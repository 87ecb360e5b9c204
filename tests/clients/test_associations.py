"""Ways from one instance to another, as pywbem walks them."""

import pytest
import pywbem
from harness import NAMESPACE


@pytest.fixture
def objects(connection):
    """The instances that the walks begin and end at, by short names."""

    def only(class_name):
        (path,) = connection.EnumerateInstanceNames(class_name)
        return path

    def guest(class_name, **keys):
        return pywbem.CIMInstanceName(class_name, keys, namespace=NAMESPACE)

    return {
        "host": only("KVM_HostSystem"),
        "service": only("KVM_VirtualSystemMigrationService"),
        "capabilities": only("KVM_VirtualSystemMigrationCapabilities"),
        "settings": only("KVM_VirtualSystemMigrationSettingData"),
        "guest": guest("KVM_ComputerSystem", CreationClassName="KVM_ComputerSystem", Name="web"),
        "guest settings": guest("KVM_VirtualSystemSettingData", InstanceID="KVM:web"),
    }


def same(path):
    """A path without the host, which names the server as the client called it."""
    return pywbem.CIMInstanceName(path.classname, path.keybindings, namespace=path.namespace)


# From, by, to, the role of the start, the role of the end.
WALKS = [
    ("host", "KVM_HostedService", "service", "Antecedent", "Dependent"),
    ("service", "KVM_ElementCapabilities", "capabilities", "ManagedElement", "Capabilities"),
    ("host", "KVM_ElementCapabilities", "capabilities", "ManagedElement", "Capabilities"),
    ("capabilities", "KVM_SettingsDefineCapabilities", "settings", "GroupComponent", "PartComponent"),
    ("guest", "KVM_HostedDependency", "host", "Antecedent", "Dependent"),
    ("guest", "KVM_SettingsDefineState", "guest settings", "ManagedElement", "SettingData"),
    ("guest settings", "KVM_ElementSettingData", "guest settings", "ManagedElement", "SettingData"),
    ("guest", "KVM_ServiceAffectsElement", "service", "AffectedElement", "AffectingElement"),
]
# Each of them there and back.
WAYS = WALKS + [(end, by, start, end_role, start_role) for start, by, end, start_role, end_role in WALKS]


@pytest.mark.parametrize("start, by, end, role, result_role", WAYS, ids=lambda value: value.replace(" ", "-"))
def test_a_way_can_be_walked(connection, objects, start, by, end, role, result_role):
    source, target = objects[start], objects[end]
    for asked in (by, "CIM" + by[3:]):
        found = connection.AssociatorNames(source, AssocClass=asked)
        assert target in [same(path) for path in found]
    exact = {"AssocClass": by, "ResultClass": target.classname, "Role": role, "ResultRole": result_role}
    assert target in [same(path) for path in connection.AssociatorNames(source, **exact)]
    instances = connection.Associators(source, **exact)
    assert target in [same(instance.path) for instance in instances]
    for instance in instances:
        assert connection.GetInstance(instance.path).properties == instance.properties


@pytest.mark.parametrize("start, by, end, role, result_role", WAYS, ids=lambda value: value.replace(" ", "-"))
def test_references_name_both_ends(connection, objects, start, by, end, role, result_role):
    source, target = objects[start], objects[end]
    references = connection.References(source, ResultClass=by, Role=role)
    ends = [(same(reference[role]), same(reference[result_role])) for reference in references]
    assert (source, target) in ends
    names = connection.ReferenceNames(source, ResultClass=by, Role=role)
    assert sorted(str(same(reference.path)) for reference in references) == sorted(str(same(name)) for name in names)


@pytest.mark.parametrize("start, by, end, role, result_role", WALKS, ids=lambda value: value.replace(" ", "-"))
def test_roles_that_do_not_fit_give_nothing(connection, objects, start, by, end, role, result_role):
    assert connection.AssociatorNames(objects[start], AssocClass=by, Role="NoSuchRole") == []
    assert connection.AssociatorNames(objects[start], AssocClass=by, ResultRole="NoSuchRole") == []
    assert connection.AssociatorNames(objects[start], AssocClass=by, ResultClass="CIM_Namespace") == []


def test_another_prefix_gives_nothing(connection, objects):
    assert connection.AssociatorNames(objects["host"], AssocClass="Xen_HostedService") == []
    assert connection.AssociatorNames(objects["host"], ResultClass="Xen_VirtualSystemMigrationService") == []


def test_without_filters_everything_near_is_found(connection, objects):
    from_service = {path.classname for path in connection.AssociatorNames(objects["service"])}
    assert {"KVM_HostSystem", "KVM_VirtualSystemMigrationCapabilities"} <= from_service
    from_guest = {path.classname for path in connection.AssociatorNames(objects["guest"])}
    assert {"KVM_HostSystem", "KVM_VirtualSystemSettingData", "KVM_VirtualSystemMigrationService"} <= from_guest


def test_associators_are_never_told_twice(connection, objects):
    for start in objects.values():
        found = [str(path) for path in connection.AssociatorNames(start)]
        assert len(found) == len(set(found))


def test_a_property_list_restricts_associators(connection, objects):
    (service,) = connection.Associators(
        objects["host"], ResultClass="KVM_VirtualSystemMigrationService", PropertyList=["Name"]
    )
    assert dict(service.properties.items()).keys() == {"Name"}


def test_the_default_is_marked_as_such(connection, objects):
    (reference,) = connection.References(objects["capabilities"], ResultClass="KVM_SettingsDefineCapabilities")
    assert (reference["PropertyPolicy"], reference["ValueRole"], reference["ValueRange"]) == (0, 0, 0)


def test_the_chain_that_old_clients_follow(connection, objects):
    """Host, service, capabilities, setting data; with the superfluous key that cimtest leaves in."""
    (service,) = [
        path for path in connection.AssociatorNames(objects["host"], AssocClass="KVM_HostedService")
        if path["Name"] == "MigrationService"
    ]
    (capabilities,) = connection.AssociatorNames(service, AssocClass="KVM_ElementCapabilities")
    capabilities.keybindings["CreationClassName"] = "KVM_VirtualSystemMigrationCapabilities"
    (settings,) = connection.AssociatorNames(capabilities, AssocClass="KVM_SettingsDefineCapabilities")
    assert settings["InstanceID"] == "MigrationSettingData"


def test_classes_have_associators_too(connection):
    names = connection.AssociatorNames("CIM_System", AssocClass="CIM_HostedService")
    assert "CIM_Service" in {path.classname for path in names}
    references = connection.ReferenceNames("CIM_System", ResultClass="CIM_HostedService")
    assert "CIM_HostedService" in {path.classname for path in references}
    for path, found in connection.Associators("CIM_System", AssocClass="CIM_HostedService"):
        assert path.classname == found.classname
    for path, found in connection.References("CIM_System", ResultClass="CIM_HostedService"):
        assert path.classname == found.classname
