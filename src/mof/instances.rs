//! Instance declarations → instances, with their class at hand or without.

use std::{collections::HashMap, sync::Arc};

use super::{
    MofError, Place, Problem, Sources,
    ast::{Ident, InitialValue, Initializer, InstanceDeclaration, Literal},
    compile::{Compiled, initial_value, nearest},
    error::Fault,
    parser,
};
use crate::cim::{
    CimName, CimType, Class, DataType, Instance, InstancePath, Key, KeyValue, ObjectPath, Property,
    PropertyDeclaration, Scalar, Value,
};

/// How deep instances may nest in each other's strings, and aliases in each other's keys.
const MAX_NESTING: usize = 8;

/// Finds resolved classes.
pub type ClassOf<'a> = &'a dyn Fn(&CimName) -> Option<Arc<Class>>;

/// Compiles instances. Each gets its path; aliases mean those of instances before or behind; a string
/// where the class has an embedded instance is itself read as MOF.
///
/// # Errors
/// Unknown classes, properties and aliases, values of the wrong type.
pub fn instances(
    sources: &Sources,
    class_of: ClassOf<'_>,
    declarations: &[InstanceDeclaration],
) -> Result<Vec<Instance>, MofError> {
    let mut aliases = HashMap::new();
    for declaration in declarations {
        if let Some(alias) = &declaration.alias
            && aliases.insert(alias.name.clone(), declaration).is_some()
        {
            let fault = Fault::new(Problem::Repeated(alias.name.clone()), alias.at);
            return Err(fault.located(sources));
        }
    }
    let compiler = Compiler { class_of, aliases, depth: 0 };
    declarations
        .iter()
        .map(|declaration| compiler.instance(declaration).map_err(|fault| fault.located(sources)))
        .collect()
}

struct Compiler<'a> {
    class_of: ClassOf<'a>,
    aliases: HashMap<CimName, &'a InstanceDeclaration>,
    /// How many instances this one is embedded in.
    depth: usize,
}

impl Compiler<'_> {
    fn class(&self, declaration: &InstanceDeclaration) -> Compiled<Arc<Class>> {
        let Ident { name, at } = &declaration.class;
        (self.class_of)(name).ok_or_else(|| Fault::new(Problem::UnknownClass(name.clone()), *at))
    }

    fn instance(&self, declaration: &InstanceDeclaration) -> Compiled<Instance> {
        let class = self.class(declaration)?;
        let mut instance = Instance::new(class.name.clone());
        for (name, initializer) in &declaration.properties {
            let Some(property) = class.property(&name.name) else {
                let problem = Problem::UnknownProperty {
                    class: class.name.clone(),
                    property: name.name.clone(),
                };
                let known = class.properties.iter().map(|known| &known.name);
                return Err(nearest(Fault::new(problem, name.at), known, &name.name));
            };
            instance.properties.push(Property {
                name: property.name.clone(),
                ty: property.ty.clone(),
                value: self.value(property, initializer, 0)?,
                class_origin: None,
            });
        }
        if self.depth == 0 {
            instance.path = Some(self.path(declaration, 0)?);
        }
        Ok(instance)
    }

    fn value(
        &self,
        property: &PropertyDeclaration,
        initializer: &Initializer,
        nesting: usize,
    ) -> Compiled<Option<Value>> {
        let at = initializer.at;
        if let (InitialValue::One(Literal::Alias(alias)), CimType::Reference) =
            (&initializer.value, property.ty.base)
        {
            return Ok(Some(ObjectPath::from(self.alias(alias, at, nesting)?).into()));
        }
        let value = initial_value(initializer.clone(), &property.ty)?;
        match value {
            Some(value) if property.ty.embedded.is_some() => self.embed(value, at).map(Some),
            value => Ok(value),
        }
    }

    /// The path of the instance that an alias names.
    fn alias(&self, alias: &CimName, at: Place, nesting: usize) -> Compiled<InstancePath> {
        let declaration = self
            .aliases
            .get(alias)
            .filter(|_| nesting < MAX_NESTING)
            .ok_or_else(|| Fault::new(Problem::UnknownAlias(alias.clone()), at))?;
        self.path(declaration, nesting + 1)
    }

    /// The path of an instance: its class and those of its keys that have values.
    fn path(&self, declaration: &InstanceDeclaration, nesting: usize) -> Compiled<InstancePath> {
        let class = self.class(declaration)?;
        let mut keys = Vec::new();
        for key in class.keys() {
            let given = declaration.properties.iter().find(|(name, _)| name.name == key.name);
            let Some((_, initializer)) = given else { continue };
            let value = self.value(key, initializer, nesting)?;
            if let Some(value) =
                value.as_ref().and_then(Value::scalar).and_then(KeyValue::from_scalar)
            {
                keys.push(Key { name: Some(key.name.clone()), value });
            }
        }
        let namespace = declaration.namespace.clone();
        Ok(InstancePath { host: None, namespace, class: class.name.clone(), keys })
    }

    /// Reads the texts of an embedded property as instances.
    fn embed(&self, value: Value, at: Place) -> Compiled<Value> {
        let read = |scalar| match scalar {
            Scalar::String(text) => self
                .embedded(text)
                .map(|instance| Scalar::EmbeddedInstance(Box::new(instance)))
                .map_err(|error| Fault::new(Problem::Embedded(Box::new(error)), at)),
            other => Ok(other),
        };
        Ok(match value {
            Value::Scalar(scalar) => Value::Scalar(read(scalar)?),
            Value::Array(elements) => Value::Array(
                elements
                    .into_iter()
                    .map(|element| element.map(read).transpose())
                    .collect::<Compiled<_>>()?,
            ),
        })
    }

    fn embedded(&self, text: String) -> Result<Instance, MofError> {
        let mut sources = Sources::default();
        let file = sources.add(EMBEDDED, text)?;
        let declaration = parser::parse_embedded(&sources, file)?;
        let nested =
            Compiler { class_of: self.class_of, aliases: HashMap::new(), depth: self.depth + 1 };
        let compiled = if nested.depth > MAX_NESTING {
            Err(Fault::new(Problem::TooDeep, declaration.class.at))
        } else {
            nested.instance(&declaration)
        };
        compiled.map_err(|fault| fault.located(&sources))
    }
}

