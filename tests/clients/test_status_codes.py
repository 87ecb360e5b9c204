"""Every operation with each sensible mistake: the status of DSP0200, and the culprit by its name.

What can be wrong with the parameters as such is in test_parameters.py, the check method in test_errors.py,
filters and subscriptions in test_subscriptions.py.
"""

import pytest
import pywbem
from harness import Gate

FAILED = pywbem.CIM_ERR_FAILED
INVALID_NAMESPACE = pywbem.CIM_ERR_INVALID_NAMESPACE
INVALID_PARAMETER = pywbem.CIM_ERR_INVALID_PARAMETER
INVALID_CLASS = pywbem.CIM_ERR_INVALID_CLASS
NOT_FOUND = pywbem.CIM_ERR_NOT_FOUND
NOT_SUPPORTED = pywbem.CIM_ERR_NOT_SUPPORTED
NO_SUCH_PROPERTY = pywbem.CIM_ERR_NO_SUCH_PROPERTY
TYPE_MISMATCH = pywbem.CIM_ERR_TYPE_MISMATCH
LANGUAGE = pywbem.CIM_ERR_QUERY_LANGUAGE_NOT_SUPPORTED
INVALID_QUERY = pywbem.CIM_ERR_INVALID_QUERY
METHOD_NOT_AVAILABLE = pywbem.CIM_ERR_METHOD_NOT_AVAILABLE
METHOD_NOT_FOUND = pywbem.CIM_ERR_METHOD_NOT_FOUND
# pywbem 1.9 has no name for it.
FEATURE_NOT_SUPPORTED = 29
INVALID_CONTEXT = pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT
INVALID_TIMEOUT = pywbem.CIM_ERR_INVALID_OPERATION_TIMEOUT
NO_CONTINUATION = pywbem.CIM_ERR_CONTINUATION_ON_ERROR_NOT_SUPPORTED

GUEST = "KVM_ComputerSystem"
SETTINGS = "KVM_VirtualSystemMigrationSettingData"
SERVICE = "KVM_VirtualSystemMigrationService"
JOB = "KVM_MigrationJob"
MANAGER = "CIM_ObjectManager"
# A class with a key that is no string.
FILTER = "CIM_IndicationFilter"
CHECK = "CheckVirtualSystemIsMigratableToHost"


def at(class_name, namespace="root/virt", **keys):
    return pywbem.CIMInstanceName(class_name, keys, namespace=namespace)


def guest(name="web", class_name=GUEST, namespace="root/virt"):
    return at(class_name, namespace, CreationClassName=GUEST, Name=name)


def instance(path, **properties):
    made = pywbem.CIMInstance(path.classname, properties)
    # Given to the constructor, the path would follow the properties.
    made.path = path
    return made


def check(act, status, *words):
    with pytest.raises(pywbem.CIMError) as refused:
        act()
    text = refused.value.status_description
    assert refused.value.status_code == status, text
    for word in words:
        assert word in text


def opened(connection, **options):
    return connection.OpenEnumerateInstances(GUEST, **{"MaxObjectCount": 1, **options})


def xml_of(path):
    return path.tocimxmlstr(ignore_host=True, ignore_namespace=True)


# --------------------------------------------------------------- one instance


def get_property(daemon, path, name):
    parameters = [("InstanceName", xml_of(path)), ("PropertyName", f"<VALUE>{name}</VALUE>")]
    return daemon.ask("GetProperty", parameters, path.namespace.split("/"))


def set_property(daemon, path, name, content):
    parameters = [("InstanceName", xml_of(path)), ("PropertyName", f"<VALUE>{name}</VALUE>"), ("NewValue", content)]
    return daemon.ask("SetProperty", parameters, path.namespace.split("/"))


def asked(result):
    """Raises what a raw request ended in, as pywbem would."""
    status, text = result
    if status is not None:
        raise pywbem.CIMError(status, text)


ONE_INSTANCE = {
    "GetInstance": lambda d, path: d.connect().GetInstance(path),
    "GetProperty": lambda d, path: asked(get_property(d, path, "ElementName")),
    "SetProperty": lambda d, path: asked(set_property(d, path, "ElementName", "<VALUE>x</VALUE>")),
    "ModifyInstance": lambda d, path: d.connect().ModifyInstance(instance(path, ElementName="x")),
    "DeleteInstance": lambda d, path: d.connect().DeleteInstance(path),
    "CreateInstance": lambda d, path: d.connect().CreateInstance(instance(path, ElementName="x")),
}

