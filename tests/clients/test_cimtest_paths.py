"""cimtest's ways between profiles, systems and capabilities, and what it wants to hear when they begin wrongly."""

import pytest
import pywbem

HOST_KEYS = {"CreationClassName": "KVM_HostSystem", "Name": None}
GUEST_KEYS = {"CreationClassName": "KVM_ComputerSystem", "Name": "web"}


def path(class_name, namespace="root/virt", **keys):
    return pywbem.CIMInstanceName(class_name, keys, namespace=namespace)


def refused(call, *arguments, **options):
    """Status and description of the error that the call ends in."""
    with pytest.raises(pywbem.CIMError) as error:
        call(*arguments, **options)
    return error.value.status_code, error.value.status_description


@pytest.fixture
def host(connection):
    (found,) = connection.EnumerateInstanceNames("KVM_HostSystem")
    return found


@pytest.fixture
def profiles(connection):
    """The paths of the registered profiles by name; of two versions the later."""
    found = connection.EnumerateInstances("KVM_RegisteredProfile", namespace="root/interop")
    return {it["RegisteredName"]: it.path for it in sorted(found, key=lambda it: it["RegisteredVersion"])}


def test_profiles_have_the_keys_that_cimtest_knows(connection):
    found = connection.EnumerateInstances("KVM_RegisteredProfile", namespace="root/interop")
    known = {it["InstanceID"]: (it["RegisteredOrganization"], it["RegisteredName"], it["RegisteredVersion"]) for it in found}
    assert known["CIM:DSP1042-SystemVirtualization-1.0.0"] == (2, "System Virtualization", "1.0.0")
    assert known["CIM:DSP1057-VirtualSystem-1.0.0a"] == (2, "Virtual System Profile", "1.0.0a")


def test_from_a_profile_to_a_guest_to_its_capabilities(connection, profiles):
    guests = connection.AssociatorNames(profiles["Virtual System Profile"], AssocClass="KVM_ElementConformsToProfile")
    (web,) = [it for it in guests if it["Name"] == "web"]
    assert web.namespace == "root/virt"
    found = connection.AssociatorNames(web, AssocClass="KVM_ElementCapabilities")
    assert (found[0].classname, found[0]["InstanceID"]) == ("KVM_EnabledLogicalElementCapabilities", "web")
    back = connection.AssociatorNames(found[0], AssocClass="KVM_ElementCapabilities")
    assert (back[0].classname, back[0]["Name"]) == ("KVM_ComputerSystem", "web")


def test_the_first_profile_of_a_system_is_its_own(connection, host):
    """Asked in the interop namespace, as cimtest does."""
    for source, expected in ((host, "DSP1042"), (path("KVM_ComputerSystem", **GUEST_KEYS), "DSP1057")):
        source.namespace = "root/interop"
        found = connection.AssociatorNames(source, AssocClass="KVM_ElementConformsToProfile")
        assert expected in found[0]["InstanceID"]


def test_keys_too_many_do_no_harm(connection, profiles):
    """cimtest leaves the key of another class in."""
    for profile in profiles.values():
        profile["CreationClassName"] = "KVM_RegisteredProfile"
        assert connection.GetInstance(profile)
        connection.AssociatorNames(profile, AssocClass="KVM_ReferencedProfile")
    migration = profiles["Virtual System Migration"]
    (scope,) = connection.Associators(migration, AssocClass="KVM_ReferencedProfile")
    assert scope["RegisteredName"] == "System Virtualization"
    capabilities = path("KVM_VirtualSystemMigrationCapabilities", InstanceID="MigrationCapabilities")
    capabilities["CreationClassName"] = "KVM_VirtualSystemMigrationCapabilities"
    (settings,) = connection.AssociatorNames(capabilities, AssocClass="KVM_SettingsDefineCapabilities")
    assert settings["InstanceID"] == "MigrationSettingData"


@pytest.mark.parametrize("association", ["KVM_ElementConformsToProfile", "KVM_ReferencedProfile"])
def test_profiles_with_spoilt_keys(connection, association):
    wrong = path("KVM_RegisteredProfile", "root/interop", InstanceID="wrong")
    nameless = path("KVM_RegisteredProfile", "root/interop", Wrong="CIM:DSP1042-SystemVirtualization-1.0.0")
    for call, options in ((connection.GetInstance, {}), (connection.AssociatorNames, {"AssocClass": association})):
        status, text = refused(call, wrong, **options)
        assert (status, text[:16]) == (pywbem.CIM_ERR_NOT_FOUND, "No such instance")
        assert refused(call, nameless, **options) == (pywbem.CIM_ERR_FAILED, "No InstanceID specified")


NO_DOMAIN = "Referenced domain `wrong' does not exist: Domain not found"
SPOILT_GUESTS = [
    ({**GUEST_KEYS, "Name": "wrong"}, pywbem.CIM_ERR_NOT_FOUND, NO_DOMAIN),
    ({**GUEST_KEYS, "CreationClassName": "wrong"}, pywbem.CIM_ERR_NOT_FOUND, "No such instance (CreationClassName)"),
    ({"CreationClassName": "KVM_ComputerSystem", "Wrong": "web"}, pywbem.CIM_ERR_FAILED, "No domain name specified"),
    ({"Wrong": "KVM_ComputerSystem", "Name": "web"}, pywbem.CIM_ERR_NOT_FOUND, "No such instance (CreationClassName)"),
]


@pytest.mark.parametrize("keys, status, text", SPOILT_GUESTS)
def test_guests_with_spoilt_keys(connection, keys, status, text):
    for namespace, association in (("root/virt", "KVM_ElementCapabilities"), ("root/interop", "KVM_ElementConformsToProfile")):
        guest = path("KVM_ComputerSystem", namespace, **keys)
        found = refused(connection.AssociatorNames, guest, AssocClass=association)
        assert (found[0], found[1][: len(text)]) == (status, text)
    found = refused(connection.GetInstance, path("KVM_ComputerSystem", **keys))
    assert (found[0], found[1][: len(text)]) == (status, text)


def test_capabilities_and_settings_with_wrong_keys(connection):
    for class_name, said in (
        ("KVM_VirtualSystemMigrationCapabilities", "No such instance (InstanceID)"),
        ("KVM_VirtualSystemManagementCapabilities", "No such instance (InstanceID)"),
        ("KVM_VirtualSystemMigrationSettingData", "No such instance (InstanceID)"),
        ("KVM_VirtualSystemSettingData", "No such instance (InstanceID)"),
        ("KVM_EnabledLogicalElementCapabilities", "No such instance"),
    ):
        status, text = refused(connection.GetInstance, path(class_name, InstanceID="wrong"))
        assert (status, text[: len(said)]) == (pywbem.CIM_ERR_NOT_FOUND, said), class_name
        if class_name.endswith("Capabilities"):
            wrong = path(class_name, InstanceID="wrong")
            status, text = refused(connection.AssociatorNames, wrong, AssocClass="KVM_ElementCapabilities")
            assert (status, text[:16]) == (pywbem.CIM_ERR_NOT_FOUND, "No such instance")


def test_the_host_with_spoilt_keys_conforms_to_nothing(connection, host):
    for keys in ({**host.keybindings, "Name": "wrong"}, {"CreationClassName": "KVM_HostSystem", "Wrong": host["Name"]}):
        spoilt = path("KVM_HostSystem", "root/interop", **keys)
        status, text = refused(connection.AssociatorNames, spoilt, AssocClass="KVM_ElementConformsToProfile")
        assert (status, text[:16]) == (pywbem.CIM_ERR_NOT_FOUND, "No such instance")
