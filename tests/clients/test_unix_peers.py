"""Who is let in through the unix socket: what the kernel tells of the process that connects."""

import grp
import os
import subprocess
import sys

import harness
import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")

NOBODY = 65534
GROUP = grp.getgrnam("games")
BODY = (
    '<CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="1" PROTOCOLVERSION="1.0"><SIMPLEREQ>'
    '<IMETHODCALL NAME="EnumerateInstanceNames"><LOCALNAMESPACEPATH><NAMESPACE NAME="root/virt"/></LOCALNAMESPACEPATH>'
    '<IPARAMVALUE NAME="ClassName"><CLASSNAME NAME="KVM_ComputerSystem"/></IPARAMVALUE></IMETHODCALL>'
    "</SIMPLEREQ></MESSAGE></CIM>"
)

# Connects as somebody else. It comes to the socket by a directory that was opened before.
CLIENT = """
import os, socket, sys
directory, user, group, groups = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split()
os.setgroups([int(it) for it in groups])
os.setgid(group)
os.setuid(user)
with socket.socket(socket.AF_UNIX) as client:
    client.connect(f"/proc/self/fd/{directory}/socket")
    client.sendall(sys.stdin.buffer.read())
    print(client.recv(65536).decode().split()[1])
"""


@pytest.fixture
def daemon(start_daemon, config, tmp_path):
    mode = f'mode = "users-file"\nusers-file = "{tmp_path}/users"\n[auth.groups]\n{GROUP.gr_name} = "operator"'
    return start_daemon(config.replace('mode = "none"', mode))


def status(daemon, user, group, groups):
    head = "".join(f"{name}: {value}\r\n" for name, value in harness.cim_headers(BODY).items())
    request = f"POST /cimom HTTP/1.1\r\nHost: here\r\nContent-Length: {len(BODY)}\r\n{head}\r\n{BODY}"
    daemon.directory.chmod(0o711)
    directory = os.open(daemon.directory, os.O_PATH)
    try:
        command = [sys.executable, "-c", CLIENT, str(directory), str(user), str(group), " ".join(map(str, groups))]
        client = subprocess.run(
            command, input=request, stdout=subprocess.PIPE, text=True, pass_fds=[directory], timeout=harness.PATIENCE
        )
    finally:
        os.close(directory)
    return int(client.stdout)


@pytest.mark.parametrize(
    ("group", "groups", "expected"),
    [
        (NOBODY, [], 401),
        (GROUP.gr_gid, [], 200),
        # As a service gets it, whatever the group's list of members says.
        (NOBODY, [GROUP.gr_gid], 200),
        (NOBODY, [1, 2, *range(100, 200), GROUP.gr_gid], 200),
        (NOBODY, [1, 2], 401),
    ],
)
def test_a_process_has_the_role_of_its_groups(daemon, group, groups, expected):
    assert status(daemon, NOBODY, group, groups) == expected


def test_a_process_that_gave_up_its_groups_has_no_role(daemon):
    """The user `games` is in the group by the data base; this process of theirs is not."""
    user = 5
    assert status(daemon, user, GROUP.gr_gid, []) == 200
    assert status(daemon, user, NOBODY, []) == 401


def test_root_is_let_in(daemon):
    assert status(daemon, 0, 0, []) == 200
