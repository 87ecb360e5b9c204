"""Classes and qualifiers as pywbem reads them."""

import pytest
import pywbem

MIGRATION_CLASSES = [
    "KVM_ComputerSystem",
    "KVM_HostSystem",
    "KVM_VirtualSystemMigrationService",
    "KVM_VirtualSystemMigrationCapabilities",
    "KVM_VirtualSystemMigrationSettingData",
    "KVM_HostedService",
    "KVM_MigrationJob",
]


@pytest.mark.parametrize("class_name", MIGRATION_CLASSES)
def test_a_class_is_as_recorded(connection, recorded, class_name):
    found = connection.GetClass(class_name, LocalOnly=False, IncludeClassOrigin=True)
    recorded(f"classes/{class_name}.mof", found.tomof())


def test_the_names_of_all_classes_are_as_recorded(connection, recorded):
    names = connection.EnumerateClassNames(DeepInheritance=True)
    assert len(names) >= 162
    assert len(names) == len({name.lower() for name in names})
    recorded("classes/all.txt", "".join(f"{name}\n" for name in sorted(names)))


def test_the_methods_of_the_service_have_their_parameters(connection):
    service = connection.GetClass("KVM_VirtualSystemMigrationService", LocalOnly=False)
    method = service.methods["CheckVirtualSystemIsMigratableToHost"]
    assert method.return_type == "uint32"
    assert {name: p.type for name, p in method.parameters.items() if name != "Findings"} == {
        "ComputerSystem": "reference",
        "DestinationHost": "string",
        "MigrationSettingData": "string",
        "NewSystemSettingData": "string",
        "NewResourceSettingData": "string",
        "MigrationWithoutRootKey": "boolean",
        "IsMigratable": "boolean",
    }
    assert method.parameters["Findings"].is_array
    assert method.parameters["Findings"].qualifiers["EmbeddedInstance"].value == "CIM_Error"


def test_local_only_leaves_what_the_class_itself_says(connection):
    own = connection.GetClass("KVM_VirtualSystemMigrationSettingData", LocalOnly=True)
    assert "CheckParameters" in own.properties
    assert "MigrationType" not in own.properties
    assert own.superclass == "CIM_VirtualSystemMigrationSettingData"


def test_qualifiers_come_on_request(connection):
    bare = connection.GetClass("CIM_ComputerSystem", LocalOnly=False, IncludeQualifiers=False)
    assert not bare.qualifiers
    assert not bare.properties["Name"].qualifiers
    full = connection.GetClass("CIM_ComputerSystem", LocalOnly=False, IncludeQualifiers=True)
    assert full.properties["Name"].qualifiers["Key"].value is True


def test_class_origin_comes_on_request(connection):
    full = connection.GetClass("KVM_ComputerSystem", LocalOnly=False, IncludeClassOrigin=True)
    assert full.properties["UUID"].class_origin == "KVM_ComputerSystem"
    assert full.properties["EnabledState"].class_origin == "CIM_EnabledLogicalElement"
    plain = connection.GetClass("KVM_ComputerSystem", LocalOnly=False, IncludeClassOrigin=False)
    assert plain.properties["UUID"].class_origin is None


def test_a_property_list_restricts_a_class(connection):
    found = connection.GetClass("KVM_ComputerSystem", LocalOnly=False, PropertyList=["uuid", "Name", "Nothing"])
    assert set(found.properties) == {"UUID", "Name"}


def test_subclasses_direct_and_deep(connection):
    direct = connection.EnumerateClassNames(ClassName="CIM_System", DeepInheritance=False)
    deep = connection.EnumerateClassNames(ClassName="CIM_System", DeepInheritance=True)
    assert "CIM_ComputerSystem" in direct
    assert "KVM_ComputerSystem" not in direct
    assert {"CIM_ComputerSystem", "KVM_ComputerSystem", "KVM_HostSystem"} <= set(deep)
    assert "CIM_System" not in deep
    classes = connection.EnumerateClasses(ClassName="CIM_System", DeepInheritance=True, LocalOnly=False)
    assert sorted(found.classname for found in classes) == sorted(deep)


def test_roots_have_no_superclass(connection):
    for found in connection.EnumerateClasses(DeepInheritance=False):
        assert found.superclass is None


def test_every_class_reads_back_as_it_was_enumerated(connection):
    """The two ways to a class agree, and pywbem takes all of them in."""
    flags = {"LocalOnly": False, "IncludeQualifiers": True, "IncludeClassOrigin": True}
    for enumerated in connection.EnumerateClasses(DeepInheritance=True, **flags):
        assert connection.GetClass(enumerated.classname, **flags) == enumerated


def test_qualifier_declarations(connection):
    key = connection.GetQualifier("Key")
    assert (key.type, key.value, key.overridable, key.tosubclass) == ("boolean", False, False, True)
    names = {declaration.name for declaration in connection.EnumerateQualifiers()}
    assert {"Key", "Association", "Description", "ValueMap", "EmbeddedInstance"} <= names


def test_every_qualifier_in_use_is_declared(connection):
    declared = {declaration.name.lower() for declaration in connection.EnumerateQualifiers()}
    used = set()
    for found in connection.EnumerateClasses(DeepInheritance=True, LocalOnly=False):
        members = [found, *found.properties.values(), *found.methods.values()]
        members += [parameter for method in found.methods.values() for parameter in method.parameters.values()]
        used |= {name.lower() for member in members for name in member.qualifiers}
    assert used <= declared


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.CreateClass(pywbem.CIMClass("KVM_New")),
        lambda c: c.ModifyClass(pywbem.CIMClass("CIM_System")),
        lambda c: c.DeleteClass("CIM_System"),
        lambda c: c.SetQualifier(pywbem.CIMQualifierDeclaration("New", "string")),
        lambda c: c.DeleteQualifier("Key"),
    ],
)
def test_the_schema_is_fixed(connection, act):
    with pytest.raises(pywbem.CIMError) as refused:
        act(connection)
    assert refused.value.status_code == pywbem.CIM_ERR_NOT_SUPPORTED
