"""What ten thousand guests cost a daemon whose clients read slowly, or not at all: a part of one list.

Memory is what the kernel counted at its highest, so no moment is missed.
"""

import contextlib
import http.client
import re
import socket
import time
from pathlib import Path

import pytest
from harness import PATIENCE, Daemon, cim_headers, driver_host

GUESTS = 10_000
CLASS = "KVM_ComputerSystem"
MIB = 1 << 20
# DESIGN: what streaming may cost beyond what the daemon needs at rest.
ALLOWED = 16 * MIB
STOPPED = 4
CONTEXTS = 40

LIST = (
    '<?xml version="1.0" encoding="utf-8"?><CIM CIMVERSION="2.0" DTDVERSION="2.0">'
    '<MESSAGE ID="1" PROTOCOLVERSION="1.0"><SIMPLEREQ><IMETHODCALL NAME="EnumerateInstances">'
    '<LOCALNAMESPACEPATH><NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/></LOCALNAMESPACEPATH>'
    f'<IPARAMVALUE NAME="ClassName"><CLASSNAME NAME="{CLASS}"/></IPARAMVALUE>'
    "</IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>"
)


class Memory:
    """The memory of a process."""

    def __init__(self, process):
        self.directory = Path("/proc") / str(process.pid)

    def field(self, name):
        return int(re.search(rf"^{name}:\s*(\d+) kB$", (self.directory / "status").read_text(), re.M)[1]) * 1024

    def begin(self):
        """From now on the peak counts; returns what is held now."""
        (self.directory / "clear_refs").write_text("5")
        return self.field("VmRSS")

    def peak(self):
        return self.field("VmHWM")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory, config):
    """A daemon that has found all those guests."""
    home = tmp_path_factory.mktemp("crowded")
    source = driver_host(home / "many.xml", {f"g{number:05}": "shut off" for number in range(GUESTS)})
    daemon = Daemon(home, re.sub(r'uri = "test://[^"]*source.xml"', f'uri = "{source}"', config)).start()
    try:
        # One object only: what a list had cost would not come back to be counted.
        # On a busy machine the guests are found later than an operation waits for them, and libvirt may need more
        # than the ten seconds to read them after which the daemon gives a connection up and begins anew.
        deadline = time.monotonic() + 4 * PATIENCE
        while not (opened := daemon.connect().OpenEnumerateInstancePaths(CLASS, MaxObjectCount=1)).paths:
            assert time.monotonic() < deadline, "the guests are not found"
        daemon.connect().CloseEnumeration(opened.context)
        yield daemon
    finally:
        daemon.stop()


@contextlib.contextmanager
def asking(daemon):
    """A client that holds next to nothing itself and has asked for the list."""
    client = http.client.HTTPConnection("127.0.0.1", daemon.port)
    client.sock = socket.socket()
    try:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sock.settimeout(PATIENCE)
        client.sock.connect(("127.0.0.1", daemon.port))
        client.request("POST", "/cimom", LIST, cim_headers(LIST))
        yield client
    finally:
        client.close()


def guests_read(client, size, between=lambda: None):
    """Reads the answer to its end, so many bytes at a time, and counts the guests in it.

    `between` is done after every ten guests.
    """
    response = client.getresponse()
    assert response.headers["Transfer-Encoding"] == "chunked"
    found, rest = 0, b""
    while part := response.read(size):
        *lines, rest = (rest + part).split(b"</VALUE.NAMEDINSTANCE>")
        found += len(lines)
        if lines and found % 10 == 0:
            between()
    return found


def check(daemon, held):
    cost = Memory(daemon.process).peak() - held
    assert cost < ALLOWED, f"{cost / MIB:.1f} MiB"


def test_a_client_that_reads_a_little_at_a_time(crowded):
    """It has something else to ask meanwhile, which gives the daemon the time to make the list."""
    connection = crowded.connect()
    held = Memory(crowded.process).begin()
    with asking(crowded) as client:
        assert guests_read(client, 1024, lambda: connection.EnumerateInstanceNames("KVM_HostSystem")) == GUESTS
    check(crowded, held)


def test_clients_that_read_nothing(crowded):
    """They were first, so the daemon would have had all the time to make their lists meanwhile."""
    held = Memory(crowded.process).begin()
    with contextlib.ExitStack() as clients:
        for _ in range(STOPPED):
            assert clients.enter_context(asking(crowded)).getresponse().status == 200
        for _ in range(2):
            assert guests_read(clients.enter_context(asking(crowded)), MIB) == GUESTS
        check(crowded, held)


def test_lists_that_are_opened_and_left(crowded):
    connection = crowded.connect()
    held = Memory(crowded.process).begin()
    contexts = [connection.OpenEnumerateInstances(CLASS, MaxObjectCount=1).context for _ in range(CONTEXTS)]
    with asking(crowded) as client:
        assert guests_read(client, MIB) == GUESTS
    check(crowded, held)
    for context in contexts:
        connection.CloseEnumeration(context)
