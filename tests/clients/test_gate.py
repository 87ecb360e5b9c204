"""The gate as a pywbem program meets it: may this guest move, and why not?"""

import threading

import pytest
import pywbem
from harness import Gate, raw_verdict


def codes(findings):
    return [finding["MessageID"] for finding in findings]


def test_nothing_against_it(gate, connection):
    assert gate.check() == (True, [])
    assert raw_verdict(connection) == "TRUE"


def test_a_check_that_passes(gate, checks):
    checks.add("10-good", "exit 0")
    assert gate.check()[0] is True


def test_a_refusal_is_false_for_pywbem_and_says_why(gate, checks, connection):
    checks.add("10-good", "exit 0")
    checks.add("20-storage", "echo 'the image is on a local disk'; exit 1")
    may_migrate, findings = gate.check()
    assert may_migrate is False
    # pywbem takes every text for true but the empty one.
    assert raw_verdict(connection) == ""
    (finding,) = [f for f in findings if f["PerceivedSeverity"] >= 4]
    assert finding.classname == "CIM_Error"
    assert finding["Message"].startswith("Migration check `20-storage' failed")
    assert "the image is on a local disk" in finding["Message"]
    assert finding["ErrorSource"]


def test_other_clients_read_the_word(gate, checks, daemon):
    checks.add("10-bad", "exit 1")
    gate.check()
    request = gate.connection.last_raw_request
    reply = daemon.post(request, {"User-Agent": "some Java program"})
    assert "<VALUE>FALSE</VALUE>" in reply.text


@pytest.mark.parametrize(
    "body, words",
    [
        ("exit 1", "failed"),
        ("exit 125", "failed"),
        ("exit 126", ""),
        ("exit 127", ""),
        ("kill -TERM $$", "SIGTERM"),
        ("kill -KILL $$", "SIGKILL"),
        ("kill -SEGV $$", "SIGSEGV"),
    ],
)
def test_every_bad_end_refuses(gate, checks, body, words):
    checks.add("10-bad", body)
    may_migrate, findings = gate.check()
    assert may_migrate is False
    assert any("10-bad" in f["Message"] and words in f["Message"] for f in findings)


def test_a_check_that_hangs_is_killed(start_daemon, config, checks):
    checks.clear()
    checks.add("10-hangs", 'echo $$ >"${0%/*}/pid"; trap "" TERM; while :; do sleep 100; done')
    daemon = start_daemon(config.replace('timeout = "5s"', 'timeout = "300ms"'))
    may_migrate, findings = Gate(daemon.connect()).check()
    assert may_migrate is False
    assert "10-hangs" in findings[0]["Message"]
    pid = int((checks.directory / "pid").read_text())
    assert not is_running(pid)
    checks.clear()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_first_failing_name_is_the_headline(gate, checks):
    checks.add("10-slow", "sleep 0.2; echo slow; exit 1")
    checks.add("20-fast", "echo fast; exit 1")
    may_migrate, findings = gate.check()
    assert may_migrate is False
    messages = [f["Message"] for f in findings if "Migration check" in f["Message"]]
    assert [message.split("`")[1].split("'")[0] for message in messages] == ["10-slow", "20-fast"]


def test_what_a_check_is_told(gate, checks):
    told = checks.directory.parent / "told"
    checks.add("10-tell", f'{{ printf "%s\\n" "$@"; env | sort; cat "$3"; }} >{told}')
    settings = gate.settings(CheckParameters=["owner=anna", None, "naïve=ünï", "spaces and 'quotes'; $(id)"])
    assert gate.check(settings=settings)[0] is True
    lines = told.read_text().splitlines()
    assert lines[0] == "web"
    assert lines[1].startswith("test://")
    assert lines[-3:] == ["owner=anna", "naïve=ünï", "spaces and 'quotes'; $(id)"]
    environment = dict(line.split("=", 1) for line in lines[3:-3])
    assert environment["VIRTCIMD_GUEST"] == "web"
    assert environment["VIRTCIMD_DESTINATION_HOST"] == "other"
    assert environment["VIRTCIMD_PHASE"] == "check"
    assert environment["VIRTCIMD_MIGRATION_TYPE"] == "live"
    assert environment["VIRTCIMD_PARAMETERS"] == lines[2]
    assert not {name for name in environment if name.startswith(("HOME", "USER", "NOTIFY"))}


def test_without_parameters_there_is_no_file(gate, checks):
    told = checks.directory.parent / "told"
    checks.add("10-tell", f'echo "$#" >{told}')
    assert gate.check()[0] is True
    assert told.read_text() == "2\n"
    assert gate.check(settings=gate.settings(CheckParameters=pywbem.CIMProperty("CheckParameters", [], type="string", is_array=True)))[0] is True
    assert told.read_text() == "3\n"


