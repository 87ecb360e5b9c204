"""What happens to guests and jobs reaches those who subscribed to it: real listeners, a real libvirtd."""

import signal
import ssl
import subprocess
import threading

import harness
import pytest
import pywbem
from listening import INTEROP, TAKEN, Ear, Scripted, TestDriver, class_of, error_answer, number_of, subscribe
from twohosts.guest import Spec
from twohosts.host import wait_until

ALL = [f"SELECT * FROM KVM_ComputerSystem{what}Indication" for what in ("Created", "Modified", "Deleted")]
MODIFIED = ALL[1]

CONFIG = """
[[hypervisor]]
uri = "{uri}"
prefix = "KVM"

[auth]
mode = "none"

[checks]
directory = "{checks}"

[indications]
retry-interval = "100ms"
retry-attempts = {attempts}
{indications}
"""


@pytest.fixture(scope="module")
def driver(bed, tmp_path_factory):
    driver = TestDriver(bed.a, tmp_path_factory.mktemp("driver"))
    yield driver
    driver.close()


@pytest.fixture
def start(start_daemon, driver, tmp_path, checks):
    """Starts a daemon on the test driver of hosta."""

    def start(indications="", attempts=200):
        config = CONFIG.format(
            uri=driver.uri, checks=checks.directory, attempts=attempts, indications=indications
        )
        daemon = start_daemon(config)
        # It has the guests once it answers for them.
        assert daemon.connect().EnumerateInstanceNames("KVM_ComputerSystem")
        return daemon

    return start


@pytest.fixture
def ears():
    opened = []

    def listen(kind=Ear, *arguments):
        opened.append(kind(*arguments))
        return opened[-1].start() if kind is Ear else opened[-1]

    yield listen
    for ear in opened:
        ear.stop() if isinstance(ear, Ear) else ear.close()


@pytest.fixture
def guest(driver, tmp_path):
    """A guest that does not run yet; gone afterwards."""
    path = tmp_path / "guest.xml"
    driver.define(path, "told")
    yield "told"
    for command in ("destroy", "undefine"):
        subprocess.run(["virsh", "-c", driver.uri, command, "told"], check=False, capture_output=True)


@pytest.fixture
def running(driver, guest):
    """The same, started before there is a daemon, which therefore has nothing to tell of it."""
    driver.virsh("start", guest)
    return guest


def toggle(driver, guest, times):
    """So many changes of a guest that runs."""
    for index in range(times):
        driver.virsh("suspend" if index % 2 == 0 else "resume", guest)


def numbers(heard):
    return [it["SequenceNumber"] for it in heard]


# ---------------------------------------------------------------------- guests


def test_a_guests_whole_life_is_told(start, driver, ears, tmp_path):
    daemon, ear = start(), ears()
    connection = daemon.connect(default_namespace=None)
    server = pywbem.WBEMServer(connection)
    with pywbem.WBEMSubscriptionManager("life") as manager:
        server_id = manager.add_server(server)
        destination = manager.add_destination(server_id, ear.url, owned=True, destination_id="d")
        for index, query in enumerate(ALL):
            made = manager.add_filter(
                server_id, "root/virt", query, query_language="WQL", owned=True, filter_id=f"f{index}"
            )
            (subscription,) = manager.add_subscriptions(server_id, made.path, destination.path)
            assert subscription["SubscriptionState"] == 2
        driver.define(tmp_path / "g.xml", "life")
        (created,) = ear.wait_for(1)
        for count, command in enumerate(("start", "suspend", "resume", "destroy", "undefine"), 2):
            driver.virsh(command, "life")
            ear.wait_for(count)
    kinds = [it.classname.removeprefix("KVM_ComputerSystem").removesuffix("Indication") for it in ear.heard]
    assert kinds == ["Created", "Modified", "Modified", "Modified", "Modified", "Deleted"]
    assert numbers(ear.heard) == list(range(6))
    assert len({it["SequenceContext"] for it in ear.heard}) == 1
    assert created["IndicationIdentifier"] == harness.uuid_of("life")
    assert "f0" in created["IndicationFilterName"]
    assert created["IndicationTime"] is not None
    path = 'root/virt:KVM_ComputerSystem.CreationClassName="KVM_ComputerSystem",Name="life"'
    assert created["SourceInstanceModelPath"] == path
    assert created["SourceInstanceHost"]
    guest = created["SourceInstance"]
    assert (guest.classname, guest["Name"], guest["EnabledState"]) == ("KVM_ComputerSystem", "life", 3)
    states = [(it["PreviousInstance"]["EnabledState"], it["SourceInstance"]["EnabledState"]) for it in ear.heard[1:5]]
    assert states == [(3, 2), (2, 9), (9, 2), (2, 3)]
    assert "EnabledState" in ear.heard[1]["ChangedPropertyNames"]
    gone = ear.heard[5]["SourceInstance"]
    assert (gone["EnabledState"], gone["OtherEnabledState"]) == (1, "Guest destroyed")
    assert list(gone["OperationalStatus"]) == [17, 2]


