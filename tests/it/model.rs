//! The model over real HTTP: operations on objects in memory behind the server, asked in bytes.
//!
//! What a client writes it reads again, for every class of the schema; the flags of operations show
//! what slow filters, which are obviously right, would show.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
    test_runner::TestRunner,
};
use tokio::{net::TcpStream, runtime::Runtime};
use virtcimd::{
    cim::{
        ArrayKind, CimError, CimName, CimType, Class, ClassOptions, DateTime, Instance,
        InstanceOptions, InstancePath, Method, Object, ObjectPath, Operation, Property,
        PropertyDeclaration, Qualifier, Reply, Scalar, Value, qualifier,
    },
    http::Server,
    ops::{InstanceProvider, Outcome, ProviderError, Registry, Sink, Space},
    repository::Repository,
    xml,
};

use super::{
    http_support::Client,
    model_support::{message, name, namespace, serve},
};

/// Every class of the schema that has instances.
static CONCRETE: LazyLock<Vec<Arc<Class>>> = LazyLock::new(|| {
    let repository = Repository::builtin();
    let names = repository.class_names(None, true).unwrap();
    let classes = names.iter().map(|name| repository.class(name).unwrap());
    classes.filter(|class| !class.is_abstract()).collect()
});

/// Keeps the instances of one class as they came.
struct Shelf {
    class: CimName,
    instances: Mutex<Vec<Instance>>,
}

impl InstanceProvider for Shelf {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        let instances = self.instances.lock().unwrap().clone();
        Box::pin(async move {
            for instance in instances {
                sink.put(instance).await?;
            }
            Ok(())
        })
    }

    /// Finds the last that came: these tests ask for no other.
    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        let last = self.instances.lock().unwrap().last().cloned();
        Box::pin(async move { last.ok_or_else(ProviderError::no_instance) })
    }

    fn create(&self, instance: Instance) -> Outcome<'_, Instance> {
        self.instances.lock().unwrap().push(instance.clone());
        Box::pin(async move { Ok(instance) })
    }
}

/// A server on loopback whose objects are in memory, and one connection to it.
struct House {
    runtime: Runtime,
    shelves: HashMap<CimName, Arc<Shelf>>,
    _server: Server,
    client: tokio::sync::Mutex<Client<TcpStream>>,
}

impl House {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let mut registry = Registry::default();
        let mut shelves = HashMap::new();
        for class in CONCRETE.iter() {
            let shelf = Arc::new(Shelf { class: class.name.clone(), instances: Mutex::default() });
            registry.serve(Space::Virt, Arc::clone(&shelf) as Arc<_>).unwrap();
            shelves.insert(class.name.clone(), shelf);
        }
        let (server, address) = runtime.block_on(serve(registry));
        let client = runtime.block_on(TcpStream::connect(address)).unwrap();
        let client = tokio::sync::Mutex::new(Client::new(client));
        Self { runtime, shelves, _server: server, client }
    }

    fn hold(&self, class: &CimName, instances: Vec<Instance>) {
        *self.shelves[class].instances.lock().unwrap() = instances;
    }

    /// Asks over HTTP.
    fn ask(&self, operation: &Operation, flags: &[(&str, bool)]) -> Result<Reply, CimError> {
        self.runtime.block_on(async {
            let mut client = self.client.lock().await;
            client.send(message(operation, flags)).await;
            let answered = client.answer().await;
            assert_eq!(answered.code(), 200, "{answered:?}");
            let limits = xml::Limits::for_replies();
            xml::decode_reply(&answered.body, operation, &limits)
                .unwrap_or_else(|error| panic!("{error} in {}", answered.text()))
        })
    }

    #[track_caller]
    fn objects(&self, operation: &Operation, flags: &[(&str, bool)]) -> Vec<Object> {
        match self.ask(operation, flags) {
            Ok(Reply::Objects(_, objects)) => objects,
            other => panic!("no list: {other:?}"),
        }
    }
}

