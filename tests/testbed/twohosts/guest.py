"""Guests: their definitions, the tick program, and what it printed."""

import re
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from .errors import BedError
from .host import wait_until

SOURCE = Path(__file__).resolve().parent / "tick.S"

DISKS = ("none", "local", "overlay", "shared", "nbd")
# One export per guest, at a port that its name decides.
NBD_PORTS = range(10900, 15900)

DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <cmdline>{options}</cmdline>
  </os>
  <features><acpi/></features>
  <clock offset='utc'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='/var/log/libvirt/qemu/{name}.serial' append='on'/></serial>
{devices}  </devices>
</domain>
"""

DISK = """\
    <disk type='{kind}' device='disk'>
      <driver name='qemu' type='{format}' cache='none'/>
      {source}
      <target dev='vda' bus='virtio'/>
    </disk>
"""

NIC = """\
    <interface type='network'>
      <source network='default'/>
      <model type='virtio'/>
    </interface>
"""

VNC = "    <graphics type='vnc' autoport='yes' listen='127.0.0.1'/>\n"


@dataclass(frozen=True)
class Spec:
    """What a guest is to be; the options of `testbed guest define`."""

    memory: int = 32
    vcpus: int = 1
    busy: int = 0
    keep: int = 4
    stop: int = 0
    deaf: bool = False
    late: int = 0
    disk: str = "none"
    nic: bool = False
    vnc: bool = False

    def check(self):
        # The image and its tables take the first two MiB.
        if self.busy + self.keep > self.memory - 4:
            raise BedError(f"busy and keep together need {self.busy + self.keep + 4} MiB of memory")
        if self.disk not in DISKS:
            raise BedError(f"a disk is one of {', '.join(DISKS)}")

    def options(self):
        """The tick program's command line."""
        numbers = {"busy": self.busy, "keep": self.keep, "stop": self.stop, "deaf": int(self.deaf), "late": self.late}
        return " ".join(f"{name}={number}" for name, number in numbers.items() if number)


def guest_uuid(name):
    """Fixed by the name, so that a test can foretell it."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.guest.testbed"))


@dataclass(frozen=True)
class Account:
    """What a guest's console says about its life so far, on both hosts together."""

    last: int
    twice: tuple
    missing: tuple
    lost: tuple

    @property
    def whole(self):
        """It never ran twice, skipped no second and lost no memory."""
        return not (self.twice or self.missing or self.lost)

    def __str__(self):
        if self.whole:
            return f"{self.last} ticks, each once, memory whole"
        return f"{self.last} ticks; twice: {self.twice}; missing: {self.missing}; lost pages: {self.lost}"


