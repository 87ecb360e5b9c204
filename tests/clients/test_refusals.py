"""What is refused on the level of HTTP, over a raw socket: how, in which order, and what becomes of the connection.

tests/it/http.rs has the many forms that each fault can take; here each is there once, with what the client is
told, and with every other one beside it: the first in the order of trust is what is told.
"""

import itertools
import re
import socket
import urllib.parse

import pytest
from harness import PATIENCE, basic

BODY = (
    '<?xml version="1.0" encoding="utf-8"?><CIM CIMVERSION="2.0" DTDVERSION="2.0">'
    '<MESSAGE ID="1001" PROTOCOLVERSION="1.0"><SIMPLEREQ><IMETHODCALL NAME="EnumerateInstanceNames">'
    '<LOCALNAMESPACEPATH><NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/></LOCALNAMESPACEPATH>'
    '<IPARAMVALUE NAME="ClassName"><CLASSNAME NAME="KVM_ComputerSystem"/></IPARAMVALUE>'
    "</IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>"
)


class Request:
    """A good request, to be spoiled."""

    def __init__(self):
        self.line = "POST /cimom HTTP/1.1"
        self.headers = {
            "Host": "localhost",
            "Authorization": basic("vera:vera's secret")["Authorization"],
            "Content-Type": 'application/xml; charset="utf-8"',
            "CIMOperation": "MethodCall",
            "CIMMethod": "EnumerateInstanceNames",
            "CIMObject": "root%2Fvirt",
            "Content-Length": None,
        }
        self.body = BODY

    def without(self, name):
        del self.headers[name]

    def replace(self, old, new):
        assert old in self.body
        self.body = self.body.replace(old, new)

    def bytes(self):
        # Without a length there is no body.
        body = self.body.encode() if "Content-Length" in self.headers else b""
        headers = {**self.headers}
        if headers.get("Content-Length", "") is None:
            headers["Content-Length"] = str(len(body))
        lines = [self.line, *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


def line(text):
    return lambda request: setattr(request, "line", text)


def without(name):
    return lambda request: request.without(name)


def header(name, value):
    return lambda request: request.headers.update({name: value})


def body(old, new):
    return lambda request: request.replace(old, new)


REFUSED = 400
KEPT, CLOSED = True, False
MISMATCH = "header-mismatch"

# In the order in which they are looked for: what is spoiled and how, status, CIMError, words of the detail, and what
# becomes of the connection. What spoils the same thing can't come together.
FAULTS = [
    ("line", line("NONSENSE"), REFUSED, None, "", CLOSED),
    ("Content-Length", header("Content-Length", "many"), REFUSED, None, "", CLOSED),
    ("line", line("GET /cimom HTTP/1.1"), 405, None, "POST", KEPT),
    ("line", line("POST /elsewhere HTTP/1.1"), 404, None, "/cimom", KEPT),
    ("Host", without("Host"), REFUSED, None, "Host", KEPT),
    ("Authorization", without("Authorization"), 401, None, "name and a password", KEPT),
    ("line", line("M-POST /cimom HTTP/1.1"), 510, None, "Man", KEPT),
    ("Accept", header("Accept", "text/html"), 406, None, "application/xml", KEPT),
    ("Accept-Charset", header("Accept-Charset", "latin1"), 406, None, "UTF-8", KEPT),
    ("Accept-Encoding", header("Accept-Encoding", "gzip, identity;q=0"), 406, None, "not encoded", KEPT),
    ("Accept-Ranges", header("Accept-Ranges", "bytes"), 406, None, "whole", KEPT),
    ("Content-Length", without("Content-Length"), 411, None, "Content-Length", KEPT),
    ("Content-Length", header("Content-Length", "2147483647"), 413, None, "larger than", CLOSED),
    ("Content-Encoding", header("Content-Encoding", "gzip"), 415, None, "encoded", KEPT),
    ("Content-Type", without("Content-Type"), 415, None, "Content-Type", KEPT),
    ("Content-Type", header("Content-Type", "text/html"), 415, None, "application/xml", KEPT),
    ("Content-Type", header("Content-Type", "text/xml; charset=latin1"), 415, None, "UTF-8", KEPT),
    ("CIMOperation", without("CIMOperation"), REFUSED, "unsupported-operation", "CIMOperation", KEPT),
    ("CIMOperation", header("CIMOperation", "MethodRequest"), REFUSED, "unsupported-operation", "MethodCall", KEPT),
    ("CIMBatch", header("CIMBatch", ""), 501, "multiple-requests-unsupported", "one request", KEPT),
    ("CIMMethod", without("CIMMethod"), REFUSED, MISMATCH, "no CIMMethod", KEPT),
    ("CIMMethod", header("CIMMethod", "%zz"), REFUSED, MISMATCH, "CIMMethod header is empty or", KEPT),
    ("CIMObject", without("CIMObject"), REFUSED, MISMATCH, "no CIMObject", KEPT),
    ("CIMObject", header("CIMObject", ""), REFUSED, MISMATCH, "CIMObject header is empty or", KEPT),
    ("start", body("<?xml", "<<?xml"), REFUSED, "request-not-well-formed", "at byte", KEPT),
    ("CIM", body('CIM CIMVERSION="2.0"', 'CIM CIMVERSION="3.0"'), 501, "unsupported-cim-version", "`3.0`", KEPT),
    ("DTD", body('DTDVERSION="2.0"', 'DTDVERSION="1.1"'), 501, "unsupported-dtd-version", "`1.1`", KEPT),
    ("ID", body(' ID="1001"', ""), REFUSED, "request-not-valid", "ID", KEPT),
    ("CIMProtocolVersion", header("CIMProtocolVersion", "1.1"), REFUSED, MISMATCH, "CIMProtocolVersion", KEPT),
    ("protocol", body('PROTOCOLVERSION="1.0"', 'PROTOCOLVERSION="2.0"'), 501, "unsupported-protocol-version", "`2.0`", KEPT),
    ("call", body("SIMPLEREQ", "MULTIREQ"), REFUSED, MISMATCH, "CIMBatch", KEPT),
    ("call", body("SIMPLEREQ", "SIMPLERSP"), REFUSED, "request-not-valid", "SIMPLERSP", KEPT),
    ("inside", body("IPARAMVALUE", "IPARAM"), REFUSED, "request-not-valid", "IPARAM", KEPT),
    ("end", body("</IMETHODCALL>", "</METHODCALL>"), REFUSED, "request-not-well-formed", "at byte", KEPT),
    ("CIMMethod", header("CIMMethod", "GetClass"), REFUSED, MISMATCH, "GetClass, the body EnumerateInstanceNames", KEPT),
    ("CIMObject", header("CIMObject", "root/cimv2"), REFUSED, MISMATCH, "root/cimv2", KEPT),
]


class Connection:
    """A raw socket to a daemon."""

    def __init__(self, daemon):
        self.socket = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
        self.read = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def more(self):
        try:
            part = self.socket.recv(65536)
        except ConnectionResetError:
            part = b""
        self.read += part
        return bool(part)

    def ask(self, request):
        """Status, headers by lower-case name, body; `None` if the server closes instead."""
        try:
            self.socket.sendall(request.bytes())
        except (BrokenPipeError, ConnectionResetError):
            return None
        while b"\r\n\r\n" not in self.read:
            if not self.more():
                return None
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (it.partition(":") for it in lines)}
        assert len(headers) == len(lines), head
        length = int(headers["content-length"])
        while len(self.read) < length:
            assert self.more(), "the answer broke off"
        text, self.read = self.read[:length].decode(), self.read[length:]
        return int(re.fullmatch(r"HTTP/1\.1 (\d{3}) [^\r\n]+", first)[1]), headers, text


