"""The requests that libvirt-cim behind sfcb was asked, asked again, and the answers compared.

What libvirt-cim says must be in our answer: each instance and each property that it fills in. We may
say more. Every other difference stands in `DIFFERENCES` with its reason.
"""

import re
import socket
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import CONFIG
from harness import REPOSITORY, Checks, Daemon, driver_host

TRANSCRIPTS = REPOSITORY / "tests" / "data" / "transcripts"
NAMES = sorted(path.name.removesuffix("-request.xml") for path in TRANSCRIPTS.glob("*-request.xml"))

# The transcripts' guest, its UUID there, and their host.
GUEST, GUEST_UUID, HOST = "peer1", "acecc272-f953-42ee-a4ea-38e648bfc1d7", "vm"

DIFFERENCES = {}


@pytest.fixture(scope="module")
def incumbent_twin(tmp_path_factory):
    """A daemon with the guest and the destinations of the transcripts."""
    home = tmp_path_factory.mktemp("twin")
    source = driver_host(home / "source.xml", {GUEST: "shut off"})
    path = home / "source.xml"
    path.write_text(re.sub("<uuid>[^<]*", f"<uuid>{GUEST_UUID}", path.read_text()))
    checks = Checks(home / "checks")
    config = CONFIG.format(
        source=source,
        destination=driver_host(home / "destination.xml", {}),
        checks=checks.directory,
    ).replace("destinations.other]", 'destinations."127.0.0.1"]')
    daemon = Daemon(home, config)
    daemon.checks = checks
    daemon.start()
    yield daemon
    daemon.stop()


def answer_of(text):
    """An answer without what depends on the writer: element order, NULLs, hosts, namespaces."""
    root = ElementTree.fromstring(text)
    if (error := root.find(".//ERROR")) is not None:
        return {"error": (error.get("CODE"), error.get("DESCRIPTION") or "")}
    if (response := root.find(".//METHODRESPONSE")) is not None:
        parameters = response.findall("PARAMVALUE")
        return {
            "value": texts(response.find("RETURNVALUE")),
            **{parameter.get("NAME"): texts(parameter) for parameter in parameters},
        }
    result = root.find(".//IRETURNVALUE")
    return {"items": [] if result is None else [item_of(child) for child in result]}


def texts(element):
    return [value.text or "" for value in element.iter("VALUE")]


def item_of(element):
    """A class name, keys and properties; whatever of them the element has."""
    instance = element if element.tag == "INSTANCE" else element.find(".//INSTANCE")
    name = element if element.tag == "INSTANCENAME" else element.find(".//INSTANCENAME")
    if instance is None and name is None:
        return {"class": element.get("NAME"), "keys": {}, "properties": {}}
    return {
        "class": (name if name is not None else instance).get("CLASSNAME"),
        "keys": {} if name is None else keys_of(name),
        "properties": {} if instance is None else properties_of(instance),
    }


def keys_of(name):
    keys = {}
    for binding in name.findall("KEYBINDING"):
        inner = binding.find(".//INSTANCENAME")
        keys[binding.get("NAME")] = binding.find("KEYVALUE").text if inner is None else str(keys_of(inner))
    return dict(sorted(keys.items()))


def properties_of(instance):
    properties = {}
    for element in instance:
        if element.tag in ("PROPERTY", "PROPERTY.ARRAY"):
            properties[element.get("NAME")] = texts(element)
        elif element.tag == "PROPERTY.REFERENCE":
            inner = element.find(".//INSTANCENAME")
            properties[element.get("NAME")] = [] if inner is None else [str(keys_of(inner))]
    return {name: value for name, value in properties.items() if value}


def lacks(expected, answer):
    """What of the expected answer is not in ours: sentences."""
    if "items" not in expected:
        if "error" in expected and "error" in answer:
            (code, text), (our_code, our_text) = expected["error"], answer["error"]
            return [] if code == our_code and text in our_text else [f"{answer}, not {expected}"]
        return [] if all(answer.get(name) == value for name, value in expected.items()) else [f"{answer}, not {expected}"]
    if "items" not in answer:
        return [f"{answer}, not {len(expected['items'])} items"]
    missing = []
    for item in expected["items"]:
        ours = [o for o in answer["items"] if o["class"] == item["class"] and o["keys"] == item["keys"]]
        if not ours:
            missing.append(f"no {item['class']} {item['keys']}")
            continue
        for name, value in item["properties"].items():
            if ours[0]["properties"].get(name) != value:
                missing.append(f"{item['class']}.{name} is {ours[0]['properties'].get(name)}, not {value}")
    return missing


@pytest.mark.parametrize("name", NAMES)
def test_libvirt_cim_said_nothing_that_we_do_not(incumbent_twin, name):
    own_name = socket.gethostname()
    request = (TRANSCRIPTS / f"{name}-request.xml").read_text().replace(f">{HOST}<", f">{own_name}<")
    reply = (TRANSCRIPTS / f"{name}-reply.xml").read_text().replace(f">{HOST}<", f">{own_name}<")
    incumbent_twin.checks.clear()
    if name == "78-Check-failing":
        incumbent_twin.checks.add("10-bad", "exit 1")
    response = incumbent_twin.post(request)
    assert response.status == 200
    missing = lacks(answer_of(reply), answer_of(response.text))
    if name in DIFFERENCES:
        assert missing, f"{name} is as libvirt-cim's now: take it out of DIFFERENCES"
    else:
        assert not missing, "\n".join(missing)