@pytest.mark.parametrize(
    "language, query, expected",
    [
        ("WQL", f'{MODIFIED} WHERE SourceInstance.Name = "told"', [9, 2, 3]),
        ("WQL", f"{MODIFIED} WHERE SourceInstance.Name = 'other'", []),
        ("WQL", f"{MODIFIED} WHERE SourceInstance ISA CIM_ComputerSystem AND SourceInstance.EnabledState = 9", [9]),
        ("DMTF:CQL", f"{MODIFIED} WHERE SourceInstance.EnabledState <> PreviousInstance.EnabledState", [9, 2, 3]),
        ("DMTF:CQL", "SELECT * FROM CIM_InstModification WHERE SourceInstance ISA KVM_ComputerSystem", [9, 2, 3]),
        ("DMTF:CQL", "SELECT * FROM CIM_InstModification WHERE SourceInstance ISA KVM_MigrationJob", []),
        ("DMTF:CQL", "SELECT * FROM CIM_InstIndication", [9, 2, 3]),
        ("DMTF:FQL", "SourceInstance.EnabledState = 9", [9]),
        ("CIM:CQL", f"{MODIFIED} WHERE SourceInstance.EnabledState = 3", [3]),
    ],
)
def test_a_filter_lets_pass_what_it_says(start, driver, ears, running, language, query, expected):
    daemon, ear, marker = start(), ears(), ears()
    connection = daemon.connect()
    # Who sees everything tells when there is nothing more to come.
    subscribe(connection, marker.url, MODIFIED, name="marker")
    subscribe(connection, ear.url, query, name="tested", language=language)
    for command in ("suspend", "resume", "destroy"):
        before = len(marker.heard)
        driver.virsh(command, running)
        marker.wait_for(before + 1)
    ear.wait_for(len(expected))
    assert daemon.stop() == 0
    assert [it["SourceInstance"]["EnabledState"] for it in ear.heard] == expected


def test_the_select_list_is_all_that_is_sent(start, driver, ears, guest):
    daemon, ear = start(), ears()
    query = (
        "SELECT SourceInstance.Name, SourceInstance.EnabledState, IndicationTime "
        "FROM KVM_ComputerSystemModifiedIndication WHERE SourceInstance.EnabledState = 2"
    )
    subscribe(daemon.connect(), ear.url, query, language="DMTF:CQL")
    driver.virsh("start", guest)
    (heard,) = ear.wait_for(1)
    assert set(heard.keys()) == {"SourceInstance", "IndicationTime", "SequenceContext", "SequenceNumber"}
    assert dict(heard["SourceInstance"].items()) == {"Name": "told", "EnabledState": 2}


def test_a_filter_hears_only_of_its_namespaces(start, driver, ears, guest):
    daemon, there, elsewhere = start(), ears(), ears()
    subscribe(daemon.connect(), elsewhere.url, *ALL, name="elsewhere", source="root/cimv2")
    subscribe(daemon.connect(), there.url, *ALL, name="there", source="Root/Virt")
    driver.virsh("start", guest)
    there.wait_for(1)
    assert daemon.stop() == 0
    assert elsewhere.heard == []


# ---------------------------------------------------------------------- listeners


