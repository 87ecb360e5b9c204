"""What goes over the wire besides CIM: methods, headers, identities, odd old clients."""

import subprocess

import pytest
import pywbem
from harness import Gate, basic

ENUMERATE = """<?xml version="1.0" encoding="utf-8"?>
<CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="4711" PROTOCOLVERSION="1.0"><SIMPLEREQ>
<IMETHODCALL NAME="EnumerateInstanceNames"><LOCALNAMESPACEPATH><NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/>
</LOCALNAMESPACEPATH><IPARAMVALUE NAME="ClassName"><CLASSNAME NAME="KVM_ComputerSystem"/></IPARAMVALUE>
</IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>"""


@pytest.mark.parametrize("path", ["/cimom", "/"])
def test_either_path(daemon, path):
    response = daemon.post(ENUMERATE, path=path)
    assert response.status == 200
    assert 'ID="4711"' in response.text
    assert response.text.count("<INSTANCENAME ") == 4
    # Clients that know no chunks.
    assert int(response.headers["Content-Length"]) == len(response.text.encode())


def test_m_post(daemon):
    headers = {
        "Man": "http://www.dmtf.org/cim/mapping/http/v1.0 ; ns=73",
        "73-CIMOperation": "MethodCall",
        "73-CIMMethod": "EnumerateInstanceNames",
        "73-CIMObject": "root%2Fvirt",
    }
    response = daemon.post(ENUMERATE, headers, method="M-POST")
    assert response.status == 200
    assert response.text.count("<INSTANCENAME ") == 4
    # A refusal, too, says what its number means.
    for request in (headers, {**headers, "73-CIMMethod": "GetClass"}):
        response = daemon.post(ENUMERATE, request, method="M-POST")
        assert ("Ext" in response.headers, response.headers["Man"][-6:]) == (True, " ns=73")
    assert (response.status, response.headers["73-CIMError"]) == (400, "header-mismatch")


def test_what_old_clients_write(daemon):
    """Blanks before the declaration, a stray semicolon after the end, padded values, one NAMESPACE."""
    padded = ENUMERATE.replace('<NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/>', '<NAMESPACE NAME="root/virt"/>')
    response = daemon.post(f"\n   {padded} ;\n")
    assert response.status == 200
    assert response.text.count("<INSTANCENAME ") == 4


def test_padded_keys(daemon):
    body = ENUMERATE.replace("EnumerateInstanceNames", "GetInstance").replace(
        '<IPARAMVALUE NAME="ClassName"><CLASSNAME NAME="KVM_ComputerSystem"/></IPARAMVALUE>',
        '<IPARAMVALUE NAME="InstanceName"><INSTANCENAME CLASSNAME="KVM_ComputerSystem">'
        '<KEYBINDING NAME="CreationClassName"><KEYVALUE>\n KVM_ComputerSystem\n</KEYVALUE></KEYBINDING>'
        '<KEYBINDING NAME="Name"><KEYVALUE> web </KEYVALUE></KEYBINDING></INSTANCENAME></IPARAMVALUE>',
    )
    response = daemon.post(body)
    assert response.status == 200
    assert "<ERROR" not in response.text
    assert '<INSTANCE CLASSNAME="KVM_ComputerSystem">' in response.text


@pytest.mark.parametrize(
    "body",
    [
        "<CIM",
        "no XML at all",
        "",
        '<?xml version="1.0"?><!DOCTYPE CIM [<!ENTITY a "b">]><CIM/>',
        ENUMERATE.replace("<CIM ", "<CIM>", 1),
        "<a>" * 10000,
    ],
    ids=["cut", "text", "empty", "doctype", "unclosed", "deep"],
)
def test_a_body_that_is_no_request(daemon, body):
    response = daemon.post(body)
    assert response.status == 400
    assert response.headers["CIMError"].startswith("request-not-")


def test_versions_that_nobody_speaks(daemon):
    assert daemon.post(ENUMERATE.replace('CIMVERSION="2.0"', 'CIMVERSION="9.9"')).headers["CIMError"] == "unsupported-cim-version"
    assert daemon.post(ENUMERATE.replace('PROTOCOLVERSION="1.0"', 'PROTOCOLVERSION="9.9"')).headers["CIMError"] == "unsupported-protocol-version"


def test_several_requests_in_one_are_refused(daemon):
    several = ENUMERATE.replace("SIMPLEREQ", "MULTIREQ")
    response = daemon.post(several)
    assert (response.status, response.headers["CIMError"]) == (400, "header-mismatch")
    response = daemon.post(several, headers={"CIMBatch": "CIMBatch"})
    assert (response.status, response.headers["CIMError"]) == (501, "multiple-requests-unsupported")