/// Text with what is special to XML, MOF and paths, and blanks at its ends.
fn text() -> impl Strategy<Value = String> {
    let legal = |c: &char| {
        matches!(c, '\t' | '\n' | '\r') || (*c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
    };
    prop_oneof![
        "[ \t\r\n]{0,3}[ \ta<>&'\";#\\\\.,=:/\\]-]{0,6}[ \t\r\n]{0,3}",
        any::<String>().prop_map(move |text| text.chars().filter(legal).collect()),
    ]
}

/// Text that names something: not empty, and no line break at its ends, which servers take for layout.
fn key_text() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("-{text}-"))
}

fn datetime() -> impl Strategy<Value = DateTime> {
    prop_oneof![
        (any::<u32>(), -720..720_i16)
            .prop_map(|(seconds, zone)| DateTime::timestamp(i64::from(seconds) * 1_000_001, zone)),
        any::<u64>().prop_map(|ns| DateTime::interval(std::time::Duration::from_nanos(ns))),
        Just(DateTime::parse("20260801******.******+000").ok()),
    ]
    .prop_map(Option::unwrap)
}

/// A path of a guest, as a reference to it.
fn reference() -> impl Strategy<Value = ObjectPath> {
    (key_text(), any::<bool>()).prop_map(|(text, with_host)| {
        let keys = [("CreationClassName", "KVM_ComputerSystem"), ("Name", text.as_str())];
        let keys = keys.map(|(key, value)| (name(key), value));
        let host = with_host.then(|| "elsewhere:5988".to_owned());
        let path = InstancePath::new(name("KVM_ComputerSystem"), keys);
        InstancePath { host, ..path.in_namespace(namespace()) }.into()
    })
}

/// A value that the property may have. Keys are made so that they can stand in paths.
fn scalar(property: &PropertyDeclaration, depth: u32) -> BoxedStrategy<Scalar> {
    let ty = property.ty.base;
    if let Some((least, most)) = ty.integer_range() {
        let edges = prop_oneof![Just(least), Just(most), (least..=most)];
        return edges.prop_map(move |n| Scalar::from_integer(ty, n).unwrap()).boxed();
    }
    match ty {
        CimType::String if property.ty.embedded.is_some() => embedded(property, depth),
        CimType::String if property.is_key() => key_text().prop_map(Scalar::String).boxed(),
        CimType::String => text().prop_map(Scalar::String).boxed(),
        CimType::Boolean => any::<bool>().prop_map(Scalar::Boolean).boxed(),
        CimType::Real32 => any::<u32>().prop_map(|n| Scalar::Real32(f32::from_bits(n))).boxed(),
        CimType::Real64 => any::<u64>().prop_map(|n| Scalar::Real64(f64::from_bits(n))).boxed(),
        CimType::Char16 => prop_oneof![Just(9), 32..0xd800_u16, 0xe000..=0xfffd_u16]
            .prop_map(Scalar::Char16)
            .boxed(),
        CimType::DateTime => datetime().prop_map(Scalar::DateTime).boxed(),
        CimType::Reference => reference().prop_map(|it| Scalar::Reference(Box::new(it))).boxed(),
        _ => unreachable!("integers were dealt with"),
    }
}

/// An instance that the property may hold: of the class its qualifier names or one below, of any class
/// without one.
fn embedded(property: &PropertyDeclaration, depth: u32) -> BoxedStrategy<Scalar> {
    let wanted = qualifier(&property.qualifiers, "EmbeddedInstance");
    let wanted = wanted.and_then(|it| it.value.as_ref()?.as_str()).map(name);
    let fits = |class: &&Arc<Class>| {
        wanted.as_ref().is_none_or(|it| Repository::builtin().is_a(&class.name, it))
    };
    let classes: Vec<_> = CONCRETE.iter().filter(fits).cloned().collect();
    select(classes)
        .prop_flat_map(move |class| instance(&class, depth - 1))
        .prop_map(|instance| Scalar::EmbeddedInstance(Box::new(instance)))
        .boxed()
}

