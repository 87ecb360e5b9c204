"""What the Java client (SBLIM's, and what came of it) writes in its own way; it has one type for all paths."""

import re
import xml.sax.saxutils

import pywbem
import pytest


def names(paths):
    return "".join(f'<NAMESPACE NAME="{name}"/>' for name in paths)


def call(daemon, operation, name, content, parameters=""):
    """Its request, and the answer's text."""
    response = daemon.post(
        '<?xml version="1.0" encoding="UTF-8"?>\n<CIM CIMVERSION="2.0" DTDVERSION="2.0">'
        f'<MESSAGE ID="1027882" PROTOCOLVERSION="1.0"><SIMPLEREQ><IMETHODCALL NAME="{operation}">'
        f"<LOCALNAMESPACEPATH>{names(('root', 'virt'))}</LOCALNAMESPACEPATH>"
        f'<IPARAMVALUE NAME="{name}">{content}</IPARAMVALUE>{parameters}'
        "</IMETHODCALL></SIMPLEREQ></MESSAGE></CIM>",
        {"TE": "trailers", "Accept": "text/html, text/xml, application/xml", "Accept-Language": "en, *"},
    )
    assert response.status == 200, response.text
    return response.text


def as_text(path):
    """An instance's name with references as text, quoted as in a key of a text."""
    keys = []
    for name, key in path.keybindings.items():
        inner = ",".join(f'{name}="{value}"' for name, value in key.keybindings.items())
        text = xml.sax.saxutils.escape(f"/{key.namespace}:{key.classname}.{inner}", {'"': "&quot;"})
        value = f'<KEYVALUE TYPE="{key.classname} ref" VALUETYPE="string">{text}</KEYVALUE>'
        keys.append(f'<KEYBINDING NAME="{name}">{value}</KEYBINDING>')
    return f'<INSTANCENAME CLASSNAME="{path.classname}">{"".join(keys)}</INSTANCENAME>'


@pytest.mark.parametrize("association", ["KVM_HostedDependency", "KVM_ElementCapabilities", "KVM_SettingsDefineState"])
def test_associations_whose_references_are_texts(daemon, connection, association):
    for path in connection.EnumerateInstanceNames(association):
        assert all(isinstance(key, pywbem.CIMInstanceName) for key in path.keybindings.values())
        found = call(daemon, "GetInstance", "InstanceName", as_text(path))
        assert found.count("<PROPERTY.REFERENCE ") == 2, found
        for operation in ("AssociatorNames", "ReferenceNames"):
            assert "<ERROR" not in call(daemon, operation, "ObjectName", as_text(path))


def test_an_instance_name_without_keys_is_a_class(daemon, connection):
    flags = "".join(
        f'<IPARAMVALUE NAME="{name}"><VALUE>true</VALUE></IPARAMVALUE>'
        for name in ("IncludeQualifiers", "IncludeClassOrigin")
    )
    for class_name in ("KVM_ComputerSystem", "CIM_ManagedElement"):
        bare = f'<INSTANCENAME CLASSNAME="{class_name}"/>'
        source = pywbem.CIMClassName(class_name, namespace="root/virt")
        expected = sorted(path.classname for path in connection.AssociatorNames(source))
        found = re.findall(r'<CLASSNAME NAME="(\w+)"', call(daemon, "AssociatorNames", "ObjectName", bare))
        assert sorted(found) == expected != []
        found = re.findall(r'<CLASS NAME="(\w+)"', call(daemon, "Associators", "ObjectName", bare, flags))
        assert sorted(found) == expected
        found = re.findall(r'<CLASS NAME="(\w+)"', call(daemon, "References", "ObjectName", bare, flags))
        assert sorted(found) == sorted(path.classname for path in connection.ReferenceNames(source))


def test_an_instance_name_without_keys_is_no_instance(daemon):
    assert 'ERROR CODE="1" DESCRIPTION="No domain name specified' in call(
        daemon, "GetInstance", "InstanceName", '<INSTANCENAME CLASSNAME="KVM_ComputerSystem"/>'
    )
