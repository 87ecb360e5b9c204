"""What is wrong is answered with the status, and where there is one the text, of libvirt-cim."""

import pytest
import pywbem
from harness import Gate

FAILED = pywbem.CIM_ERR_FAILED
INVALID_NAMESPACE = pywbem.CIM_ERR_INVALID_NAMESPACE
INVALID_PARAMETER = pywbem.CIM_ERR_INVALID_PARAMETER
INVALID_CLASS = pywbem.CIM_ERR_INVALID_CLASS
NOT_FOUND = pywbem.CIM_ERR_NOT_FOUND
NOT_SUPPORTED = pywbem.CIM_ERR_NOT_SUPPORTED
TYPE_MISMATCH = pywbem.CIM_ERR_TYPE_MISMATCH


def path(class_name, **keys):
    return pywbem.CIMInstanceName(class_name, keys, namespace="root/virt")


def refusal(act):
    """The status and text of the error that `act` must end in."""
    with pytest.raises(pywbem.CIMError) as refused:
        act()
    return refused.value.status_code, refused.value.status_description


HOST = {"CreationClassName": "KVM_HostSystem"}
GUEST = {"CreationClassName": "KVM_ComputerSystem"}

# Path, status, a part of the text.
NO_SUCH_INSTANCE = [
    (path("KVM_VirtualSystemMigrationSettingData", InstanceID="wrong"), NOT_FOUND, "No such instance (InstanceID)"),
    (path("KVM_VirtualSystemMigrationSettingData", Wrong="MigrationSettingData"), NOT_FOUND, "No such instance (InstanceID)"),
    (path("KVM_VirtualSystemMigrationCapabilities", InstanceID="wrong"), NOT_FOUND, "No such instance (InstanceID)"),
    (path("KVM_HostSystem", Name="wrong", **HOST), NOT_FOUND, "No such instance (Name)"),
    (path("KVM_ComputerSystem", Name="wrong", **GUEST), NOT_FOUND, "Referenced domain `wrong' does not exist: Domain not found"),
    (path("KVM_ComputerSystem", Wrong="web", **GUEST), FAILED, "No domain name specified"),
    (path("KVM_ComputerSystem", Name="web", CreationClassName="wrong"), NOT_FOUND, "No such instance (CreationClassName)"),
    (path("KVM_VirtualSystemSettingData", InstanceID="wrong"), NOT_FOUND, "No such instance (InstanceID)"),
]


@pytest.mark.parametrize("target, status, words", NO_SUCH_INSTANCE, ids=str)
def test_an_instance_that_is_not_there(connection, target, status, words):
    found, text = refusal(lambda: connection.GetInstance(target))
    assert found == status
    assert words in text


@pytest.mark.parametrize("target, status, words", NO_SUCH_INSTANCE[2:7], ids=str)
def test_an_association_from_an_instance_that_is_not_there(connection, target, status, words):
    by = {
        "KVM_VirtualSystemMigrationCapabilities": "KVM_ElementCapabilities",
        "KVM_HostSystem": "KVM_HostedService",
        "KVM_ComputerSystem": "KVM_HostedDependency",
    }[target.classname]
    found, text = refusal(lambda: connection.AssociatorNames(target, AssocClass=by))
    assert found == status
    assert words in text


@pytest.mark.parametrize(
    "act, status",
    [
        (lambda c: c.GetInstance(path("KVM_NoSuchClass", Name="x")), INVALID_CLASS),
        (lambda c: c.EnumerateInstances("KVM_NoSuchClass"), INVALID_CLASS),
        (lambda c: c.EnumerateInstanceNames("KVM_NoSuchClass"), INVALID_CLASS),
        (lambda c: c.EnumerateClasses(ClassName="KVM_NoSuchClass"), INVALID_CLASS),
        (lambda c: c.EnumerateClassNames(ClassName="KVM_NoSuchClass"), INVALID_CLASS),
        (lambda c: c.GetClass("KVM_NoSuchClass"), NOT_FOUND),
        (lambda c: c.GetQualifier("NoSuchQualifier"), NOT_FOUND),
        (lambda c: c.AssociatorNames(path("KVM_NoSuchClass", Name="x")), INVALID_PARAMETER),
        (lambda c: c.AssociatorNames("KVM_NoSuchClass"), INVALID_PARAMETER),
        (lambda c: c.EnumerateInstances("KVM_ComputerSystem", namespace="root/nowhere"), INVALID_NAMESPACE),
        (lambda c: c.GetClass("KVM_ComputerSystem", namespace="nowhere"), INVALID_NAMESPACE),
        (lambda c: c.EnumerateClassNames(namespace="root/virt/deeper"), INVALID_NAMESPACE),
        (lambda c: c.DeleteInstance(path("KVM_VirtualSystemMigrationSettingData", InstanceID="MigrationSettingData")), NOT_SUPPORTED),
        (lambda c: c.CreateInstance(pywbem.CIMInstance("KVM_VirtualSystemMigrationSettingData", {"InstanceID": "new"})), NOT_SUPPORTED),
    ],
)
def test_names_that_mean_nothing(connection, act, status):
    assert refusal(lambda: act(connection))[0] == status


def test_an_unknown_association_class_is_named(connection):
    (host,) = connection.EnumerateInstanceNames("KVM_HostSystem")
    for filters in ({"AssocClass": "KVM_NoSuchClass"}, {"ResultClass": "KVM_NoSuchClass"}):
        status, text = refusal(lambda filters=filters: connection.AssociatorNames(host, **filters))
        assert status == INVALID_PARAMETER
        assert "KVM_NoSuchClass" in text


