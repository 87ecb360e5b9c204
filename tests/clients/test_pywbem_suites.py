"""pywbem's own tests of servers, as its source has them, against our daemon.

The source is not ours: `tools/deps clients` fetches the one of the pinned version into target/pywbem-suite.
"""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from harness import REPOSITORY

SUITE = REPOSITORY / "target" / "pywbem-suite"
OURS = Path(__file__).parent / "pywbem_suites"
# Either takes seconds.
PATIENCE = 300

pytestmark = pytest.mark.skipif(not SUITE.is_dir(), reason=f"no tests of pywbem at {SUITE}; `make deps` fetches them")

SERVERS = """
vault_file: vault.yml
default: virtcimd
servers:
  virtcimd:
    description: the daemon under test
    user_defined:
      url: {url}
      default_namespace: root/virt
      capabilities: [interop, namespaces, profiles, smis, snia-smis, snia-server]
"""
VAULT = """
secrets:
  virtcimd:
    user: vera
    password: vera's secret
"""

# They call methods of providers that only OpenPegasus' test environment has.
OF_OPENPEGASUS = ["test_indications.py", "test_operation_timeouts.py"]
# Why tests are skipped: what is advertised is what is implemented, and that is no storage.
SKIPPED_FOR = re.compile(r"(DMTF|SNIA) '?\w[^']+'? (profile|specification).* is not advertised\b")
# What a server of SNIA's would have and ours has not.
NOT_STORAGE = {
    # The profiles of this model are none of the storage world's.
    "test_undefined_profiles": "'Virtual System Migration' 1.0.0",
    # The name of libvirt-cim's host has no declared format.
    "test_System": "property 'NameFormat' in an instance of class 'KVM_HostSystem'",
}


@pytest.fixture
def run(guarded, tmp_path):
    """Runs end2end tests; gives (test, what became of it, why)."""
    (tmp_path / "servers.yml").write_text(SERVERS.format(url=guarded.url))
    (tmp_path / "vault.yml").write_text(VAULT)

    def run(*arguments):
        report = tmp_path / "report.xml"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--es-file", tmp_path / "servers.yml"]
        done = subprocess.run(
            [*command, f"--junit-xml={report}", *arguments],
            cwd=SUITE,
            env={**os.environ, "PYTHONPATH": str(OURS)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert report.exists(), done.stdout + done.stderr
        return [outcome(case) for case in ElementTree.parse(report).iter("testcase")]

    return run


def outcome(case):
    name = case.get("name").partition("[")[0]
    for what in ("failure", "error", "skipped"):
        if (end := case.find(what)) is not None:
            return name, what, end.get("message")
    return name, "passed", ""


def check(outcomes):
    """Fails on what is neither passed nor explained; gives the number of tests of each kind."""
    for name, what, why in outcomes:
        explained = what == "skipped" and SKIPPED_FOR.search(why)
        explained = explained or what == "failure" and name in NOT_STORAGE and NOT_STORAGE[name] in why
        assert what == "passed" or explained, (name, what, why)
    return Counter(what for _, what, _ in outcomes)


def test_end2end_tests(run):
    others = [f"--ignore=tests/end2endtest/{name}" for name in OF_OPENPEGASUS]
    outcomes = run("tests/end2endtest", *others)
    counts = check(outcomes)
    # Six tests of servers in four default namespaces, and the profile that both sides know.
    assert counts["passed"] >= 25, counts


def test_what_every_server_has_followed_in_six_ways(run):
    """Namespaces, protocols and the system, by all operations and filters that lead there."""
    outcomes = run("-p", "as_smis_server", "tests/end2endtest/test_profile_snia_server.py")
    outcomes = [it for it in outcomes if it[0] != "test_get_central_instances"]
    counts = check(outcomes)
    assert (counts["passed"], counts["failure"], counts["skipped"]) == (13, 6, 0), counts


# Tests of pywbem's manual suite that fail on any server but OpenPegasus as it is tested, or on any
# server with something to tell: with what, and why.
NOT_OURS = {
    "needs OpenPegasus' test providers": {
        "InvokeMethod.test_working_method": "Invalid namespace `test/TestProvider`",
        "IterEnumerateInstances.test_compare_ok_returns": "4 != 200",
        "PullEnumerateInstancePaths.test_open_complete": "Class not found: Pywbem_person",
    },
    "calls a method that no class has, and wants METHOD_NOT_AVAILABLE": dict.fromkeys(
        [
            "InvokeMethod.test_all_param_types",
            "InvokeMethod.test_class_level",
            "InvokeMethod.test_new_params_arg",
            "InvokeMethod.test_non_empty_arrays",
            "InvokeMethod.test_one_param_types",
        ],
        "METHOD_NOT_FOUND",
    ),
    "wants instances to be paths, or paths classes, and passes only where nothing is associated": {
        "PullAssociators.test_one_instance": "False is not true",
        "PullReferences.test_one_instance": "False is not true",
        "ReferenceNames.test_one_refname": "False is not true",
    },
    "wants at most one instance although it asks for 100, and there are more": {
        "PullEnumerateInstances.test_zero_open": "False is not true",
    },
    "compares instances with class origins with some without": {
        "PullEnumerateInstances.test_open_includeclassorigin": "'CIM_ManagedElement' != None",
    },
    "wants another code than that of DSP0200": {
        "PullEnumerateInstances.test_open_continueonerror": "CONTINUATION_ON_ERROR_NOT_SUPPORTED",
        "PullEnumerateInstances.test_open_invalid_filterquerylanguage": "4 != 1",
    },
    "wants to make namespaces": {
        f"{of}.{name}": end
        for of in ("PyWBEMServerClass", "TestSubscriptionsClass")
        for name, end in {"test_create_namespace": "NOT_SUPPORTED", "test_create_namespace_er": "7 != 11"}.items()
    },
    "wants profiles of SNIA's, or that of indications in a version that OpenPegasus has": {
        f"{of}.{name}": end
        for of in ("PyWBEMServerClass", "TestSubscriptionsClass")
        for name, end in {
            "test_server_profile": "has no len()",
            "test_indication_profile_info": "No central class for indication profile",
            "test_server_select_profiles": "0 != 1",
        }.items()
    },
}
SKIPPED_THERE = re.compile("skip long|skip test against all instances|test not implemented")


def test_all_operations(daemon):
    """pywbem's manual test, which walks through every operation."""
    done = subprocess.run(
        [sys.executable, OURS / "operations.py", daemon.url],
        cwd=SUITE,
        env={**os.environ, "PYTHONPATH": str(SUITE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    not_ours = {name: end for tests in NOT_OURS.values() for name, end in tests.items()}
    assert set(not_ours) <= set(ends)
    for name, (what, why) in ends.items():
        explained = SKIPPED_THERE.search(why) if what == "skipped" else not_ours.get(name, "?") in why
        assert what == "passed" or explained, (name, what, why)
    assert sum(what == "passed" for what, _ in ends.values()) >= 178
