//! Random values of the model, in the form in which CIM-XML can carry them: an instance in a list
//! has the path that list sends, a NULL parameter no array type, and so on.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::cim::{
    ArrayKind, AssociationFilter, CimError, CimName, CimType, Class, ClassOptions, ClassPath,
    DataType, DateTime, Embedded, Flavor, Instance, InstanceOptions, InstancePath, Key, KeyValue,
    ListKind, Method, Namespace, Object, ObjectPath, OpenOptions, Operation, ParamValue, Parameter,
    Property, PropertyDeclaration, Qualifier, QualifierDeclaration, Reply, Request, Scalar, Scope,
    StatusCode, Value,
};

pub(super) fn name() -> impl Strategy<Value = CimName> {
    "[A-Za-z_é][A-Za-z0-9_ß]{0,6}".prop_map(|text| CimName::parse(&text).unwrap())
}

/// The same name made different by a number, where names must be unique.
fn numbered(name: &CimName, index: usize) -> CimName {
    CimName::parse(&format!("{name}{index}")).unwrap()
}

pub(super) fn namespace() -> impl Strategy<Value = Namespace> {
    "[a-zA-Z_&<]{1,5}(/[a-zA-Z_.0-9é]{1,5}){0,2}".prop_map(|text| Namespace::parse(&text).unwrap())
}