def test_what_is_on_the_wire(start, driver, ears, guest):
    daemon, listener = start(), ears(Scripted)
    subscribe(daemon.connect(), f"{listener.url}/some/path", MODIFIED)
    driver.virsh("start", guest)
    (body,) = listener.wait_for(1)
    line, head = listener.heads[0]
    assert line == "POST /some/path HTTP/1.1"
    head = {name.lower(): value for name, value in head.items()}
    assert head["content-type"] == 'application/xml; charset="utf-8"'
    assert int(head["content-length"]) == len(body.encode())
    assert "transfer-encoding" not in head
    assert (head["cimexport"], head["cimexportmethod"]) == ("MethodRequest", "ExportIndication")
    assert head["host"] == f"127.0.0.1:{listener.port}"
    assert '<EXPMETHODCALL NAME="ExportIndication">' in body
    assert '<EXPPARAMVALUE NAME="NewIndication">' in body


def test_a_listener_that_comes_back_hears_everything_in_order(start, driver, ears, running):
    daemon, ear = start(), ears()
    subscribe(daemon.connect(), ear.url, MODIFIED)
    toggle(driver, running, 2)
    ear.wait_for(2)
    ear.stop()
    toggle(driver, running, 6)
    # It is known to be away before it comes back.
    assert wait_until(lambda: "a listener takes no indications" in daemon.log(), 30)
    assert len(ear.heard) == 2
    ear.start()
    ear.wait_for(8)
    assert numbers(ear.heard) == list(range(8))
    assert [it["SourceInstance"]["EnabledState"] for it in ear.heard] == [9, 2] * 4
    assert "a listener takes indications again" in daemon.log()


def test_a_burst_arrives_whole_and_in_order(start, driver, ears, running):
    daemon, ears_of_two = start(), [ears(), ears()]
    for index, ear in enumerate(ears_of_two):
        subscribe(daemon.connect(), ear.url, MODIFIED, name=f"ear{index}")
    driver.virsh("; ".join(f"suspend {running}; resume {running}" for _ in range(150)))
    for ear in ears_of_two:
        assert numbers(ear.wait_for(300, 120)) == list(range(300))


@pytest.mark.parametrize(
    "answer", [(200, error_answer(1)), (503, ""), None], ids=["CIM_ERR_FAILED", "503", "no answer"]
)
def test_what_a_listener_does_not_take_now_it_gets_again(start, driver, ears, running, answer):
    listener = ears(Scripted, lambda index, body: answer if index in (1, 2) else (200, TAKEN))
    daemon = start()
    subscribe(daemon.connect(), listener.url, MODIFIED)
    toggle(driver, running, 3)
    bodies = listener.wait_for(5)
    assert [number_of(body) for body in bodies] == [0, 1, 1, 1, 2]
    assert bodies[1] == bodies[2] == bodies[3]


@pytest.mark.parametrize(
    "answer",
    [(200, error_answer(7)), (404, ""), (400, "x"), (302, "", ("Location", "http://127.0.0.1:1/"))],
    ids=["CIM_ERR_NOT_SUPPORTED", "404", "400", "redirect"],
)
def test_what_a_listener_refuses_is_not_sent_again(start, driver, ears, running, answer):
    listener = ears(Scripted, lambda index, body: answer if index == 1 else (200, TAKEN))
    daemon = start()
    subscribe(daemon.connect(), listener.url, MODIFIED)
    toggle(driver, running, 3)
    assert [number_of(body) for body in listener.wait_for(3)] == [0, 1, 2]
    assert "an indication is lost" in daemon.log()


def test_a_listener_that_hangs_delays_nobody(start, driver, ears, running):
    let_go = threading.Event()
    hanging, ear = ears(Scripted, lambda index, body: let_go), ears()
    daemon = start('max-queued = 3\nanswer-timeout = "1m"')
    connection = daemon.connect()
    subscribe(connection, hanging.url, MODIFIED, name="hanging")
    subscribe(connection, ear.url, MODIFIED, name="ear")
    toggle(driver, running, 1)
    hanging.wait_for(1)
    for count in range(1, 8):
        ear.wait_for(count)
        toggle_one = "resume" if count % 2 else "suspend"
        driver.virsh(toggle_one, running)
    ear.wait_for(8)
    assert numbers(ear.heard) == list(range(8))
    assert len(hanging.bodies) == 1
    # One is under way and three wait: the oldest of the others were given up, and the numbers say so.
    let_go.set()
    assert [number_of(body) for body in hanging.wait_for(4)] == [0, 5, 6, 7]
    assert "the oldest indications are given up" in daemon.log()


