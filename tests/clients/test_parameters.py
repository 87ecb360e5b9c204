"""Every operation with each of its parameters missing, doubled, misspelled or of another kind.

The parameters of all operations stand in one table, as CIM-XML, because pywbem makes only good ones.
"""

import re

import pytest
import pywbem

INVALID_NAMESPACE = pywbem.CIM_ERR_INVALID_NAMESPACE
INVALID_PARAMETER = pywbem.CIM_ERR_INVALID_PARAMETER
INVALID_CLASS = pywbem.CIM_ERR_INVALID_CLASS
NOT_FOUND = pywbem.CIM_ERR_NOT_FOUND
NOT_SUPPORTED = pywbem.CIM_ERR_NOT_SUPPORTED
INVALID_CONTEXT = pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT

UNKNOWN = "KVM_NoSuchClass"

CLASS = '<CLASSNAME NAME="KVM_ComputerSystem"/>'
KEYS = (
    '<KEYBINDING NAME="CreationClassName"><KEYVALUE VALUETYPE="string">KVM_ComputerSystem</KEYVALUE></KEYBINDING>'
    '<KEYBINDING NAME="Name"><KEYVALUE VALUETYPE="string">web</KEYVALUE></KEYBINDING>'
)
PATH = f'<INSTANCENAME CLASSNAME="KVM_ComputerSystem">{KEYS}</INSTANCENAME>'
INSTANCE = '<INSTANCE CLASSNAME="KVM_ComputerSystem"></INSTANCE>'
DEFINITION = '<CLASS NAME="KVM_ComputerSystem"></CLASS>'
QUALIFIER = '<QUALIFIER.DECLARATION NAME="Frob" TYPE="boolean"></QUALIFIER.DECLARATION>'


def value(text):
    return f"<VALUE>{text}</VALUE>"


FLAG = value("FALSE")
NUMBER = value("9")
NAMES = "<VALUE.ARRAY><VALUE>Name</VALUE></VALUE.ARRAY>"
ASSOCIATION = '<CLASSNAME NAME="CIM_Dependency"/>'
# What an operation can be asked to show; the deprecated ones are read and dropped.
SHOWN = {"IncludeClassOrigin": FLAG, "PropertyList": NAMES}
SHOWN_OF_OLD = {"LocalOnly": FLAG, "IncludeQualifiers": FLAG, **SHOWN}
ASSOCIATORS = {"AssocClass": ASSOCIATION, "ResultClass": CLASS, "Role": value("x"), "ResultRole": value("y")}
REFERENCES = {"ResultClass": ASSOCIATION, "Role": value("x")}
OPENED = {
    "FilterQueryLanguage": value("DMTF:FQL"),
    "FilterQuery": value("Name = 'web'"),
    "OperationTimeout": NUMBER,
    "ContinueOnError": FLAG,
    "MaxObjectCount": NUMBER,
}
CONTEXT = {"EnumerationContext": value("no context")}
PULLED = {**CONTEXT, "MaxObjectCount": NUMBER}