# The path of what is not there, its status, and words of the text (libvirt-cim's, with the key).
NOT_THERE = [
    (at(SETTINGS, InstanceID="wrong"), NOT_FOUND, ["No such instance (InstanceID)"]),
    (at(SETTINGS, Wrong="MigrationSettingData"), NOT_FOUND, ["No such instance (InstanceID)"]),
    (at(SETTINGS, InstanceID=pywbem.Uint32(5)), NOT_FOUND, ["No such instance (InstanceID)"]),
    (at(SETTINGS, "root/interop", InstanceID="MigrationSettingData"), NOT_FOUND, ["No such instance", SETTINGS, "root/interop"]),
    (at("CIM_VirtualSystemMigrationSettingData", InstanceID="x"), NOT_FOUND, ["No such instance", "CIM_VirtualSystemMigrationSettingData"]),
    (guest("nope"), NOT_FOUND, ["`nope'"]),
    (guest(class_name="CIM_ComputerSystem"), NOT_FOUND, ["No such instance", "CIM_ComputerSystem"]),
    (guest(class_name="Xen_ComputerSystem"), NOT_FOUND, ["No such instance", "Xen_ComputerSystem"]),
    (guest(namespace="root/cimv2"), NOT_FOUND, ["No such instance", GUEST, "root/cimv2"]),
    (at(GUEST, CreationClassName=GUEST), FAILED, ["No domain name specified"]),
    (at(JOB, InstanceID="nope"), NOT_FOUND, ["InstanceID"]),
    (at(FILTER, "root/interop", Name="nope"), NOT_FOUND, ["No such instance: ", "nope"]),
]


@pytest.mark.parametrize("operation", ["GetInstance", "GetProperty"])
@pytest.mark.parametrize("path, status, words", NOT_THERE, ids=str)
def test_an_instance_that_is_not_there(daemon, operation, path, status, words):
    check(lambda: ONE_INSTANCE[operation](daemon, path), status, *words)


def test_an_association_that_is_not_there(connection):
    (host,) = connection.EnumerateInstanceNames("KVM_HostSystem")
    for ends, culprit in [
        ({"Antecedent": "text", "Dependent": host}, "Antecedent"),
        ({"Antecedent": guest("nope"), "Dependent": host}, "Antecedent"),
        ({"Antecedent": guest(), "Dependent": "text"}, "Dependent"),
        ({"Antecedent": guest(), "Dependent": guest()}, "Dependent"),
        ({"Antecedent": guest()}, "Dependent"),
    ]:
        path = at("KVM_HostedDependency", **ends)
        check(lambda: connection.GetInstance(path), NOT_FOUND, f"No such instance ({culprit})")  # noqa: B023


def test_an_association_of_what_stands_at_the_wrong_end(daemon):
    interop = daemon.connect(default_namespace="root/interop")
    association = interop.EnumerateInstances("CIM_ElementStatisticalData")[0]
    assert interop.GetInstance(association.path)["Stats"] == association["Stats"]
    path = association.path.copy()
    path["ManagedElement"] = interop.EnumerateInstanceNames("CIM_Namespace")[0]
    check(lambda: interop.GetInstance(path), NOT_FOUND, "No such instance (ManagedElement)")


@pytest.mark.parametrize("operation", ["ModifyInstance", "SetProperty", "DeleteInstance"])
@pytest.mark.parametrize("path", [at(SETTINGS, InstanceID="wrong"), guest("nope"), at(JOB, InstanceID="nope")], ids=str)
def test_writing_to_an_instance_that_is_not_there(daemon, operation, path):
    check(lambda: ONE_INSTANCE[operation](daemon, path), NOT_FOUND)


