"""Filters, destinations and subscriptions, as the clients that make them do."""

import pytest
import pywbem

INTEROP = "interop"
QUERY = "SELECT * FROM CIM_InstModification"
LISTENER = "http://127.0.0.1:5990"


@pytest.fixture
def interop(daemon):
    """A connection to the interop namespace; what a test leaves there is deleted."""
    connection = daemon.connect(default_namespace=INTEROP)
    yield connection
    for name in ("CIM_IndicationSubscription", "CIM_IndicationFilter", "CIM_ListenerDestination"):
        for path in connection.EnumerateInstanceNames(name):
            connection.DeleteInstance(path)


def filter_of(name="f", **properties):
    properties = {"Name": name, "Query": QUERY, "QueryLanguage": "WQL", **properties}
    given = {key: value for key, value in properties.items() if value is not None}
    return pywbem.CIMInstance("CIM_IndicationFilter", given)


def destination_of(name="d", class_name="CIM_ListenerDestinationCIMXML", **properties):
    return pywbem.CIMInstance(class_name, {"Name": name, "Destination": LISTENER, **properties})


def subscription_of(filter_path, destination_path, **properties):
    ends = {"Filter": filter_path, "Handler": destination_path}
    return pywbem.CIMInstance("CIM_IndicationSubscription", {**ends, **properties})


def refusal(act):
    with pytest.raises(pywbem.CIMError) as refused:
        act()
    return refused.value.status_code, refused.value.status_description


def test_pywbems_subscription_manager(daemon):
    connection = daemon.connect(default_namespace=None)
    server = pywbem.WBEMServer(connection)
    with pywbem.WBEMSubscriptionManager("tests") as manager:
        server_id = manager.add_server(server)
        destination = manager.add_destination(server_id, LISTENER, owned=True, destination_id="d")
        filter_ = manager.add_filter(
            server_id, "root/virt", QUERY, query_language="WQL", owned=True, filter_id="f"
        )
        (subscription,) = manager.add_subscriptions(server_id, filter_.path, destination.path)
        assert manager.get_all_destinations(server_id) == [destination]
        assert manager.get_all_filters(server_id) == [filter_]
        assert manager.get_all_subscriptions(server_id) == [subscription]
        assert subscription.path["Filter"] == filter_.path
        assert subscription.path["Handler"] == destination.path
        with pytest.raises(pywbem.CIMError) as refused:
            manager.remove_filter(server_id, filter_.path)
        assert refused.value.status_code == pywbem.CIM_ERR_FAILED
    # The manager removes what it owns.
    for class_name in ("CIM_IndicationFilter", "CIM_ListenerDestination", "CIM_IndicationSubscription"):
        assert connection.EnumerateInstanceNames(class_name, namespace=server.interop_ns) == []


def test_what_the_client_leaves_out_is_filled_in(interop):
    path = interop.CreateInstance(filter_of())
    (manager,) = interop.EnumerateInstances("CIM_ObjectManager")
    made = interop.GetInstance(path)
    assert made["CreationClassName"] == "CIM_IndicationFilter"
    assert made["SystemCreationClassName"] == "CIM_ComputerSystem"
    assert made["SystemName"] == manager["SystemName"]
    assert made["IndividualSubscriptionSupported"] is True
    made = interop.GetInstance(interop.CreateInstance(destination_of()))
    assert (made["PersistenceType"], made["Protocol"]) == (2, 2)


@pytest.mark.parametrize("namespace", ["root/interop", "root/PG_InterOp", "ROOT/interop"])
def test_all_names_of_the_namespace_lead_to_the_same_objects(interop, daemon, namespace):
    path = interop.CreateInstance(filter_of())
    other = daemon.connect(default_namespace=namespace)
    (seen,) = other.EnumerateInstanceNames("CIM_IndicationFilter")
    assert seen.keybindings == path.keybindings
    assert seen.namespace == namespace
    destination = other.CreateInstance(destination_of())
    bound = other.CreateInstance(subscription_of(seen, destination))
    assert interop.EnumerateInstanceNames("CIM_IndicationSubscription")[0]["Filter"].keybindings == path.keybindings
    # A reference that does not say where is one to the same namespace.
    for end in bound.keybindings.values():
        end.namespace = None
    other.DeleteInstance(bound)


def test_a_subscription_leads_from_filter_to_destination(interop):
    filter_path, destination_path = interop.CreateInstance(filter_of()), interop.CreateInstance(destination_of())
    bound = interop.CreateInstance(subscription_of(filter_path, destination_path))
    (destination,) = interop.Associators(filter_path, AssocClass="CIM_IndicationSubscription")
    assert destination["Destination"] == LISTENER
    (found,) = interop.AssociatorNames(destination_path, Role="Handler", ResultRole="Filter")
    assert found.keybindings == filter_path.keybindings
    (reference,) = interop.References(filter_path, ResultClass="CIM_IndicationSubscription")
    assert reference["Handler"].keybindings == destination_path.keybindings
    assert interop.GetInstance(bound)["Filter"] == filter_path


