"""Random filters and flags of association operations show what a slow filter, which is obviously right, shows.

The filter knows nothing but the lists of all associations and of all instances: it looks at every association
and tries each of its references as the one to the source and each other one as the one to the answer.
"""

import random
from collections import defaultdict
from functools import cached_property

import pytest
import pywbem

NAMESPACES = ["root/virt", "root/interop"]
# They change with every operation, so their values are not compared.
COUNTED = "CIM_CIMOMStatisticalData"
ROUNDS = 60


def place(path):
    """A text that the paths of one object share; hosts are the server's, or the client's, so they do not count."""
    path = path.copy()
    path.host = None
    return path.to_wbem_uri(format="canonical")


def mangled(rng, text):
    return "".join(rng.choice([c.lower(), c.upper()]) for c in text)


class Model:
    """All that the server has, as lists tell it."""

    def __init__(self, connection):
        self.connection = connection
        self.superclass = {}
        self.associations = []
        self.instances = {}
        roots = []
        for found in connection.EnumerateClasses(DeepInheritance=True, LocalOnly=False):
            self.superclass[found.classname] = found.superclass
            if found.superclass is None:
                roots.append((found.classname, "Association" in found.qualifiers))
        for namespace in NAMESPACES:
            for root, is_association in roots:
                listed = connection.EnumerateInstances(root, namespace=namespace, IncludeClassOrigin=True)
                self.instances.update({place(instance.path): instance for instance in listed})
                if is_association:
                    self.associations += listed

    @cached_property
    def classes(self):
        return sorted(self.superclass)

    def lineage(self, class_name):
        """The class and those it is derived from."""
        found = []
        while class_name:
            found.append(class_name)
            class_name = self.superclass[class_name]
        return found

    def is_a(self, class_name, wanted):
        return wanted is None or wanted.lower() in [it.lower() for it in self.lineage(class_name)]

    @cached_property
    def links(self):
        """Each association in each direction: itself, role and path of the near end, of the far end."""
        found = []
        for association in self.associations:
            references = [(it.name, it.value) for it in association.properties.values() if it.type == "reference"]
            found += [(association, *near, *far) for near in references for far in references if near is not far]
        return found

    @cached_property
    def links_from(self):
        """The same by the place of the near end."""
        found = defaultdict(list)
        for link in self.links:
            found[place(link[2])].append(link)
        return found

    def some_link(self, rng):
        """One of any class of associations, however few there are of it."""
        class_name = rng.choice(sorted({link[0].classname for link in self.links}))
        return rng.choice([link for link in self.links if link[0].classname == class_name])

    def expected(self, source, wanted):
        """The objects that the source is associated with, and the associations."""
        far_ends, associations = {}, {}
        for association, role, _, result_role, far in self.links_from[place(source)]:
            if (
                self.is_a(association.classname, wanted.get("AssocClass"))
                and self.is_a(far.classname, wanted.get("ResultClass"))
                and wanted.get("Role", role).lower() == role.lower()
                and wanted.get("ResultRole", result_role).lower() == result_role.lower()
            ):
                far_ends[place(far)] = self.instances[place(far)]
                associations[place(association.path)] = association
        return far_ends, associations


@pytest.fixture(scope="module")
def model(daemon):
    """With a subscription to each of two classes of destinations: no other end has objects of several classes."""
    interop = daemon.connect(default_namespace="root/interop")
    query = {"QueryLanguage": "WQL", "Query": "SELECT * FROM CIM_InstCreation"}
    filter_path = interop.CreateInstance(pywbem.CIMInstance("CIM_IndicationFilter", {"Name": "filtered", **query}))
    made = [filter_path]
    for class_name in ("CIM_ListenerDestinationCIMXML", "CIM_IndicationHandlerCIMXML"):
        target = {"Name": "filtered", "Destination": "http://127.0.0.1:1"}
        handler = interop.CreateInstance(pywbem.CIMInstance(class_name, target))
        ends = {"Filter": filter_path, "Handler": handler}
        made += [handler, interop.CreateInstance(pywbem.CIMInstance("CIM_IndicationSubscription", ends))]
    yield Model(daemon.connect())
    for path in reversed(made):
        interop.DeleteInstance(path)


def some_filter(rng, model, link):
    """Filters of which most fit the link, or nearly."""
    association, role, _, result_role, far = link
    choices = {
        "AssocClass": [*model.lineage(association.classname), rng.choice(model.classes)],
        "ResultClass": [*model.lineage(far.classname), rng.choice(model.classes)],
        "Role": [role, role, role, result_role, "NoSuchRole"],
        "ResultRole": [result_role, result_role, result_role, role, "NoSuchRole"],
    }
    return {name: mangled(rng, rng.choice(of)) for name, of in choices.items() if rng.random() < 0.5}