fn value(property: &PropertyDeclaration, depth: u32) -> BoxedStrategy<Option<Value>> {
    if property.ty.embedded.is_some() && depth == 0 {
        return Just(None).boxed();
    }
    let element = scalar(property, depth);
    match property.ty.array {
        ArrayKind::Scalar if property.is_key() => {
            element.prop_map(|it| Some(Value::Scalar(it))).boxed()
        }
        ArrayKind::Scalar => option::of(element.prop_map(Value::Scalar)).boxed(),
        ArrayKind::Array | ArrayKind::Fixed(_) => {
            option::of(vec(option::of(element), 0..3).prop_map(Value::Array)).boxed()
        }
    }
}

/// An instance with every property of its class, many of them NULL.
fn instance(class: &Class, depth: u32) -> BoxedStrategy<Instance> {
    let creation_class = class.name.clone();
    let properties: Vec<_> = class
        .properties
        .iter()
        .map(|declared| {
            let (name, ty) = (declared.name.clone(), declared.ty.clone());
            value(declared, depth).prop_map(move |value| Property {
                name: name.clone(),
                ty: ty.clone(),
                value,
                class_origin: None,
            })
        })
        .collect();
    properties
        .prop_map(move |properties| Instance {
            properties,
            ..Instance::new(creation_class.clone())
        })
        .boxed()
}

/// Compares as printed: a NaN is not equal to itself, but prints like itself.
fn compare(found: &[Property], expected: &[Property]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
    Ok(())
}

/// The instance as CIM-XML can tell it: arrays that are NULL do not say that they embed something,
/// for wbemcli would not read the answer.
fn as_told(instance: &Instance) -> Instance {
    let mut told = instance.clone();
    for property in &mut told.properties {
        match &mut property.value {
            None if property.ty.is_array() => property.ty.embedded = None,
            Some(Value::Scalar(scalar)) => embedded_as_told(scalar),
            Some(Value::Array(elements)) => {
                elements.iter_mut().flatten().for_each(embedded_as_told);
            }
            None => {}
        }
    }
    told
}

fn embedded_as_told(scalar: &mut Scalar) {
    if let Scalar::EmbeddedInstance(instance) = scalar {
        **instance = as_told(instance);
    }
}

/// What is written through one operation is read through two others.
fn write_and_read(house: &House, instance: &Instance) -> Result<(), TestCaseError> {
    let class = &instance.class;
    let expected = as_told(instance).properties;
    house.hold(class, Vec::new());
    let made = house.ask(&Operation::CreateInstance { instance: instance.clone() }, &[]);
    let Ok(Reply::InstanceName(path)) = made else { panic!("{made:?}") };
    let options = InstanceOptions::default();
    let get = Operation::GetInstance { path: path.clone(), options: options.clone() };
    let found = house.ask(&get, &[]);
    let Ok(Reply::Instance(found)) = found else { panic!("{found:?} at {path}") };
    prop_assert_eq!(&found.class, class);
    compare(&found.properties, &expected)?;

    let (class, deep_inheritance) = (class.clone(), true);
    let list = Operation::EnumerateInstances { class, deep_inheritance, options };
    let [Object::Instance(listed)] = &house.objects(&list, &[])[..] else { panic!("not one") };
    compare(&listed.properties, &expected)?;
    prop_assert_eq!(&listed.path.as_ref().expect("a list says where").keys, &path.keys);
    house.hold(&instance.class, Vec::new());
    Ok(())
}

#[test]
fn an_instance_of_every_class_is_read_as_it_was_written() {
    let house = House::new();
    for class in CONCRETE.iter() {
        let mut runner = TestRunner::new(ProptestConfig::with_cases(4));
        let result = runner.run(&instance(class, 2), |instance| write_and_read(&house, &instance));
        result.unwrap_or_else(|error| panic!("{}: {error}", class.name));
    }
}

/// Names of properties, of that class or not.
fn property_list(class: &Class) -> impl Strategy<Value = Option<Vec<CimName>>> + use<> {
    let mut names: Vec<_> = class.properties.iter().map(|it| it.name.clone()).collect();
    names.extend(["ELEMENTNAME", "instanceid", "NoSuchProperty"].map(name));
    option::of(subsequence(names.clone(), 0..=names.len()))
}

