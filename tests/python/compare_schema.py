#!/usr/bin/env python3
"""Compares the schema as virtcimd serves it with what pywbem's MOF compiler makes of the same text.

    compare_schema.py DUMP-DIRECTORY [DMTF-DIRECTORY]
    compare_schema.py --url URL [DMTF-DIRECTORY]

The dump is what `cargo run --example schema_xml -- DUMP-DIRECTORY [DMTF-DIRECTORY]` wrote; with a URL the
schema comes from a running daemon. Prints each difference; exit status 1 if there is one.

Two things are compared: what each class declares itself, and the classes as pywbem's mock server resolves
them. The mock does some of that otherwise than DSP0004 says; what is put right stands in `Resolved`.
"""

import argparse
import glob
import os
import sys
import xml.etree.ElementTree as ElementTree

import pywbem
import pywbem_mock._resolvermixin as resolvermixin
from pywbem._tupleparse import TupleParser
from pywbem._tupletree import xml_to_tupletree_sax
from pywbem_mock import FakedWBEMConnection

NAMESPACE = "root/virt"
SCHEMA = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../schema"))
EVERYTHING = {"LocalOnly": False, "IncludeQualifiers": True, "IncludeClassOrigin": True}
FLAVORS = {"overridable": True, "tosubclass": True, "toinstance": False, "translatable": False}


# ---- what pywbem makes of the text


def compile_all(compile_file, directory):
    """Compiles our schema; the DMTF's below it, if a directory is given."""
    if directory is None:
        compile_file(os.path.join(SCHEMA, "virtcimd.mof"))
        return
    main = glob.glob(os.path.join(directory, "cim_schema_*.mof"))
    if len(main) != 1:
        sys.exit(f"{directory}: expected one cim_schema_….mof, found {len(main)}")
    compile_file(main[0])
    for prefix in ("Virt", "KVM", "LXC", "Xen"):
        compile_file(os.path.join(SCHEMA, "virt", prefix + ".mof"))
    compile_file(os.path.join(SCHEMA, "records.mof"))


def search_paths(directory):
    """Where pywbem looks for the file of a class that another needs."""
    return [directory, os.path.join(SCHEMA, "cim")] if directory else [SCHEMA]


def declared(directory):
    """The classes as declared, and the qualifier declarations."""
    handle = pywbem.MOFWBEMConnection()
    handle.default_namespace = NAMESPACE
    compiler = pywbem.MOFCompiler(handle, search_paths=search_paths(directory))
    compile_all(lambda path: compiler.compile_file(path, NAMESPACE), directory)
    return handle.classes[NAMESPACE], handle.qualifiers[NAMESPACE]


def let_overrides_add_parameters():
    """The mock fails where an overriding method has a parameter that the overridden one lacks: it
    sets attributes that parameters do not have."""
    original = resolvermixin.ResolverMixin._set_new_object

    def set_new_object(self, new_obj, inherited_obj, new_class, superclass, store, propagated, kind):
        if not isinstance(new_obj, pywbem.CIMParameter):
            original(self, new_obj, inherited_obj, new_class, superclass, store, propagated, kind)

    resolvermixin.ResolverMixin._set_new_object = set_new_object