def test_a_subscription_is_enabled_until_somebody_disables_it(interop):
    ends = interop.CreateInstance(filter_of()), interop.CreateInstance(destination_of())
    path = interop.CreateInstance(subscription_of(*ends, SubscriptionState=pywbem.Uint16(2)))
    made = interop.GetInstance(path)
    assert (made["SubscriptionState"], made["OtherSubscriptionState"]) == (2, None)
    assert (made["OnFatalErrorPolicy"], made["RepeatNotificationPolicy"]) == (2, 2)
    assert made["SubscriptionStartTime"] is not None
    change = pywbem.CIMInstance("CIM_IndicationSubscription", {"SubscriptionState": pywbem.Uint16(4)}, path=path)
    interop.ModifyInstance(change, PropertyList=["SubscriptionState"])
    assert interop.GetInstance(path)["SubscriptionState"] == 4


def test_who_made_what_is_on_record(interop, daemon):
    interop.CreateInstance(filter_of("recorded"))
    assert 'made CIM_IndicationFilter.' in daemon.log()


def test_a_filter_can_be_changed_but_not_its_keys(interop):
    path = interop.CreateInstance(filter_of())
    other = "SELECT * FROM CIM_InstDeletion"
    interop.ModifyInstance(pywbem.CIMInstance(path.classname, {"Query": other}, path=path))
    assert interop.GetInstance(path)["Query"] == other
    renamed = pywbem.CIMInstance(path.classname, path=path)
    # Set behind the back of pywbem, which would change the path as well.
    renamed.properties["Name"] = pywbem.CIMProperty("Name", "g")
    status, text = refusal(lambda: interop.ModifyInstance(renamed))
    assert status == pywbem.CIM_ERR_INVALID_PARAMETER
    assert "Name" in text