/// Any text that XML can carry, blanks at its ends and markup in it more often than not.
pub(super) fn text() -> impl Strategy<Value = String> {
    let legal = |c: &char| {
        matches!(c, '\t' | '\n' | '\r') || (*c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
    };
    prop_oneof![
        "[ \t\r\n]{0,3}[ \ta<>&'\";#\\]-]{0,6}[ \t\r\n]{0,3}",
        any::<String>().prop_map(move |text| text.chars().filter(legal).collect()),
    ]
}

fn datetime() -> impl Strategy<Value = DateTime> {
    let masked = |value: DateTime, from: usize| {
        let mut text = value.to_string().into_bytes();
        (from..21).filter(|&at| at != 14).for_each(|at| text[at] = b'*');
        DateTime::parse(std::str::from_utf8(&text).unwrap()).unwrap()
    };
    let timestamp = (-60_000_000_000_000_000_i64..250_000_000_000_000_000, -999_i16..=999)
        .prop_map(|(micros, minutes)| DateTime::timestamp(micros, minutes).unwrap());
    let interval = (0..8_000_000_000_000_u64, 0..1_000_000_000_u32)
        .prop_map(|(s, ns)| DateTime::interval(std::time::Duration::new(s, ns)).unwrap());
    (prop_oneof![timestamp, interval], select(vec![21, 18, 12, 8]))
        .prop_map(move |(value, from)| if from == 21 { value } else { masked(value, from) })
}

/// A scalar of that type.
fn scalar(ty: CimType) -> BoxedStrategy<Scalar> {
    match ty {
        CimType::Boolean => any::<bool>().prop_map(Scalar::Boolean).boxed(),
        CimType::Uint8 => any::<u8>().prop_map(Scalar::Uint8).boxed(),
        CimType::Sint8 => any::<i8>().prop_map(Scalar::Sint8).boxed(),
        CimType::Uint16 => any::<u16>().prop_map(Scalar::Uint16).boxed(),
        CimType::Sint16 => any::<i16>().prop_map(Scalar::Sint16).boxed(),
        CimType::Uint32 => any::<u32>().prop_map(Scalar::Uint32).boxed(),
        CimType::Sint32 => any::<i32>().prop_map(Scalar::Sint32).boxed(),
        CimType::Uint64 => any::<u64>().prop_map(Scalar::Uint64).boxed(),
        CimType::Sint64 => any::<i64>().prop_map(Scalar::Sint64).boxed(),
        // From bits: subnormals, infinities and NaN too.
        CimType::Real32 => any::<u32>().prop_map(|n| Scalar::Real32(f32::from_bits(n))).boxed(),
        CimType::Real64 => any::<u64>().prop_map(|n| Scalar::Real64(f64::from_bits(n))).boxed(),
        CimType::Char16 => prop_oneof![9..=10_u16, Just(13), 32..0xd800_u16, 0xe000..=0xfffd_u16]
            .prop_map(Scalar::Char16)
            .boxed(),
        CimType::String => text().prop_map(Scalar::String).boxed(),
        CimType::DateTime => datetime().prop_map(Scalar::DateTime).boxed(),
        CimType::Reference => {
            object_path().prop_map(|path| Scalar::Reference(Box::new(path))).boxed()
        }
    }
}

fn key_value() -> BoxedStrategy<KeyValue> {
    let plain = prop_oneof![
        text().prop_map(KeyValue::String),
        any::<bool>().prop_map(KeyValue::Boolean),
        any::<i64>().prop_map(|n| KeyValue::Integer(n.into())),
        any::<u64>().prop_map(|n| KeyValue::Integer(n.into())),
        any::<u64>().prop_map(|n| KeyValue::Real(f64::from_bits(n))),
    ];
    plain
        .prop_recursive(2, 6, 2, |inner| {
            (vec((name(), inner), 1..3), option::of(namespace())).prop_map(|(keys, namespace)| {
                let path = InstancePath { namespace, ..instance_name_of(keys) };
                KeyValue::Reference(Box::new(path.into()))
            })
        })
        .boxed()
}

fn instance_name_of(keys: Vec<(CimName, KeyValue)>) -> InstancePath {
    let class = keys.first().map_or(CimName::literal("C"), |(name, _)| name.clone());
    let keys = keys
        .into_iter()
        .enumerate()
        .map(|(index, (name, value))| Key { name: Some(numbered(&name, index)), value });
    InstancePath { host: None, namespace: None, class, keys: keys.collect() }
}

/// A path without host and namespace: bindings, or the one key of a class without its name.
pub(super) fn instance_name() -> impl Strategy<Value = InstancePath> {
    prop_oneof![
        4 => vec((name(), key_value()), 0..4).prop_map(instance_name_of),
        1 => (name(), key_value()).prop_map(|(class, value)| InstancePath {
            host: None, namespace: None, class, keys: vec![Key { name: None, value }],
        }),
    ]
}

fn host() -> impl Strategy<Value = String> {
    "[a-z0-9.-]{1,8}(:[0-9]{1,4})?"
}

fn full_instance_path() -> impl Strategy<Value = InstancePath> {
    (host(), namespace(), instance_name()).prop_map(|(host, namespace, path)| InstancePath {
        host: Some(host),
        namespace: Some(namespace),
        ..path
    })
}

fn full_class_path() -> impl Strategy<Value = ClassPath> {
    (host(), namespace(), name()).prop_map(|(host, namespace, class)| ClassPath {
        host: Some(host),
        namespace: Some(namespace),
        class,
    })
}

/// A path in any of the six forms.
fn object_path() -> impl Strategy<Value = ObjectPath> {
    let class = |namespace| {
        move |class: CimName| ObjectPath::Class(ClassPath { host: None, namespace, class })
    };
    prop_oneof![
        instance_name().prop_map(ObjectPath::Instance),
        (namespace(), instance_name())
            .prop_map(|(namespace, path)| path.in_namespace(namespace).into()),
        full_instance_path().prop_map(ObjectPath::Instance),
        name().prop_map(move |name| class(None)(name)),
        (namespace(), name()).prop_map(move |(namespace, name)| class(Some(namespace))(name)),
        full_class_path().prop_map(ObjectPath::Class),
    ]
}

/// The target of an association operation or a method.
fn local_object() -> impl Strategy<Value = ObjectPath> {
    prop_oneof![
        instance_name().prop_map(ObjectPath::Instance),
        name().prop_map(|class| ClassPath::local(class).into()),
    ]
}

/// Element types that are no references.
fn plain_type() -> impl Strategy<Value = CimType> {
    select(CimType::ALL[..14].to_vec())
}

/// A type and a value of it or NULL, as a property has them; embedded instances `depth` deep.
fn typed_value(depth: u32) -> BoxedStrategy<(DataType, Option<Value>)> {
    let plain = (plain_type(), array_kind()).prop_flat_map(|(base, array)| {
        let ty = DataType { array, ..DataType::scalar(base) };
        let value = match array {
            ArrayKind::Scalar => scalar(base).prop_map(Value::Scalar).boxed(),
            ArrayKind::Array | ArrayKind::Fixed(_) => {
                vec(option::of(scalar(base)), 0..4).prop_map(Value::Array).boxed()
            }
        };
        (Just(ty), option::of(value))
    });
    let untyped = text().prop_map(|text| {
        (DataType::scalar(CimType::String), Some(Value::Scalar(Scalar::Untyped(text))))
    });
    let reference = (option::of(name()), option::of(scalar(CimType::Reference))).prop_map(
        |(reference_class, value)| {
            let ty = DataType { reference_class, ..DataType::scalar(CimType::Reference) };
            (ty, value.map(Value::Scalar))
        },
    );
    if depth == 0 {
        return prop_oneof![8 => plain, 1 => untyped, 2 => reference].boxed();
    }
    prop_oneof![8 => plain, 1 => untyped, 2 => reference, 3 => embedded_value(depth - 1)].boxed()
}

/// Embedded objects. A string that is none stays a string, whatever the attribute says.
fn embedded_value(depth: u32) -> impl Strategy<Value = (DataType, Option<Value>)> {
    let element = prop_oneof![
        4 => instance(depth).prop_map(|instance| Scalar::EmbeddedInstance(Box::new(instance))),
        1 => class(0).prop_map(|class| Scalar::EmbeddedClass(Box::new(class))),
        1 => "[a-z ]{0,5}".prop_map(Scalar::String),
    ];
    let embedded = select(vec![Embedded::Instance, Embedded::Object]);
    (embedded, any::<bool>(), option::of(vec(option::of(element), 1..3))).prop_map(
        |(embedded, is_array, elements)| {
            let array = if is_array { ArrayKind::Array } else { ArrayKind::Scalar };
            // Of an array that is NULL it is not told, for the sake of wbemcli.
            let embedded = Some(embedded).filter(|_| elements.is_some() || !is_array);
            let ty = DataType { array, embedded, ..DataType::scalar(CimType::String) };
            let value = elements.and_then(|mut elements| {
                if is_array {
                    Some(Value::Array(elements))
                } else {
                    elements.remove(0).map(Value::Scalar)
                }
            });
            (ty, value)
        },
    )
}

fn array_kind() -> impl Strategy<Value = ArrayKind> {
    prop_oneof![
        3 => Just(ArrayKind::Scalar),
        2 => Just(ArrayKind::Array),
        1 => any::<u32>().prop_map(ArrayKind::Fixed),
    ]
}

/// An instance without path.
pub(super) fn instance(depth: u32) -> BoxedStrategy<Instance> {
    let property = (name(), typed_value(depth), option::of(name()));
    (name(), vec(property, 0..5))
        .prop_map(|(class, properties)| {
            let properties = properties.into_iter().enumerate().map(|(index, property)| {
                let (name, (ty, value), class_origin) = property;
                Property { name: numbered(&name, index), ty, value, class_origin }
            });
            Instance { properties: properties.collect(), ..Instance::new(class) }
        })
        .boxed()
}

fn with_path(path: impl Strategy<Value = InstancePath>) -> impl Strategy<Value = Instance> {
    (path, instance(1)).prop_map(|(path, instance)| Instance { path: Some(path), ..instance })
}

fn flavor() -> impl Strategy<Value = Flavor> {
    any::<[bool; 4]>().prop_map(|[overridable, to_subclass, to_instance, translatable]| Flavor {
        overridable,
        to_subclass,
        to_instance,
        translatable,
    })
}

/// A type and a value that a qualifier may have.
fn qualifier_value() -> impl Strategy<Value = (CimType, ArrayKind, Option<Value>)> {
    (plain_type(), array_kind()).prop_flat_map(|(ty, array)| {
        let value = match array {
            ArrayKind::Scalar => scalar(ty).prop_map(Value::Scalar).boxed(),
            ArrayKind::Array | ArrayKind::Fixed(_) => {
                vec(option::of(scalar(ty)), 0..3).prop_map(Value::Array).boxed()
            }
        };
        (Just(ty), Just(array), option::of(value))
    })
}

fn qualifiers() -> impl Strategy<Value = Vec<Qualifier>> {
    let one = (name(), qualifier_value(), flavor(), any::<bool>());
    vec(
        one.prop_map(|(name, (ty, _, value), flavor, propagated)| Qualifier {
            name: numbered(&name, 1),
            ty,
            value,
            flavor,
            propagated,
        }),
        0..3,
    )
}

pub(super) fn qualifier_declaration() -> impl Strategy<Value = QualifierDeclaration> {
    let scopes = proptest::sample::subsequence(Scope::ALL.to_vec(), 0..=Scope::ALL.len());
    (name(), qualifier_value(), scopes, flavor()).prop_map(
        |(name, (ty, array, default), scopes, flavor)| QualifierDeclaration {
            name,
            ty,
            array,
            default,
            scopes,
            flavor,
        },
    )
}

fn parameter() -> impl Strategy<Value = Parameter> {
    let ty = (select(CimType::ALL.to_vec()), array_kind(), option::of(name())).prop_map(
        |(base, array, class)| {
            let reference_class = class.filter(|_| base == CimType::Reference);
            DataType { array, reference_class, ..DataType::scalar(base) }
        },
    );
    (name(), ty, qualifiers()).prop_map(|(name, ty, qualifiers)| Parameter { name, ty, qualifiers })
}

fn method() -> impl Strategy<Value = Method> {
    let parts = (name(), plain_type(), qualifiers(), vec(parameter(), 0..3), option::of(name()));
    (parts, any::<bool>()).prop_map(
        |((name, ty, qualifiers, parameters, class_origin), propagated)| Method {
            name,
            return_type: DataType::scalar(ty),
            qualifiers,
            parameters,
            class_origin,
            propagated,
        },
    )
}

pub(super) fn class(depth: u32) -> impl Strategy<Value = Class> {
    let property = (name(), typed_value(depth), qualifiers(), option::of(name()), any::<bool>())
        .prop_map(|(name, (ty, default), qualifiers, class_origin, propagated)| {
            PropertyDeclaration { name, ty, default, qualifiers, class_origin, propagated }
        });
    let parts =
        (name(), option::of(name()), qualifiers(), vec(property, 0..3), vec(method(), 0..2));
    parts.prop_map(|(name, superclass, qualifiers, properties, methods)| Class {
        name,
        superclass,
        qualifiers,
        properties,
        methods,
    })
}

/// Parameters of a call: with and without their type, NULL or not.
fn parameters(null: bool) -> impl Strategy<Value = Vec<ParamValue>> {
    let references = vec(option::of(scalar(CimType::Reference)), 0..3).prop_map(|elements| {
        (Some(DataType::array(CimType::Reference)), Some(Value::Array(elements)))
    });
    let untyped = vec(option::of(text().prop_map(Scalar::Untyped)), 0..3)
        .prop_map(|elements| (None, Some(Value::Array(elements))));
    let typed = typed_value(2).prop_map(|(ty, value)| match &value {
        Some(Value::Scalar(Scalar::Untyped(_))) => (None, value),
        _ => (Some(parameter_type(ty, value.as_ref())), value),
    });
    let one = (name(), prop_oneof![6 => typed, 1 => references, 1 => untyped]);
    vec(one, 0..4).prop_map(move |given| {
        let given = given.into_iter().enumerate();
        given
            .map(|(index, (name, (ty, value)))| ParamValue {
                name: numbered(&name, index),
                ty,
                value,
            })
            .filter(|parameter| null || parameter.value.is_some())
            .collect()
    })
}

/// The part of a type that a parameter carries.
fn parameter_type(ty: DataType, value: Option<&Value>) -> DataType {
    let array = match value {
        Some(Value::Array(_)) => ArrayKind::Array,
        Some(Value::Scalar(_)) | None => ArrayKind::Scalar,
    };
    DataType { array, reference_class: None, ..ty }
}

fn properties() -> impl Strategy<Value = Option<Vec<CimName>>> {
    option::of(vec(name(), 0..3))
}

fn class_options() -> impl Strategy<Value = ClassOptions> {
    any::<[bool; 3]>().prop_map(|[local_only, include_qualifiers, include_class_origin]| {
        ClassOptions { local_only, include_qualifiers, include_class_origin, properties: None }
    })
}

fn instance_options() -> impl Strategy<Value = InstanceOptions> {
    (any::<bool>(), properties()).prop_map(|(include_class_origin, properties)| InstanceOptions {
        include_class_origin,
        properties,
    })
}

fn associator_filter() -> impl Strategy<Value = AssociationFilter> {
    let name = || option::of(name());
    (name(), name(), name(), name()).prop_map(
        |(association_class, result_class, role, result_role)| AssociationFilter {
            association_class,
            result_class,
            role,
            result_role,
        },
    )
}

fn reference_filter() -> impl Strategy<Value = AssociationFilter> {
    associator_filter().prop_map(|filter| AssociationFilter {
        result_class: None,
        result_role: None,
        ..filter
    })
}

fn open_options() -> impl Strategy<Value = OpenOptions> {
    let text = || option::of(text());
    (text(), text(), option::of(any::<u32>()), any::<bool>(), any::<u32>()).prop_map(
        |(filter_language, filter, operation_timeout, continue_on_error, max_object_count)| {
            OpenOptions {
                filter_language,
                filter,
                operation_timeout,
                continue_on_error,
                max_object_count,
            }
        },
    )
}

/// The new value of SetProperty, which carries no types.
fn new_value() -> impl Strategy<Value = Option<Value>> {
    let untyped = || text().prop_map(Scalar::Untyped);
    option::of(prop_oneof![
        untyped().prop_map(Value::Scalar),
        vec(option::of(untyped()), 0..3).prop_map(Value::Array),
        scalar(CimType::Reference).prop_map(Value::Scalar),
    ])
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    (namespace(), operation()).prop_map(|(namespace, operation)| Request { namespace, operation })
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        class_operation().boxed(),
        instance_operation().boxed(),
        association_operation().boxed(),
        open_operation().boxed(),
        pull_operation().boxed(),
        (local_object(), name(), parameters(true)).prop_map(|(object, method, parameters)| {
            Operation::InvokeMethod { object, method, parameters }
        }),
    ]
}

