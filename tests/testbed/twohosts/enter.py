"""Runs a program inside a host so that it seems to run here.

Signals pass through to it, its exit status comes back, and it does not outlive
us: a test that kills its child has killed the program in the host.
"""

import ctypes
import os
import signal
import sys

from .errors import BedError

NAMESPACES = ("ipc", "uts", "net", "pid", "mnt")
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def run_inside(host, command):
    """Returns the program's exit status, as a shell counts it."""
    cwd = os.getcwd()
    join(host)
    # A PID namespace is for children: the program is one, and we stay outside.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = os.fork()
    if child == 0:
        become(host, command, cwd)
    for number in FORWARDED:
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def join(host, namespaces=NAMESPACES):
    """Moves this process; only its children get into a PID namespace."""
    pid = host.init.pid()
    if pid is None:
        raise BedError(f"{host.name} is not up")
    # All are opened before /proc changes under us.
    files = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in namespaces]
    for name, file in zip(namespaces, files):
        if libc.setns(file, 0) != 0:
            raise BedError(f"{host.name}: {name} namespace: {os.strerror(ctypes.get_errno())}")
        os.close(file)


def become(host, command, cwd):
    """The child: dies with its parent, and is the program from here on."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # A parent outside the namespace has no number here.
        if os.getppid() != 0:
            os._exit(137)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        try:
            os.chdir(cwd)
        except OSError:
            os.chdir("/")
        os.execvpe(command[0], command, host.environment())
    except OSError as error:
        print(f"testbed: {command[0]}: {error.strerror}", file=sys.stderr)
    os._exit(127)
