#!/usr/bin/env python3
"""Writes schema/cim/*.mof, schema/virt/*.mof, schema/virtcimd.mof, which includes them all, and
tests/data/model-digest.json from model.json.

    python3 schema/generate.py /path/to/model.json

model.json describes the resolved classes of the libvirt-cim model: names, types, keys, defaults, value
maps, qualifiers, and in which class each element was last declared. Each class is written with its own
declarations only. What this project adds to the model stands in schema/extensions/ and is pasted into
the class of that name, once for each prefix. schema/qualifiers.mof is written by hand.

The digest holds the same facts for the test that compares the compiled schema with them; a class lists
only what differs from its superclass.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PREFIXES = ("Virt", "KVM", "Xen", "LXC")
HEADER = "// Made by schema/generate.py; changes belong there or into schema/extensions/.\n"
MAIN = """
// The whole schema of virtcimd. The daemon carries it inside; other servers and compilers can read it
// from here.

#pragma locale ( "en_US" )
#pragma include ( "qualifiers.mof" )
"""

# Qualifiers that a reader looks for first, in this order; the others follow as model.json has them.
LEADING = ("Association", "Indication", "Abstract", "Key", "Override", "In", "Out")

# Qualifiers that are not handed down to subclasses.
RESTRICTED = {"Abstract", "Deprecated", "Experimental", "Override", "Version"}

# A qualifier of libvirt-cim's MOF that tells its broker where the code is.
DROPPED = {"Provider"}


def literal(value):
    """A value as MOF."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array(values):
    return "{ " + ", ".join(literal(value) for value in values) + " }"


def qualifier(name, value):
    if value is True:
        return name
    if isinstance(value, list):
        return f"{name} {array(value)}"
    return f"{name} ( {literal(value)} )"


def value_map(pairs):
    """ValueMap and, where the values have names, Values."""
    codes = [code for code, _ in pairs]
    names = [name for _, name in pairs]
    yield "ValueMap", codes
    if any(name is not None for name in names):
        yield "Values", names


def qualifiers_of(element, map_key="value_map"):
    """All qualifiers of a property, method or parameter, as (name, value)."""
    stated = {k: v for k, v in element.get("qualifiers", {}).items() if k not in DROPPED}
    for name in LEADING:
        if name in stated:
            yield name, stated.pop(name)
    yield from stated.items()
    if element.get("embedded_object"):
        yield "EmbeddedObject", True
    if element.get("embedded_instance"):
        yield "EmbeddedInstance", element["embedded_instance"]
    if element.get(map_key):
        yield from value_map(element[map_key])


def wrap(items, indent):
    """The items in brackets, in lines of at most 100 columns; one item may be longer."""
    if not items:
        return ""
    lines, line = [], indent + "["
    for number, item in enumerate(items):
        piece = item + ("," if number + 1 < len(items) else "]")
        if len(line) + 1 + len(piece) > 100 and not line.endswith("["):
            lines.append(line.rstrip())
            line = indent + " "
        line += piece if line.endswith("[") or line.endswith(indent + " ") else " " + piece
    lines.append(line)
    return "\n".join(fold(line, indent) for line in lines) + "\n"


def fold(line, indent):
    """Breaks a long array after commas."""
    out = []
    while len(line) > 100:
        cut = line.rfind('", ', 0, 99)
        if cut < 0:
            break
        out.append(line[: cut + 2])
        line = indent + "    " + line[cut + 3 :]
    return "\n".join([*out, line])


def type_and_name(element):
    base = element["type"]
    if base == "reference":
        base = element["reference_class"] + " REF"
    size = element.get("array_size") or ""
    return f"{base} {element['name']}" + (f"[{size}]" if element["is_array"] else "")


def render_property(element):
    stated = list(qualifiers_of(element))
    # As in the DMTF's text: that the references of an association are keys is said once.
    if element["type"] == "reference" and any(name == "Override" for name, _ in stated):
        stated = [(name, value) for name, value in stated if name != "Key"]
    text = wrap([qualifier(*pair) for pair in stated], "    ")
    default = ""
    if "default" in element:
        value = element["default"]
        default = " = " + (array(value) if isinstance(value, list) else literal(value))
    return f"{text}    {type_and_name(element)}{default};\n"


def render_parameter(method, element):
    stated = dict(qualifiers_of(element))
    # They state Out alone, which makes In true by default; output only is meant.
    if method in ("GetError", "GetErrors"):
        stated = {"In": False, **stated}
    text = wrap([qualifier(*pair) for pair in stated.items()], "        ")
    return f"{text}        {type_and_name(element)}"


def render_method(element):
    stated = qualifiers_of(element, "return_value_map")
    text = wrap([qualifier(*pair) for pair in stated], "    ")
    text += f"    {element['return_type']} {element['name']}("
    if element["parameters"]:
        text += "\n" + ",\n".join(
            render_parameter(element["name"], p) for p in element["parameters"]
        )
    return text + ");\n"