fn class_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (name(), class_options(), properties()).prop_map(|(class, options, properties)| {
            Operation::GetClass { class, options: ClassOptions { properties, ..options } }
        }),
        (option::of(name()), any::<bool>(), class_options()).prop_map(
            |(class, deep_inheritance, options)| {
                Operation::EnumerateClasses { class, deep_inheritance, options }
            }
        ),
        (option::of(name()), any::<bool>()).prop_map(|(class, deep_inheritance)| {
            Operation::EnumerateClassNames { class, deep_inheritance }
        }),
        class(1).prop_map(|class| Operation::CreateClass { class: Box::new(class) }),
        class(0).prop_map(|class| Operation::ModifyClass { class: Box::new(class) }),
        name().prop_map(|class| Operation::DeleteClass { class }),
        name().prop_map(|name| Operation::GetQualifier { name }),
        Just(Operation::EnumerateQualifiers),
        qualifier_declaration()
            .prop_map(|one| Operation::SetQualifier { declaration: Box::new(one) }),
        name().prop_map(|name| Operation::DeleteQualifier { name }),
    ]
}

fn instance_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (instance_name(), instance_options())
            .prop_map(|(path, options)| Operation::GetInstance { path, options }),
        (name(), any::<bool>(), instance_options()).prop_map(
            |(class, deep_inheritance, options)| {
                Operation::EnumerateInstances { class, deep_inheritance, options }
            }
        ),
        name().prop_map(|class| Operation::EnumerateInstanceNames { class }),
        instance(2).prop_map(|instance| Operation::CreateInstance { instance }),
        (with_path(instance_name()), properties()).prop_map(|(instance, properties)| {
            Operation::ModifyInstance { instance, properties }
        }),
        instance_name().prop_map(|path| Operation::DeleteInstance { path }),
        (instance_name(), name())
            .prop_map(|(path, property)| Operation::GetProperty { path, property }),
        (instance_name(), name(), new_value()).prop_map(|(path, property, value)| {
            Operation::SetProperty { path, property, value }
        }),
        (text(), text()).prop_map(|(language, query)| Operation::ExecQuery { language, query }),
    ]
}