/// What messages call the text of an embedded instance.
const EMBEDDED: &str = "embedded instance";

/// Reads the first instance of an embedded text; what follows it is ignored. Beyond DSP0004 it takes
/// what libvirt-cim took: strings in single quotes, strings that the end of the line closes,
/// backslashes that escape nothing.
///
/// Without the class the types are open: numbers are [`Scalar::Untyped`] in decimal, datetimes and
/// references are strings.
///
/// # Errors
/// The first that is wrong, in a file called `embedded instance`.
pub fn parse_instance(text: &str) -> Result<Instance, MofError> {
    let mut sources = Sources::default();
    let file = sources.add(EMBEDDED, text.to_owned())?;
    let declaration = parser::parse_embedded(&sources, file)?;
    let mut instance = Instance::new(declaration.class.name);
    for (name, initializer) in declaration.properties {
        let at = initializer.at;
        let (ty, value) = untyped_value(initializer.value)
            .map_err(|problem| Fault::new(problem, at).located(&sources))?;
        instance.properties.push(Property { name: name.name, ty, value, class_origin: None });
    }
    Ok(instance)
}

fn untyped_value(value: InitialValue) -> Result<(DataType, Option<Value>), Problem> {
    let values = match value {
        InitialValue::One(literal) => {
            let (ty, scalar) = untyped(literal)?;
            return Ok((DataType::scalar(ty), scalar.map(Value::Scalar)));
        }
        InitialValue::Many(values) => values,
    };
    let mut ty = CimType::String;
    let mut elements = Vec::with_capacity(values.len());
    for (literal, _) in values {
        let (element_ty, scalar) = untyped(literal)?;
        ty = element_ty;
        elements.push(scalar);
    }
    Ok((DataType::array(ty), Some(Value::Array(elements))))
}

fn untyped(literal: Literal) -> Result<(CimType, Option<Scalar>), Problem> {
    Ok(match literal {
        Literal::Null => (CimType::String, None),
        Literal::Boolean(value) => (CimType::Boolean, Some(Scalar::Boolean(value))),
        Literal::Integer(n) => (CimType::String, Some(Scalar::Untyped(n.to_string()))),
        // Debug prints the shortest form that reads back as the same number.
        Literal::Real(n) => (CimType::String, Some(Scalar::Untyped(format!("{n:?}")))),
        Literal::Char(unit) => (CimType::Char16, Some(Scalar::Char16(unit))),
        Literal::String(text) => (CimType::String, Some(Scalar::String(text))),
        Literal::Alias(name) => return Err(Problem::UnknownAlias(name)),
    })
}