def test_an_answer_that_does_not_end_is_not_waited_for(start, driver, ears, guest):
    """A listener that sends more than anybody reads has not taken anything."""
    listener = ears(Scripted, lambda index, body: (200, "x" * 10_000_000) if index == 0 else (200, TAKEN))
    daemon = start()
    subscribe(daemon.connect(), listener.url, MODIFIED)
    driver.virsh("start", guest)
    assert [number_of(body) for body in listener.wait_for(2)] == [0, 0]


@pytest.mark.parametrize("policy, left", [(2, 2), (3, 4), (4, None)], ids=["ignore", "disable", "remove"])
def test_what_becomes_of_a_subscription_that_fails(start, driver, ears, guest, policy, left):
    daemon = start(attempts=1)
    connection = daemon.connect()
    url = f"http://127.0.0.1:{harness.free_port()}/s3cret?token=s3cret"
    (path,) = subscribe(connection, url, MODIFIED, policy=policy)
    driver.virsh("start", guest)
    assert wait_until(lambda: "an indication is lost" in daemon.log(), 30)

    def state():
        try:
            return connection.GetInstance(path)["SubscriptionState"]
        except pywbem.CIMError as error:
            assert error.status_code == pywbem.CIM_ERR_NOT_FOUND
            return None

    assert wait_until(lambda: state() == left, 30), state()
    assert ("a subscription failed for too long" in daemon.log()) == (policy != 2)
    filters = connection.EnumerateInstanceNames("CIM_IndicationFilter", namespace=INTEROP)
    assert len(filters) == 1, "the filter stays"
    assert "s3cret" not in daemon.log(), "nobody reads the way to a listener in the log"

    def audited():
        lines = [line for line in daemon.log().splitlines() if "a subscription failed for too long" in line]
        return len([line for line in lines if "audit" in line])

    assert wait_until(lambda: audited() == (policy != 2), 30), daemon.log()


def test_a_transient_destination_goes_with_its_last_subscription(start, driver, ears, guest):
    daemon = start('removal-interval = "1ms"', attempts=0)
    connection = daemon.connect()
    dead = f"http://127.0.0.1:{harness.free_port()}"
    subscribe(connection, dead, MODIFIED, name="transient", PersistenceType=pywbem.Uint16(3))
    subscribe(connection, dead, MODIFIED, name="permanent", PersistenceType=pywbem.Uint16(2))
    driver.virsh("start", guest)
    toggle(driver, guest, 2)

    def destinations():
        found = connection.EnumerateInstanceNames("CIM_ListenerDestinationCIMXML", namespace=INTEROP)
        return [path["Name"] for path in found]

    assert wait_until(lambda: destinations() == ["permanent"], 30), destinations()
    assert wait_until(lambda: not connection.EnumerateInstanceNames("CIM_IndicationSubscription", namespace=INTEROP), 30)


def test_what_is_unsubscribed_or_disabled_is_not_sent(start, driver, ears, running):
    daemon, ear, other = start(), ears(), ears()
    connection = daemon.connect()
    (path,) = subscribe(connection, ear.url, MODIFIED, name="ear")
    subscribe(connection, other.url, MODIFIED, name="other")
    toggle(driver, running, 1)
    ear.wait_for(1)

    def set_state(state):
        change = pywbem.CIMInstance(path.classname, {"SubscriptionState": pywbem.Uint16(state)}, path=path)
        connection.ModifyInstance(change, PropertyList=["SubscriptionState"])

    set_state(4)
    driver.virsh("resume", running)
    other.wait_for(2)
    set_state(2)
    driver.virsh("suspend", running)
    assert numbers(ear.wait_for(2)) == [0, 1], "what was not to be sent leaves no gap"
    connection.DeleteInstance(path)
    driver.virsh("resume", running)
    other.wait_for(4)
    assert daemon.stop() == 0
    assert len(ear.heard) == 2


def kill(daemon):
    daemon.process.kill()
    daemon.process.wait()


def restart(daemon):
    daemon.start()
    assert daemon.connect().EnumerateInstanceNames("KVM_ComputerSystem")