@pytest.mark.parametrize("operation", ["CreateInstance", "ModifyInstance", "SetProperty", "DeleteInstance"])
@pytest.mark.parametrize("path", [guest(), at(SETTINGS, InstanceID="MigrationSettingData")], ids=str)
def test_what_is_only_to_be_read(daemon, operation, path):
    """Its status says so, and what the client may not do."""
    what = {"CreateInstance": "created", "DeleteInstance": "deleted"}.get(operation, "modified")
    check(lambda: ONE_INSTANCE[operation](daemon, path), NOT_SUPPORTED, path.classname, what)


@pytest.mark.parametrize(
    "properties, status, words",
    [
        ({"NoSuch": "x"}, INVALID_PARAMETER, ["class CIM_IndicationFilter has no property NoSuch"]),
        ({"Name": "other"}, INVALID_PARAMETER, ["key property Name"]),
        ({"Query": pywbem.Uint8(1)}, INVALID_PARAMETER, ["`Query`", "a string", "uint8"]),
        ({"Query": ["a", "b"]}, INVALID_PARAMETER, ["`Query`", "a string", "an array"]),
        ({"IndividualSubscriptionSupported": "maybe"}, INVALID_PARAMETER, ["`IndividualSubscriptionSupported`", "a boolean", "`maybe`"]),
        ({"SourceNamespaces": ["root/nowhere"]}, INVALID_PARAMETER, ["SourceNamespaces", "root/nowhere"]),
    ],
    ids=str,
)
def test_a_modification_that_cannot_be(daemon, properties, status, words):
    interop = daemon.connect(default_namespace="root/interop")
    new = pywbem.CIMInstance(FILTER, {"Name": "table", "QueryLanguage": "WQL", "Query": "SELECT * FROM CIM_InstCreation"})
    path = interop.CreateInstance(new)
    try:
        before = interop.GetInstance(path)
        check(lambda: interop.ModifyInstance(instance(path, **properties)), status, *words)
        if "NoSuch" in properties:
            check(lambda: interop.ModifyInstance(instance(path), PropertyList=["NoSuch"]), status, *words)
        assert interop.GetInstance(path).properties == before.properties
    finally:
        interop.DeleteInstance(path)


@pytest.mark.parametrize(
    "name, content, status, words",
    [
        ("NoSuch", "<VALUE>x</VALUE>", NO_SUCH_PROPERTY, ["CIM_IndicationFilter has no property NoSuch"]),
        ("Name", "<VALUE>other</VALUE>", INVALID_PARAMETER, ["key property Name"]),
        ("Query", "<VALUE.ARRAY><VALUE>x</VALUE></VALUE.ARRAY>", TYPE_MISMATCH, ["`Query`", "an array"]),
        ("IndividualSubscriptionSupported", "<VALUE>maybe</VALUE>", TYPE_MISMATCH, ["`IndividualSubscriptionSupported`", "`maybe`"]),
    ],
)
def test_a_property_that_cannot_be_set(daemon, name, content, status, words):
    interop = daemon.connect(default_namespace="root/interop")
    new = pywbem.CIMInstance(FILTER, {"Name": "table", "QueryLanguage": "WQL", "Query": "SELECT * FROM CIM_InstCreation"})
    path = interop.CreateInstance(new)
    try:
        check(lambda: asked(set_property(daemon, path, name, content)), status, *words)
    finally:
        interop.DeleteInstance(path)


def test_what_of_a_job_cannot_be_changed(start_daemon, config, checks):
    checks.clear()
    daemon = start_daemon(config)
    connection = daemon.connect()
    job = Gate(connection).migrate("old")
    before = connection.GetInstance(job)
    for name, content, status in [
        ("Status", "<VALUE>Wonderful</VALUE>", NOT_SUPPORTED),
        ("JobState", "<VALUE>8</VALUE>", NOT_SUPPORTED),
        ("InstanceID", "<VALUE>other</VALUE>", INVALID_PARAMETER),
        ("TimeBeforeRemoval", "<VALUE>20260101000000.000000+000</VALUE>", INVALID_PARAMETER),
        ("TimeBeforeRemoval", "<VALUE>soon</VALUE>", TYPE_MISMATCH),
        ("DeleteOnCompletion", "", INVALID_PARAMETER),
        ("Priority", "<VALUE>-1</VALUE>", TYPE_MISMATCH),
    ]:
        check(lambda: asked(set_property(daemon, job, name, content)), status, name)  # noqa: B023
    for change, status in [
        ({"Status": "Wonderful"}, NOT_SUPPORTED),
        ({"NoSuch": "x"}, INVALID_PARAMETER),
        ({"DeleteOnCompletion": "maybe"}, INVALID_PARAMETER),
    ]:
        check(lambda: connection.ModifyInstance(instance(job, **change)), status, *change)  # noqa: B023
    for name in ("DeleteOnCompletion", "TimeBeforeRemoval", "Priority"):
        assert connection.GetInstance(job)[name] == before[name]


