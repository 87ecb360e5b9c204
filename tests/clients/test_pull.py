"""Pulled enumerations: the same objects in pieces, and every way to hold them wrong."""

import time

import pytest
import pywbem
from harness import NAMESPACE, PATIENCE

CLASS = "KVM_ComputerSystem"
FQL = {"FilterQueryLanguage": "DMTF:FQL"}


@pytest.fixture
def host(connection):
    return connection.EnumerateInstanceNames("KVM_HostSystem")[0]


def refusal(act):
    with pytest.raises(pywbem.CIMError) as refused:
        act()
    return refused.value.status_code, refused.value.status_description


def everything(connection, host):
    """What each Iter… method finds, with the traditional operation that says the same."""
    iterators = {
        "instances": lambda: connection.IterEnumerateInstances(CLASS, MaxObjectCount=3),
        "paths": lambda: connection.IterEnumerateInstancePaths(CLASS, MaxObjectCount=3),
        "associators": lambda: connection.IterAssociatorInstances(host, MaxObjectCount=3),
        "associator paths": lambda: connection.IterAssociatorInstancePaths(host, MaxObjectCount=3),
        "references": lambda: connection.IterReferenceInstances(host, MaxObjectCount=3),
        "reference paths": lambda: connection.IterReferenceInstancePaths(host, MaxObjectCount=3),
        "query": lambda: connection.IterQueryInstances(
            "DMTF:CQL", f"SELECT * FROM {CLASS} WHERE EnabledState = 2", MaxObjectCount=3
        ).generator,
    }
    return {name: [comparable(it) for it in found()] for name, found in iterators.items()}


def comparable(found):
    """A text of an object and its path: pywbem compares the properties only."""
    path = getattr(found, "path", found)
    text = f"{path} " if path is not None else ""
    return text + (found.tomof() if isinstance(found, pywbem.CIMInstance) else "")


def test_pulling_or_not_gives_the_same(daemon, host):
    by = {use: everything(daemon.connect(use_pull_operations=use), host) for use in (True, False, None)}
    for name, objects in by[True].items():
        assert objects, name
        if name != "query":  # ExecQuery tells paths, OpenQueryInstances has none.
            assert by[False][name] == objects, name
        assert by[None][name] == objects, name
    assert len(by[False]["query"]) == len(by[True]["query"])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 100])
def test_every_size_of_pieces_gives_everything(connection, count):
    opened = connection.OpenEnumerateInstancePaths(CLASS, MaxObjectCount=count)
    paths = list(opened.paths)
    while not opened.eos:
        assert len(opened.paths) <= count
        opened = connection.PullInstancePaths(opened.context, MaxObjectCount=count)
        paths += opened.paths
    assert [path["Name"] for path in paths] == [p["Name"] for p in connection.EnumerateInstanceNames(CLASS)]


def test_no_objects_may_be_asked_for(connection):
    opened = connection.OpenEnumerateInstances(CLASS, MaxObjectCount=0)
    assert (opened.instances, opened.eos) == ([], False)
    pulled = connection.PullInstancesWithPath(opened.context, MaxObjectCount=0)
    assert (pulled.instances, pulled.eos) == ([], False)
    pulled = connection.PullInstancesWithPath(pulled.context, MaxObjectCount=10)
    assert (len(pulled.instances), pulled.eos, pulled.context) == (4, True, None)


def test_nothing_at_all_is_the_end(connection):
    opened = connection.OpenEnumerateInstances("Xen_ComputerSystem", MaxObjectCount=10)
    assert (opened.instances, opened.eos, opened.context) == ([], True, None)


@pytest.mark.parametrize(
    "query, names",
    [
        ("EnabledState = 2", ["web"]),
        ("Name LIKE '.*e.*'", ["asleep", "web"]),
        ("Name = 'web' OR Name = 'db'", ["db", "web"]),
        ("ANY OperationalStatus = 15", ["asleep", "db"]),
        ("ElementName = NULL", []),
    ],
)
def test_filters_leave_what_fits(connection, query, names):
    opened = connection.OpenEnumerateInstances(CLASS, **FQL, FilterQuery=query, MaxObjectCount=100)
    assert sorted(it["Name"] for it in opened.instances) == names
    opened = connection.OpenEnumerateInstancePaths(CLASS, **FQL, FilterQuery=query, MaxObjectCount=100)
    assert sorted(it["Name"] for it in opened.paths) == names


