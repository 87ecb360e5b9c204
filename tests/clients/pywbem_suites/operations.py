"""Runs pywbem's manual test of all operations, and prints what became of each test as JSON.

    operations.py URL

That test is a program for a server with OpenPegasus' test providers. Here its constants name what our
server has.
"""

import json
import sys
import unittest
import warnings

from tests.manualtest import run_cim_operations as suite

NAMESPACE = "root/virt"


class Outcomes(unittest.TestResult):
    """Keeps the last line of each test's end."""

    def __init__(self):
        super().__init__()
        self.ends = {}

    def keep(self, test, what, why):
        self.ends[".".join(test.id().split(".")[-2:])] = (what, why)

    def startTest(self, test):
        # These want nothing to be associated across namespaces, as systems are with their profiles.
        inside = type(test).__name__.startswith(("IterAssociator", "IterReference"))
        suite.TEST_CLASS = "KVM_VirtualSystemSettingData" if inside else "CIM_ComputerSystem"

    def addSuccess(self, test):
        self.keep(test, "passed", "")

    def addSkip(self, test, reason):
        self.keep(test, "skipped", reason)

    def addFailure(self, test, err):
        self.keep(test, "failed", str(err[1]).strip())

    addError = addFailure


def main(url):
    suite.TEST_CLASS_NAMESPACE = suite.TOP_CLASS_NAMESPACE = NAMESPACE
    suite.TEST_CLASS_CIMNAME.namespace = NAMESPACE
    suite.TEST_PEG_STRESS_NAMESPACE, suite.TEST_PEG_STRESS_CLASSNAME = NAMESPACE, "KVM_ComputerSystem"
    # It would tell OpenPegasus' provider how many instances to have.
    suite.PegasusServerTestBase.set_stress_provider_parameters = lambda *_: None
    arguments = ["url", "username", "password", "verbose", "debug", "yamlfile", "stats", "log", "nvc", "cacerts"]
    suite.CLI_ARGS = {**dict.fromkeys(arguments), "url": url, "namespace": NAMESPACE, "timeout": 30}
    warnings.simplefilter("ignore")
    outcomes = Outcomes()
    unittest.defaultTestLoader.loadTestsFromModule(suite).run(outcomes)
    json.dump(outcomes.ends, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
