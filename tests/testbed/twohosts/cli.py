"""The command line of the test bed."""

import argparse
import dataclasses
import os
import shlex
import subprocess
import sys

from . import network, selftest
from .bed import DEFAULT_DIRECTORY, Bed, missing
from .enter import run_inside
from .errors import BedError
from .guest import DISKS, Spec

EPILOG = f"""\
environment:
  TESTBED_DIR        where the bed lives; several beds may be up at once, each
                     with a directory of its own [{DEFAULT_DIRECTORY}]
  TESTBED_KEEPALIVE  "SECONDS COUNT" of both libvirtd [5 5]

example:
  testbed up
  testbed guest start web --busy 8 --memory 64
  testbed run hosta virsh migrate --live web qemu+tcp://hostb/system
  testbed guest wait web 5 --host hostb
  testbed down
"""


def main(arguments=None):
    """Returns the exit status: 0 done, 1 failed, 2 wrong usage."""
    options = parser().parse_args(arguments)
    try:
        return options.act(options) or 0
    except BedError as error:
        print(f"testbed: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"testbed: {error}\n{error.stderr or ''}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def parser():
    top = argparse.ArgumentParser(
        prog="testbed",
        description="Two real libvirt hosts, hosta and hostb, on one machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def command(name, act, help_text, within=commands):
        added = within.add_parser(name, help=help_text, description=help_text)
        added.set_defaults(act=act)
        return added

    command("check", check, "say whether this machine can hold a bed, and what is missing")
    command("up", up, "start both hosts; a bed that is up stays as it is")
    command("down", down, "end everything and leave nothing behind")
    command("status", status, "show what runs and how to reach it")
    command("env", environment, "print shell variables for tests: eval \"$(testbed env)\"")
    add_host(command("uri", uri, "print the URI that reaches a host from outside"))
    command("selftest", run_selftest, "show that everything works, migrations included; brings the bed up and down")

    run = command("run", run_command, "run a command inside a host; signals and exit status pass through")
    add_host(run)
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")

    daemon = command("libvirtd", libvirtd, "stop (SIGTERM), kill (SIGKILL), start or restart a host's libvirtd")
    add_host(daemon)
    daemon.add_argument("action", choices=("stop", "kill", "start", "restart"))

    link = command("link", link_state, "change or show the link between the hosts")
    link.add_argument("action", choices=("cut", "blackhole", "rate", "restore", "show"))
    link.add_argument("limit", nargs="?", metavar="RATE", help="for rate, as in 20mbit")

    guest = command("guest", None, "define, start, watch and remove guests")
    add_guest_commands(guest.add_subparsers(metavar="ACTION", required=True), command)
    return top


def add_guest_commands(actions, command):
    def action(name, act, help_text, host="hosta"):
        added = command(name, act, help_text, within=actions)
        added.add_argument("name", metavar="NAME")
        if host:
            added.add_argument("--host", choices=("hosta", "hostb"), default=host)
        return added

    for name, act, help_text in (
        ("define", guest_define, "define a guest"),
        ("start", guest_start, "start a guest, defining it first when it is not there"),
        ("create", guest_create, "start a transient guest"),
    ):
        added = action(name, act, help_text)
        added.add_argument("--memory", type=int, metavar="MIB")
        added.add_argument("--vcpus", type=int, metavar="N")
        added.add_argument("--busy", type=int, metavar="MIB", help="memory that it dirties without end")
        added.add_argument("--keep", type=int, metavar="MIB", help="memory that it fills once and verifies")
        added.add_argument("--stop", type=int, metavar="N", help="power off after tick N")
        added.add_argument("--deaf", action="store_true", default=None, help="ignore the power button")
        added.add_argument("--late", type=int, metavar="N", help="obey the power button N ticks later")
        added.add_argument("--disk", choices=DISKS)
        added.add_argument("--nic", action="store_true", default=None)
        added.add_argument("--vnc", action="store_true", default=None)
    action("remove", guest_remove, "destroy and undefine a guest on both hosts", host=None)
    action("state", guest_state, "print its state on a host, or \"absent\"")
    action("kill", guest_kill, "kill its QEMU on a host")
    action("ticks", guest_ticks, "print the last tick it printed on a host")
    wait = action("wait", guest_wait, "wait until it has printed a tick on a host")
    wait.add_argument("number", type=int, metavar="N")
    action("account", guest_account, "judge from both consoles whether it stayed whole", host=None)


def add_host(to):
    to.add_argument("host", choices=("hosta", "hostb"))


# ------------------------------------------------------------------ the bed


def check(_):
    for reason in (reasons := missing()):
        print(reason)
    return 1 if reasons else 0


def up(_):
    Bed().up()


def down(_):
    Bed().down()


def status(_):
    bed = Bed()
    for host in bed.hosts:
        if not host.is_made():
            print(f"{host.name}: down")
        elif host.libvirtd_pid() is None:
            print(f"{host.name}: up, libvirtd down")
        else:
            print(f"{host.name}: up, {host.address}, {host.uri()}")
            print(host.run("virsh", "-q", "list", "--all").stdout.rstrip())
    return 0 if bed.is_up() else 1


def environment(_):
    for name, value in Bed().environment().items():
        print(f"export {name}={shlex.quote(value)}")


def uri(options):
    print(Bed().host(options.host).uri())


def run_selftest(_):
    return selftest.run(Bed())


def run_command(options):
    if not options.command:
        raise BedError("run HOST COMMAND: no command")
    return run_inside(Bed().host(options.host), options.command)


def libvirtd(options):
    host = Bed().host(options.host)
    if options.action in ("stop", "restart"):
        host.stop_libvirtd()
    if options.action == "kill":
        host.stop_libvirtd("KILL")
    if options.action in ("start", "restart"):
        host.start_libvirtd()


def link_state(options):
    bed = Bed()
    if (options.action == "rate") != (options.limit is not None):
        raise BedError("a limit belongs to rate and to nothing else: link rate 20mbit")
    match options.action:
        case "show":
            print(network.state(bed.a))
        case "rate":
            network.rate(bed.a, bed.b, options.limit)
        case "cut":
            network.cut(bed.a, bed.b)
        case "blackhole":
            network.blackhole(bed.a, bed.b)
        case "restore":
            network.restore(bed.a, bed.b)


# ------------------------------------------------------------------ guests


def spec_of(options):
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Spec)}
    return Spec(**{name: value for name, value in given.items() if value is not None})


def host_and_guest(options):
    bed = Bed()
    return bed.host(options.host), bed.guest(options.name)


def guest_define(options):
    host, guest = host_and_guest(options)
    guest.define(host, spec_of(options))


def guest_start(options):
    host, guest = host_and_guest(options)
    if guest.state(host) == "absent":
        guest.define(host, spec_of(options))
    guest.start(host)


def guest_create(options):
    host, guest = host_and_guest(options)
    guest.create(host, spec_of(options))


def guest_remove(options):
    Bed().guest(options.name).remove()


def guest_state(options):
    host, guest = host_and_guest(options)
    print(guest.state(host))


def guest_kill(options):
    host, guest = host_and_guest(options)
    guest.kill_qemu(host)


def guest_ticks(options):
    host, guest = host_and_guest(options)
    print(guest.ticks(host))


def guest_wait(options):
    host, guest = host_and_guest(options)
    guest.wait_for_tick(host, options.number)


def guest_account(options):
    account = Bed().guest(options.name).account()
    print(account)
    return 0 if account.whole else 1