class Resolved:
    """The classes as the mock resolves them, by lower-case name, put right."""

    def __init__(self, directory, own, declarations):
        let_overrides_add_parameters()
        server = FakedWBEMConnection(default_namespace=NAMESPACE)
        paths = search_paths(directory)
        compile_all(lambda path: server.compile_mof_file(path, search_paths=paths), directory)
        self.own = own
        self.declarations = declarations
        self.classes = {}
        for name in server.EnumerateClassNames(DeepInheritance=True):
            self.classes[name.lower()] = server.GetClass(name, **EVERYTHING)
        done = set()
        for name in self.classes:
            self.put_right(name, done)

    def put_right(self, name, done):
        if name in done:
            return
        done.add(name)
        cls, own = self.classes[name], self.own[name]
        superclass = None
        if cls.superclass:
            self.put_right(cls.superclass.lower(), done)
            superclass = self.classes[cls.superclass.lower()]
        # The mock hands the qualifiers of classes down to none of them.
        self.inherit(cls.qualifiers, superclass.qualifiers if superclass else {})
        for kind in ("properties", "methods"):
            for element in getattr(cls, kind).values():
                self.put_element_right(element, kind, own, superclass)

    def put_element_right(self, element, kind, own, superclass):
        inherited = getattr(superclass, kind).get(element.name) if superclass else None
        is_own = element.name in getattr(own, kind)
        # The mock calls an element propagated that overrides another.
        element.propagated = not is_own
        parts = [(element, inherited)]
        if kind == "methods":
            for parameter in element.parameters.values():
                known = inherited.parameters.get(parameter.name) if inherited else None
                parts.append((parameter, known))
        for part, known in parts:
            if is_own:
                # The mock hands no qualifiers down to the parameters of a method that overrides.
                self.inherit(part.qualifiers, known.qualifiers if known else {})
            else:
                # The mock hands even restricted qualifiers down.
                for qualifier in list(part.qualifiers.values()):
                    if not self.flavor(qualifier, "tosubclass"):
                        del part.qualifiers[qualifier.name]

    def inherit(self, qualifiers, inherited):
        for qualifier in inherited.values():
            if self.flavor(qualifier, "tosubclass") and qualifier.name not in qualifiers:
                qualifiers[qualifier.name] = qualifier.copy()

    def flavor(self, qualifier, flavor):
        return flavor_of(qualifier, flavor, self.declarations)


def flavor_of(qualifier, flavor, declarations):
    """A flavor as stated with the qualifier, else as declared, else as DSP0004 has it."""
    for source in (qualifier, declarations.get(qualifier.name)):
        if source is not None and getattr(source, flavor) is not None:
            return getattr(source, flavor)
    return FLAVORS[flavor]


# ---- what virtcimd serves


def read_dump(directory, operation, parse):
    """The objects of a reply that the example program wrote."""
    root = ElementTree.parse(os.path.join(directory, operation + ".xml")).getroot()
    for element in root.find(".//IRETURNVALUE"):
        yield parse(xml_to_tupletree_sax(ElementTree.tostring(element), operation))


def served(arguments):
    """The classes and the qualifier declarations."""
    if arguments.url:
        connection = pywbem.WBEMConnection(arguments.url, default_namespace=NAMESPACE)
        classes = connection.EnumerateClasses(DeepInheritance=True, **EVERYTHING)
        return classes, connection.EnumerateQualifiers()
    parser = TupleParser()
    classes = list(read_dump(arguments.dump, "EnumerateClasses", parser.parse_class))
    qualifiers = read_dump(arguments.dump, "EnumerateQualifiers", parser.parse_qualifier_declaration)
    return classes, list(qualifiers)


# ---- comparison


class Comparison:
    def __init__(self, declarations):
        self.declarations = declarations
        self.differences = 0

    def same(self, where, what, ours, theirs):
        if ours != theirs:
            self.differences += 1
            print(f"{where}: {what}: ours {ours!r}, pywbem's {theirs!r}")

    def attributes(self, where, ours, theirs, names):
        for name in names:
            self.same(where, name, fold(name, getattr(ours, name)), fold(name, getattr(theirs, name)))

    def names(self, where, what, ours, theirs):
        """Whether both have the same members; calls back for those that both have."""
        ours, theirs = {k.lower(): k for k in ours}, {k.lower(): k for k in theirs}
        self.same(where, what, sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours)))
        return sorted(set(ours) & set(theirs))

    def qualifiers(self, where, ours, theirs):
        for name in self.names(where, "qualifiers", ours, theirs):
            here = f"{where}[{name}]"
            self.attributes(here, ours[name], theirs[name], ("type", "value"))
            for flavor in FLAVORS:
                their = flavor_of(theirs[name], flavor, self.declarations)
                self.same(here, flavor, flavor_of(ours[name], flavor, {}), their)

    def element(self, where, ours, theirs, names):
        self.attributes(where, ours, theirs, names)
        self.qualifiers(where, ours.qualifiers, theirs.qualifiers)

    def cls(self, ours, theirs, origins):
        where = ours.classname
        self.attributes(where, ours, theirs, ("classname", "superclass"))
        self.qualifiers(where, ours.qualifiers, theirs.qualifiers)
        typed = ("type", "is_array", "array_size", "reference_class")
        for name in self.names(where, "properties", ours.properties, theirs.properties):
            here, our, their = f"{where}.{name}", ours.properties[name], theirs.properties[name]
            self.element(here, our, their, (*typed, "name", "value", *origins))
            self.same(here, "embedded object", our.embedded_object, embedded(their.qualifiers))
        for name in self.names(where, "methods", ours.methods, theirs.methods):
            here, our, their = f"{where}.{name}", ours.methods[name], theirs.methods[name]
            self.element(here, our, their, ("name", "return_type", *origins))
            for parameter in self.names(here, "parameters", our.parameters, their.parameters):
                self.element(f"{here}({parameter})", our.parameters[parameter],
                             their.parameters[parameter], (*typed, "name"))
            self.same(here, "order of parameters", list(our.parameters), list(their.parameters))