def contexts(heard):
    return [it["SequenceContext"] for it in heard]


def test_numbers_go_on_after_a_stop_and_begin_anew_after_a_kill(start, driver, ears, running):
    daemon, ear = start(), ears()
    subscribe(daemon.connect(), ear.url, MODIFIED)
    toggle(driver, running, 2)
    ear.wait_for(2)
    for count, end in ((2, daemon.stop), (4, lambda: kill(daemon)), (6, daemon.stop)):
        end()
        restart(daemon)
        toggle(driver, running, 2)
        ear.wait_for(count + 2)
    assert numbers(ear.heard) == [0, 1, 2, 3, 0, 1, 2, 3]
    first, *_, last = contexts(ear.heard)
    assert contexts(ear.heard) == [first] * 4 + [last] * 4
    assert first != last


@pytest.fixture
def missed(start, driver, ears, running):
    """A listener has heard one indication and missed three more when the daemon ends."""

    def missed(indications=""):
        daemon, ear, marker = start(indications), ears(), ears()
        (path,) = subscribe(daemon.connect(), ear.url, MODIFIED)
        subscribe(daemon.connect(), marker.url, MODIFIED, name="marker")
        toggle(driver, running, 1)
        ear.wait_for(1)
        ear.stop()
        for command in ("resume", "suspend", "resume"):
            driver.virsh(command, running)
        marker.wait_for(4)
        assert daemon.stop() == 0
        return daemon, ear, path

    return missed


def test_what_a_listener_missed_outlives_the_daemon(missed):
    daemon, ear, _ = missed()
    assert "indications are kept for the next start" in daemon.log()
    restart(daemon)
    # It outlives another daemon that has no listener, either.
    assert daemon.stop() == 0
    ear.start()
    restart(daemon)
    ear.wait_for(4)
    assert numbers(ear.heard) == [0, 1, 2, 3]
    assert len(set(contexts(ear.heard))) == 1
    assert [it["SourceInstance"]["EnabledState"] for it in ear.heard] == [9, 2, 9, 2]
    assert all(it["IndicationFilterName"] == "x-0" for it in ear.heard)


def test_what_a_listener_missed_goes_where_it_has_moved(missed, ears):
    daemon, old, path = missed()
    restart(daemon)
    new, handler = ears(), path["Handler"]
    daemon.connect().ModifyInstance(
        pywbem.CIMInstance(handler.classname, {"Destination": new.url}, path=handler)
    )
    new.wait_for(3)
    assert numbers(new.heard) == [0, 1, 2]
    assert len(set(contexts(new.heard))) == 1
    assert contexts(new.heard)[0] != contexts(old.heard)[0]


def test_what_was_missed_is_not_for_who_subscribes_anew(missed, driver, running):
    daemon, ear, path = missed()
    restart(daemon)
    connection = daemon.connect()
    connection.DeleteInstance(path)
    ends = {"Filter": path["Filter"], "Handler": path["Handler"]}
    connection.CreateInstance(pywbem.CIMInstance(path.classname, ends), namespace=INTEROP)
    ear.start()
    driver.virsh("suspend", running)
    heard = ear.wait_for(2)
    assert numbers(heard) == [0, 2], "the first one missed was tried: its number is no other's"
    assert len(set(contexts(heard))) == 1
    assert daemon.stop() == 0
    assert len(ear.heard) == 2


def test_what_is_too_much_to_be_kept_leaves_a_gap(missed, driver, running):
    daemon, ear, _ = missed('max-kept = "1 B"')
    assert "more indications wait than are kept" in daemon.log()
    restart(daemon)
    ear.start()
    driver.virsh("suspend", running)
    heard = ear.wait_for(2)
    assert numbers(heard) == [0, 4]
    assert len(set(contexts(heard))) == 1