def spoiled(*faults):
    request = Request()
    for _, spoil, *_ in faults:
        spoil(request)
    return request


def check(answer, fault):
    _, _, status, cim_error, words, kept = fault
    found, headers, text = answer
    assert (found, headers.get("cimerror")) == (status, cim_error), text
    assert words in text
    if cim_error:
        assert urllib.parse.unquote(headers["pgerrordetail"]) == text.strip()
    else:
        assert "pgerrordetail" not in headers
    assert (headers.get("connection") == "close") == (not kept)
    assert ("allow" in headers) == (status == 405)
    assert headers.get("www-authenticate", "").startswith("Basic realm=") == (status == 401)
    assert "INSTANCENAME" not in text


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=lambda number: f"{number}-{FAULTS[number][0]}")
def test_a_refusal_says_why_and_keeps_the_connection_if_it_can(guarded, number):
    fault = FAULTS[number]
    with Connection(guarded) as connection:
        check(connection.ask(spoiled(fault)), fault)
        after = connection.ask(Request())
        if fault[-1] is KEPT:
            assert after[0] == 200
            assert after[2].count("<INSTANCENAME ") == 4
        else:
            assert after is None


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=lambda number: f"{number}-{FAULTS[number][0]}")
def test_of_two_faults_the_first_is_told(guarded, number):
    first = FAULTS[number]
    for second in FAULTS[number + 1 :]:
        # What is in a MULTIREQ is not decoded; it only has to be XML, like what comes after it.
        if second[0] == first[0] or (first[0] == "call" and second[0] in ("inside", "end")):
            continue
        with Connection(guarded) as connection:
            answer = connection.ask(spoiled(second, first))
            status, headers, text = answer
            told = (status, headers.get("cimerror"))
            assert told == first[2:4], f"{first[0]} and {second[0]}: {text}"
            assert first[4] in text, f"{first[0]} and {second[0]}: {text}"


def test_the_header_and_the_body_must_agree_on_the_protocol(guarded):
    """Also where neither would do."""
    for announced, written in itertools.product(["1.0", "1.1", "2.0"], repeat=2):
        request = spoiled(("", body('PROTOCOLVERSION="1.0"', f'PROTOCOLVERSION="{written}"')))
        request.headers["CIMProtocolVersion"] = announced
        with Connection(guarded) as connection:
            status, headers, _ = connection.ask(request)
        if announced != written:
            assert (status, headers["cimerror"]) == (REFUSED, MISMATCH)
        elif written == "2.0":
            assert (status, headers["cimerror"]) == (501, "unsupported-protocol-version")
        else:
            assert status == 200


def test_every_kind_of_request_fits_on_one_connection(guarded):
    """Refused or not: what comes after a kept refusal is read from its first byte."""
    with Connection(guarded) as connection:
        for fault in FAULTS:
            if fault[-1] is KEPT:
                check(connection.ask(spoiled(fault)), fault)
                assert connection.ask(Request())[0] == 200


def test_a_detail_is_short_whatever_the_client_sends(guarded):
    request = Request()
    request.replace('NAME="EnumerateInstanceNames"', f'NAME="{"x" * 200_000}"')
    with Connection(guarded) as connection:
        status, headers, _ = connection.ask(request)
    assert (status, headers["cimerror"]) == (400, MISMATCH)
    assert len(headers["pgerrordetail"]) < 10_000
