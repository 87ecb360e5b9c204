//! The operations of DSP0200 §5.3 and §5.4 and their replies, as plain data.

use super::{
    CimName, Class, DataType, Instance, InstancePath, Namespace, ObjectPath, QualifierDeclaration,
    Value,
};

/// One operation request: a namespace and what to do there.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The target namespace.
    pub namespace: Namespace,
    /// What is asked.
    pub operation: Operation,
}

/// Which elements of a class to return.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are DSP0200's")]
pub struct ClassOptions {
    pub local_only: bool,
    pub include_qualifiers: bool,
    pub include_class_origin: bool,
    /// `None` is no restriction, an empty list no properties.
    pub properties: Option<Vec<CimName>>,
}

/// Which elements of an instance to return. LocalOnly and IncludeQualifiers, deprecated for
/// instances, are accepted and ignored (MODEL trap 4), so they are not here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceOptions {
    /// Whether properties carry their class origin.
    pub include_class_origin: bool,
    /// `None` is no restriction, an empty list no properties.
    pub properties: Option<Vec<CimName>>,
}

/// The filters of an association operation; all that are given must match (DSP0200 §5.3.2.16 ff.).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AssociationFilter {
    /// The association's class or a superclass of it. For References*, this is ResultClass.
    pub association_class: Option<CimName>,
    /// The far object's class or a superclass of it. Always `None` for References*.
    pub result_class: Option<CimName>,
    /// The property that refers to the source.
    pub role: Option<CimName>,
    /// The property that refers to the far object. Always `None` for References*.
    pub result_role: Option<CimName>,
}

/// The parameters common to the Open… operations (DSP0200 §5.3.2.24).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenOptions {
    /// FilterQueryLanguage.
    pub filter_language: Option<String>,
    /// FilterQuery.
    pub filter: Option<String>,
    /// Seconds between two operations on the context; `None` is the server's default, 0 none.
    pub operation_timeout: Option<u32>,
    /// Whether to go on after an error.
    pub continue_on_error: bool,
    /// How many objects the answer may hold; 0 just opens.
    pub max_object_count: u32,
}

/// A parameter of a method call or of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamValue {
    /// The parameter.
    pub name: CimName,
    /// The type the sender stated; `None` where it left PARAMTYPE out.
    pub ty: Option<DataType>,
    /// Its value; `None` is NULL.
    pub value: Option<Value>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "variants and fields are DSP0200's operations and parameters")]
pub enum Operation {
    GetClass {
        class: CimName,
        options: ClassOptions,
    },
    EnumerateClasses {
        class: Option<CimName>,
        deep_inheritance: bool,
        options: ClassOptions,
    },
    EnumerateClassNames {
        class: Option<CimName>,
        deep_inheritance: bool,
    },
    CreateClass {
        class: Box<Class>,
    },
    ModifyClass {
        class: Box<Class>,
    },
    DeleteClass {
        class: CimName,
    },
    GetQualifier {
        name: CimName,
    },
    EnumerateQualifiers,
    SetQualifier {
        declaration: Box<QualifierDeclaration>,
    },
    DeleteQualifier {
        name: CimName,
    },
    GetInstance {
        path: InstancePath,
        options: InstanceOptions,
    },
    EnumerateInstances {
        class: CimName,
        deep_inheritance: bool,
        options: InstanceOptions,
    },
    EnumerateInstanceNames {
        class: CimName,
    },
    CreateInstance {
        instance: Instance,
    },
    /// The instance carries its path.
    ModifyInstance {
        instance: Instance,
        properties: Option<Vec<CimName>>,
    },
    DeleteInstance {
        path: InstancePath,
    },
    GetProperty {
        path: InstancePath,
        property: CimName,
    },
    SetProperty {
        path: InstancePath,
        property: CimName,
        value: Option<Value>,
    },
    Associators {
        object: ObjectPath,
        filter: AssociationFilter,
        include_qualifiers: bool,
        options: InstanceOptions,
    },
    AssociatorNames {
        object: ObjectPath,
        filter: AssociationFilter,
    },
    References {
        object: ObjectPath,
        filter: AssociationFilter,
        include_qualifiers: bool,
        options: InstanceOptions,
    },
    ReferenceNames {
        object: ObjectPath,
        filter: AssociationFilter,
    },
    ExecQuery {
        language: String,
        query: String,
    },
    OpenEnumerateInstances {
        class: CimName,
        deep_inheritance: bool,
        options: InstanceOptions,
        open: OpenOptions,
    },
    OpenEnumerateInstancePaths {
        class: CimName,
        open: OpenOptions,
    },
    OpenAssociatorInstances {
        path: InstancePath,
        filter: AssociationFilter,
        options: InstanceOptions,
        open: OpenOptions,
    },
    OpenAssociatorInstancePaths {
        path: InstancePath,
        filter: AssociationFilter,
        open: OpenOptions,
    },
    OpenReferenceInstances {
        path: InstancePath,
        filter: AssociationFilter,
        options: InstanceOptions,
        open: OpenOptions,
    },
    OpenReferenceInstancePaths {
        path: InstancePath,
        filter: AssociationFilter,
        open: OpenOptions,
    },
    /// The query and its language stand in `open.filter` and `open.filter_language`.
    OpenQueryInstances {
        return_query_result_class: bool,
        open: OpenOptions,
    },
    PullInstancesWithPath {
        context: String,
        max_object_count: u32,
    },
    PullInstancePaths {
        context: String,
        max_object_count: u32,
    },
    PullInstances {
        context: String,
        max_object_count: u32,
    },
    CloseEnumeration {
        context: String,
    },
    EnumerationCount {
        context: String,
    },
    /// An extrinsic method on an instance path or, as cimtest calls them, on a class path.
    InvokeMethod {
        object: ObjectPath,
        method: CimName,
        parameters: Vec<ParamValue>,
    },
}