def some_flags(rng, model):
    names = [name for instance in rng.sample(sorted(model.instances), 5) for name in model.instances[instance].properties]
    flags = {
        "IncludeClassOrigin": rng.choice([True, False]),
        "PropertyList": [mangled(rng, name) for name in [*rng.choices(names, k=rng.randrange(9)), "NoSuch"]],
    }
    return {name: value for name, value in flags.items() if rng.random() < 0.6}


def shown(instance, flags):
    """The instance as the flags have it: its properties by name, each with type, value and origin."""
    listed = flags.get("PropertyList")
    listed = listed and [name.lower() for name in listed]
    return {
        name: (
            declared.type,
            None if instance.classname == COUNTED else str(pywbem.CIMProperty(name, declared.value, declared.type).tomof()),
            declared.class_origin if flags.get("IncludeClassOrigin") else None,
        )
        for name, declared in sorted(instance.properties.items())
        if listed is None or name.lower() in listed
    }


def told(instance):
    """What an answer shows of an instance, whatever it was asked for."""
    return shown(instance, {"IncludeClassOrigin": True})


def in_pieces(connection, operation, pull, source, **options):
    """What an operation returns that opens an enumeration, pulled a few at a time."""
    opened = getattr(connection, operation)(source, MaxObjectCount=2, **options)
    found = [*getattr(opened, "instances", []), *getattr(opened, "paths", [])]
    while not opened.eos:
        opened = getattr(connection, pull)(opened.context, MaxObjectCount=7)
        found += [*getattr(opened, "instances", []), *getattr(opened, "paths", [])]
    return found


def check_objects(found, expected, flags):
    assert sorted(place(it.path) for it in found) == sorted(expected)
    for instance in found:
        assert instance.classname == expected[place(instance.path)].classname
        assert told(instance) == shown(expected[place(instance.path)], flags)


def check(model, source, wanted, flags, qualifiers):
    connection = model.connection
    far_ends, associations = model.expected(source, wanted)
    found = connection.Associators(source, IncludeQualifiers=qualifiers, **wanted, **flags)
    check_objects(found, far_ends, flags)
    assert sorted(map(place, connection.AssociatorNames(source, **wanted))) == sorted(far_ends)
    found = in_pieces(connection, "OpenAssociatorInstances", "PullInstancesWithPath", source, **wanted, **flags)
    check_objects(found, far_ends, flags)
    found = in_pieces(connection, "OpenAssociatorInstancePaths", "PullInstancePaths", source, **wanted)
    assert sorted(map(place, found)) == sorted(far_ends)

    # References call the association's class ResultClass, and have no filter for the other end.
    _, associations = model.expected(source, {name: wanted[name] for name in ("AssocClass", "Role") if name in wanted})
    wanted = {{"AssocClass": "ResultClass"}.get(name, name): wanted[name] for name in ("AssocClass", "Role") if name in wanted}
    found = connection.References(source, IncludeQualifiers=qualifiers, **wanted, **flags)
    check_objects(found, associations, flags)
    assert sorted(map(place, connection.ReferenceNames(source, **wanted))) == sorted(associations)
    found = in_pieces(connection, "OpenReferenceInstances", "PullInstancesWithPath", source, **wanted, **flags)
    check_objects(found, associations, flags)
    found = in_pieces(connection, "OpenReferenceInstancePaths", "PullInstancePaths", source, **wanted)
    assert sorted(map(place, found)) == sorted(associations)
    return len(far_ends)


@pytest.mark.parametrize("seed", range(5))
def test_filters_and_flags(model, seed):
    rng = random.Random(seed)
    numbers = set()
    for _ in range(ROUNDS):
        link = model.some_link(rng)
        # Now and then somebody who has nothing to do with it.
        source = link[2] if rng.random() < 0.8 else model.instances[rng.choice(sorted(model.instances))].path
        wanted, flags, qualifiers = some_filter(rng, model, link), some_flags(rng, model), rng.choice([True, False])
        number = check(model, source, wanted, flags, qualifiers)
        # A source may be named in any namespace: old clients begin elsewhere.
        elsewhere = source.copy()
        elsewhere.namespace = rng.choice([*NAMESPACES, "root/cimv2"])
        found = model.connection.AssociatorNames(elsewhere, **wanted)
        assert sorted(map(place, found)) == sorted(model.expected(source, wanted)[0])
        numbers.add(min(number, 2))
    assert numbers == {0, 1, 2}, "none, one and several: else these filters are of no use"


def test_there_is_enough_to_choose_from(model):
    classes = {link[0].classname for link in model.links}
    assert {"KVM_HostedDependency", "KVM_ElementCapabilities", "CIM_ElementConformsToProfile"} <= classes
    subscriptions = [link for link in model.links if link[0].classname == "CIM_IndicationSubscription"]
    assert len({link[4].classname for link in subscriptions if link[3] == "Handler"}) == 2
    # References lead to other namespaces, too.
    assert any(link[2].namespace != link[4].namespace for link in model.links)