fn association_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (local_object(), associator_filter(), any::<bool>(), instance_options()).prop_map(
            |(object, filter, include_qualifiers, options)| {
                Operation::Associators { object, filter, include_qualifiers, options }
            }
        ),
        (local_object(), associator_filter())
            .prop_map(|(object, filter)| Operation::AssociatorNames { object, filter }),
        (local_object(), reference_filter(), any::<bool>(), instance_options()).prop_map(
            |(object, filter, include_qualifiers, options)| {
                Operation::References { object, filter, include_qualifiers, options }
            }
        ),
        (local_object(), reference_filter())
            .prop_map(|(object, filter)| Operation::ReferenceNames { object, filter }),
    ]
}

fn open_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (name(), any::<bool>(), instance_options(), open_options()).prop_map(
            |(class, deep_inheritance, options, open)| {
                Operation::OpenEnumerateInstances { class, deep_inheritance, options, open }
            }
        ),
        (name(), open_options())
            .prop_map(|(class, open)| Operation::OpenEnumerateInstancePaths { class, open }),
        (instance_name(), associator_filter(), instance_options(), open_options()).prop_map(
            |(path, filter, options, open)| {
                Operation::OpenAssociatorInstances { path, filter, options, open }
            }
        ),
        (instance_name(), associator_filter(), open_options()).prop_map(|(path, filter, open)| {
            Operation::OpenAssociatorInstancePaths { path, filter, open }
        }),
        (instance_name(), reference_filter(), instance_options(), open_options()).prop_map(
            |(path, filter, options, open)| {
                Operation::OpenReferenceInstances { path, filter, options, open }
            }
        ),
        (instance_name(), reference_filter(), open_options()).prop_map(|(path, filter, open)| {
            Operation::OpenReferenceInstancePaths { path, filter, open }
        }),
        (any::<bool>(), open_options()).prop_map(|(return_query_result_class, open)| {
            Operation::OpenQueryInstances { return_query_result_class, open }
        }),
    ]
}

