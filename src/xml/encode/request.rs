//! Requests as a client writes them (DSP0200 §5.3.2, DSP0201 §5.2.6).

use super::{
    super::writer::Writer, EmbeddedArrays, FalseBoolean, class, close_message, object,
    open_message, path, reply::parameter_value, value,
};
use crate::cim::{
    AssociationFilter, CimName, Class, ClassOptions, InstanceOptions, InstancePath, Namespace,
    ObjectPath, OpenOptions, Operation, QualifierDeclaration, Request, Value,
};

/// Encodes a request. Parameters that have a default are written where the server's could differ.
pub fn encode_request(id: &str, request: &Request) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    let mut writer = Writer::new(&mut bytes);
    open_message(&mut writer, id, "1.0");
    writer.element("SIMPLEREQ", |writer| call(writer, &request.namespace, &request.operation));
    close_message(&mut writer);
    bytes
}

fn call(writer: &mut Writer<'_>, namespace: &Namespace, operation: &Operation) {
    let name = operation.name();
    if let Operation::InvokeMethod { object, parameters, .. } = operation {
        writer.tag("METHODCALL").with("NAME", name).open();
        path::local_path(writer, object, namespace);
        for given in parameters {
            let (ty, value) = (given.ty.as_ref(), given.value.as_ref());
            parameter_value(writer, given.name.as_str(), ty, value, FalseBoolean::Standard);
        }
        writer.close("METHODCALL");
        return;
    }
    writer.tag("IMETHODCALL").with("NAME", name).open();
    path::local_namespace_path(writer, namespace);
    parameters(&mut Parameters { writer: &mut *writer }, operation);
    writer.close("IMETHODCALL");
}

fn parameters(given: &mut Parameters<'_, '_>, operation: &Operation) {
    match operation {
        Operation::GetClass { class, options } => {
            given.class("ClassName", class);
            given.class_options(options);
            given.property_list(options.properties.as_deref());
        }
        Operation::EnumerateClasses { class, deep_inheritance, options } => {
            given.optional_class("ClassName", class.as_ref());
            given.flag("DeepInheritance", *deep_inheritance);
            given.class_options(options);
        }
        Operation::EnumerateClassNames { class, deep_inheritance } => {
            given.optional_class("ClassName", class.as_ref());
            given.flag("DeepInheritance", *deep_inheritance);
        }
        Operation::CreateClass { class } => given.class_definition("NewClass", class),
        Operation::ModifyClass { class } => given.class_definition("ModifiedClass", class),
        Operation::DeleteClass { class } => given.class("ClassName", class),
        Operation::GetQualifier { name } | Operation::DeleteQualifier { name } => {
            given.text("QualifierName", name.as_str());
        }
        Operation::EnumerateQualifiers => {}
        Operation::SetQualifier { declaration } => {
            given.qualifier("QualifierDeclaration", declaration);
        }
        Operation::GetInstance { path, options } => {
            given.path("InstanceName", path);
            given.deprecating_options(options);
        }
        Operation::EnumerateInstances { class, deep_inheritance, options } => {
            given.class("ClassName", class);
            given.flag("DeepInheritance", *deep_inheritance);
            given.deprecating_options(options);
        }
        Operation::EnumerateInstanceNames { class } => given.class("ClassName", class),
        Operation::CreateInstance { instance } => {
            given.parameter("NewInstance", |writer| object::instance(writer, instance))
        }
        Operation::ModifyInstance { instance, properties } => {
            given.parameter("ModifiedInstance", |writer| {
                object::instance_with_name(writer, "VALUE.NAMEDINSTANCE", instance);
            });
            given.flag("IncludeQualifiers", false);
            given.property_list(properties.as_deref());
        }
        Operation::DeleteInstance { path } => given.path("InstanceName", path),
        Operation::GetProperty { path, property } => {
            given.path("InstanceName", path);
            given.text("PropertyName", property.as_str());
        }
        Operation::SetProperty { path, property, value } => {
            given.path("InstanceName", path);
            given.text("PropertyName", property.as_str());
            given.value("NewValue", value.as_ref());
        }
        Operation::Associators { object, filter, include_qualifiers, options }
        | Operation::References { object, filter, include_qualifiers, options } => {
            given.object("ObjectName", object);
            given.filter(operation, filter);
            given.flag("IncludeQualifiers", *include_qualifiers);
            given.instance_options(options);
        }
        Operation::AssociatorNames { object, filter }
        | Operation::ReferenceNames { object, filter } => {
            given.object("ObjectName", object);
            given.filter(operation, filter);
        }
        Operation::ExecQuery { language, query } => {
            given.text("QueryLanguage", language);
            given.text("Query", query);
        }
        Operation::OpenEnumerateInstances { class, deep_inheritance, options, open } => {
            given.class("ClassName", class);
            given.flag("DeepInheritance", *deep_inheritance);
            given.instance_options(options);
            given.open_options(open);
        }
        Operation::OpenEnumerateInstancePaths { class, open } => {
            given.class("ClassName", class);
            given.open_options(open);
        }
        Operation::OpenAssociatorInstances { path, filter, options, open }
        | Operation::OpenReferenceInstances { path, filter, options, open } => {
            given.path("InstanceName", path);
            given.filter(operation, filter);
            given.instance_options(options);
            given.open_options(open);
        }
        Operation::OpenAssociatorInstancePaths { path, filter, open }
        | Operation::OpenReferenceInstancePaths { path, filter, open } => {
            given.path("InstanceName", path);
            given.filter(operation, filter);
            given.open_options(open);
        }
        Operation::OpenQueryInstances { return_query_result_class, open } => {
            given.flag("ReturnQueryResultClass", *return_query_result_class);
            given.open_options(open);
        }
        Operation::PullInstancesWithPath { context, max_object_count }
        | Operation::PullInstancePaths { context, max_object_count }
        | Operation::PullInstances { context, max_object_count } => {
            given.text("EnumerationContext", context);
            given.text("MaxObjectCount", &max_object_count.to_string());
        }
        Operation::CloseEnumeration { context } | Operation::EnumerationCount { context } => {
            given.text("EnumerationContext", context);
        }
        Operation::InvokeMethod { .. } => {}
    }
}