def class_qualifiers(cls, classes):
    """The qualifiers a class states: what it does not inherit, and what kind of class it is."""
    inherited = {}
    if cls["superclass"]:
        inherited = classes[cls["superclass"]]["qualifiers"]
    stated = {k: v for k, v in cls["qualifiers"].items() if k not in DROPPED}
    order = {name: index for index, name in enumerate(LEADING)}
    for name in sorted(stated, key=lambda name: order.get(name, len(order))):
        own = name in RESTRICTED or inherited.get(name) != stated[name]
        if own or name in ("Association", "Indication", "UMLPackagePath"):
            yield name, stated[name]


def prefix_of(name):
    return name.split("_", 1)[0]


def own_elements(cls, kind):
    return [e for e in cls[kind] if e["last_declared_in"] == cls["name"]]


def render_class(cls, classes):
    name = cls["name"]
    superclass = f" : {cls['superclass']}" if cls["superclass"] else ""
    text = wrap([qualifier(*pair) for pair in class_qualifiers(cls, classes)], "")
    text += f"class {name}{superclass} {{\n"
    members = [render_property(p) for p in own_elements(cls, "properties")]
    members += [render_method(m) for m in own_elements(cls, "methods")]
    extension = HERE / "extensions" / (name.split("_", 1)[1] + ".mof")
    if prefix_of(name) in PREFIXES and extension.exists():
        members.append(extension.read_text().replace("<pfx>", prefix_of(name)))
    return text + "".join("\n" + member for member in members) + "};\n"


def needs(cls):
    """The classes that a class's own declaration names."""
    if cls["superclass"]:
        yield cls["superclass"]
    elements = own_elements(cls, "properties")
    for method in own_elements(cls, "methods"):
        elements = elements + method["parameters"]
    for element in elements:
        named = element.get("reference_class") or element.get("embedded_instance")
        if named:
            yield named


def in_order(names, classes):
    """What a class needs comes first where there is no circle; else by name."""
    done, open_ = [], set()

    def visit(name):
        if name in done or name in open_ or name not in names:
            return
        open_.add(name)
        for needed in needs(classes[name]):
            visit(needed)
        done.append(name)

    for name in sorted(names):
        visit(name)
    return done


def files(classes):
    """File name → the classes in it. The DMTF's have one each, as compilers look them up by name;
    libvirt-cim's one for each prefix."""
    groups = {}
    for name in in_order(set(classes), classes):
        if prefix_of(name) in PREFIXES:
            key = f"virt/{prefix_of(name)}.mof"
        else:
            key = f"cim/{name}.mof"
        groups.setdefault(key, []).append(name)
    return groups


def is_virt(path):
    """Sorts libvirt-cim's files behind the DMTF's, and its common one before those of prefixes."""
    return path.startswith("virt/") + 2 * (path.startswith("virt/") and path != "virt/Virt.mof")


def facts(element, map_key="value_map"):
    """What a test compares of an element, without what is true of most."""
    drop = {"name", "last_declared_in", "propagated", "key", "in", "out", "qualifiers", map_key}
    kept = {k: v for k, v in element.items() if k not in drop and (v or k == "default")}
    if "parameters" in element:
        kept["parameters"] = [{"name": p["name"], **facts(p)} for p in element["parameters"]]
    told_otherwise = {"EmbeddedObject", "EmbeddedInstance"}
    # model.json leaves restricted qualifiers on inherited methods, though not on properties.
    told_otherwise |= RESTRICTED if element.get("propagated") else set()
    kept["qualifiers"] = {
        k: v for k, v in qualifiers_of(element, map_key) if k not in told_otherwise
    }
    return kept


def digest(classes):
    out = {}
    resolved = {}
    for name in in_order(set(classes), classes):
        cls = classes[name]
        full = {
            "properties": {p["name"]: facts(p) for p in cls["properties"]},
            "methods": {m["name"]: facts(m, "return_value_map") for m in cls["methods"]},
        }
        resolved[name] = full
        inherited = resolved.get(cls["superclass"], {"properties": {}, "methods": {}})
        entry = {
            "superclass": cls["superclass"],
            "qualifiers": {k: v for k, v in cls["qualifiers"].items() if k not in DROPPED},
            "keys": cls["keys"],
            "subclasses": cls["subclasses"],
        }
        for kind, elements in full.items():
            gone = set(inherited[kind]) - set(elements)
            assert not gone, (name, gone)
            entry[kind] = {k: v for k, v in elements.items() if inherited[kind].get(k) != v}
        out[name] = entry
    return out


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    classes = json.loads(pathlib.Path(sys.argv[1]).read_text())["classes"]
    groups = files(classes)
    for path, names in groups.items():
        body = "\n".join(render_class(classes[name], classes) for name in names)
        target = HERE / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(HEADER + "\n" + body)
    includes = "".join(f'#pragma include ( "{path}" )\n' for path in sorted(groups, key=is_virt))
    includes += "".join(f'#pragma include ( "{name}" )\n' for name in ("statistics.mof", "records.mof"))
    (HERE / "virtcimd.mof").write_text(HEADER + MAIN + includes)
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}"
        for name, entry in digest(classes).items()
    )
    target = HERE.parent / "tests" / "data" / "model-digest.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