# --------------------------------------------------------------- the check method


class Call:
    """The check method with one thing wrong."""

    def __init__(self, gate):
        self.gate = gate
        self.target = gate.service
        self.method = "CheckVirtualSystemIsMigratableToHost"
        self.parameters = {
            "ComputerSystem": gate.guest("web"),
            "DestinationHost": "other",
            "MigrationSettingData": gate.settings(),
        }

    def __call__(self):
        return self.gate.connection.InvokeMethod(self.method, self.target, **self.parameters)

    def without(self, name):
        del self.parameters[name]
        return self

    def having(self, **parameters):
        self.parameters.update(parameters)
        return self

    def with_settings(self, **properties):
        return self.having(MigrationSettingData=self.gate.settings(**properties))


@pytest.fixture
def call(gate):
    return Call(gate)


def test_the_call_is_right_otherwise(call):
    assert call()[0] == 0


@pytest.mark.parametrize("missing", ["ComputerSystem", "DestinationHost"])
def test_a_missing_parameter_is_named(call, missing):
    status, text = refusal(call.without(missing))
    assert status == INVALID_PARAMETER
    assert missing in text


def test_a_parameter_of_the_wrong_type(call):
    assert refusal(call.having(ComputerSystem="web"))[0] == TYPE_MISMATCH


def test_an_unknown_parameter_is_dropped(call):
    assert call.having(NoSuchParameter="x")()[0] == 0


@pytest.mark.parametrize(
    "guest, status, words",
    [
        (path("KVM_ComputerSystem", Name="nope", **GUEST), NOT_FOUND, "No such domain: Domain not found"),
        (path("KVM_ComputerSystem", Wrong="web", **GUEST), FAILED, "Missing key (Name) in ComputerSystem"),
        (path("Xen_ComputerSystem", Name="web", CreationClassName="Xen_ComputerSystem"), FAILED, "Invalid REF in ComputerSystem"),
        (path("KVM_ComputerSystem", Name="web", CreationClassName="KVM_Other"), FAILED, "Invalid REF in ComputerSystem"),
    ],
    ids=str,
)
def test_a_guest_that_is_not_one(call, guest, status, words):
    found, text = refusal(call.having(ComputerSystem=guest))
    assert found == status
    assert words in text


@pytest.mark.parametrize(
    "properties, words",
    [
        ({"MigrationType": pywbem.Uint16(77)}, "Unsupported migration type 77"),
        ({"MigrationType": pywbem.Uint16(0)}, "Unsupported migration type 0"),
        ({"TransportType": pywbem.Uint16(99)}, "Failed to construct a valid libvirt URI"),
    ],
    ids=str,
)
def test_settings_that_libvirt_cim_refuses_too(call, properties, words):
    status, text = refusal(call.with_settings(**properties))
    assert status in (FAILED, INVALID_PARAMETER)
    assert words in text


def test_a_setting_of_the_wrong_type_is_named(call):
    status, text = refusal(call.with_settings(TransportType="tcp"))
    assert status == INVALID_PARAMETER
    assert "TransportType" in text


@pytest.mark.parametrize("text", ["this is no instance", "instance of {", "<INSTANCE", "instance of KVM_X { A = ; };"])
def test_settings_that_cannot_be_read(call, text):
    status, message = refusal(call.having(MigrationSettingData=text))
    assert status == FAILED
    assert message.startswith("Unable to parse embedded object")


# Nothing a client writes may become a part of a URI, a path or a command line.
SMUGGLED = [
    "other/system?command=/tmp/x",
    "other?no_verify=1",
    "other#",
    "user@other",
    "other:1:2",
    "-oProxyCommand=x",
    "other;id",
    "$(id)",
    "other host",
    "../other",
    "",
    "a" * 300,
    "[::1",
    "[::1%25lo]",
    "x\ny",
]


@pytest.mark.parametrize("destination", SMUGGLED, ids=repr)
def test_a_destination_that_is_no_host(call, destination):
    with pytest.raises(pywbem.CIMError) as refused:
        call.having(DestinationHost=destination)()
    assert refused.value.status_code in (INVALID_PARAMETER, FAILED)


def test_a_destination_that_does_not_answer(call):
    status, text = refusal(call.having(DestinationHost="127.0.0.1:1"))
    assert status == FAILED
    assert text.startswith("Failed to connect to remote host (")


def test_an_unknown_method(call):
    call.method = "NoSuchMethod"
    assert refusal(call)[0] in (FAILED, pywbem.CIM_ERR_METHOD_NOT_FOUND)


def test_a_method_of_a_class_that_is_not_there(call):
    call.target = "KVM_NoSuchService"
    assert refusal(call)[0] in (NOT_FOUND, INVALID_CLASS)


def test_a_hypervisor_that_is_not_there(start_daemon, config, home):
    daemon = start_daemon(config.replace("source.xml", "no-such-file.xml"))
    connection = daemon.connect()
    assert connection.EnumerateInstances("KVM_ComputerSystem") == []
    with pytest.raises(pywbem.CIMError) as refused:
        connection.GetInstance(path("KVM_ComputerSystem", Name="web", **GUEST))
    assert refused.value.status_code == NOT_FOUND
    assert "No such instance" in refused.value.status_description
    services = connection.EnumerateInstanceNames("KVM_VirtualSystemMigrationService")
    if services:
        assert Gate(connection).check()[0] is False