@pytest.mark.parametrize(
    "instance, status, words",
    [
        (filter_of(Query="SELECT * FRO x"), pywbem.CIM_ERR_INVALID_QUERY, "character 10"),
        (filter_of(Query="SELECT * FROM CIM_NoSuch"), pywbem.CIM_ERR_INVALID_PARAMETER, "CIM_NoSuch"),
        (filter_of(Query="SELECT * FROM CIM_System"), pywbem.CIM_ERR_INVALID_PARAMETER, "no indication"),
        (filter_of(Query="SELECT X FROM CIM_InstCreation"), pywbem.CIM_ERR_INVALID_PARAMETER, "`X`"),
        (filter_of(QueryLanguage="SQL"), pywbem.CIM_ERR_QUERY_LANGUAGE_NOT_SUPPORTED, "SQL"),
        (filter_of(QueryLanguage=None), pywbem.CIM_ERR_INVALID_PARAMETER, "QueryLanguage"),
        (filter_of(Query=None), pywbem.CIM_ERR_INVALID_PARAMETER, "Query"),
        (filter_of(name=None), pywbem.CIM_ERR_INVALID_PARAMETER, "Name"),
        (filter_of(NoSuch="x"), pywbem.CIM_ERR_INVALID_PARAMETER, "NoSuch"),
        (filter_of(Query=pywbem.Uint8(1)), pywbem.CIM_ERR_INVALID_PARAMETER, "Query"),
        (filter_of(SourceNamespaces=["root/virt", "root/nowhere"]), pywbem.CIM_ERR_INVALID_PARAMETER, "root/nowhere"),
        (destination_of(Destination="ftp://x"), pywbem.CIM_ERR_INVALID_PARAMETER, "ftp://x"),
        (destination_of(Destination="http://u:p@x"), pywbem.CIM_ERR_INVALID_PARAMETER, "user"),
        (destination_of(Destination="http://x/" + "y" * 2000), pywbem.CIM_ERR_INVALID_PARAMETER, "1024"),
        (destination_of(password="x"), pywbem.CIM_ERR_NOT_SUPPORTED, "password"),
        (destination_of(PersistenceType=pywbem.Uint16(9)), pywbem.CIM_ERR_INVALID_PARAMETER, "PersistenceType"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_cannot_be_is_refused_with_its_cause(interop, instance, status, words):
    found, text = refusal(lambda: interop.CreateInstance(instance))
    assert (found, words in text) == (status, True), text


def test_what_belongs_together(interop):
    filter_path, destination_path = interop.CreateInstance(filter_of()), interop.CreateInstance(destination_of())
    assert refusal(lambda: interop.CreateInstance(filter_of()))[0] == pywbem.CIM_ERR_ALREADY_EXISTS
    nowhere = pywbem.CIMInstanceName("CIM_IndicationFilter", {**filter_path.keybindings, "Name": "x"})
    status, text = refusal(lambda: interop.CreateInstance(subscription_of(nowhere, destination_path)))
    assert (status, text.startswith("Filter not found")) == (pywbem.CIM_ERR_NOT_FOUND, True)
    elsewhere = filter_path.copy()
    elsewhere.namespace = "root/virt"
    assert refusal(lambda: interop.CreateInstance(subscription_of(elsewhere, destination_path)))[0] == pywbem.CIM_ERR_NOT_FOUND
    bound = interop.CreateInstance(subscription_of(filter_path, destination_path))
    again = subscription_of(filter_path, destination_path)
    assert refusal(lambda: interop.CreateInstance(again))[0] == pywbem.CIM_ERR_ALREADY_EXISTS
    for path in (filter_path, destination_path):
        status, text = refusal(lambda path=path: interop.DeleteInstance(path))
        assert (status, "in use" in text) == (pywbem.CIM_ERR_FAILED, True)
    for path in (bound, filter_path, destination_path):
        interop.DeleteInstance(path)
        assert refusal(lambda path=path: interop.DeleteInstance(path))[0] == pywbem.CIM_ERR_NOT_FOUND


def test_they_outlive_the_daemon(start_daemon, config):
    daemon = start_daemon(config)
    interop = daemon.connect(default_namespace=INTEROP)
    ends = interop.CreateInstance(filter_of(SourceNamespaces=["root/virt"])), interop.CreateInstance(destination_of())
    path = interop.CreateInstance(subscription_of(*ends))
    before = [interop.GetInstance(it) for it in (*ends, path)]
    assert daemon.stop() == 0
    daemon.start()
    interop = daemon.connect(default_namespace=INTEROP)
    assert [interop.GetInstance(it) for it in (*ends, path)] == before


def test_what_the_server_says_of_itself_is_not_for_clients_to_change(interop):
    (manager,) = interop.EnumerateInstanceNames("CIM_ObjectManager")
    for act in (
        lambda: interop.CreateInstance(pywbem.CIMInstance("CIM_ObjectManager", {"Name": "x"})),
        lambda: interop.ModifyInstance(pywbem.CIMInstance(manager.classname, {"ElementName": "x"}, path=manager)),
        lambda: interop.DeleteInstance(manager),
    ):
        status, text = refusal(act)
        assert status == pywbem.CIM_ERR_NOT_SUPPORTED
        assert "CIM_ObjectManager" in text


def test_libvirt_cims_test_suite_subscribes(interop, daemon):
    """Its requests as they are: padded, without types, in Pegasus' namespace, for the old handler class."""

    def create(class_name, properties):
        body = f"""
 <?xml version="1.0" encoding="utf-8" ?>
 <CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="4711" PROTOCOLVERSION="1.0"><SIMPLEREQ>
 <IMETHODCALL NAME="CreateInstance"><LOCALNAMESPACEPATH><NAMESPACE NAME="root"/>
 <NAMESPACE NAME="PG_InterOp"/></LOCALNAMESPACEPATH>
 <IPARAMVALUE NAME="NewInstance"><INSTANCE CLASSNAME="{class_name}">{properties}</INSTANCE></IPARAMVALUE>
 </IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>;"""
        response = daemon.post(body)
        assert response.status == 200
        assert "<ERROR" not in response.text, response.text
        return response.text

    def text(name, value):
        return f'<PROPERTY NAME="{name}" TYPE="string">\n  <VALUE>\n {value} \n</VALUE></PROPERTY>'

    def path(class_name, name):
        keys = {
            "SystemCreationClassName": "CIM_ComputerSystem",
            "SystemName": "localhost.domain",
            "CreationClassName": class_name,
            "Name": name,
        }
        bindings = "".join(
            f'<KEYBINDING NAME="{key}"><KEYVALUE>\n  {value} \n</KEYVALUE></KEYBINDING>' for key, value in keys.items()
        )
        return f'<INSTANCENAME CLASSNAME="{class_name}">{bindings}</INSTANCENAME>'

    system = text("SystemCreationClassName", "CIM_ComputerSystem") + text("SystemName", "localhost.domain")
    query = "SELECT * FROM KVM_ComputerSystemCreatedIndication"
    own = text("CreationClassName", "CIM_IndicationFilter")
    create(
        "CIM_IndicationFilter",
        system
        + own
        + text("Name", "TestFilter")
        + text("Query", query)
        + text("QueryLanguage", "WQL")
        + text("SourceNamespace", "root/virt"),
    )
    own = text("CreationClassName", "CIM_IndicationHandlerCIMXML")
    create(
        "CIM_IndicationHandlerCIMXML",
        system + own + text("Name", "TestHandler") + text("Destination", "http://localhost:8000"),
    )
    references = "".join(
        f'<PROPERTY.REFERENCE NAME="{role}" REFERENCECLASS="{declared}"><VALUE.REFERENCE>{path(made, name)}'
        "</VALUE.REFERENCE></PROPERTY.REFERENCE>"
        for role, declared, made, name in [
            ("Filter", "CIM_IndicationFilter", "CIM_IndicationFilter", "TestFilter"),
            ("Handler", "CIM_IndicationHandler", "CIM_IndicationHandlerCIMXML", "TestHandler"),
        ]
    )
    state = '<PROPERTY NAME="SubscriptionState" TYPE="uint16"><VALUE> 2 </VALUE></PROPERTY>'
    create("CIM_IndicationSubscription", references + state)
    (bound,) = interop.EnumerateInstances("CIM_IndicationSubscription")
    assert bound["Filter"]["Name"] == "TestFilter"
    assert bound["Handler"].classname == "CIM_IndicationHandlerCIMXML"