def test_a_property_that_is_not_there(daemon):
    check(lambda: asked(get_property(daemon, guest(), "NoSuch")), NO_SUCH_PROPERTY, GUEST, "NoSuch")


def test_a_modification_of_one_class_at_the_path_of_another(connection):
    mixed = pywbem.CIMInstance(SETTINGS, {"ElementName": "x"}, path=guest())
    check(lambda: connection.ModifyInstance(mixed), INVALID_PARAMETER, SETTINGS, GUEST)


def test_the_statistics_cannot_be_switched_off(daemon):
    interop = daemon.connect(default_namespace="root/interop")
    (manager,) = interop.EnumerateInstances(MANAGER)
    assert manager["GatherStatisticalData"] is True
    for value in (False, True):
        change = instance(manager.path, GatherStatisticalData=value)
        check(lambda: interop.ModifyInstance(change), NOT_SUPPORTED, MANAGER, "modified")  # noqa: B023
        content = f"<VALUE>{value}</VALUE>"
        check(lambda: asked(set_property(daemon, manager.path, "GatherStatisticalData", content)), NOT_SUPPORTED, MANAGER)  # noqa: B023
    assert interop.GetInstance(manager.path)["GatherStatisticalData"] is True


# --------------------------------------------------------------- associations

FOLLOWED = ["Associators", "AssociatorNames", "References", "ReferenceNames"]
FOLLOWED_IN_PIECES = [
    "OpenAssociatorInstances",
    "OpenAssociatorInstancePaths",
    "OpenReferenceInstances",
    "OpenReferenceInstancePaths",
]


@pytest.mark.parametrize("operation", [*FOLLOWED, *FOLLOWED_IN_PIECES])
def test_an_association_from_what_is_not_there(connection, operation):
    follow = getattr(connection, operation)
    check(lambda: follow(guest("nope")), NOT_FOUND, "`nope'")
    check(lambda: follow(at(SERVICE, Name="wrong")), NOT_FOUND, "No such instance (")
    check(lambda: follow(at("KVM_NoSuchClass", Name="x")), INVALID_PARAMETER, "KVM_NoSuchClass")


@pytest.mark.parametrize("operation", [*FOLLOWED, *FOLLOWED_IN_PIECES])
def test_filters_that_name_no_class(connection, operation):
    filters = ["ResultClass"] if "Reference" in operation else ["AssocClass", "ResultClass"]
    for name in filters:
        wrong = {name: "KVM_NoSuchClass"}
        check(lambda: getattr(connection, operation)(guest(), **wrong), INVALID_PARAMETER, "KVM_NoSuchClass")  # noqa: B023


@pytest.mark.parametrize("operation", FOLLOWED)
def test_roles_that_no_association_has_lead_nowhere(connection, operation):
    """A role is a name of a property of any association, so no role is an error."""
    assert getattr(connection, operation)(guest(), Role="NoSuchRole") == []


# --------------------------------------------------------------- queries


@pytest.mark.parametrize(
    "language, query, status, words",
    [
        ("SQL", f"SELECT * FROM {GUEST}", LANGUAGE, ["`SQL`"]),
        ("", f"SELECT * FROM {GUEST}", LANGUAGE, ["``"]),
        ("DMTF:FQL", "Name = 'x'", LANGUAGE, ["`DMTF:FQL`"]),
        ("WQL", "", INVALID_QUERY, ["at character 1", "SELECT"]),
        ("WQL", f"SELECT * FROM {GUEST} WHERE", INVALID_QUERY, ["the end"]),
        ("DMTF:CQL", f"SELECT * FROM {GUEST} WHERE Name = 5", INVALID_QUERY, ["`Name` (a string)", "`5` (a number)"]),
        ("DMTF:CQL", f"SELECT * FROM {GUEST} WHERE NoSuch = 5", INVALID_QUERY, [GUEST, "`NoSuch`"]),
        ("DMTF:CQL", f"SELECT * FROM {GUEST} ORDER BY Name", FEATURE_NOT_SUPPORTED, ["ordering"]),
    ],
    ids=str,
)
def test_a_query_that_is_none(connection, language, query, status, words):
    check(lambda: connection.ExecQuery(language, query), status, *words)
    check(lambda: connection.OpenQueryInstances(language, query, MaxObjectCount=1), status, *words)