def test_a_kill_while_what_was_kept_is_sent_loses_nothing_of_it(missed, driver, ears, running):
    daemon, ear, _ = missed()
    let_go = threading.Event()
    first = ears(Scripted, lambda index, body: (200, TAKEN) if index == 0 else let_go, ear.port)
    restart(daemon)
    assert [number_of(body) for body in first.wait_for(2)] == [1, 2]
    kill(daemon)
    let_go.set()
    first.close()
    ear.start()
    restart(daemon)
    heard = ear.wait_for(4)[1:]
    assert numbers(heard) == [0, 1, 2]
    assert len(set(contexts(heard))) == 1
    assert contexts(heard)[0] != contexts(ear.heard)[0]
    # What comes behind it says that all of it is through: another kill brings nothing back.
    driver.virsh("suspend", running)
    ear.wait_for(5)
    kill(daemon)
    restart(daemon)
    assert daemon.stop() == 0
    assert len(ear.heard) == 5


def test_what_waits_when_the_daemon_ends_is_sent(start, driver, ears, running):
    """One under way, three behind it: the end of the daemon waits for them a moment."""
    let_go = threading.Event()
    listener = ears(Scripted, lambda index, body: let_go if index == 0 else (200, TAKEN))
    daemon, marker = start(), ears()
    subscribe(daemon.connect(), listener.url, MODIFIED, name="listener")
    subscribe(daemon.connect(), marker.url, MODIFIED, name="marker")
    toggle(driver, running, 4)
    marker.wait_for(4)
    listener.wait_for(1)
    stopping = threading.Thread(target=daemon.stop)
    stopping.start()
    assert wait_until(lambda: "stopping" in daemon.log(), 30)
    let_go.set()
    stopping.join()
    assert [number_of(body) for body in listener.bodies] == [0, 1, 2, 3]


def test_a_destination_that_moves_is_another_listener(start, driver, ears, running):
    daemon, old, new = start(), ears(), ears()
    connection = daemon.connect()
    (path,) = subscribe(connection, old.url, MODIFIED)
    toggle(driver, running, 1)
    old.wait_for(1)
    handler = path["Handler"]
    connection.ModifyInstance(pywbem.CIMInstance(handler.classname, {"Destination": new.url}, path=handler))
    driver.virsh("resume", running)
    (heard,) = new.wait_for(1)
    assert heard["SequenceNumber"] == 0
    assert heard["SequenceContext"] != old.heard[0]["SequenceContext"]
    assert len(old.heard) == 1


# ---------------------------------------------------------------------- TLS and who may be reached


def certificate(directory, name):
    """A certificate for 127.0.0.1 and the authority that signed it."""
    ca, key, csr, leaf = (directory / f"{name}.{end}" for end in ("ca", "key", "csr", "crt"))
    ca_key = directory / f"{name}.cakey"

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(*new, "-x509", "-subj", f"/CN={name} CA", "-keyout", ca_key, "-out", ca)
    openssl(*new, "-subj", f"/CN={name}", "-keyout", key, "-out", csr)
    extensions = directory / f"{name}.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    sign = ("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2")
    openssl(*sign, "-extfile", extensions, "-out", leaf)
    return ca, key, leaf


def test_a_listener_with_tls(start, driver, ears, running, tmp_path):
    ca, key, leaf = certificate(tmp_path, "good")
    _, other_key, other_leaf = certificate(tmp_path, "bad")
    daemon = start(f'ca = "{ca}"')
    good, bad = ears(Scripted), ears(Scripted)
    for listener, chain, private in ((good, leaf, key), (bad, other_leaf, other_key)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, private)
        listener.server.socket = context.wrap_socket(listener.server.socket, server_side=True)
    connection = daemon.connect()
    subscribe(connection, good.url.replace("http:", "https:"), MODIFIED, name="good")
    subscribe(connection, bad.url.replace("http:", "https:"), MODIFIED, name="bad")
    toggle(driver, running, 2)
    assert [number_of(body) for body in good.wait_for(2)] == [0, 1]
    assert wait_until(lambda: "certificate" in daemon.log(), 30), daemon.log()
    assert bad.bodies == []


def test_plain_http_leaves_this_machine_only_if_it_may(start):
    daemon = start()

    def create(url):
        target = pywbem.CIMInstance("CIM_ListenerDestinationCIMXML", {"Name": url, "Destination": url})
        return daemon.connect().CreateInstance(target, namespace=INTEROP)

    create("http://localhost:5990")
    create("https://listener.example.org:5990")
    with pytest.raises(pywbem.CIMError) as refused:
        create("http://listener.example.org:5990")
    assert refused.value.status_code == pywbem.CIM_ERR_INVALID_PARAMETER
    assert "indications.allow-cleartext" in refused.value.status_description
    daemon.stop()
    daemon.config = daemon.config.replace("[indications]", "[indications]\nallow-cleartext = true")
    daemon.start()
    create("http://listener.example.org:5990")