class Guest:
    """A guest of the bed, wherever it runs."""

    def __init__(self, bed, name):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise BedError(f"a guest needs a plain name, not '{name}'")
        self.bed = bed
        self.name = name

    # ---------------------------------------------------------- definition

    def xml(self, spec=Spec()):
        spec.check()
        devices = (self._disk(spec.disk) if spec.disk != "none" else "") + NIC * spec.nic + VNC * spec.vnc
        return DOMAIN.format(
            name=self.name,
            uuid=guest_uuid(self.name),
            memory=spec.memory,
            vcpus=spec.vcpus,
            kernel=self.bed.tick_image(),
            options=spec.options(),
            devices=devices,
        )

    def define(self, host, spec=Spec()):
        self._prepare_disk(host, spec.disk)
        self._virsh_xml(host, "define", self.xml(spec))

    def create(self, host, spec=Spec()):
        """A transient guest: it runs at once and leaves no definition."""
        self._prepare_disk(host, spec.disk)
        self._virsh_xml(host, "create", self.xml(spec))

    def _virsh_xml(self, host, verb, xml):
        path = self.bed.directory / "shared" / f"{self.name}.xml"
        path.write_text(xml)
        host.run("virsh", "-q", verb, str(path))

    def _local_image(self):
        return f"/var/lib/libvirt/images/{self.name}.img"

    def _shared_image(self):
        return self.bed.directory / "shared" / "images" / f"{self.name}.img"

    def _base_image(self):
        return self.bed.directory / "shared" / "images" / f"{self.name}.base"

    def _nbd_port(self):
        return NBD_PORTS[uuid.UUID(guest_uuid(self.name)).int % len(NBD_PORTS)]

    def _disk(self, kind):
        if kind == "nbd":
            # Of the network kinds the one that needs least; libvirt takes any
            # of them for shared, and no local file whatever its place.
            host = f"<host name='{self.bed.a.address}' port='{self._nbd_port()}'/>"
            return DISK.format(
                kind="network",
                format="raw",
                source=f"<source protocol='nbd' name='{self.name}'>{host}</source>",
            )
        path = self._shared_image() if kind == "shared" else self._local_image()
        image_format = "qcow2" if kind == "overlay" else "raw"
        return DISK.format(kind="file", format=image_format, source=f"<source file='{path}'/>")

    def _prepare_disk(self, host, kind):
        if kind == "local":
            host.run("truncate", "-s", "16M", self._local_image())
        elif kind == "overlay":
            self.make_overlay(host)
            write = ["qemu-io", "-c", "write -P 0x5a 4M 1M", self._local_image()]
            host.run(*write)
        elif kind != "none":
            host.run("truncate", "-s", "16M", str(self._shared_image()))
        if kind == "nbd":
            self._serve_nbd()

    def make_overlay(self, host):
        """An empty image over a full one that both hosts have."""
        base, image = str(self._base_image()), self._local_image()
        host.run("sh", "-c", f"[ -e {base} ] || head -c 16M /dev/urandom >{base}")
        host.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", image)
        host.run("virsh", "-q", "pool-refresh", "default")

    def _serve_nbd(self):
        pid_file = f"/run/nbd-{self.name}.pid"
        self.bed.a.run(
            *["sh", "-c", f'kill -0 "$(cat {pid_file})" 2>/dev/null || exec qemu-nbd "$@"', "sh"],
            # Source and destination have it open together at the handover.
            *"--fork --persistent --shared=4 --format=raw --cache=none".split(),
            *[f"--export-name={self.name}", f"--pid-file={pid_file}"],
            *[f"--bind={self.bed.a.address}", f"--port={self._nbd_port()}", str(self._shared_image())],
        )

    # ---------------------------------------------------------- life

    def start(self, host):
        host.run("virsh", "-q", "start", self.name)

    def remove(self):
        """Leaves no trace of it on either host."""
        for host in self.bed.hosts:
            host.run("virsh", "-q", "destroy", self.name, check=False)
            host.run("virsh", "-q", "undefine", self.name, "--managed-save", check=False)
            image = host.directory / "lib" / "images" / f"{self.name}.img"
            if image.exists():
                image.unlink()
                # Or the pool takes the next image of that name for this one.
                host.run("virsh", "-q", "pool-refresh", "default", check=False)
            for trace in (host.directory / "log" / "qemu").glob(f"{self.name}.*"):
                trace.unlink()
        self.bed.a.run("pkill", "-F", f"/run/nbd-{self.name}.pid", check=False)
        self._shared_image().unlink(missing_ok=True)
        self._base_image().unlink(missing_ok=True)
        (self.bed.directory / "shared" / f"{self.name}.xml").unlink(missing_ok=True)

    def state(self, host):
        """As virsh says it ("running", "shut off"...), or "absent"."""
        done = host.run("virsh", "-q", "domstate", self.name, check=False)
        return done.stdout.strip() if done.returncode == 0 else "absent"

    def is_persistent(self, host):
        return bool(re.search(r"^Persistent: +yes$", host.run("virsh", "dominfo", self.name, check=False).stdout, re.M))

    def kill_qemu(self, host):
        """What a crash of the emulator looks like."""
        host.run("pkill", "-KILL", "-F", f"/run/libvirt/qemu/{self.name}.pid")

    # ---------------------------------------------------------- console

    def console(self, host):
        path = host.directory / "log" / "qemu" / f"{self.name}.serial"
        return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

    def ticks(self, host):
        """The last tick it printed on the host, 0 when there was none."""
        numbers = re.findall(r"^tick (\d+)$", self.console(host), re.M)
        return int(numbers[-1]) if numbers else 0

    def first_ticks(self, host):
        """How often it began to count on the host: its lives there that lasted a second."""
        return len(re.findall(r"^tick 1$", self.console(host), re.M))

    def starts(self, host):
        """How often the host's libvirt started QEMU for it, also to receive it."""
        path = host.directory / "log" / "qemu" / f"{self.name}.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return len(re.findall(r": starting up libvirt version", text))

    def wait_for_tick(self, host, number, seconds=30):
        if not wait_until(lambda: self.ticks(host) >= number, seconds):
            raise BedError(f"{self.name} stands at tick {self.ticks(host)} on {host.name}, not {number}")

    def account(self):
        """Judges both consoles.

        A migration may cut a line in two, so one number may be missing for each
        pair of fragments; none may appear twice.
        """
        lines = [line for host in self.bed.hosts for line in self.console(host).splitlines() if line]
        ticks = [int(match[1]) for line in lines if (match := re.fullmatch(r"tick (\d+)", line))]
        lost = tuple(line for line in lines if line.startswith("lost"))
        fragments = [line for line in lines if not re.fullmatch(r"tick \d+|lost \d+|power button", line)]
        last = max(ticks, default=0)
        missing = tuple(sorted(set(range(1, last + 1)) - set(ticks)))
        twice = tuple(sorted({tick for tick in ticks if ticks.count(tick) > 1}))
        return Account(last, twice, missing if len(missing) > len(fragments) // 2 else (), lost)


def build_tick(target):
    """Assembles the tick program unless it is there already."""
    if target.exists():
        return
    object_file = target.with_suffix(".o")
    unfinished = target.with_suffix(".new")
    for tool in ("as", "ld"):
        if shutil.which(tool) is None:
            raise BedError(f"{tool} is missing (Debian package binutils)")
    subprocess.run(["as", "--32", "-o", object_file, SOURCE], check=True)
    link = ["ld", "-m", "elf_i386", "-Ttext", "0x100000", "--oformat", "binary"]
    subprocess.run([*link, "-o", unfinished, object_file], check=True)
    object_file.unlink()
    unfinished.rename(target)