def embedded(qualifiers):
    """What the qualifiers make of a string; pywbem's compiler leaves that open."""
    for name, kind in (("EmbeddedInstance", "instance"), ("EmbeddedObject", "object")):
        if name in qualifiers and qualifiers[name].value:
            return kind
    return None


def fold(name, value):
    """Names of classes are compared without case, texts without the apostrophe, as pywbem's compiler
    drops it where MOF has it after a backslash, and with the line ends that XML makes of all."""
    if name == "value" and isinstance(value, str):
        return value.replace("'", "").replace("\r\n", "\n").replace("\r", "\n")
    if name == "value" and isinstance(value, list):
        return [fold(name, element) for element in value]
    if name in ("superclass", "reference_class", "class_origin") and value is not None:
        return value.lower()
    return value


def local(cls, own):
    """What a served class says itself, of which `own` names the elements: without inherited parts."""
    cls = cls.copy()

    def keep(qualifiers):
        for qualifier in list(qualifiers.values()):
            if qualifier.propagated:
                del qualifiers[qualifier.name]

    keep(cls.qualifiers)
    for kind in ("properties", "methods"):
        elements = getattr(cls, kind)
        for element in list(elements.values()):
            if element.propagated:
                del elements[element.name]
                continue
            keep(element.qualifiers)
            for parameter in getattr(element, "parameters", {}).values():
                keep(parameter.qualifiers)
    return cls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", help="a running daemon")
    parser.add_argument("dump", nargs="?", help="what the example program wrote")
    parser.add_argument("dmtf", nargs="?", help="the DMTF's schema")
    arguments = parser.parse_args()
    if arguments.url:
        arguments.dump, arguments.dmtf = None, arguments.dump
    elif not arguments.dump:
        parser.error("name a dump directory or a URL")

    own, declarations = declared(arguments.dmtf)
    own = {cls.classname.lower(): cls for cls in own.values()}
    resolved = Resolved(arguments.dmtf, own, declarations).classes
    classes, qualifiers = served(arguments)
    comparison = Comparison(declarations)

    ours = {cls.classname.lower(): cls for cls in classes}
    for name in comparison.names("schema", "classes", ours, resolved):
        comparison.cls(ours[name], resolved[name], ("class_origin", "propagated"))
        comparison.cls(local(ours[name], own[name]), own[name], ())
    ours = {qualifier.name: qualifier for qualifier in qualifiers}
    for name in comparison.names("schema", "qualifiers", ours, declarations):
        our = next(q for q in qualifiers if q.name.lower() == name)
        their = declarations[name]
        comparison.attributes(name, our, their, ("name", "type", "is_array", "array_size", "value"))
        for flavor in FLAVORS:
            comparison.same(name, flavor, flavor_of(our, flavor, {}), flavor_of(their, flavor, {}))
        scopes = {scope for scope, there in their.scopes.items() if there}
        if "ANY" in scopes:
            scopes = {"CLASS", "ASSOCIATION", "REFERENCE", "PROPERTY", "METHOD", "PARAMETER", "INDICATION"}
        comparison.same(name, "scopes", {s for s, there in our.scopes.items() if there}, scopes)
    print(f"{len(classes)} classes and {len(qualifiers)} qualifiers, {comparison.differences} differences")
    sys.exit(comparison.differences > 0)


if __name__ == "__main__":
    main()