impl Operation {
    /// The operation's name on the wire; a method call's is the method.
    pub fn name(&self) -> &str {
        match self {
            Self::GetClass { .. } => "GetClass",
            Self::EnumerateClasses { .. } => "EnumerateClasses",
            Self::EnumerateClassNames { .. } => "EnumerateClassNames",
            Self::CreateClass { .. } => "CreateClass",
            Self::ModifyClass { .. } => "ModifyClass",
            Self::DeleteClass { .. } => "DeleteClass",
            Self::GetQualifier { .. } => "GetQualifier",
            Self::EnumerateQualifiers => "EnumerateQualifiers",
            Self::SetQualifier { .. } => "SetQualifier",
            Self::DeleteQualifier { .. } => "DeleteQualifier",
            Self::GetInstance { .. } => "GetInstance",
            Self::EnumerateInstances { .. } => "EnumerateInstances",
            Self::EnumerateInstanceNames { .. } => "EnumerateInstanceNames",
            Self::CreateInstance { .. } => "CreateInstance",
            Self::ModifyInstance { .. } => "ModifyInstance",
            Self::DeleteInstance { .. } => "DeleteInstance",
            Self::GetProperty { .. } => "GetProperty",
            Self::SetProperty { .. } => "SetProperty",
            Self::Associators { .. } => "Associators",
            Self::AssociatorNames { .. } => "AssociatorNames",
            Self::References { .. } => "References",
            Self::ReferenceNames { .. } => "ReferenceNames",
            Self::ExecQuery { .. } => "ExecQuery",
            Self::OpenEnumerateInstances { .. } => "OpenEnumerateInstances",
            Self::OpenEnumerateInstancePaths { .. } => "OpenEnumerateInstancePaths",
            Self::OpenAssociatorInstances { .. } => "OpenAssociatorInstances",
            Self::OpenAssociatorInstancePaths { .. } => "OpenAssociatorInstancePaths",
            Self::OpenReferenceInstances { .. } => "OpenReferenceInstances",
            Self::OpenReferenceInstancePaths { .. } => "OpenReferenceInstancePaths",
            Self::OpenQueryInstances { .. } => "OpenQueryInstances",
            Self::PullInstancesWithPath { .. } => "PullInstancesWithPath",
            Self::PullInstancePaths { .. } => "PullInstancePaths",
            Self::PullInstances { .. } => "PullInstances",
            Self::CloseEnumeration { .. } => "CloseEnumeration",
            Self::EnumerationCount { .. } => "EnumerationCount",
            Self::InvokeMethod { method, .. } => method.as_str(),
        }
    }
}

/// One object in a result list. Which of its parts are sent depends on the operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// An instance with its path.
    Instance(Instance),
    /// The path of an instance.
    InstancePath(InstancePath),
    /// A class with its path, from association operations on a class.
    Class(super::ClassPath, Box<Class>),
    /// The path of a class.
    ClassPath(super::ClassPath),
}

/// The element that wraps each object of a result list (DSP0201).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListKind {
    /// `VALUE.NAMEDINSTANCE`, from EnumerateInstances.
    NamedInstances,
    /// `INSTANCENAME`, from EnumerateInstanceNames.
    InstanceNames,
    /// `VALUE.OBJECTWITHPATH`, from Associators, References and ExecQuery.
    ObjectsWithPath,
    /// `OBJECTPATH`, from AssociatorNames and ReferenceNames.
    ObjectPaths,
    /// `VALUE.INSTANCEWITHPATH`, from Open…Instances and PullInstancesWithPath.
    InstancesWithPath,
    /// `INSTANCEPATH`, from Open…InstancePaths and PullInstancePaths.
    InstancePaths,
    /// `INSTANCE`, from OpenQueryInstances and PullInstances.
    Instances,
}

/// The answer to an operation that succeeded.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reply {
    /// Operations that return nothing.
    Void,
    Class(Box<Class>),
    Classes(Vec<Class>),
    ClassNames(Vec<CimName>),
    QualifierDeclaration(Box<QualifierDeclaration>),
    QualifierDeclarations(Vec<QualifierDeclaration>),
    Instance(Instance),
    /// From CreateInstance.
    InstanceName(InstancePath),
    /// From GetProperty; the type tells how NULL is typed.
    Property(DataType, Option<Value>),
    /// A complete list of objects.
    Objects(ListKind, Vec<Object>),
    /// A part of a pulled enumeration; `context` is `None` at the end of the sequence.
    Pulled {
        kind: ListKind,
        objects: Vec<Object>,
        context: Option<String>,
        query_result_class: Option<Box<Class>>,
    },
    /// From EnumerationCount; `None` is "unknown".
    Count(Option<u64>),
    /// From a method: its return value and output parameters in order.
    Method {
        return_type: DataType,
        return_value: Option<Value>,
        out: Vec<ParamValue>,
    },
}
