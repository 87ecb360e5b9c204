//! Declarations → the CIM model: values get their types, qualifiers what their declaration says.
//!
//! A class comes out as declared; what it inherits is the repository's affair.

use std::collections::HashMap;

use super::{
    MofError, Place, Problem, Sources,
    ast::{
        ClassDeclaration, FlavorWord, InitialValue, Initializer, Literal, MethodDeclaration,
        ParameterDeclaration, PropertyDeclaration, QualifierType, QualifierUse,
    },
    error::Fault,
};
use crate::cim::{
    self, CimName, CimType, Class, DataType, DateTime, Embedded, Flavor, ObjectPath, Qualifier,
    QualifierDeclaration, Scalar, Scope, Value,
};

/// The qualifier declarations in force.
pub type QualifierTypes = HashMap<CimName, QualifierDeclaration>;

/// Where the parts of a class stand.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPlaces {
    /// The class's name.
    pub name: Place,
    /// The superclass's name, or the class's where there is none.
    pub superclass: Place,
    /// The names of the properties, in order.
    pub properties: Vec<Place>,
    /// The names of the methods, in order.
    pub methods: Vec<Place>,
}

/// Compiles a qualifier declaration.
///
/// # Errors
/// A default of the wrong type, flavors that exclude each other.
pub fn qualifier_type(
    sources: &Sources,
    declaration: QualifierType,
) -> Result<QualifierDeclaration, MofError> {
    let compile = || {
        let QualifierType { name, ty, default, scopes, flavors } = declaration;
        Ok(QualifierDeclaration {
            name: name.name,
            ty: ty.base,
            array: ty.array,
            default: default.map(|value| initial_value(value, &ty)).transpose()?.flatten(),
            scopes,
            flavor: apply_flavors(Flavor::default(), &flavors)?,
        })
    };
    compile().map_err(|fault: Fault| fault.located(sources))
}

/// Compiles a class.
///
/// # Errors
/// Qualifiers that are not declared or stand where they must not, values of the wrong type.
pub fn class(
    sources: &Sources,
    types: &QualifierTypes,
    declaration: ClassDeclaration,
) -> Result<(Class, ClassPlaces), MofError> {
    compile_class(types, declaration).map_err(|fault| fault.located(sources))
}

pub(super) type Compiled<T> = Result<T, Fault>;

fn compile_class(
    types: &QualifierTypes,
    declaration: ClassDeclaration,
) -> Compiled<(Class, ClassPlaces)> {
    let ClassDeclaration { name, superclass, qualifiers, properties, methods } = declaration;
    let places = ClassPlaces {
        name: name.at,
        superclass: superclass.as_ref().map_or(name.at, |superclass| superclass.at),
        properties: properties.iter().map(|property| property.name.at).collect(),
        methods: methods.iter().map(|method| method.name.at).collect(),
    };
    let stated = |word: &str| qualifiers.iter().any(|qualifier| qualifier.name.name == *word);
    // Whether a class that doesn't say so is an association is known once it is resolved.
    let element: Element = if stated("Association") {
        ("an association", &[Scope::Association])
    } else if stated("Indication") {
        ("an indication", &[Scope::Indication, Scope::Class])
    } else if superclass.is_some() {
        ("a class", &[Scope::Class, Scope::Association, Scope::Indication])
    } else {
        ("a class", &[Scope::Class])
    };
    let class = Class {
        name: name.name,
        superclass: superclass.map(|superclass| superclass.name),
        qualifiers: compile_qualifiers(types, element, qualifiers)?,
        properties: properties
            .into_iter()
            .map(|property| compile_property(types, property))
            .collect::<Compiled<_>>()?,
        methods: methods
            .into_iter()
            .map(|method| compile_method(types, method))
            .collect::<Compiled<_>>()?,
    };
    Ok((class, places))
}

fn compile_property(
    types: &QualifierTypes,
    declaration: PropertyDeclaration,
) -> Compiled<cim::PropertyDeclaration> {
    let PropertyDeclaration { name, mut ty, default, qualifiers } = declaration;
    let element: Element = match ty.base {
        CimType::Reference => ("a reference", &[Scope::Reference]),
        _ => ("a property", &[Scope::Property]),
    };
    let qualifiers = compile_qualifiers(types, element, qualifiers)?;
    let default = default.map(|value| initial_value(value, &ty)).transpose()?.flatten();
    ty.embedded = embedded(&ty, &qualifiers).map_err(|problem| Fault::new(problem, name.at))?;
    Ok(cim::PropertyDeclaration {
        name: name.name,
        ty,
        default,
        qualifiers,
        class_origin: None,
        propagated: false,
    })
}