/// Instances of classes that are all below one class, and some that are not; some of their
/// properties are left to the server.
fn some_instances() -> impl Strategy<Value = Vec<Instance>> {
    let one = |class: &Arc<Class>| {
        let class = Arc::clone(class);
        (instance(&class, 0), any::<u64>()).prop_map(move |(mut instance, kept)| {
            let mut at = 0;
            instance.properties.retain(|property| {
                at = (at + 1) % 64;
                class.property(&property.name).unwrap().is_key() || kept >> at & 1 == 1
            });
            instance
        })
    };
    subsequence(CONCRETE.clone(), 0..6)
        .prop_flat_map(move |classes| classes.iter().map(one).collect::<Vec<_>>())
}

/// Whether a class is another or below it, by walking up.
fn is_below(class: &CimName, ancestor: &CimName) -> bool {
    let superclass = Repository::builtin().class(class).unwrap().superclass.clone();
    class == ancestor || superclass.is_some_and(|superclass| is_below(&superclass, ancestor))
}

/// The properties an answer has to show: those of the creation class, without those that `shown_as`
/// does not have and those that the list does not name.
fn expected_properties(
    instance: &Instance,
    shown_as: Option<&Class>,
    options: &InstanceOptions,
) -> Vec<Property> {
    let class = Repository::builtin().class(&instance.class).unwrap();
    let mut expected = Vec::new();
    for declared in &class.properties {
        let hidden = shown_as.is_some_and(|shown| shown.property(&declared.name).is_none());
        let listed = options.properties.as_ref().is_none_or(|list| list.contains(&declared.name));
        if hidden || !listed {
            continue;
        }
        let value = match instance.property(&declared.name) {
            Some(property) => property.value.clone(),
            None => declared.default.clone(),
        };
        let class_origin = declared.class_origin.clone().filter(|_| options.include_class_origin);
        let (name, ty) = (declared.name.clone(), declared.ty.clone());
        expected.push(Property { name, ty, value, class_origin });
    }
    as_told(&Instance { properties: expected, ..Instance::new(class.name.clone()) }).properties
}

