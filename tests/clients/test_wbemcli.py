"""The C client, with an XML reader of its own and no library in common with pywbem."""

import html

import pytest

GUEST = 'root/virt:KVM_ComputerSystem.CreationClassName="KVM_ComputerSystem",Name="web"'
SETTINGS = (
    '<INSTANCE CLASSNAME="KVM_VirtualSystemMigrationSettingData">'
    '<PROPERTY NAME="MigrationType" TYPE="uint16"><VALUE>2</VALUE></PROPERTY>'
    '<PROPERTY NAME="TransportType" TYPE="uint16"><VALUE>5</VALUE></PROPERTY></INSTANCE>'
)


@pytest.fixture
def cli(daemon):
    """Runs wbemcli and returns its output; it must succeed."""

    def run(*arguments, **options):
        done = daemon.wbemcli(*arguments, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def host(cli):
    """The host system's path behind the server's address."""
    return cli("ein", "root/virt:KVM_HostSystem").strip().split("/", 1)[1]


@pytest.fixture
def service(cli):
    return cli("ein", "root/virt:KVM_VirtualSystemMigrationService").strip().split("/", 1)[1]


def test_class_names(cli):
    assert "root/virt:KVM_ComputerSystem" in cli("ecn", "root/virt")
    assert "root/virt:KVM_HostSystem" in cli("ecn", "root/virt:CIM_System")


def test_classes(cli):
    assert "KVM_ComputerSystem" in cli("ec", "root/virt:CIM_System")
    assert "Name=" in cli("gc", "root/virt:KVM_ComputerSystem")
    assert "Name#" in cli("gc", "root/virt:KVM_ComputerSystem", options=["-t"])
    assert '<CLASS NAME="KVM_ComputerSystem"' in cli("gcd", "root/virt:KVM_ComputerSystem")


def test_classes_with_arrays_of_embedded_objects(cli, daemon):
    """wbemcli gives up on EmbeddedObject of an array; it gets the class without, everybody else with."""
    for class_name in ("CIM_SettingData", "KVM_VirtualSystemMigrationSettingData"):
        assert "ComponentSetting" in cli("gc", f"root/virt:{class_name}")
        declared = daemon.connect().GetClass(class_name, LocalOnly=False).properties["ComponentSetting"]
        assert declared.embedded_object == "object"
    assert "ComponentSetting" in cli("ec", "root/virt:CIM_ManagedElement")


def test_instance_names(cli):
    lines = cli("ein", "root/virt:KVM_ComputerSystem").splitlines()
    assert sorted(line.rsplit('Name="', 1)[1].rstrip('"') for line in lines) == ["asleep", "db", "old", "web"]
    assert len(cli("ein", "root/virt:CIM_ComputerSystem").splitlines()) == 5


def test_instances(cli):
    lines = cli("ei", "root/virt:KVM_ComputerSystem", options=["-nl"]).splitlines()
    assert '-ElementName="web"' in lines
    assert "-EnabledState=2" in lines
    assert '-Name="web"' in cli("gi", GUEST, options=["-nl"])
    assert cli("gi", GUEST, "ElementName").strip().endswith('ElementName="web"')


def test_associations(cli, host, service):
    assert "KVM_VirtualSystemMigrationService" in cli("ain", host, options=["-ac", "KVM_HostedService"])
    filters = ["-ac", "CIM_HostedService", "-arc", "CIM_Service", "-ar", "Antecedent", "-arr", "Dependent"]
    assert "MigrationService" in cli("ain", host, options=filters)
    assert "MigrationService" in cli("ai", host, options=["-ac", "KVM_HostedService"])
    assert "KVM_HostedService" in cli("rin", service, options=["-arc", "KVM_HostedService"])
    assert "Antecedent=" in cli("ri", service, options=["-arc", "KVM_HostedService"])
    for operation in ("ain", "rin", "ri"):
        cli(operation, GUEST)


def test_arrays_of_embedded_objects_that_are_null(cli):
    """wbemcli knows no EmbeddedObject of arrays, and CIM_SettingData has one."""
    cli("ai", GUEST)
    assert "ComponentSetting=" in cli("ei", "root/virt:KVM_VirtualSystemMigrationSettingData")


def test_the_gate(cli, checks, gate, service):
    call = (
        'CheckVirtualSystemIsMigratableToHost.DestinationHost="other",'
        'ComputerSystem=KVM_ComputerSystem.CreationClassName="KVM_ComputerSystem",Name="web",'
        f'MigrationSettingData="{html.escape(SETTINGS)}"'
    )
    answer = cli("cm", service, call)
    assert "CheckVirtualSystemIsMigratableToHost: 0" in answer
    assert "TRUE" in answer.upper()
    assert '<VALUE>TRUE</VALUE>' in cli("cmx", service, call)
    checks.add("10-bad", "echo the reason; exit 1")
    answer = cli("cm", service, call)
    assert "FALSE" in answer.upper()
    assert "the reason" in answer


@pytest.mark.parametrize(
    "operation, path, status",
    [
        ("gc", "root/virt:KVM_NoSuchClass", 6),
        ("ein", "root/virt:KVM_NoSuchClass", 5),
        ("ein", "root/nowhere:KVM_ComputerSystem", 3),
        ("gi", 'root/virt:KVM_ComputerSystem.CreationClassName="KVM_ComputerSystem",Name="nope"', 6),
    ],
)
def test_errors_reach_the_client(daemon, operation, path, status):
    done = daemon.wbemcli(operation, path)
    assert done.returncode == 16
    assert f"Cim: ({status})" in done.stdout + done.stderr


def test_an_unknown_method(daemon, service):
    done = daemon.wbemcli("cm", service, "NoSuchMethod")
    assert done.returncode == 16
    assert "Cim: (1" in done.stdout + done.stderr


def test_a_subscription_is_made_changed_and_deleted(cli, daemon):
    def keys(class_name):
        system = 'SystemCreationClassName="CIM_ComputerSystem",SystemName="localhost"'
        return f'CreationClassName="{class_name}",Name="wbemcli",{system}'

    filter_, destination = "CIM_IndicationFilter", "CIM_ListenerDestinationCIMXML"
    query = 'Query="SELECT * FROM CIM_InstModification",QueryLanguage="WQL"'
    paths = {name: f"{name}.{keys(name)}" for name in (filter_, destination)}
    sources = 'SourceNamespaces="root/virt","interop"'
    cli("ci", f"interop:{paths[filter_]}", f"{keys(filter_)},{query},{sources}")
    listener = 'Destination="http://127.0.0.1:5990",PersistenceType=3'
    cli("ci", f"interop:{paths[destination]}", f"{keys(destination)},{listener}")
    again = daemon.wbemcli("ci", f"interop:{paths[filter_]}", f"{keys(filter_)},{query}")
    assert "Cim: (11)" in again.stdout + again.stderr
    ends = f"Filter={paths[filter_]},Handler={paths[destination]}"
    subscription = f"interop:CIM_IndicationSubscription.{ends}"
    cli("ci", subscription, ends)
    assert "wbemcli" in cli("ein", "interop:CIM_IndicationSubscription")
    assert "CIM_IndicationSubscription" in cli("rin", f"interop:{paths[filter_]}")
    assert destination in cli("ain", f"interop:{paths[filter_]}")
    cli("mi", f"interop:{paths[filter_]}", 'Query="SELECT * FROM CIM_InstDeletion"')
    assert "CIM_InstDeletion" in cli("gi", f"interop:{paths[filter_]}")
    used = daemon.wbemcli("di", f"interop:{paths[filter_]}")
    assert "Cim: (1)" in used.stdout + used.stderr
    for path in (subscription, f"interop:{paths[filter_]}", f"interop:{paths[destination]}"):
        cli("di", path)
    gone = daemon.wbemcli("di", f"interop:{paths[filter_]}")
    assert "Cim: (6)" in gone.stdout + gone.stderr