fn pull_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (text(), any::<u32>()).prop_map(|(context, max_object_count)| {
            Operation::PullInstancesWithPath { context, max_object_count }
        }),
        (text(), any::<u32>()).prop_map(|(context, max_object_count)| {
            Operation::PullInstancePaths { context, max_object_count }
        }),
        (text(), any::<u32>()).prop_map(|(context, max_object_count)| {
            Operation::PullInstances { context, max_object_count }
        }),
        text().prop_map(|context| Operation::CloseEnumeration { context }),
        text().prop_map(|context| Operation::EnumerationCount { context }),
    ]
}

fn objects(kind: ListKind) -> BoxedStrategy<Vec<Object>> {
    let paths = |path: BoxedStrategy<InstancePath>| path.prop_map(Object::InstancePath).boxed();
    let instances =
        |path: BoxedStrategy<InstancePath>| with_path(path).prop_map(Object::Instance).boxed();
    let one = match kind {
        ListKind::NamedInstances => instances(instance_name().boxed()),
        ListKind::InstanceNames => paths(instance_name().boxed()),
        ListKind::ObjectsWithPath => prop_oneof![
            instances(full_instance_path().boxed()),
            (full_class_path(), class(0))
                .prop_map(|(path, class)| Object::Class(path, Box::new(class))),
        ]
        .boxed(),
        ListKind::ObjectPaths => prop_oneof![
            paths(full_instance_path().boxed()),
            full_class_path().prop_map(Object::ClassPath),
        ]
        .boxed(),
        ListKind::InstancesWithPath => instances(full_instance_path().boxed()),
        ListKind::InstancePaths => paths(full_instance_path().boxed()),
        ListKind::Instances => instance(1).prop_map(Object::Instance).boxed(),
    };
    vec(one, 0..4).boxed()
}

