"""A client that knows only the address finds namespaces, server, profiles and what conforms to them."""

import warnings

import pytest
import pywbem

CENTRAL = {
    # name, version: the class of the central (or scoping) instances, and how many there are
    ("System Virtualization", "1.0.0"): ("KVM_HostSystem", 1),
    ("Virtual System Profile", "1.0.0a"): ("KVM_ComputerSystem", 4),
    ("Virtual System Migration", "0.8.1"): ("KVM_VirtualSystemMigrationService", 1),
    ("Virtual System Migration", "1.0.0"): ("KVM_VirtualSystemMigrationService", 1),
}


@pytest.fixture
def server(daemon):
    return pywbem.WBEMServer(daemon.connect(default_namespace=None))


def named(path):
    """A path without the host, which clients name as they please."""
    plain = path.copy()
    plain.host = None
    return plain


def test_the_interop_namespace_and_all_others_are_found_without_a_warning(server):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert server.interop_ns == "interop"
        assert sorted(server.namespaces) == ["interop", "root/cimv2", "root/interop", "root/virt"]
    assert server.brand == "virtcimd"
    assert server.version
    assert server.cimom_inst["SystemName"]


def test_the_registered_profiles_are_those_that_are_implemented(server):
    profiles = {(it["RegisteredName"], it["RegisteredVersion"]) for it in server.profiles}
    assert profiles == {*CENTRAL, ("Indications", "1.2.0"), ("Profile Registration", "1.0.0")}


@pytest.mark.parametrize("name, version", CENTRAL)
def test_central_instances(server, name, version):
    class_name, count = CENTRAL[name, version]
    (profile,) = server.get_selected_profiles("DMTF", name, version)
    found = server.get_central_instances(profile.path)
    assert {path.classname for path in found} == {class_name}
    assert len(found) == count
    assert {path.namespace for path in found} == {"root/virt"}, "across namespaces"
    for path in found:
        assert server.conn.GetInstance(path)["CreationClassName"] == class_name


def test_the_scoping_methodology_goes_by_the_referenced_profile(server):
    """What pywbem does when a profile has no central instances: up to the profile that scopes it."""
    conn = server.conn
    (profile,) = server.get_selected_profiles("DMTF", "Virtual System Migration", "1.0.0")
    (scope,) = conn.AssociatorNames(profile.path, AssocClass="CIM_ReferencedProfile", ResultRole="Antecedent")
    assert conn.GetInstance(scope)["RegisteredName"] == "System Virtualization"
    (host,) = conn.AssociatorNames(scope, AssocClass="CIM_ElementConformsToProfile", ResultRole="ManagedElement")
    (service,) = conn.AssociatorNames(
        host, AssocClass="CIM_HostedService", ResultClass="CIM_VirtualSystemMigrationService"
    )
    assert [named(service)] == [named(path) for path in server.get_central_instances(profile.path)]
    # And pywbem's own way down it.
    with_scope = server.get_central_instances(
        profile.path, "KVM_VirtualSystemMigrationService", "KVM_HostSystem", ["KVM_HostedService"]
    )
    assert [named(path) for path in with_scope] == [named(service)]


def test_conformance_is_known_from_both_sides_and_in_both_namespaces(server):
    conn = server.conn
    (service,) = conn.EnumerateInstanceNames("CIM_VirtualSystemMigrationService", namespace="root/virt")
    for namespace in ("root/virt", "root/interop", "interop"):
        source = service.copy()
        source.namespace = namespace
        profiles = conn.Associators(source, AssocClass="CIM_ElementConformsToProfile")
        assert {it["RegisteredVersion"] for it in profiles} == {"0.8.1", "1.0.0"}
        for reference in conn.References(source, ResultClass="CIM_ElementConformsToProfile"):
            assert reference["ManagedElement"].namespace in ("root/virt", namespace)
            assert reference["ConformantStandard"].classname == "KVM_RegisteredProfile"


def test_the_object_manager_is_hosted_named_and_spoken_to(server):
    conn = server.conn
    (manager,) = conn.EnumerateInstances("CIM_ObjectManager", namespace="interop")
    (host,) = conn.AssociatorNames(manager.path, AssocClass="CIM_HostedService")
    assert (host.classname, host.namespace) == ("KVM_HostSystem", "root/virt")
    (back,) = conn.AssociatorNames(host, AssocClass="CIM_HostedService", ResultClass="CIM_ObjectManager")
    assert (back.namespace, back.keybindings) == ("root/interop", manager.path.keybindings)
    spaces = conn.Associators(manager.path, AssocClass="CIM_NamespaceInManager", ResultRole="Dependent")
    assert {it["Name"] for it in spaces} == {"root/virt", "root/interop", "interop", "root/cimv2"}
    for space in spaces:
        # What is said to be a namespace is one.
        assert conn.EnumerateClassNames(namespace=space["Name"])
    (protocol,) = conn.Associators(manager.path, AssocClass="CIM_CommMechanismForManager")
    assert protocol["CommunicationMechanism"] == 2
    assert protocol["MultipleOperationsSupported"] is False
    assert protocol["AuthenticationMechanismsSupported"] == [2], "this daemon asks nobody who they are"
    # Basic Read and Write, Instance Manipulation, Association Traversal, Query Execution, Indications, Pulled ….
    assert protocol["FunctionalProfilesSupported"] == [2, 3, 5, 6, 7, 9, 10, 11, 12]


def test_the_server_tells_how_long_it_took(daemon):
    connection = daemon.connect(stats_enabled=True)
    connection.EnumerateInstanceNames("KVM_HostSystem")
    assert 0 < connection.last_server_response_time < 30


def counts(server):
    """What the server counted, by the operation's name."""
    found = server.conn.EnumerateInstances("CIM_CIMOMStatisticalData", namespace=server.interop_ns)
    return {it["OtherOperationType"] or it["ElementName"]: it for it in found}


def test_operations_are_counted_with_their_times_and_sizes(server):
    assert server.cimom_inst["GatherStatisticalData"] is True
    conn = server.conn
    path = conn.EnumerateInstanceNames("KVM_ComputerSystem", namespace="root/virt")[0]
    before = counts(server)
    for _ in range(3):
        conn.GetInstance(path)
    with pytest.raises(pywbem.CIMError):
        conn.GetClass("CIM_Nonsense", namespace="root/virt")
    opened = conn.OpenEnumerateInstances("KVM_ComputerSystem", namespace="root/virt", MaxObjectCount=1)
    conn.CloseEnumeration(opened.context)
    after = counts(server)

    def more(operation, what="NumberOfOperations"):
        return after[operation][what] - before[operation][what]

    expected = {"GetInstance": 3, "GetClass": 1, "OpenEnumerateInstances": 1, "CloseEnumeration": 1}
    for operation, number in expected.items():
        assert more(operation) == number, operation
        assert more(operation, "RequestSize") > 100 * number, operation
        assert more(operation, "ResponseSize") > 100 * number, operation
        assert after[operation]["CimomElapsedTime"].is_interval
    # The answer to the first list was not over when it was made.
    assert more("EnumerateInstances") == 1
    assert more("DeleteInstance") == 0
    providers = [it["GetInstance"]["ProviderElapsedTime"].timedelta for it in (before, after)]
    assert providers[0] < providers[1]
    values = pywbem.ValueMapping.for_property(
        conn, server.interop_ns, "CIM_CIMOMStatisticalData", "OperationType"
    )
    for name, it in after.items():
        assert values.tovalues(it["OperationType"]) == ("Other" if it["OtherOperationType"] else name)
