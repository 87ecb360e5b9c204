"""Listeners of indications: pywbem's own, and one that answers as a test likes."""

import contextlib
import http.server
import re
import subprocess
import threading

import harness
import pywbem
from twohosts.host import wait_until

INTEROP = "interop"

TAKEN = (
    '<?xml version="1.0" encoding="utf-8"?><CIM CIMVERSION="2.0" DTDVERSION="2.4">'
    '<MESSAGE ID="1" PROTOCOLVERSION="1.4"><SIMPLEEXPRSP><EXPMETHODRESPONSE NAME="ExportIndication"/>'
    "</SIMPLEEXPRSP></MESSAGE></CIM>"
)


def error_answer(code):
    error = f'<EXPMETHODRESPONSE NAME="ExportIndication"><ERROR CODE="{code}"/></EXPMETHODRESPONSE>'
    return TAKEN.replace('<EXPMETHODRESPONSE NAME="ExportIndication"/>', error)


class Ear:
    """A pywbem.WBEMListener that remembers what it hears."""

    def __init__(self, port=None):
        self.port = port or harness.free_port()
        self.heard = []
        self.listener = None

    url = property(lambda self: f"http://127.0.0.1:{self.port}")

    def start(self):
        self.listener = pywbem.WBEMListener("127.0.0.1", http_port=self.port)
        self.listener.add_callback(lambda indication, host: self.heard.append(indication))
        self.listener.start()
        return self

    def stop(self):
        if self.listener:
            self.listener.stop()
            self.listener = None

    def wait_for(self, count, seconds=60):
        """The first `count` indications."""
        assert wait_until(lambda: len(self.heard) >= count, seconds), [it.classname for it in self.heard]
        return self.heard[:count]

    def wait_until(self, done, seconds=60):
        """All that was heard as soon as one of it is the one that is waited for."""
        assert wait_until(lambda: any(map(done, list(self.heard))), seconds), [it.classname for it in self.heard]
        return list(self.heard)


class Scripted:
    """An HTTP server that answers each export as `answer(how many before, body)` says: (status, text), None to
    close without an answer, or an Event that it waits for before it takes it."""

    def __init__(self, answer=lambda index, body: (200, TAKEN), port=None):
        self.bodies, self.heads, self.answer = [], [], answer
        self.lock = threading.Lock()
        scripted = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with scripted.lock:
                    index = len(scripted.bodies)
                    scripted.bodies.append(body)
                    scripted.heads.append((self.requestline, dict(self.headers.items())))
                found = scripted.answer(index, body)
                if isinstance(found, threading.Event):
                    found.wait(60)
                    found = (200, TAKEN)
                if found is None:
                    return
                status, text, *headers = found
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", "text/xml")
                    self.send_header("Content-Length", str(len(text)))
                    for name, value in headers:
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(text.encode())

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port or 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    url = property(lambda self: f"http://127.0.0.1:{self.port}")

    def wait_for(self, count, seconds=60):
        assert wait_until(lambda: len(self.bodies) >= count, seconds), len(self.bodies)
        return self.bodies[:count]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def number_of(body):
    return int(re.search(r'NAME="SequenceNumber" TYPE="sint64">\s*<VALUE>(\d+)', body)[1])


def class_of(body):
    return re.search(r'<INSTANCE CLASSNAME="([^"]*)"', body)[1]


def subscribe(connection, url, *queries, language="WQL", name="x", policy=2, source="root/virt", **destination):
    """One destination with a subscription for each query; the paths of the subscriptions."""
    target = pywbem.CIMInstance("CIM_ListenerDestinationCIMXML", {"Name": name, "Destination": url, **destination})
    target = connection.CreateInstance(target, namespace=INTEROP)
    made = []
    for number, query in enumerate(queries):
        given = {"Name": f"{name}-{number}", "Query": query, "QueryLanguage": language, "SourceNamespaces": [source]}
        chosen = connection.CreateInstance(pywbem.CIMInstance("CIM_IndicationFilter", given), namespace=INTEROP)
        ends = {"Filter": chosen, "Handler": target, "OnFatalErrorPolicy": pywbem.Uint16(policy)}
        bound = pywbem.CIMInstance("CIM_IndicationSubscription", ends)
        made.append(connection.CreateInstance(bound, namespace=INTEROP))
    return made


class TestDriver:
    """libvirt's test driver inside a host's libvirtd, so that others than the daemon can change its guests."""

    __test__ = False

    def __init__(self, host, directory):
        self.uri = f"test+unix:///default?socket={host.socket}"
        # Its guests live as long as anybody is connected.
        command = ["virsh", "-c", self.uri, "event", "--event", "lifecycle", "--loop"]
        self.anchor = subprocess.Popen(command, stdout=subprocess.DEVNULL)

        def is_held():
            self.define(directory / "anchor.xml", "anchor")
            return subprocess.run(["virsh", "-c", self.uri, "domstate", "anchor"], capture_output=True).returncode == 0

        assert wait_until(is_held, 30)

    def close(self):
        self.anchor.kill()
        self.anchor.wait()

    def virsh(self, *arguments):
        command = ["virsh", "-q", "-c", self.uri, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout

    def define(self, path, name):
        path.write_text(harness.GUEST.format(name=name, uuid=harness.uuid_of(name), extra=""))
        self.virsh("define", str(path))