@pytest.mark.parametrize("entry", ["two\nlines", "return\rhere", "bell\x07"])
def test_a_parameter_cannot_forge_a_line(gate, checks, entry):
    ran = checks.directory.parent / "ran"
    ran.unlink(missing_ok=True)
    checks.add("10-run", f"touch {ran}")
    with pytest.raises(pywbem.Error) as refused:
        gate.check(settings=gate.settings(CheckParameters=["good", entry]))
    if isinstance(refused.value, pywbem.CIMError):
        assert refused.value.status_code == pywbem.CIM_ERR_INVALID_PARAMETER
        assert "CheckParameters" in refused.value.status_description
    assert not ran.exists()


def test_an_unsafe_check_closes_the_gate(gate, checks):
    checks.add("10-open", "exit 0", mode=0o777)
    may_migrate, findings = gate.check()
    assert may_migrate is False
    assert "10-open" in findings[0]["Message"]


def test_a_missing_directory_closes_the_gate(start_daemon, config, checks, tmp_path):
    daemon = start_daemon(config.replace(str(checks.directory), str(tmp_path / "nowhere")))
    may_migrate, findings = Gate(daemon.connect()).check()
    assert may_migrate is False
    assert findings[0]["Message"].startswith("Unable to execute migration checks: ")


def test_a_missing_directory_may_be_allowed(start_daemon, config, checks, tmp_path):
    config = config.replace(str(checks.directory), str(tmp_path / "nowhere"))
    config = config.replace("[checks]", '[checks]\nwhen-directory-missing = "pass"')
    assert Gate(start_daemon(config).connect()).check()[0] is True


def test_failure_as_an_error_for_those_who_want_it(start_daemon, config, checks):
    checks.clear()
    checks.add("10-bad", "echo because; exit 1")
    daemon = start_daemon(config + '\n[compatibility]\ncheck-failure = "error"\n')
    with pytest.raises(pywbem.CIMError) as refused:
        Gate(daemon.connect()).check()
    assert refused.value.status_code == pywbem.CIM_ERR_FAILED
    assert refused.value.status_description.startswith("Migration check `10-bad' failed: because")
    checks.clear()


def test_to_a_system_instead_of_a_name(gate, connection):
    keys = {"CreationClassName": "KVM_HostSystem", "Name": "other"}
    value, out = connection.InvokeMethod(
        "CheckVirtualSystemIsMigratableToSystem",
        gate.service,
        ComputerSystem=gate.guest("web"),
        DestinationSystem=pywbem.CIMInstanceName("KVM_HostSystem", keys, namespace="root/virt"),
        MigrationSettingData=gate.settings(),
    )
    assert (value, out["IsMigratable"]) == (0, True)


def test_on_the_class_path_as_cimtest_calls_it(gate):
    assert gate.check(target="KVM_VirtualSystemMigrationService")[0] is True


MOF = """instance of KVM_VirtualSystemMigrationSettingData {
  CreationClassName = "KVM_VirtualSystemMigrationSettingData";
  InstanceID = "MigrationSettingData";
  MigrationType = 2;
  TransportType = 5;
  Priority = 0;
};"""

XML = """<INSTANCE CLASSNAME="KVM_VirtualSystemMigrationSettingData">
<PROPERTY NAME="MigrationType" TYPE="uint16"><VALUE> 2 </VALUE></PROPERTY>
<PROPERTY NAME="TransportType" TYPE="uint16"><VALUE>5</VALUE></PROPERTY>
</INSTANCE>"""


@pytest.mark.parametrize("text", [MOF, MOF.replace("\n", "\r\n"), XML, MOF.replace("2;", "2 ;") + "\n\n"])
def test_settings_as_text(gate, text):
    assert gate.check(settings=text)[0] is True


@pytest.mark.parametrize("migration_type", [1, 2, 3, 4])
def test_every_migration_type(gate, checks, migration_type):
    told = checks.directory.parent / "told"
    checks.add("10-tell", f'echo "$VIRTCIMD_MIGRATION_TYPE" >{told}')
    guest = "db" if migration_type == 1 else "web"
    gate.check(guest=guest, settings=gate.settings(MigrationType=pywbem.Uint16(migration_type)))
    assert told.read_text().strip() == {1: "offline", 2: "live", 3: "resume", 4: "restart"}[migration_type]


def test_many_clients_at_once(daemon, gate, checks):
    checks.add("10-good", "exit 0")
    verdicts = []

    def ask():
        verdicts.append(Gate(daemon.connect()).check()[0])

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True] * 20


def test_a_check_may_ask_the_daemon(gate, checks, daemon):
    checks.add("10-ask", f"exec wbemcli ein '{daemon.url}/root/virt:KVM_ComputerSystem' >/dev/null")
    assert gate.check() == (True, [])