# What must be there, what may be there, and the error of these parameters, if they end in one.
OPERATIONS = {
    "GetClass": ({"ClassName": CLASS}, SHOWN_OF_OLD, None),
    "EnumerateClasses": (
        {},
        {"ClassName": CLASS, "DeepInheritance": FLAG, "LocalOnly": FLAG, "IncludeQualifiers": FLAG, "IncludeClassOrigin": FLAG},
        None,
    ),
    "EnumerateClassNames": ({}, {"ClassName": CLASS, "DeepInheritance": FLAG}, None),
    "CreateClass": ({"NewClass": DEFINITION}, {}, NOT_SUPPORTED),
    "ModifyClass": ({"ModifiedClass": DEFINITION}, {}, NOT_SUPPORTED),
    "DeleteClass": ({"ClassName": CLASS}, {}, NOT_SUPPORTED),
    "GetQualifier": ({"QualifierName": value("Key")}, {}, None),
    "EnumerateQualifiers": ({}, {}, None),
    "SetQualifier": ({"QualifierDeclaration": QUALIFIER}, {}, NOT_SUPPORTED),
    "DeleteQualifier": ({"QualifierName": value("Key")}, {}, NOT_SUPPORTED),
    "GetInstance": ({"InstanceName": PATH}, SHOWN_OF_OLD, None),
    "EnumerateInstances": ({"ClassName": CLASS}, {"DeepInheritance": FLAG, **SHOWN_OF_OLD}, None),
    "EnumerateInstanceNames": ({"ClassName": CLASS}, {}, None),
    "CreateInstance": ({"NewInstance": INSTANCE}, {}, NOT_SUPPORTED),
    "ModifyInstance": (
        {"ModifiedInstance": f"<VALUE.NAMEDINSTANCE>{PATH}{INSTANCE}</VALUE.NAMEDINSTANCE>"},
        {"IncludeQualifiers": FLAG, "PropertyList": NAMES},
        NOT_SUPPORTED,
    ),
    "DeleteInstance": ({"InstanceName": PATH}, {}, NOT_SUPPORTED),
    "GetProperty": ({"InstanceName": PATH, "PropertyName": value("Name")}, {}, None),
    "SetProperty": (
        {"InstanceName": PATH, "PropertyName": value("ElementName")},
        {"NewValue": value("x")},
        NOT_SUPPORTED,
    ),
    "Associators": ({"ObjectName": PATH}, {**ASSOCIATORS, **SHOWN, "IncludeQualifiers": FLAG}, None),
    "AssociatorNames": ({"ObjectName": PATH}, ASSOCIATORS, None),
    "References": ({"ObjectName": PATH}, {**REFERENCES, **SHOWN, "IncludeQualifiers": FLAG}, None),
    "ReferenceNames": ({"ObjectName": PATH}, REFERENCES, None),
    "ExecQuery": ({"QueryLanguage": value("WQL"), "Query": value("SELECT * FROM KVM_ComputerSystem")}, {}, None),
    "OpenEnumerateInstances": ({"ClassName": CLASS}, {"DeepInheritance": FLAG, **SHOWN, **OPENED}, None),
    "OpenEnumerateInstancePaths": ({"ClassName": CLASS}, OPENED, None),
    "OpenAssociatorInstances": ({"InstanceName": PATH}, {**ASSOCIATORS, **SHOWN, **OPENED}, None),
    "OpenAssociatorInstancePaths": ({"InstanceName": PATH}, {**ASSOCIATORS, **OPENED}, None),
    "OpenReferenceInstances": ({"InstanceName": PATH}, {**REFERENCES, **SHOWN, **OPENED}, None),
    "OpenReferenceInstancePaths": ({"InstanceName": PATH}, {**REFERENCES, **OPENED}, None),
    "OpenQueryInstances": (
        {"FilterQueryLanguage": value("WQL"), "FilterQuery": value("SELECT * FROM KVM_ComputerSystem")},
        {"ReturnQueryResultClass": FLAG, "OperationTimeout": NUMBER, "ContinueOnError": FLAG, "MaxObjectCount": NUMBER},
        None,
    ),
    "PullInstancesWithPath": (PULLED, {}, INVALID_CONTEXT),
    "PullInstancePaths": (PULLED, {}, INVALID_CONTEXT),
    "PullInstances": (PULLED, {}, INVALID_CONTEXT),
    "CloseEnumeration": (CONTEXT, {}, INVALID_CONTEXT),
    "EnumerationCount": (CONTEXT, {}, INVALID_CONTEXT),
}

# The error of an operation with a class that is not there (DSP0200 5.3.2; libvirt-cim's brokers agree).
NO_SUCH_CLASS = {
    "GetClass": NOT_FOUND,
    "EnumerateClasses": INVALID_CLASS,
    "EnumerateClassNames": INVALID_CLASS,
    "GetInstance": INVALID_CLASS,
    "EnumerateInstances": INVALID_CLASS,
    "EnumerateInstanceNames": INVALID_CLASS,
    "CreateInstance": INVALID_CLASS,
    "ModifyInstance": INVALID_CLASS,
    "DeleteInstance": INVALID_CLASS,
    "GetProperty": INVALID_CLASS,
    "SetProperty": INVALID_CLASS,
    "ExecQuery": pywbem.CIM_ERR_INVALID_QUERY,
    "OpenEnumerateInstances": INVALID_CLASS,
    "OpenEnumerateInstancePaths": INVALID_CLASS,
    "OpenQueryInstances": pywbem.CIM_ERR_INVALID_QUERY,
    "Associators": INVALID_PARAMETER,
    "AssociatorNames": INVALID_PARAMETER,
    "References": INVALID_PARAMETER,
    "ReferenceNames": INVALID_PARAMETER,
    "OpenAssociatorInstances": INVALID_PARAMETER,
    "OpenAssociatorInstancePaths": INVALID_PARAMETER,
    "OpenReferenceInstances": INVALID_PARAMETER,
    "OpenReferenceInstancePaths": INVALID_PARAMETER,
}


def all_of(operation):
    must, may, _ = OPERATIONS[operation]
    return list({**must, **may}.items())


def check(daemon, operation, parameters, status, *words, **options):
    found, text = daemon.ask(operation, parameters, **options)
    assert found == status, f"{operation} {parameters}: {text}"
    for word in words:
        assert word in text, f"{operation} {parameters}: {text}"


# Classes are fixed at start: these do nothing, whatever they are asked to do.
FIXED = {"CreateClass", "ModifyClass", "DeleteClass", "SetQualifier", "DeleteQualifier"}