/// Writes IPARAMVALUEs.
struct Parameters<'w, 'b> {
    writer: &'w mut Writer<'b>,
}

impl<'b> Parameters<'_, 'b> {
    fn parameter(&mut self, name: &str, content: impl FnOnce(&mut Writer<'b>)) {
        self.writer.tag("IPARAMVALUE").with("NAME", name).open();
        content(self.writer);
        self.writer.close("IPARAMVALUE");
    }

    fn text(&mut self, name: &str, text: &str) {
        self.parameter(name, |writer| {
            writer.element("VALUE", |writer| writer.value_text(text));
        });
    }

    fn optional_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.text(name, if value { "TRUE" } else { "FALSE" });
    }

    fn class(&mut self, name: &str, class: &CimName) {
        self.parameter(name, |writer| path::class_name(writer, class));
    }

    fn optional_class(&mut self, name: &str, class: Option<&CimName>) {
        if let Some(class) = class {
            self.class(name, class);
        }
    }

    fn class_definition(&mut self, name: &str, class: &Class) {
        self.parameter(name, |writer| class::class(writer, class, EmbeddedArrays::Told));
    }

    fn qualifier(&mut self, name: &str, declaration: &QualifierDeclaration) {
        self.parameter(name, |writer| class::qualifier_declaration(writer, declaration));
    }

    fn path(&mut self, name: &str, path: &InstancePath) {
        self.parameter(name, |writer| path::instance_name(writer, &path.class, &path.keys));
    }

    /// The target of an association operation: a name, in the namespace of the operation.
    fn object(&mut self, name: &str, object: &ObjectPath) {
        match object {
            ObjectPath::Instance(path) => self.path(name, path),
            ObjectPath::Class(path) => self.class(name, &path.class),
        }
    }

    fn value(&mut self, name: &str, value: Option<&Value>) {
        if let Some(value) = value {
            self.parameter(name, |writer| {
                value::value(writer, None, value, FalseBoolean::Standard);
            });
        }
    }

    fn property_list(&mut self, names: Option<&[CimName]>) {
        let Some(names) = names else { return };
        self.parameter("PropertyList", |writer| {
            writer.element("VALUE.ARRAY", |writer| {
                for name in names {
                    writer.element("VALUE", |writer| writer.text(name.as_str()));
                }
            });
        });
    }

    fn class_options(&mut self, options: &ClassOptions) {
        self.flag("LocalOnly", options.local_only);
        self.flag("IncludeQualifiers", options.include_qualifiers);
        self.flag("IncludeClassOrigin", options.include_class_origin);
    }

    fn instance_options(&mut self, options: &InstanceOptions) {
        self.flag("IncludeClassOrigin", options.include_class_origin);
        self.property_list(options.properties.as_deref());
    }

    /// LocalOnly is true by default, and servers that heed it leave inherited properties out.
    fn deprecating_options(&mut self, options: &InstanceOptions) {
        self.flag("LocalOnly", false);
        self.flag("IncludeQualifiers", false);
        self.instance_options(options);
    }

    /// ResultClass is the association's class where references are asked for.
    fn filter(&mut self, operation: &Operation, filter: &AssociationFilter) {
        let for_references = matches!(
            operation,
            Operation::References { .. }
                | Operation::ReferenceNames { .. }
                | Operation::OpenReferenceInstances { .. }
                | Operation::OpenReferenceInstancePaths { .. }
        );
        if for_references {
            self.optional_class("ResultClass", filter.association_class.as_ref());
        } else {
            self.optional_class("AssocClass", filter.association_class.as_ref());
            self.optional_class("ResultClass", filter.result_class.as_ref());
        }
        self.optional_text("Role", filter.role.as_ref().map(CimName::as_str));
        if !for_references {
            self.optional_text("ResultRole", filter.result_role.as_ref().map(CimName::as_str));
        }
    }

    fn open_options(&mut self, options: &OpenOptions) {
        self.optional_text("FilterQueryLanguage", options.filter_language.as_deref());
        self.optional_text("FilterQuery", options.filter.as_deref());
        let timeout = options.operation_timeout.map(|seconds| seconds.to_string());
        self.optional_text("OperationTimeout", timeout.as_deref());
        self.flag("ContinueOnError", options.continue_on_error);
        self.text("MaxObjectCount", &options.max_object_count.to_string());
    }
}