@pytest.mark.parametrize(
    "old, new, code, words",
    [
        ("EnumerateInstanceNames", "EnumerateEverything", 7, "EnumerateEverything"),
        ('NAME="ClassName"', 'NAME="NoSuchParameter"', 4, "no parameter `NoSuchParameter`"),
        ('NAME="virt"', 'NAME="nowhere"', 3, "root/nowhere"),
        ("KVM_ComputerSystem", "KVM_NoSuchClass", 5, "KVM_NoSuchClass"),
    ],
)
def test_what_a_request_names_wrongly_is_named(daemon, old, new, code, words):
    body = ENUMERATE.replace(old, new)
    assert body != ENUMERATE
    response = daemon.post(body)
    assert response.status == 200
    assert f'<ERROR CODE="{code}"' in response.text
    assert words in response.text


def test_options_tell_what_can_be_done(daemon):
    response = daemon.post("", method="OPTIONS")
    assert response.status == 200
    assert "POST" in response.headers["Allow"]
    assert "http://www.dmtf.org/cim/mapping/http/v1.0" in response.headers["Opt"]


def test_other_methods_are_refused(daemon):
    for method in ("GET", "PUT", "DELETE"):
        assert daemon.post("", method=method).status in (405, 501)


# --------------------------------------------------------------- identities


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer x"},
        basic(""),
        basic(":"),
        basic("vera:"),
        basic("vera:wrong"),
        basic("nobody:vera's secret"),
        basic("vera's secret:vera"),
    ],
    ids=str,
)
def test_nobody_gets_in_by_chance(guarded, headers):
    response = guarded.post(ENUMERATE, headers)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic")
    assert "INSTANCENAME" not in response.text


def test_the_right_password_gets_in(guarded):
    connection = guarded.connect("vera", "vera's secret")
    assert len(connection.EnumerateInstanceNames("KVM_ComputerSystem")) == 4


def test_pywbem_says_who_was_refused(guarded):
    with pytest.raises(pywbem.AuthError):
        guarded.connect("vera", "wrong").EnumerateInstanceNames("KVM_ComputerSystem")


def test_a_viewer_looks_and_a_checker_asks(guarded, checks):
    checks.clear()
    assert Gate(guarded.connect("carl", "plain")).check()[0] is True
    with pytest.raises(pywbem.CIMError) as refused:
        Gate(guarded.connect("vera", "vera's secret")).check()
    assert refused.value.status_code == pywbem.CIM_ERR_ACCESS_DENIED


def test_what_a_viewer_may_not_do(guarded):
    viewer = guarded.connect("vera", "vera's secret")
    (settings,) = viewer.EnumerateInstances("KVM_VirtualSystemMigrationSettingData")
    for operation, act in [
        ("CreateInstance", lambda: viewer.CreateInstance(settings)),
        ("ModifyInstance", lambda: viewer.ModifyInstance(settings)),
        ("DeleteInstance", lambda: viewer.DeleteInstance(settings.path)),
    ]:
        with pytest.raises(pywbem.CIMError) as refused:
            act()
        assert refused.value.status_code == pywbem.CIM_ERR_ACCESS_DENIED
        for words in (operation, "needs the role", "`vera` has the role viewer"):
            assert words in refused.value.status_description


def test_nobody_changes_classes(guarded):
    for connection in (guarded.connect("vera", "vera's secret"), guarded.connect("carl", "plain")):
        with pytest.raises(pywbem.CIMError) as refused:
            connection.DeleteClass("KVM_ComputerSystem")
        assert refused.value.status_code == pywbem.CIM_ERR_NOT_SUPPORTED


def test_whoever_may_not_is_told_that_before_what_is_wrong_with_the_parameters(guarded):
    viewer = guarded.connect("vera", "vera's secret")
    for operation, parameters in [
        ("DeleteInstance", {}),
        ("CreateInstance", {"Bogus": "x"}),
        ("SetProperty", {"InstanceName": "not a path"}),
    ]:
        for namespace in ("root/virt", "root/nowhere"):
            with pytest.raises(pywbem.CIMError) as refused:
                viewer._imethodcall(operation, namespace, **parameters)
            assert refused.value.status_code == pywbem.CIM_ERR_ACCESS_DENIED, operation


def test_a_context_belongs_to_its_user(guarded):
    viewer, other = guarded.connect("vera", "vera's secret"), guarded.connect("carl", "plain")
    context = viewer.OpenEnumerateInstances("KVM_ComputerSystem", MaxObjectCount=1).context
    for act in (
        lambda: other.PullInstancesWithPath(context, MaxObjectCount=1),
        lambda: other.CloseEnumeration(context),
    ):
        with pytest.raises(pywbem.CIMError) as refused:
            act()
        assert refused.value.status_code == pywbem.CIM_ERR_INVALID_ENUMERATION_CONTEXT
        assert "user" in refused.value.status_description
    # Neither attempt cost the context anything.
    assert len(viewer.PullInstancesWithPath(context, MaxObjectCount=9).instances) == 3


def test_wbemcli_with_a_password(guarded):
    def enumerate_with(password):
        url = guarded.url.replace("://", f"://carl:{password}@")
        command = ["wbemcli", "ein", f"{url}/root/virt:KVM_ComputerSystem"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert enumerate_with("plain").stdout.count("KVM_ComputerSystem") >= 4
    refused = enumerate_with("wrong")
    assert refused.returncode == 16
    assert "password" in (refused.stdout + refused.stderr).lower()
