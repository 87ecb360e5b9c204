"""Names and passwords that PAM judges: real PAM, with modules that run a script of the test's.

The users are those that every machine has; what they may do is told by their groups.
"""

import os
from pathlib import Path

import harness
import pytest
import pywbem

SERVICE = f"virtcimd-test-{os.getpid()}"

# The password comes with a NUL at its end.
JUDGE = """#!/bin/sh
printf '%s %s from %s at %s\\n' "$PAM_TYPE" "$PAM_USER" "$PAM_RHOST" "$PAM_TTY" >>{directory}/asked
[ "$PAM_TYPE" = account ] || [ "$(tr -d '\\0')" = "secret" ]
"""

CONFIG = """
[[hypervisor]]
uri = "{uri}"
prefix = "KVM"

[auth]
mode = "pam"
pam-service = "{service}"

[auth.groups]
daemon = "operator"
bin = "viewer"

[checks]
when-directory-missing = "pass"
"""


@pytest.fixture
def house(tmp_path):
    """Starts a daemon that asks a PAM service of those lines."""
    if os.geteuid() != 0:
        pytest.skip("a PAM service is a file in /etc/pam.d, for which one must be root")
    service = Path("/etc/pam.d", SERVICE)
    judge = tmp_path / "judge"
    judge.write_text(JUDGE.format(directory=tmp_path))
    judge.chmod(0o755)
    uri = harness.driver_host(tmp_path / "host.xml", {"web": "running"})
    daemon = harness.Daemon(tmp_path, CONFIG.format(uri=uri, service=SERVICE))

    def start(*lines):
        service.write_text("".join(f"{line}\n" for line in lines).replace("JUDGE", str(judge)))
        return daemon.start()

    yield start
    service.unlink(missing_ok=True)
    if daemon.process is not None:
        daemon.stop()


ASK = "auth required pam_exec.so quiet expose_authtok JUDGE"
ACCOUNT = "account required pam_exec.so quiet JUDGE"


def status(daemon, user, password):
    return daemon.post(QUESTION, harness.basic(f"{user}:{password}")).status


QUESTION = """<?xml version="1.0" encoding="utf-8"?>
<CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="1" PROTOCOLVERSION="1.0"><SIMPLEREQ>
<IMETHODCALL NAME="EnumerateInstanceNames"><LOCALNAMESPACEPATH><NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/>
</LOCALNAMESPACEPATH><IPARAMVALUE NAME="ClassName"><CLASSNAME NAME="KVM_ComputerSystem"/></IPARAMVALUE>
</IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>"""


def test_a_password_and_a_group_let_in(house, tmp_path):
    daemon = house(ASK, ACCOUNT)
    assert status(daemon, "daemon", "secret") == 200
    # The address of the client, and a terminal: access rules go by them.
    assert (tmp_path / "asked").read_text().splitlines() == [
        "auth daemon from localhost at virtcimd",
        "account daemon from localhost at virtcimd",
    ]
    for user, answer in [("daemon", pywbem.CIM_ERR_FAILED), ("bin", pywbem.CIM_ERR_ACCESS_DENIED)]:
        with pytest.raises(pywbem.CIMError) as refused:
            harness.Gate(daemon.connect(user, "secret")).check(destination="nowhere.invalid")
        assert refused.value.status_code == answer, refused.value


def test_what_is_wrong_lets_nobody_in(house):
    daemon = house(ASK, ACCOUNT)
    for user, password in [
        ("daemon", "wrong"),
        ("daemon", ""),
        # libpam takes texts up to a NUL.
        ("daemon", "secret\0"),
        ("daemon", "secret" * 1000),
        ("nobody at all", "secret"),
        ("../daemon", "secret"),
        # PAM knows them, but none of their groups has a role.
        ("nobody", "secret"),
    ]:
        assert status(daemon, user, password) == 401, user
    assert "none of the user's groups has a role" in daemon.log()
    assert status(daemon, "daemon", "secret") == 200


def test_an_account_that_may_not_be_used(house):
    assert status(house(ASK, "account required pam_deny.so"), "daemon", "secret") == 401


def test_a_module_that_asks_more(house):
    """There is nobody to answer."""
    daemon = house(ASK, "auth required pam_unix.so nodelay", ACCOUNT)
    assert status(daemon, "daemon", "secret") == 401


def test_a_service_that_does_not_exist(house):
    daemon = house("# nothing")
    Path("/etc/pam.d", SERVICE).unlink()
    assert status(daemon, "daemon", "secret") == 401