fn compile_method(types: &QualifierTypes, declaration: MethodDeclaration) -> Compiled<cim::Method> {
    let MethodDeclaration { name, return_type, parameters, qualifiers } = declaration;
    let qualifiers = compile_qualifiers(types, ("a method", &[Scope::Method]), qualifiers)?;
    let mut return_type = DataType::scalar(return_type);
    return_type.embedded =
        embedded(&return_type, &qualifiers).map_err(|problem| Fault::new(problem, name.at))?;
    let parameters = parameters.into_iter().map(|parameter| compile_parameter(types, parameter));
    Ok(cim::Method {
        name: name.name,
        return_type,
        qualifiers,
        parameters: parameters.collect::<Compiled<_>>()?,
        class_origin: None,
        propagated: false,
    })
}

fn compile_parameter(
    types: &QualifierTypes,
    declaration: ParameterDeclaration,
) -> Compiled<cim::Parameter> {
    let ParameterDeclaration { name, mut ty, qualifiers } = declaration;
    let qualifiers = compile_qualifiers(types, ("a parameter", &[Scope::Parameter]), qualifiers)?;
    ty.embedded = embedded(&ty, &qualifiers).map_err(|problem| Fault::new(problem, name.at))?;
    Ok(cim::Parameter { name: name.name, ty, qualifiers })
}

/// What `EmbeddedObject` and `EmbeddedInstance` say of a type.
fn embedded(ty: &DataType, qualifiers: &[Qualifier]) -> Result<Option<Embedded>, Problem> {
    let kind = embedded_kind(qualifiers);
    match (kind, ty.base) {
        (None, _) | (_, CimType::String) => Ok(kind),
        (Some(Embedded::Instance), _) => Err(Problem::EmbeddedNotString("EmbeddedInstance")),
        (Some(Embedded::Object), _) => Err(Problem::EmbeddedNotString("EmbeddedObject")),
    }
}

/// What the qualifiers of a string make it hold.
pub fn embedded_kind(qualifiers: &[Qualifier]) -> Option<Embedded> {
    let value = |name| cim::qualifier(qualifiers, name).and_then(|found| found.value.as_ref());
    if value("EmbeddedInstance").is_some() {
        Some(Embedded::Instance)
    } else if value("EmbeddedObject").and_then(Value::as_bool) == Some(true) {
        Some(Embedded::Object)
    } else {
        None
    }
}

/// What an element is called in messages, and the scopes that allow a qualifier on it.
type Element = (&'static str, &'static [Scope]);

fn compile_qualifiers(
    types: &QualifierTypes,
    (element, scopes): Element,
    uses: Vec<QualifierUse>,
) -> Compiled<Vec<Qualifier>> {
    uses.into_iter()
        .map(|QualifierUse { name, value, flavors }| {
            let Some(declared) = types.get(&name.name) else {
                let fault = Fault::new(Problem::UnknownQualifier(name.name.clone()), name.at);
                return Err(nearest(fault, types.keys(), &name.name));
            };
            if !declared.scopes.iter().any(|scope| scopes.contains(scope)) {
                let problem = Problem::WrongScope { qualifier: declared.name.clone(), element };
                return Err(Fault::new(problem, name.at));
            }
            let mut ty = DataType::scalar(declared.ty);
            ty.array = declared.array;
            let value = match value {
                Some(value) => initial_value(value, &ty)?,
                None if declared.ty == CimType::Boolean && !ty.is_array() => Some(true.into()),
                None => declared.default.clone(),
            };
            Ok(Qualifier {
                name: declared.name.clone(),
                ty: declared.ty,
                value,
                flavor: apply_flavors(declared.flavor, &flavors)?,
                propagated: false,
            })
        })
        .collect()
}

fn apply_flavors(mut flavor: Flavor, words: &[(FlavorWord, Place)]) -> Compiled<Flavor> {
    let has = |word| words.iter().any(|&(other, _)| other == word);
    for &(word, at) in words {
        let opposite = match word {
            FlavorWord::EnableOverride => FlavorWord::DisableOverride,
            FlavorWord::DisableOverride => FlavorWord::EnableOverride,
            FlavorWord::ToSubclass => FlavorWord::Restricted,
            FlavorWord::Restricted => FlavorWord::ToSubclass,
            FlavorWord::ToInstance | FlavorWord::Translatable => word,
        };
        if opposite != word && has(opposite) {
            let problem = Problem::FlavorConflict(word.keyword(), opposite.keyword());
            return Err(Fault::new(problem, at));
        }
        match word {
            FlavorWord::EnableOverride => flavor.overridable = true,
            FlavorWord::DisableOverride => flavor.overridable = false,
            FlavorWord::ToSubclass => flavor.to_subclass = true,
            FlavorWord::Restricted => flavor.to_subclass = false,
            FlavorWord::ToInstance => flavor.to_instance = true,
            FlavorWord::Translatable => flavor.translatable = true,
        }
    }
    Ok(flavor)
}