def refused(daemon, operation, parameters, *words):
    """The parameters are wrong."""
    if operation in FIXED:
        check(daemon, operation, parameters, NOT_SUPPORTED, operation, "fixed at start")
    else:
        check(daemon, operation, parameters, INVALID_PARAMETER, *words)


each_operation = pytest.mark.parametrize("operation", OPERATIONS)


@each_operation
def test_the_parameters_are_right_otherwise(daemon, operation):
    must, _, status = OPERATIONS[operation]
    check(daemon, operation, all_of(operation), status)
    check(daemon, operation, list(must.items()), status)


@each_operation
def test_a_namespace_that_is_not_there(daemon, operation):
    nowhere = {"namespace": ("root", "nowhere")}
    check(daemon, operation, all_of(operation), INVALID_NAMESPACE, "root/nowhere", **nowhere)
    # Whatever else is wrong: what is right depends on where it is.
    for wrong in ([], [("Frobnicate", "")], all_of(operation) * 2):
        check(daemon, operation, wrong, INVALID_NAMESPACE, "root/nowhere", **nowhere)


@each_operation
def test_a_parameter_that_is_not_there(daemon, operation):
    given = [*all_of(operation), ("Frobnicate", value("x"))]
    refused(daemon, operation, given, operation, "`Frobnicate`")
    for name in OPERATIONS[operation][0]:
        rest = [(f"{other}s" if other == name else other, content) for other, content in all_of(operation)]
        refused(daemon, operation, rest, f"`{name}s`")


@each_operation
def test_a_parameter_given_twice(daemon, operation):
    for name, content in all_of(operation):
        for other in (name, name.upper()):
            refused(daemon, operation, [*all_of(operation), (other, content)], f"`{other}`", "twice")


@each_operation
def test_a_parameter_that_is_missing_or_null(daemon, operation):
    must, may, _ = OPERATIONS[operation]
    for name in must:
        rest = [it for it in all_of(operation) if it[0] != name]
        refused(daemon, operation, rest, name)
        refused(daemon, operation, [*rest, (name, "")], name)


@each_operation
def test_a_parameter_of_another_kind(daemon, operation):
    kinds = [FLAG, NAMES, CLASS, PATH, INSTANCE, DEFINITION, QUALIFIER]
    for name, content in all_of(operation):
        element = re.match(r"<([A-Z.]+)", content)[1]
        fitting = {element}
        if name == "ObjectName":
            fitting.add("CLASSNAME")
        if name == "NewValue":
            fitting.add("VALUE.ARRAY")
        for other in kinds:
            if re.match(r"<([A-Z.]+)", other)[1] not in fitting:
                given = [(it, other if it == name else was) for it, was in all_of(operation)]
                refused(daemon, operation, given, f"`{name}`")


@each_operation
def test_a_value_of_another_type(daemon, operation):
    for name, content in all_of(operation):
        wrong = {FLAG: ["maybe", "", "0"], NUMBER: ["many", "", "-1", "4294967296", "1.5"]}.get(content, [])
        if name in ("Role", "ResultRole", "PropertyName", "QualifierName"):
            wrong = ["no name", "1x"]
        for text in wrong:
            given = [(it, value(text) if it == name else was) for it, was in all_of(operation)]
            refused(daemon, operation, given, f"`{name}`", f"`{text}`")


@pytest.mark.parametrize("operation", NO_SUCH_CLASS)
def test_a_class_that_is_not_there(daemon, operation):
    named = 0
    for name, content in all_of(operation):
        wrong = content.replace("KVM_ComputerSystem", UNKNOWN).replace("CIM_Dependency", UNKNOWN)
        if wrong != content:
            named += 1
            given = [(it, wrong if it == name else was) for it, was in all_of(operation)]
            check(daemon, operation, given, NO_SUCH_CLASS[operation], UNKNOWN)
    assert named > 0


def test_every_operation_that_names_a_class_is_looked_at():
    fixed = {"CreateClass", "ModifyClass", "DeleteClass"}
    names_one = {it for it in OPERATIONS if any("KVM_Comp" in content for _, content in all_of(it))}
    assert names_one - fixed == set(NO_SUCH_CLASS)


def test_an_operation_that_is_not_there(daemon):
    for operation in ("EnumerateEverything", "getinstances", "ExecuteQuery"):
        check(daemon, operation, [], NOT_SUPPORTED, f"`{operation}`")


def test_names_in_a_property_list_that_mean_nothing_are_ignored(daemon):
    """DSP0200 5.3.2.2: neither doubled nor unknown names are errors."""
    for names in (["NoSuch"], ["Name", "name"], ["no name", ""], []):
        content = "".join(map(value, names))
        given = [("ClassName", CLASS), ("PropertyList", f"<VALUE.ARRAY>{content}</VALUE.ARRAY>")]
        check(daemon, "EnumerateInstances", given, None)