FQL = {"FilterQueryLanguage": "DMTF:FQL"}
OPENING = {
    "OpenEnumerateInstances": GUEST,
    "OpenEnumerateInstancePaths": GUEST,
    **dict.fromkeys(FOLLOWED_IN_PIECES, guest()),
}


@pytest.mark.parametrize("operation", OPENING)
@pytest.mark.parametrize(
    "options, status, words",
    [
        ({**FQL, "FilterQuery": "Name ="}, INVALID_QUERY, ["at character 7"]),
        ({**FQL, "FilterQuery": f"SELECT * FROM {GUEST}"}, INVALID_QUERY, ["at character "]),
        ({"FilterQueryLanguage": "DMTF:CQL", "FilterQuery": "Name = 'x'"}, LANGUAGE, ["`DMTF:CQL`"]),
        (FQL, INVALID_PARAMETER, ["FilterQuery"]),
        ({"FilterQuery": "Name = 'x'"}, INVALID_PARAMETER, ["FilterQueryLanguage"]),
        ({"ContinueOnError": True}, NO_CONTINUATION, ["ContinueOnError"]),
        ({"OperationTimeout": 0}, INVALID_TIMEOUT, ["OperationTimeout is 0 s", "1 to 600 s"]),
        ({"OperationTimeout": 601}, INVALID_TIMEOUT, ["OperationTimeout is 601 s", "1 to 600 s"]),
    ],
    ids=str,
)
def test_what_cannot_be_opened(connection, operation, options, status, words):
    check(lambda: getattr(connection, operation)(OPENING[operation], MaxObjectCount=1, **options), status, *words)


@pytest.mark.parametrize("operation", OPENING)
def test_no_count_is_too_large(connection, operation):
    """DSP0200 5.4.2.24.3: the server returns up to so many, so it may return fewer."""
    result = getattr(connection, operation)(OPENING[operation], MaxObjectCount=4294967295)
    assert result.eos


# --------------------------------------------------------------- contexts


@pytest.mark.parametrize("operation", ["PullInstancesWithPath", "PullInstancePaths", "PullInstances", "CloseEnumeration"])
def test_a_context_that_is_not_the_clients(connection, operation):
    def use(context):
        count = {} if operation == "CloseEnumeration" else {"MaxObjectCount": 1}
        return getattr(connection, operation)(context, **count)

    for text in ("", "nonsense", "00000000-0000-4000-8000-000000000000"):
        check(lambda: use((text, "root/virt")), INVALID_CONTEXT, f"enumeration context `{text}`")  # noqa: B023
    mine = opened(connection).context
    check(lambda: use((mine[0], "root/interop")), INVALID_CONTEXT, "namespace")
    check(lambda: use((mine[0], "root/nowhere")), INVALID_NAMESPACE, "root/nowhere")
    if operation in ("PullInstancePaths", "PullInstances"):
        check(lambda: use(mine), INVALID_CONTEXT, "operation")
    connection.CloseEnumeration(mine)
    check(lambda: use(mine), INVALID_CONTEXT, "enumeration context")


# --------------------------------------------------------------- methods


