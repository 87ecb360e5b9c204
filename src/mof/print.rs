//! The model as MOF text, such that reading it gives the same model again.

use std::fmt::Write as _;

use super::compile::QualifierTypes;
use crate::cim::{
    ArrayKind, Class, DataType, Flavor, Instance, Method, Parameter, PropertyDeclaration,
    Qualifier, QualifierDeclaration, Scalar, Scope, Value,
};

/// A class. Flavors are written where they differ from the qualifier's declaration in `types`.
pub fn class(class: &Class, types: &QualifierTypes) -> String {
    let mut out = qualifiers(&class.qualifiers, types, "");
    let superclass =
        class.superclass.as_ref().map_or_else(String::new, |name| format!(" : {name}"));
    put(&mut out, format_args!("class {}{superclass} {{\n", class.name));
    for property in &class.properties {
        put(&mut out, format_args!("\n{}", property_text(property, types)));
    }
    for method in &class.methods {
        put(&mut out, format_args!("\n{}", method_text(method, types)));
    }
    out + "};\n"
}

/// A qualifier declaration.
pub fn qualifier_declaration(declaration: &QualifierDeclaration) -> String {
    let QualifierDeclaration { name, ty, array, default, scopes, flavor } = declaration;
    let mut out = format!("Qualifier {name} : {ty}{}", array_suffix(*array));
    if let Some(default) = default {
        put(&mut out, format_args!(" = {}", value(default)));
    }
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope_word(*scope)).collect();
    put(&mut out, format_args!(", Scope({})", scopes.join(", ")));
    let flavors = flavor_words(*flavor, None);
    if !flavors.is_empty() {
        put(&mut out, format_args!(", Flavor({})", flavors.join(", ")));
    }
    out + ";\n"
}

/// An instance.
pub fn instance(instance: &Instance) -> String {
    let mut out = format!("instance of {} {{\n", instance.class);
    for property in &instance.properties {
        let text = property.value.as_ref().map_or_else(|| "NULL".to_owned(), value);
        put(&mut out, format_args!("    {} = {text};\n", property.name));
    }
    out + "};\n"
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes all that is written");
}

fn property_text(property: &PropertyDeclaration, types: &QualifierTypes) -> String {
    let mut out = qualifiers(&property.qualifiers, types, "    ");
    put(&mut out, format_args!("    {}", type_and_name(&property.ty, property.name.as_str())));
    if let Some(default) = &property.default {
        put(&mut out, format_args!(" = {}", value(default)));
    }
    out + ";\n"
}

fn method_text(method: &Method, types: &QualifierTypes) -> String {
    let mut out = qualifiers(&method.qualifiers, types, "    ");
    put(&mut out, format_args!("    {} {}(", method.return_type, method.name));
    for (number, parameter) in method.parameters.iter().enumerate() {
        let separator = if number > 0 { "," } else { "" };
        put(&mut out, format_args!("{separator}\n{}", parameter_text(parameter, types)));
    }
    out + ");\n"
}

fn parameter_text(parameter: &Parameter, types: &QualifierTypes) -> String {
    let out = qualifiers(&parameter.qualifiers, types, "        ");
    format!("{out}        {}", type_and_name(&parameter.ty, parameter.name.as_str()))
}

fn type_and_name(ty: &DataType, name: &str) -> String {
    let base = match &ty.reference_class {
        Some(class) => format!("{class} REF"),
        None => ty.base.to_string(),
    };
    format!("{base} {name}{}", array_suffix(ty.array))
}

fn array_suffix(array: ArrayKind) -> String {
    match array {
        ArrayKind::Scalar => String::new(),
        ArrayKind::Array => "[]".to_owned(),
        ArrayKind::Fixed(size) => format!("[{size}]"),
    }
}

fn qualifiers(qualifiers: &[Qualifier], types: &QualifierTypes, indent: &str) -> String {
    if qualifiers.is_empty() {
        return String::new();
    }
    let texts: Vec<String> =
        qualifiers.iter().map(|qualifier| qualifier_text(qualifier, types)).collect();
    format!("{indent}[{}]\n", texts.join(&format!(",\n{indent} ")))
}

fn qualifier_text(qualifier: &Qualifier, types: &QualifierTypes) -> String {
    let mut out = qualifier.name.to_string();
    match &qualifier.value {
        Some(Value::Scalar(Scalar::Boolean(true))) => {}
        Some(array @ Value::Array(_)) => put(&mut out, format_args!(" {}", value(array))),
        Some(scalar) => put(&mut out, format_args!(" ( {} )", value(scalar))),
        None => out.push_str(" ( NULL )"),
    }
    let declared = types.get(&qualifier.name).map(|declaration| declaration.flavor);
    let flavors = flavor_words(qualifier.flavor, declared);
    if !flavors.is_empty() {
        put(&mut out, format_args!(" : {}", flavors.join(" ")));
    }
    out
}

/// The keywords that make one flavor of another. None takes ToInstance and Translatable away.
fn flavor_words(flavor: Flavor, from: Option<Flavor>) -> Vec<&'static str> {
    let from = from.unwrap_or_default();
    let mut words = Vec::new();
    if flavor.overridable != from.overridable {
        words.push(if flavor.overridable { "EnableOverride" } else { "DisableOverride" });
    }
    if flavor.to_subclass != from.to_subclass {
        words.push(if flavor.to_subclass { "ToSubclass" } else { "Restricted" });
    }
    if flavor.to_instance && !from.to_instance {
        words.push("ToInstance");
    }
    if flavor.translatable && !from.translatable {
        words.push("Translatable");
    }
    words
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Class => "class",
        Scope::Association => "association",
        Scope::Indication => "indication",
        Scope::Property => "property",
        Scope::Reference => "reference",
        Scope::Method => "method",
        Scope::Parameter => "parameter",
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Scalar(scalar) => scalar_text(scalar),
        Value::Array(elements) => {
            let elements: Vec<String> = elements
                .iter()
                .map(|element| element.as_ref().map_or_else(|| "NULL".to_owned(), scalar_text))
                .collect();
            format!("{{ {} }}", elements.join(", "))
        }
    }
}

fn scalar_text(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Boolean(value) => value.to_string(),
        Scalar::Real32(n) => real(format!("{n:?}")),
        Scalar::Real64(n) => real(format!("{n:?}")),
        // As a number it needs no escapes and may be half a surrogate pair.
        Scalar::Char16(unit) => unit.to_string(),
        Scalar::String(text) => quoted(text),
        Scalar::Untyped(text) if is_number(text) => real(text.clone()),
        Scalar::Untyped(text) => quoted(text),
        Scalar::DateTime(value) => quoted(value.as_str()),
        Scalar::Reference(path) => quoted(&path.to_string()),
        Scalar::EmbeddedInstance(embedded) => quoted(&instance(embedded)),
        Scalar::EmbeddedClass(embedded) => quoted(&class(embedded, &QualifierTypes::new())),
        Scalar::Uint8(_)
        | Scalar::Sint8(_)
        | Scalar::Uint16(_)
        | Scalar::Sint16(_)
        | Scalar::Uint32(_)
        | Scalar::Sint32(_)
        | Scalar::Uint64(_)
        | Scalar::Sint64(_) => scalar.as_integer().map_or_else(String::new, |n| n.to_string()),
    }
}

/// Whether the text of an untyped value is a number, which MOF writes without quotes.
fn is_number(text: &str) -> bool {
    text.parse::<i128>().is_ok()
        || (text.contains(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok())
}

/// A real as Rust prints it, with the point that MOF demands.
fn real(text: String) -> String {
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
        _ => text,
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => put(&mut out, format_args!("\\x{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
