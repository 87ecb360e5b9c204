"""Starts a real virtcimd for the tests and speaks to it in different tongues."""

import base64
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
import xml.sax.saxutils
from dataclasses import dataclass, field
from pathlib import Path

import pywbem

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "tests" / "data" / "clients"
NAMESPACE = "root/virt"
# Generous: a deadline only decides how soon a failure is reported.
PATIENCE = 30

# What every daemon must have to itself.
OWN_PLACES = """
[listen]
http = "127.0.0.1:{port}"
unix = "{directory}/socket"

[store]
path = "{store}"

[daemon]
runtime-directory = "{directory}/run"
"""

GUEST = """\
  <domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
    <name>{name}</name>
    <uuid>{uuid}</uuid>
    <memory unit='MiB'>64</memory>
    <vcpu>1</vcpu>
    <os><type>hvm</type></os>
    {extra}
  </domain>
"""


def program(name="virtcimd"):
    """The program under test: VIRTCIMD_BIN_DIR, or what cargo built."""
    directory = os.environ.get("VIRTCIMD_BIN_DIR", REPOSITORY / "target" / "debug")
    return Path(directory) / name


def uuid_of(name):
    """A fixed UUID for a guest of the test driver."""
    return f"00000000-0000-4000-8000-{name.encode().hex():0>12}"


def driver_host(path, guests):
    """Writes a host of libvirt's test driver and returns its URI.

    `guests` maps names to states: "running", "paused", "shut off", "saved".
    """
    extras = {
        "running": "",
        "paused": "<test:runstate>3</test:runstate>",
        "shut off": "<test:runstate>5</test:runstate>",
        "saved": "<test:runstate>5</test:runstate><test:hasmanagedsave/>",
    }
    domains = [GUEST.format(name=name, uuid=uuid_of(name), extra=extras[state]) for name, state in guests.items()]
    path.write_text(f"<node>\n{''.join(domains)}</node>\n")
    return f"test://{path}"


# Ports that were given out, bound as long as the tests run.
_reserved = []


def free_port():
    """A port for a server that sets SO_REUSEADDR, as ours and Python's do, and for nobody else.

    It stays bound here, so that no other run of tests gets it and no client's end of a connection, not even while
    its server is stopped.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(("127.0.0.1", 0))
    _reserved.append(reservation)
    return reservation.getsockname()[1]


def basic(text):
    """The header of a name and a password."""
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def cim_headers(body):
    """The headers that repeat what the body says; those of a usual request where it says nothing."""
    method, target = "EnumerateInstanceNames", "root/virt"
    with contextlib.suppress(ElementTree.ParseError):
        root = ElementTree.fromstring(body.strip().removesuffix(";"))
        for call in [*root.iter("IMETHODCALL"), *root.iter("METHODCALL")]:
            method = call.get("NAME")
            target = "/".join(name.get("NAME") for name in call.find(".//LOCALNAMESPACEPATH"))
            if call.tag == "METHODCALL":
                target += ":" + target_of(call[0])
    return {
        "Content-Type": "application/xml; charset=utf-8",
        "CIMOperation": "MethodCall",
        "CIMMethod": method,
        "CIMObject": urllib.parse.quote(target),
    }


def target_of(path):
    """The object of a METHODCALL as the header writes it."""
    name = path.find("INSTANCENAME")
    if name is None:
        return path.find("CLASSNAME").get("NAME")
    keys = [f'{key.get("NAME")}="{key.find("KEYVALUE").text}"' for key in name]
    return f'{name.get("CLASSNAME")}.{",".join(keys)}'


class Checks:
    """A check directory of the test's own."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(mode=0o755)

    def add(self, name, body, mode=0o755):
        """A shell script of that name; `body` is what it does."""
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(mode)
        return path

    def clear(self):
        for path in self.directory.iterdir():
            path.unlink()