/// LocalOnly and IncludeQualifiers are for classes: of instances, servers of today ignore them.
type Ignored = [(&'static str, bool); 2];

fn ignored_flags() -> impl Strategy<Value = Ignored> {
    any::<(bool, bool)>()
        .prop_map(|(local, qualifiers)| [("LocalOnly", local), ("IncludeQualifiers", qualifiers)])
}

/// A class with flags for a list of its instances.
fn listing() -> impl Strategy<Value = (Arc<Class>, bool, InstanceOptions)> {
    let names = Repository::builtin().class_names(None, true).unwrap();
    let (deep, origin) = (any::<bool>(), any::<bool>());
    (select(names), deep, origin).prop_flat_map(|(name, deep, include_class_origin)| {
        let class = Repository::builtin().class(&name).unwrap();
        property_list(&class).prop_map(move |properties| {
            let options = InstanceOptions { include_class_origin, properties };
            (Arc::clone(&class), deep, options)
        })
    })
}

fn check_listing(
    house: &House,
    instances: &[Instance],
    (class, deep_inheritance, options): (Arc<Class>, bool, InstanceOptions),
    flags: Ignored,
) -> Result<(), TestCaseError> {
    for instance in instances {
        house.hold(&instance.class, vec![instance.clone()]);
    }
    let list = Operation::EnumerateInstances {
        class: class.name.clone(),
        deep_inheritance,
        options: options.clone(),
    };
    let mut listed = house.objects(&list, &flags).into_iter();
    for instance in instances.iter().filter(|it| is_below(&it.class, &class.name)) {
        let Some(Object::Instance(found)) = listed.next() else { panic!("the list is too short") };
        prop_assert_eq!(&found.class, &instance.class);
        let shown_as = (!deep_inheritance).then_some(&*class);
        compare(&found.properties, &expected_properties(instance, shown_as, &options))?;

        let path = found.path.expect("a list says where");
        let get = Operation::GetInstance { path, options: options.clone() };
        let Ok(Reply::Instance(found)) = house.ask(&get, &flags) else { panic!("it is not found") };
        compare(&found.properties, &expected_properties(instance, None, &options))?;
    }
    prop_assert!(listed.next().is_none(), "the list is too long");
    for instance in instances {
        house.hold(&instance.class, Vec::new());
    }
    Ok(())
}

#[test]
fn instances_show_what_the_flags_ask_for() {
    let house = House::new();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    let cases = (some_instances(), listing(), ignored_flags());
    let check = |(instances, listing, flags): (Vec<_>, _, _)| {
        check_listing(&house, &instances, listing, flags)
    };
    runner.run(&cases, check).unwrap();
}

/// The class an answer has to show, taken from the whole one element by element.
fn expected_class(class: &Class, options: &ClassOptions) -> Class {
    let qualifiers = |all: &[Qualifier]| match options.include_qualifiers {
        true => all.to_vec(),
        false => Vec::new(),
    };
    let origin = |of: &Option<CimName>| of.clone().filter(|_| options.include_class_origin);
    let mut shown = Class {
        name: class.name.clone(),
        superclass: class.superclass.clone(),
        qualifiers: qualifiers(&class.qualifiers),
        properties: Vec::new(),
        methods: Vec::new(),
    };
    for property in &class.properties {
        let listed = options.properties.as_ref().is_none_or(|list| list.contains(&property.name));
        if listed && !(options.local_only && property.propagated) {
            shown.properties.push(PropertyDeclaration {
                qualifiers: qualifiers(&property.qualifiers),
                class_origin: origin(&property.class_origin),
                ..property.clone()
            });
        }
    }
    for method in &class.methods {
        if options.local_only && method.propagated {
            continue;
        }
        let mut method = Method {
            qualifiers: qualifiers(&method.qualifiers),
            class_origin: origin(&method.class_origin),
            ..method.clone()
        };
        for parameter in &mut method.parameters {
            parameter.qualifiers = qualifiers(&parameter.qualifiers);
            // Only a qualifier tells of a parameter that it embeds something.
            parameter.ty.embedded.take_if(|_| !options.include_qualifiers);
        }
        shown.methods.push(method);
    }
    shown
}

fn check_classes(
    house: &House,
    class: &Class,
    deep_inheritance: bool,
    options: &ClassOptions,
) -> Result<(), TestCaseError> {
    let get = Operation::GetClass { class: class.name.clone(), options: options.clone() };
    let Ok(Reply::Class(found)) = house.ask(&get, &[]) else { panic!("it is not found") };
    prop_assert_eq!(*found, expected_class(class, options));

    // These have no property list.
    let options = ClassOptions { properties: None, ..options.clone() };
    let list = Operation::EnumerateClasses {
        class: Some(class.name.clone()),
        deep_inheritance,
        options: options.clone(),
    };
    let Ok(Reply::Classes(mut found)) = house.ask(&list, &[]) else { panic!("no classes") };
    let repository = Repository::builtin();
    let all = repository.class_names(None, true).unwrap();
    let all = all.iter().map(|name| repository.class(name).unwrap());
    let mut expected: Vec<Class> = all
        .filter(|it| match deep_inheritance {
            true => it.name != class.name && is_below(&it.name, &class.name),
            false => it.superclass.as_ref() == Some(&class.name),
        })
        .map(|it| expected_class(&it, &options))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    expected.sort_by(|a, b| a.name.cmp(&b.name));
    prop_assert_eq!(found, expected);
    Ok(())
}

#[test]
fn classes_show_what_the_flags_ask_for() {
    let house = House::new();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(48));
    let cases = (listing(), any::<bool>(), any::<bool>());
    let check =
        |((class, deep, options), local_only, include_qualifiers): ((Arc<Class>, _, _), _, _)| {
            let InstanceOptions { include_class_origin, properties } = options;
            let options =
                ClassOptions { local_only, include_qualifiers, include_class_origin, properties };
            check_classes(&house, &class, deep, &options)
        };
    runner.run(&cases, check).unwrap();
}