/// A reply that `operation` may have, or an error.
pub(super) fn reply_to(operation: &Operation) -> BoxedStrategy<Result<Reply, CimError>> {
    let list = |kind| objects(kind).prop_map(move |all| Reply::Objects(kind, all)).boxed();
    let pulled = |kind| {
        (objects(kind), option::of(text())).prop_map(move |(objects, context)| Reply::Pulled {
            kind,
            objects,
            context,
            query_result_class: None,
        })
    };
    let reply = match operation {
        Operation::GetClass { .. } => {
            class(1).prop_map(|class| Reply::Class(Box::new(class))).boxed()
        }
        Operation::EnumerateClasses { .. } => vec(class(0), 0..3).prop_map(Reply::Classes).boxed(),
        Operation::EnumerateClassNames { .. } => {
            vec(name(), 0..3).prop_map(Reply::ClassNames).boxed()
        }
        Operation::GetQualifier { .. } => qualifier_declaration()
            .prop_map(|one| Reply::QualifierDeclaration(Box::new(one)))
            .boxed(),
        Operation::EnumerateQualifiers => {
            vec(qualifier_declaration(), 0..3).prop_map(Reply::QualifierDeclarations).boxed()
        }
        Operation::GetInstance { .. } => instance(2).prop_map(Reply::Instance).boxed(),
        Operation::CreateInstance { .. } => instance_name().prop_map(Reply::InstanceName).boxed(),
        Operation::GetProperty { .. } => new_value().prop_map(property_reply).boxed(),
        Operation::EnumerationCount { .. } => {
            option::of(any::<u64>()).prop_map(Reply::Count).boxed()
        }
        Operation::InvokeMethod { .. } => method_reply().boxed(),
        Operation::CreateClass { .. }
        | Operation::ModifyClass { .. }
        | Operation::DeleteClass { .. }
        | Operation::SetQualifier { .. }
        | Operation::DeleteQualifier { .. }
        | Operation::ModifyInstance { .. }
        | Operation::DeleteInstance { .. }
        | Operation::SetProperty { .. }
        | Operation::CloseEnumeration { .. } => Just(Reply::Void).boxed(),
        Operation::EnumerateInstances { .. } => list(ListKind::NamedInstances),
        Operation::EnumerateInstanceNames { .. } => list(ListKind::InstanceNames),
        Operation::Associators { .. }
        | Operation::References { .. }
        | Operation::ExecQuery { .. } => list(ListKind::ObjectsWithPath),
        Operation::AssociatorNames { .. } | Operation::ReferenceNames { .. } => {
            list(ListKind::ObjectPaths)
        }
        Operation::OpenEnumerateInstances { .. }
        | Operation::OpenAssociatorInstances { .. }
        | Operation::OpenReferenceInstances { .. }
        | Operation::PullInstancesWithPath { .. } => pulled(ListKind::InstancesWithPath).boxed(),
        Operation::OpenEnumerateInstancePaths { .. }
        | Operation::OpenAssociatorInstancePaths { .. }
        | Operation::OpenReferenceInstancePaths { .. }
        | Operation::PullInstancePaths { .. } => pulled(ListKind::InstancePaths).boxed(),
        Operation::PullInstances { .. } => pulled(ListKind::Instances).boxed(),
        Operation::OpenQueryInstances { .. } => {
            (objects(ListKind::Instances), option::of(text()), option::of(class(0)))
                .prop_map(|(objects, context, class)| Reply::Pulled {
                    kind: ListKind::Instances,
                    objects,
                    context,
                    query_result_class: class.map(Box::new),
                })
                .boxed()
        }
    };
    let error = (select(StatusCode::ALL.to_vec()), text())
        .prop_map(|(status, description)| CimError { status, description });
    prop_oneof![9 => reply.prop_map(Ok), 1 => error.prop_map(Err)].boxed()
}

fn property_reply(value: Option<Value>) -> Reply {
    let ty = match &value {
        Some(Value::Scalar(Scalar::Reference(_))) => DataType::scalar(CimType::Reference),
        Some(Value::Array(_)) => DataType::array(CimType::String),
        Some(Value::Scalar(_)) | None => DataType::scalar(CimType::String),
    };
    Reply::Property(ty, value)
}

fn method_reply() -> impl Strategy<Value = Reply> {
    let returned = select(CimType::ALL.to_vec())
        .prop_flat_map(|ty| (Just(DataType::scalar(ty)), option::of(scalar(ty))));
    (returned, parameters(false)).prop_map(|((return_type, value), out)| Reply::Method {
        return_type,
        return_value: value.map(Value::Scalar),
        out,
    })
}