pub(super) fn initial_value(initializer: Initializer, ty: &DataType) -> Compiled<Option<Value>> {
    let Initializer { at, value } = initializer;
    match value {
        InitialValue::One(Literal::Null) => Ok(None),
        InitialValue::One(literal) if !ty.is_array() => Ok(typed(literal, ty.base)
            .map_err(|problem| Fault::new(problem, at))?
            .map(Value::Scalar)),
        InitialValue::Many(values) if ty.is_array() => values
            .into_iter()
            .map(|(literal, at)| typed(literal, ty.base).map_err(|problem| Fault::new(problem, at)))
            .collect::<Compiled<_>>()
            .map(|elements| Some(Value::Array(elements))),
        InitialValue::One(_) | InitialValue::Many(_) => {
            Err(Fault::new(Problem::WrongShape { array: ty.is_array() }, at))
        }
    }
}

/// The literal as a value of the type.
fn typed(literal: Literal, ty: CimType) -> Result<Option<Scalar>, Problem> {
    let wrong = |value: String| Problem::WrongType { value, ty };
    Ok(Some(match literal {
        Literal::Null => return Ok(None),
        Literal::Boolean(value) if ty == CimType::Boolean => Scalar::Boolean(value),
        Literal::Boolean(value) => return Err(wrong(value.to_string())),
        Literal::Integer(n) => integer(n, ty)?,
        Literal::Real(n) => real(n, ty)?,
        Literal::Char(unit) if ty == CimType::Char16 => Scalar::Char16(unit),
        Literal::Char(unit) => {
            return Err(wrong(format!("'{}'", char::from_u32(unit.into()).unwrap_or('\u{fffd}'))));
        }
        Literal::String(text) => match ty {
            CimType::String => Scalar::String(text),
            CimType::DateTime => {
                Scalar::DateTime(DateTime::parse(&text).map_err(Problem::DateTime)?)
            }
            CimType::Reference => {
                let path = ObjectPath::parse(&text).map_err(Problem::Reference)?;
                Scalar::Reference(Box::new(path))
            }
            _ => return Err(wrong(format!("{text:?}"))),
        },
        Literal::Alias(name) => return Err(Problem::UnknownAlias(name)),
    }))
}

fn integer(n: i128, ty: CimType) -> Result<Scalar, Problem> {
    let out_of_range = || Problem::OutOfRange { value: n.to_string(), ty };
    match ty {
        // MOF writers leave out the point of whole numbers.
        CimType::Real32 | CimType::Real64 => real(n as f64, ty),
        CimType::Char16 => u16::try_from(n).map(Scalar::Char16).map_err(|_| out_of_range()),
        _ if ty.is_integer() => Scalar::from_integer(ty, n).ok_or_else(out_of_range),
        _ => Err(Problem::WrongType { value: n.to_string(), ty }),
    }
}

fn real(n: f64, ty: CimType) -> Result<Scalar, Problem> {
    let scalar = match ty {
        CimType::Real32 if (n as f32).is_finite() => Scalar::Real32(n as f32),
        CimType::Real64 if n.is_finite() => Scalar::Real64(n),
        CimType::Real32 | CimType::Real64 => {
            return Err(Problem::OutOfRange { value: n.to_string(), ty });
        }
        _ => return Err(Problem::WrongType { value: n.to_string(), ty }),
    };
    Ok(scalar)
}

/// Adds the known name that was probably meant.
pub(super) fn nearest<'a>(
    fault: Fault,
    known: impl Iterator<Item = &'a CimName>,
    written: &CimName,
) -> Fault {
    let written = written.as_str().to_ascii_lowercase();
    let nearest = known
        .map(|name| (edit_distance(&name.as_str().to_ascii_lowercase(), &written), name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    match nearest {
        Some((_, name)) => fault.hint(format!("did you mean {name}?")),
        None => fault,
    }
}

/// How many characters to insert, delete or replace to get from one text to the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