@dataclass
class Daemon:
    """A running `virtcimd serve`."""

    directory: Path
    config: str
    command: list = field(default_factory=list)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen = None
    store: Path = None

    def start(self):
        """Returns when the daemon has said that it is ready."""
        config = self.directory / "virtcimd.toml"
        store = self.store or self.directory / "virtcimd.db"
        own_places = OWN_PLACES.format(port=self.port, directory=self.directory, store=store)
        config.write_text(self.config + own_places)
        log = (self.directory / "daemon.log").open("ab")
        notify = self.directory / "notify"
        notify.unlink(missing_ok=True)
        with log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            ready.settimeout(0.05)
            self.process = subprocess.Popen(
                [*self.command, program(), "serve", "--config", config],
                env={**os.environ, "NOTIFY_SOCKET": str(notify)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    if b"READY=1" in ready.recv(4096).split(b"\n"):
                        return self
                except TimeoutError:
                    if self.process.poll() is not None:
                        break
        self.stop()
        raise AssertionError(f"virtcimd did not start:\n{self.log()}")

    def stop(self):
        """Ends it as systemd would, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"virtcimd did not stop:\n{self.log()}") from None
        return self.process.returncode

    def log(self):
        return (self.directory / "daemon.log").read_text(errors="replace")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def connect(self, user=None, password="", **options):
        """A pywbem connection."""
        credentials = (user, password) if user else None
        options = {"default_namespace": NAMESPACE, "timeout": PATIENCE, **options}
        return pywbem.WBEMConnection(self.url, credentials, **options)

    def post(self, body, headers=None, method="POST", path="/cimom"):
        """One raw HTTP request; returns the response with its body in `.text`."""
        headers = {**cim_headers(body), **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body.encode(), headers)
            response = connection.getresponse()
            response.text = response.read().decode()
            return response
        finally:
            connection.close()

    def ask(self, operation, parameters, namespace=("root", "virt")):
        """An intrinsic operation whose parameters are (name, CIM-XML), good or not.

        Returns status and description of the error that it ends in, or (None, "").
        """
        given = "".join(f'<IPARAMVALUE NAME="{name}">{content}</IPARAMVALUE>' for name, content in parameters)
        names = "".join(f'<NAMESPACE NAME="{name}"/>' for name in namespace)
        response = self.post(
            '<?xml version="1.0" encoding="utf-8"?><CIM CIMVERSION="2.0" DTDVERSION="2.0">'
            '<MESSAGE ID="1" PROTOCOLVERSION="1.0"><SIMPLEREQ>'
            f'<IMETHODCALL NAME="{operation}"><LOCALNAMESPACEPATH>{names}</LOCALNAMESPACEPATH>{given}</IMETHODCALL>'
            "</SIMPLEREQ></MESSAGE></CIM>"
        )
        assert response.status == 200, response.text
        error = re.search(r'<ERROR CODE="(\d+)" DESCRIPTION="([^"]*)"', response.text)
        return (int(error[1]), xml.sax.saxutils.unescape(error[2])) if error else (None, "")

    def wbemcli(self, operation, path, *arguments, options=()):
        """Runs the C client; `path` is what follows host and port."""
        return subprocess.run(
            ["wbemcli", operation, *options, f"{self.url}/{path}", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


class Gate:
    """The check method, called as pywbem programs call it."""

    def __init__(self, connection, prefix="KVM"):
        self.connection = connection
        self.prefix = prefix
        self.service = connection.EnumerateInstanceNames(f"{prefix}_VirtualSystemMigrationService")[0]

    def guest(self, name):
        keys = {"CreationClassName": f"{self.prefix}_ComputerSystem", "Name": name}
        return pywbem.CIMInstanceName(f"{self.prefix}_ComputerSystem", keys, namespace=NAMESPACE)

    def settings(self, **properties):
        """The setting data; MigrationType live by tcp unless said otherwise."""
        typed = {"MigrationType": pywbem.Uint16(2), "TransportType": pywbem.Uint16(5), **properties}
        class_name = f"{self.prefix}_VirtualSystemMigrationSettingData"
        given = {name: value for name, value in typed.items() if value is not None}
        return pywbem.CIMInstance(class_name, given)

    def check(self, guest="web", destination="other", settings=None, target=None):
        """Returns (may migrate?, findings) of CheckVirtualSystemIsMigratableToHost."""
        value, out = self.connection.InvokeMethod(
            "CheckVirtualSystemIsMigratableToHost",
            target or self.service,
            ComputerSystem=self.guest(guest) if isinstance(guest, str) else guest,
            DestinationHost=destination,
            MigrationSettingData=settings if settings is not None else self.settings(),
        )
        assert value == 0
        return out["IsMigratable"], out.get("Findings") or []


    def migrate(self, guest="web", destination="other", **properties):
        """Starts a job and returns its path."""
        value, out = self.connection.InvokeMethod(
            "MigrateVirtualSystemToHost",
            self.service,
            ComputerSystem=self.guest(guest),
            DestinationHost=destination,
            MigrationSettingData=self.settings(**properties),
        )
        assert value == 4096
        return out["Job"]


def raw_verdict(connection):
    """The text between the VALUE tags of IsMigratable, as it went over the wire."""
    match = re.search(
        r'<PARAMVALUE NAME="IsMigratable" PARAMTYPE="boolean">\s*<VALUE>([^<]*)</VALUE>',
        connection.last_raw_reply.decode(),
    )
    assert match, connection.last_raw_reply
    return match[1]
