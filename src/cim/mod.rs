//! The CIM model: names, types and values, paths, classes, instances, and the operations of DSP0200
//! as plain data.
//!
//! What is deliberately absent: I/O, tasks, XML and MOF text, and any knowledge of hosts. Everything
//! here is a value that can be built, compared and printed in a test.
//!
//! Sources: DSP0004 (model, datetime, qualifiers), DSP0200 (operations, status codes), DSP0207 (paths).

mod class;
mod datetime;
mod instance;
mod name;
mod operation;
mod path;
mod path_text;
mod status;
mod value;

pub use class::{
    Class, Flavor, Method, Parameter, PropertyDeclaration, Qualifier, QualifierDeclaration, Scope,
    qualifier,
};
pub use datetime::{DateTime, DateTimeError};
pub use instance::{Instance, Property};
pub use name::{CimName, NameError, Namespace, begins_name, continues_name};
pub use operation::{
    AssociationFilter, ClassOptions, InstanceOptions, ListKind, Object, OpenOptions, Operation,
    ParamValue, Reply, Request,
};
pub use path::{ClassPath, InstancePath, Key, KeyValue, ObjectPath};
pub use path_text::PathError;
pub use status::{CimError, StatusCode};
pub use value::{ArrayKind, CimType, DataType, Embedded, Scalar, Value};