# ---------------------------------------------------------------------- what the server says of it


def test_the_service_says_how_it_sends(start):
    connection = start('removal-action = "disable"\nremoval-interval = "2h"').connect(default_namespace=INTEROP)
    (service,) = connection.EnumerateInstances("CIM_IndicationService")
    assert (service["DeliveryRetryAttempts"], service["DeliveryRetryInterval"]) == (200, 1)
    assert (service["SubscriptionRemovalAction"], service["SubscriptionRemovalTimeInterval"]) == (3, 7200)
    assert service["FilterCreationEnabled"] is True
    (capabilities,) = connection.Associators(service.path, AssocClass="CIM_ElementCapabilities")
    assert capabilities.classname == "CIM_IndicationServiceCapabilities"
    assert (capabilities["MaxActiveSubscriptions"], capabilities["SubscriptionsPersisted"]) == (1000, True)
    (back,) = connection.AssociatorNames(capabilities.path, AssocClass="CIM_ElementCapabilities")
    assert back.keybindings == service.path.keybindings
    (host,) = connection.AssociatorNames(service.path, AssocClass="CIM_HostedService")
    assert host.classname == "KVM_HostSystem"
    assert "CIM_IndicationService" in [
        it.classname for it in connection.AssociatorNames(host, AssocClass="CIM_HostedService")
    ]
    (path,) = subscribe(connection, "http://127.0.0.1:5990", MODIFIED)
    affected = connection.AssociatorNames(service.path, AssocClass="CIM_ServiceAffectsElement")
    assert {it["Name"] for it in affected} == {"x", "x-0"}
    (manages,) = connection.AssociatorNames(path["Filter"], AssocClass="CIM_ServiceAffectsElement")
    assert manages.keybindings == service.path.keybindings


def test_a_reload_changes_how_it_sends(start):
    daemon = start()
    path = daemon.directory / "virtcimd.toml"
    written = path.read_text()

    def reload(attempts, more=""):
        path.write_text(written.replace("retry-attempts = 200", f"retry-attempts = {attempts}\n{more}"))
        daemon.process.send_signal(signal.SIGHUP)

    def attempts():
        (service,) = daemon.connect().EnumerateInstances("CIM_IndicationService", namespace=INTEROP)
        return service["DeliveryRetryAttempts"]

    reload(7)
    assert wait_until(lambda: attempts() == 7, 30)
    reload(8, 'ca = "/nonexistent.pem"')
    assert wait_until(lambda: "/nonexistent.pem" in daemon.log(), 30)
    assert attempts() == 7, "what cannot be read changes nothing"


def test_the_profile_is_found_as_others_are(start):
    server = pywbem.WBEMServer(start().connect(default_namespace=None))
    (profile,) = server.get_selected_profiles("DMTF", "Indications")
    (central,) = server.get_central_instances(
        profile.path, "CIM_IndicationService", "CIM_System", ["CIM_HostedService"]
    )
    assert central.classname == "CIM_IndicationService"
    (mechanism,) = server.conn.EnumerateInstances("CIM_CIMXMLCommunicationMechanism", namespace=server.interop_ns)
    assert 9 in mechanism["FunctionalProfilesSupported"]


def test_nobody_raises_an_indication_but_the_server(start):
    connection = start().connect()
    for kind in ("Created", "Modified", "Deleted"):
        class_name = f"KVM_ComputerSystemMigrationJob{kind}Indication"
        with pytest.raises(pywbem.CIMError) as refused:
            connection.InvokeMethod("RaiseIndication", class_name)
        assert refused.value.status_code == pywbem.CIM_ERR_METHOD_NOT_AVAILABLE
        assert "not for clients" in refused.value.status_description
        assert connection.EnumerateInstances(class_name) == []


# ---------------------------------------------------------------------- libvirt-cim's test suite


