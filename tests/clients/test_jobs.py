"""Jobs that wait for their turn, as a pywbem program sees them and changes them."""

import pytest
import pywbem
from harness import Gate
from twohosts.host import wait_until

ONE_AT_A_TIME = """
[migration]
max-outgoing = 1
"""


@pytest.fixture
def client(start_daemon, config, checks):
    """Jobs go one after the other, and the first one stands still until `go` is there."""
    checks.clear()
    go = checks.directory.parent / "go"
    go.unlink(missing_ok=True)
    checks.add("10-hold", f"while [ ! -e {go} ]; do sleep 0.05; done; exit 1")
    assert "\n[migration]\n" not in config
    slow = config.replace('timeout = "5s"', 'timeout = "100s"')
    connection = start_daemon(slow + ONE_AT_A_TIME).connect()
    connection.go = go
    yield connection
    go.touch()
    checks.clear()


def test_a_job_is_put_first(client):
    gate = Gate(client)
    offline = {"MigrationType": pywbem.Uint16(1)}
    first = gate.migrate("web")
    second = gate.migrate("db", **offline)
    third = gate.migrate("old", Priority=pywbem.Uint16(40000))
    assert client.GetInstance(third)["Priority"] == 40000
    job = client.GetInstance(third)
    job["Priority"] = pywbem.Uint32(1)
    client.ModifyInstance(job, PropertyList=["Priority"])
    assert client.GetInstance(third)["Priority"] == 1
    with pytest.raises(pywbem.CIMError) as refused:
        job["Priority"] = pywbem.Uint32(65536)
        client.ModifyInstance(job, PropertyList=["Priority"])
    assert refused.value.status_code == pywbem.CIM_ERR_INVALID_PARAMETER
    assert "Priority must be a number from 0 to 65535" in refused.value.status_description
    client.go.touch()
    paths = (first, second, third)
    assert wait_until(lambda: all(client.GetInstance(path)["JobState"] == 7 for path in paths), 60)
    started = {path["InstanceID"]: client.GetInstance(path)["StartTime"].datetime for path in paths}
    assert sorted(started, key=started.get) == [path["InstanceID"] for path in (first, third, second)]
    with pytest.raises(pywbem.CIMError) as refused:
        job["Priority"] = pywbem.Uint32(2)
        client.ModifyInstance(job, PropertyList=["Priority"])
    assert "the job is over" in refused.value.status_description


def test_the_call_that_made_a_job(client):
    """CIM_MethodResult has it before and after, with its parameters."""
    gate = Gate(client)
    settings = {"MigrationType": pywbem.Uint16(2), "CheckParameters": ["ticket=4711", "plain"]}
    path = gate.migrate("web", **settings)
    (result,) = client.Associators(path, AssocClass="CIM_AssociatedJobMethodResult")
    assert result["InstanceID"] == "virtcimd:" + path["InstanceID"]
    before, after = result["PreCallIndication"], result["PostCallIndication"]
    assert (before["MethodName"], before["PreCall"]) == ("MigrateVirtualSystemToHost", True)
    assert "ReturnValue" not in before
    parameters = before["MethodParameters"]
    assert parameters.classname == "__MethodParameters"
    assert pywbem.CIMInstanceName.from_wbem_uri(parameters["ComputerSystem"]) == gate.guest("web")
    assert parameters["DestinationHost"] == "other"
    embedded = parameters["MigrationSettingData"]
    assert embedded["MigrationType"] == 2
    # Whoever may look at jobs is not told what only the check programs are told.
    assert embedded["CheckParameters"] == ["ticket=***", "***"]
    assert (after["PreCall"], after["ReturnValue"]) == (False, "4096")
    told = after["MethodParameters"]
    assert told.classname == "__MethodParameters"
    job = pywbem.CIMInstanceName.from_wbem_uri(told["Job"])
    assert (job.classname, job["InstanceID"]) == (path.classname, path["InstanceID"])