@pytest.mark.parametrize(
    "target, method, parameters, status, words",
    [
        ("KVM_NoSuchService", CHECK, {}, NOT_FOUND, ["KVM_NoSuchService"]),
        (at("KVM_NoSuchService", Name="x"), CHECK, {}, NOT_FOUND, ["KVM_NoSuchService"]),
        (at(SERVICE, "root/nowhere", Name="x"), CHECK, {}, INVALID_NAMESPACE, ["root/nowhere"]),
        (SERVICE, "NoSuchMethod", {}, METHOD_NOT_FOUND, ["Unknown Method", SERVICE, "NoSuchMethod"]),
        (GUEST, CHECK, {}, METHOD_NOT_FOUND, ["Unknown Method", GUEST, CHECK]),
        (SERVICE, "StartService", {}, METHOD_NOT_AVAILABLE, ["StartService", SERVICE]),
        ("CIM_VirtualSystemMigrationService", CHECK, {}, METHOD_NOT_AVAILABLE, [CHECK]),
        (at(SERVICE, "root/interop", Name="x"), CHECK, {}, METHOD_NOT_AVAILABLE, [CHECK]),
        (guest(), "RequestStateChange", {}, METHOD_NOT_AVAILABLE, ["RequestStateChange", GUEST]),
        (at(JOB, InstanceID="nope"), "KillJob", {}, NOT_FOUND, ["InstanceID"]),
        (at(JOB, InstanceID="nope"), "GetErrors", {}, NOT_FOUND, ["InstanceID"]),
        (at(JOB, InstanceID="nope"), "RequestStateChange", {}, INVALID_PARAMETER, ["`RequestedState` is required"]),
        (
            at(JOB, InstanceID="nope"),
            "RequestStateChange",
            {"RequestedState": "many"},
            INVALID_PARAMETER,
            ["`RequestedState`", "uint16", "`many`"],
        ),
        (
            at(JOB, InstanceID="nope"),
            "RequestStateChange",
            {"RequestedState": pywbem.Uint32(70000)},
            INVALID_PARAMETER,
            ["`RequestedState`", "0 to 65535", "70000"],
        ),
        (SERVICE, CHECK, {"ComputerSystem": "web", "DestinationHost": "other"}, TYPE_MISMATCH, ["`ComputerSystem`", "reference"]),
        (SERVICE, CHECK, {"DestinationHost": "other"}, INVALID_PARAMETER, ["`ComputerSystem` is required"]),
        (SERVICE, CHECK, {"ComputerSystem": guest()}, INVALID_PARAMETER, ["`DestinationHost` is required"]),
        (
            SERVICE,
            CHECK,
            {"ComputerSystem": guest(), "DestinationHost": "other", "MigrationSettingData": guest()},
            INVALID_PARAMETER,
            ["`MigrationSettingData`", "a reference"],
        ),
    ],
    ids=str,
)
def test_a_call_that_cannot_be(connection, target, method, parameters, status, words):
    check(lambda: connection.InvokeMethod(method, target, **parameters), status, *words)


# --------------------------------------------------------------- classes


@pytest.mark.parametrize(
    "operation, act",
    [
        ("CreateClass", lambda c: c.CreateClass(pywbem.CIMClass("KVM_New"))),
        ("CreateClass", lambda c: c.CreateClass(pywbem.CIMClass("KVM_New", superclass="KVM_NoSuchClass"))),
        ("ModifyClass", lambda c: c.ModifyClass(pywbem.CIMClass("KVM_NoSuchClass"))),
        ("DeleteClass", lambda c: c.DeleteClass(GUEST)),
        ("DeleteClass", lambda c: c.DeleteClass("KVM_NoSuchClass")),
        ("SetQualifier", lambda c: c.SetQualifier(pywbem.CIMQualifierDeclaration("New", "boolean"))),
        ("DeleteQualifier", lambda c: c.DeleteQualifier("Key")),
    ],
)
def test_the_schema_is_fixed(connection, operation, act):
    check(lambda: act(connection), NOT_SUPPORTED, operation, "fixed at start")


@pytest.mark.parametrize("operation", ["Associators", "AssociatorNames", "References", "ReferenceNames"])
def test_associations_of_a_class_that_is_not_there(connection, operation):
    check(lambda: getattr(connection, operation)("KVM_NoSuchClass"), INVALID_PARAMETER, "KVM_NoSuchClass")
    for name in ["ResultClass"] if "Reference" in operation else ["AssocClass", "ResultClass"]:
        wrong = {name: "KVM_NoSuchClass"}
        check(lambda: getattr(connection, operation)(GUEST, **wrong), INVALID_PARAMETER, "KVM_NoSuchClass")  # noqa: B023