def test_libvirt_cims_test_suite_hears_its_indication(start, driver, ears, guest):
    """A listener for each class; the name of the first instance in the message is all it looks at."""
    daemon = start()
    connection = daemon.connect()
    listeners = {}
    for number, what in enumerate(("Created", "Modified", "Deleted")):
        name = f"KVM_ComputerSystem{what}Indication"
        # It answers with nothing at all.
        listeners[name] = ears(Scripted, lambda index, body: (200, ""))
        keys = {
            "SystemCreationClassName": "CIM_ComputerSystem",
            "SystemName": "localhost.domain",
            "Name": f"Test{number}",
        }
        handler = {**keys, "Destination": listeners[name].url}
        chosen = {**keys, "Query": f" SELECT * FROM {name}\n", "QueryLanguage": "WQL", "SourceNamespace": "root/virt"}
        ends = [
            connection.CreateInstance(pywbem.CIMInstance(kind, given), namespace="root/PG_InterOp")
            for kind, given in (("CIM_IndicationFilter", chosen), ("CIM_IndicationHandlerCIMXML", handler))
        ]
        bound = dict(zip(("Filter", "Handler"), ends, strict=True), SubscriptionState=pywbem.Uint16(2))
        connection.CreateInstance(pywbem.CIMInstance("CIM_IndicationSubscription", bound), namespace="root/PG_InterOp")
    driver.virsh("start", guest)
    driver.virsh("destroy", guest)
    driver.virsh("undefine", guest)
    for name in ("KVM_ComputerSystemModifiedIndication", "KVM_ComputerSystemDeletedIndication"):
        assert class_of(listeners[name].wait_for(1)[0]) == name


# ---------------------------------------------------------------------- jobs

JOBS = [f"SELECT * FROM KVM_ComputerSystemMigrationJob{what}Indication" for what in ("Created", "Modified", "Deleted")]

MOVING = """
[migration]
mode = "direct"

[migration.destinations.hostb]
uri = "{peer}"
"""


def test_a_job_is_told_from_its_beginning_to_its_end(bed, start_daemon, checks, ears, make_guest):
    """On two real hosts: created, modified as it gets on, deleted."""
    guest, truth = make_guest(Spec(memory=64, keep=8))
    checks.clear()
    config = CONFIG.format(uri=bed.a.uri(), checks=checks.directory, attempts=3, indications="")
    config += MOVING.format(peer=bed.b.uri())
    daemon, ear, turns = start_daemon(config), ears(), ears()
    gate = harness.Gate(daemon.connect())
    subscribe(gate.connection, ear.url, *JOBS, name="all")
    turn = f"{JOBS[1]} WHERE SourceInstance ISA KVM_MigrationJob AND SourceInstance.JobState <> PreviousInstance.JobState"
    subscribe(gate.connection, turns.url, turn, name="turns")
    job = gate.migrate("web", "hostb", Bandwidth=pywbem.Uint64(2))
    heard = ear.wait_until(lambda it: it.classname.endswith("JobDeletedIndication"), 120)
    truth.at(bed.b)
    kinds = [it.classname.removeprefix("KVM_ComputerSystemMigrationJob").removesuffix("Indication") for it in heard]
    assert kinds == ["Created"] + ["Modified"] * (len(kinds) - 2) + ["Deleted"]
    assert numbers(heard) == list(range(len(heard)))
    jobs = [it["SourceInstance"] for it in heard]
    assert {it["InstanceID"] for it in jobs} == {job["InstanceID"]}
    assert {it["IndicationIdentifier"] for it in heard} == {bed.b.run("virsh", "domuuid", "web").stdout.strip()}
    percents = [it["PercentComplete"] for it in jobs]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert any(0 < percent < 99 for percent in percents), percents
    assert (jobs[-1]["JobState"], jobs[-1]["Status"]) == (7, "Completed")
    # Each takes up where the one before left off.
    for before, after in zip(heard, heard[1:-1], strict=False):
        assert after["PreviousInstance"]["MigrationPhase"] == before["SourceInstance"]["MigrationPhase"]
    # The job can still be asked about.
    assert gate.connection.GetInstance(job)["JobState"] == 7
    assert daemon.stop() == 0
    assert [(it["PreviousInstance"]["JobState"], it["SourceInstance"]["JobState"]) for it in turns.heard] == [(4, 7)]