def open_with(connection, **options):
    return lambda: connection.OpenEnumerateInstances(CLASS, **{"MaxObjectCount": 1, **options})


@pytest.mark.parametrize(
    "options, status, words",
    [
        ({**FQL, "FilterQuery": "EnabledState ="}, pywbem.CIM_ERR_INVALID_QUERY, "character"),
        ({**FQL, "FilterQuery": "EnabledState = 'x'"}, pywbem.CIM_ERR_INVALID_QUERY, "at character 14: `EnabledState` (a number) can't be compared with `'x'` (a string)"),
        ({**FQL, "FilterQuery": "Nmae = 'web'"}, pywbem.CIM_ERR_INVALID_QUERY, "at character 1: class `KVM_ComputerSystem` has no property `Nmae`"),
        ({"FilterQueryLanguage": "SQL", "FilterQuery": "1"}, pywbem.CIM_ERR_QUERY_LANGUAGE_NOT_SUPPORTED, "SQL"),
        (FQL, pywbem.CIM_ERR_INVALID_PARAMETER, "FilterQuery"),
        ({"FilterQuery": "Name = 'x'"}, pywbem.CIM_ERR_INVALID_PARAMETER, "FilterQueryLanguage"),
        ({"ContinueOnError": True}, pywbem.CIM_ERR_CONTINUATION_ON_ERROR_NOT_SUPPORTED, "ContinueOnError"),
        ({"OperationTimeout": 0}, pywbem.CIM_ERR_INVALID_OPERATION_TIMEOUT, "OperationTimeout"),
        ({"OperationTimeout": 4_000_000}, pywbem.CIM_ERR_INVALID_OPERATION_TIMEOUT, "4000000"),
        ({"namespace": "root/nowhere"}, pywbem.CIM_ERR_INVALID_NAMESPACE, "root/nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_opened(connection, options, status, words):
    found, text = refusal(open_with(connection, **options))
    assert (found, words in text) == (status, True), text


def test_unknown_classes_are_named(connection, host):
    nowhere = pywbem.CIMInstanceName("KVM_NoSuch", {"Name": "x"})
    for act, status in [
        (lambda: connection.OpenEnumerateInstances("KVM_NoSuch"), pywbem.CIM_ERR_INVALID_CLASS),
        (lambda: connection.OpenEnumerateInstancePaths("KVM_NoSuch"), pywbem.CIM_ERR_INVALID_CLASS),
        (lambda: connection.OpenAssociatorInstances(nowhere), pywbem.CIM_ERR_INVALID_PARAMETER),
        (lambda: connection.OpenReferenceInstancePaths(nowhere), pywbem.CIM_ERR_INVALID_PARAMETER),
        (lambda: connection.OpenAssociatorInstancePaths(host, AssocClass="KVM_NoSuch"), pywbem.CIM_ERR_INVALID_PARAMETER),
        (lambda: connection.OpenReferenceInstances(host, ResultClass="KVM_NoSuch"), pywbem.CIM_ERR_INVALID_PARAMETER),
    ]:
        found, text = refusal(act)
        assert (found, "KVM_NoSuch" in text) == (status, True), text


def test_a_context_is_over_when_it_is(connection):
    for end in (
        lambda context: connection.CloseEnumeration(context),
        lambda context: connection.PullInstancesWithPath(context, MaxObjectCount=100),
    ):
        context = connection.OpenEnumerateInstances(CLASS, MaxObjectCount=1).context
        end(context)
        for act in (
            lambda context=context: connection.PullInstancesWithPath(context, MaxObjectCount=1),
            lambda context=context: connection.CloseEnumeration(context),
        ):
            assert refusal(act)[0] == pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT


def test_a_context_expires(connection, daemon):
    context, _ = connection.OpenEnumerateInstances(CLASS, MaxObjectCount=1, OperationTimeout=1).context
    # To be counted does not prolong a context's life.
    count = f"""<?xml version="1.0"?><CIM CIMVERSION="2.0" DTDVERSION="2.0">
<MESSAGE ID="1" PROTOCOLVERSION="1.0"><SIMPLEREQ><IMETHODCALL NAME="EnumerationCount">
<LOCALNAMESPACEPATH><NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/></LOCALNAMESPACEPATH>
<IPARAMVALUE NAME="EnumerationContext"><VALUE>{context}</VALUE></IPARAMVALUE>
</IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>"""
    assert "<ERROR" not in daemon.post(count).text
    deadline = time.monotonic() + PATIENCE
    while '<ERROR CODE="21"' not in daemon.post(count).text:
        assert time.monotonic() < deadline, "the context lives on"
    act = lambda: connection.PullInstancesWithPath((context, NAMESPACE), MaxObjectCount=1)  # noqa: E731
    assert refusal(act)[0] == pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT


def test_a_context_belongs_to_its_kind_and_namespace(connection):
    context = connection.OpenEnumerateInstances(CLASS, MaxObjectCount=1).context
    status, _ = refusal(lambda: connection.PullInstancePaths(context, MaxObjectCount=1))
    assert status == pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT
    elsewhere = (context[0], "root/interop")
    status, _ = refusal(lambda: connection.PullInstancesWithPath(elsewhere, MaxObjectCount=1))
    assert status == pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT
    # Neither attempt cost the context anything.
    assert len(connection.PullInstancesWithPath(context, MaxObjectCount=100).instances) == 3


@pytest.mark.parametrize("text", ["", "nonsense", "0", "a" * 5000, "<x/>"])
def test_a_context_that_never_was(connection, text):
    status, _ = refusal(lambda: connection.PullInstancesWithPath((text, NAMESPACE), MaxObjectCount=1))
    assert status == pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT


def test_a_context_outlives_its_connection(daemon):
    context = daemon.connect().OpenEnumerateInstances(CLASS, MaxObjectCount=1).context
    assert len(daemon.connect().PullInstancesWithPath(context, MaxObjectCount=9).instances) == 3


@pytest.mark.parametrize(
    "language, query, status, words",
    [
        ("WQL", "SELECT * FRO x", pywbem.CIM_ERR_INVALID_QUERY, "character 10"),
        ("WQL", "SELECT * FROM KVM_NoSuch", pywbem.CIM_ERR_INVALID_QUERY, "KVM_NoSuch"),
        ("DMTF:CQL", f"SELECT Nope FROM {CLASS}", pywbem.CIM_ERR_INVALID_QUERY, "Nope"),
        ("SQL", f"SELECT * FROM {CLASS}", pywbem.CIM_ERR_QUERY_LANGUAGE_NOT_SUPPORTED, "SQL"),
        ("DMTF:FQL", "Name = 'x'", pywbem.CIM_ERR_QUERY_LANGUAGE_NOT_SUPPORTED, "FQL"),
    ],
)
def test_queries_that_are_none(connection, language, query, status, words):
    for act in (
        lambda: connection.ExecQuery(language, query),
        lambda: connection.OpenQueryInstances(language, query, MaxObjectCount=1),
    ):
        found, text = refusal(act)
        assert (found, words in text) == (status, True), text


def test_the_class_of_a_query_comes_on_request(connection):
    opened = connection.OpenQueryInstances(
        "WQL", f"SELECT Name FROM {CLASS}", ReturnQueryResultClass=True, MaxObjectCount=9
    )
    assert list(opened.query_result_class.properties) == ['Name']
    assert not opened.query_result_class.methods
    assert all(list(it.properties) == ['Name'] for it in opened.instances)
    assert sorted(it["Name"] for it in opened.instances) == ["asleep", "db", "old", "web"]
