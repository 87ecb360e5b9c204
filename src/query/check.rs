//! What of a query can be judged from the schema alone.

use std::fmt;

use super::{
    Query, QueryError, Schema,
    ast::{Chain, Columns, Comparison, Expr, Literal, Operand, OperandKind, Position, Step, Test},
    eval::{labelled, time_from},
    lexer::shown,
};
use crate::cim::{
    CimName, CimType, Class, ObjectPath, PropertyDeclaration, Scalar, Value, qualifier,
};

pub(super) fn query(query: &Query, schema: &dyn Schema) -> Result<(), QueryError> {
    let checker = Checker::new(&query.from, query.from_at, schema, Reach::Class)?;
    if let Columns::Listed(columns) = &query.columns {
        for column in columns {
            checker.chain(column)?;
        }
    }
    query.condition.as_ref().map_or(Ok(()), |condition| checker.expr(condition))
}

pub(super) fn filter(
    condition: &Expr,
    class: &CimName,
    schema: &dyn Schema,
) -> Result<(), QueryError> {
    Checker::new(class, Position(1), schema, Reach::Subclasses)?.expr(condition)
}

/// What is known of a value before there is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Nothing: a property of an embedded instance, or a NULL literal.
    Unknown,
    Number,
    Boolean,
    Text,
    Char,
    DateTime,
    Reference,
    Object,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "an unknown value",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Text => "a string",
            Self::Char => "a char16",
            Self::DateTime => "a datetime",
            Self::Reference => "a reference",
            Self::Object => "an embedded object",
        }
    }
}

/// The kind of an operand and whether it is an array of it.
#[derive(Clone, Copy, Debug)]
struct Shape {
    kind: Kind,
    array: bool,
}

const UNKNOWN: Shape = Shape { kind: Kind::Unknown, array: false };

/// Whose properties may be named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    /// Those of the class alone.
    Class,
    /// Also those that only a subclass has: its instances are filtered as well, in others they are NULL.
    Subclasses,
}

struct Checker<'a> {
    class: &'a Class,
    schema: &'a dyn Schema,
    reach: Reach,
}

impl<'a> Checker<'a> {
    fn new(
        class: &CimName,
        at: Position,
        schema: &'a dyn Schema,
        reach: Reach,
    ) -> Result<Self, QueryError> {
        Ok(Self { class: known_class(schema, class, at)?, schema, reach })
    }

    fn expr(&self, expr: &Expr) -> Result<(), QueryError> {
        match expr {
            Expr::Or(parts) | Expr::And(parts) => parts.iter().try_for_each(|part| self.expr(part)),
            Expr::Not(part) | Expr::IsTruth { operand: part, .. } => self.expr(part),
            Expr::Truth(operand) => {
                let shape = self.operand(operand)?;
                if shape.array || !matches!(shape.kind, Kind::Boolean | Kind::Unknown) {
                    return type_error(
                        operand.at,
                        format!("{} is no condition", describe(operand, shape)),
                    );
                }
                Ok(())
            }
            Expr::Test { operand, test } => self.test(operand, self.operand(operand)?, test),
            Expr::Quantified { array, test, .. } => {
                let shape = self.chain(array)?;
                if !shape.array && shape.kind != Kind::Unknown {
                    return type_error(
                        array.at,
                        format!("ANY and EVERY ask for an array, not {}", describe(array, shape)),
                    );
                }
                let element = Operand { at: array.at, kind: OperandKind::Chain(array.clone()) };
                self.test(&element, Shape { array: false, ..shape }, test)
            }
            Expr::IsNull { operand, .. } => self.operand(operand).map(drop),
            Expr::Isa { chain, class, at } => {
                known_class(self.schema, class, *at)?;
                let shape = self.chain(chain)?;
                match shape.kind {
                    Kind::Object | Kind::Reference | Kind::Unknown if !shape.array => Ok(()),
                    _ => type_error(
                        chain.at,
                        format!("ISA asks for an object, not {}", describe(chain, shape)),
                    ),
                }
            }
        }
    }

    /// A test of `operand`, or of an element of it, whose shape is `left`.
    fn test(&self, operand: &Operand, left: Shape, test: &Test) -> Result<(), QueryError> {
        match test {
            Test::Like { at, .. } => match left.kind {
                Kind::Text | Kind::Char | Kind::Unknown if !left.array => Ok(()),
                _ => type_error(
                    *at,
                    format!("LIKE asks for a string, not {}", describe(operand, left)),
                ),
            },
            Test::Compare { operator, right, at } => {
                let sides = [(operand, left), (right, self.operand(right)?)];
                meet(sides, *operator, *at)?;
                convertible(sides[1], sides[0])?;
                convertible(sides[0], sides[1])
            }
        }
    }

    fn operand(&self, operand: &Operand) -> Result<Shape, QueryError> {
        match &operand.kind {
            OperandKind::Chain(chain) => self.chain(chain),
            OperandKind::Literal(literal) => Ok(Shape { kind: kind_of(literal), array: false }),
            OperandKind::Array(literals) => {
                let mut kinds = literals.iter().map(kind_of).filter(|kind| *kind != Kind::Unknown);
                let kind = kinds.next().unwrap_or(Kind::Unknown);
                if kinds.any(|other| other != kind) {
                    return type_error(operand.at, "an array has elements of one type".to_owned());
                }
                Ok(Shape { kind, array: true })
            }
            OperandKind::Symbol { property, label } => {
                let (shape, declaration) = self.resolve(property)?;
                let Some(declaration) = declaration else { return Ok(UNKNOWN) };
                if labelled(declaration, label).is_none() {
                    return Err(QueryError::UnknownLabel {
                        position: operand.at.0,
                        property: declaration.name.clone(),
                        label: label.clone(),
                    });
                }
                Ok(Shape { array: false, ..shape })
            }
        }
    }

    fn chain(&self, chain: &Chain) -> Result<Shape, QueryError> {
        self.resolve(chain).map(|(shape, _)| shape)
    }

    /// The shape of what a path leads to and, where it is known, the property it ends at.
    fn resolve(
        &self,
        chain: &Chain,
    ) -> Result<(Shape, Option<&'a PropertyDeclaration>), QueryError> {
        let mut class = Some(self.class);
        let mut shape = Shape { kind: Kind::Object, array: false };
        let mut declaration = None;
        for (position, step) in chain.steps.iter().enumerate() {
            if position > 0 && (shape.array || !matches!(shape.kind, Kind::Object | Kind::Unknown))
            {
                return type_error(
                    step.at,
                    format!("{} has no properties", describe(&chain.steps[position - 1], shape)),
                );
            }
            if let Some(scope) = &step.scope {
                class = Some(known_class(self.schema, scope, step.at)?);
            }
            // The instance may be of a subclass of the class that its declaration names, which is
            // why only the first class and a scope can tell that there is no such property.
            let certain = position == 0 || step.scope.is_some();
            declaration = class.and_then(|class| class.property(&step.property));
            if let (true, None, Some(class)) = (certain, declaration, class)
                && !self.reaches(class, step)
            {
                return Err(QueryError::UnknownProperty {
                    position: step.at.0,
                    class: class.name.clone(),
                    property: step.property.clone(),
                });
            }
            shape = match declaration {
                Some(declaration) => indexed(shape_of(declaration), step)?,
                None => UNKNOWN,
            };
            class = declaration.and_then(|declaration| self.embedded_class(declaration));
        }
        Ok((shape, declaration))
    }

    /// Whether the step names a property that only subclasses of the class have, and may.
    fn reaches(&self, class: &Class, step: &Step) -> bool {
        self.reach == Reach::Subclasses
            && step.scope.is_none()
            && self.schema.is_declared_below(&class.name, &step.property)
    }

    /// The class whose instances the property embeds, if its declaration says so.
    fn embedded_class(&self, declaration: &PropertyDeclaration) -> Option<&'a Class> {
        let class =
            qualifier(&declaration.qualifiers, "EmbeddedInstance")?.value.as_ref()?.as_str()?;
        self.schema.class(&CimName::parse(class).ok()?)
    }
}

fn known_class<'a>(
    schema: &'a dyn Schema,
    class: &CimName,
    at: Position,
) -> Result<&'a Class, QueryError> {
    schema
        .class(class)
        .ok_or_else(|| QueryError::UnknownClass { position: at.0, class: class.clone() })
}

fn type_error<T>(at: Position, problem: String) -> Result<T, QueryError> {
    Err(QueryError::Type { position: at.0, problem })
}

/// What is written `text` and what it is, as in `` `Size` (a number) ``.
fn describe(text: &impl fmt::Display, shape: Shape) -> String {
    let array = if shape.array { "an array: " } else { "" };
    format!("{} ({array}{})", shown(&text.to_string()), shape.kind.name())
}

fn kind_of(literal: &Literal) -> Kind {
    match literal {
        Literal::Null => Kind::Unknown,
        Literal::Boolean(_) => Kind::Boolean,
        Literal::Integer(_) | Literal::Real(_) => Kind::Number,
        Literal::Text(_) => Kind::Text,
    }
}

fn shape_of(declaration: &PropertyDeclaration) -> Shape {
    let embeds = |name| {
        qualifier(&declaration.qualifiers, name)
            .and_then(|found| found.value.as_ref())
            .is_some_and(|value| !matches!(value, Value::Scalar(Scalar::Boolean(false))))
    };
    let kind = match declaration.ty.base {
        CimType::String
            if declaration.ty.embedded.is_some()
                || embeds("EmbeddedObject")
                || embeds("EmbeddedInstance") =>
        {
            Kind::Object
        }
        CimType::String => Kind::Text,
        CimType::Boolean => Kind::Boolean,
        CimType::Char16 => Kind::Char,
        CimType::DateTime => Kind::DateTime,
        CimType::Reference => Kind::Reference,
        CimType::Uint8
        | CimType::Sint8
        | CimType::Uint16
        | CimType::Sint16
        | CimType::Uint32
        | CimType::Sint32
        | CimType::Uint64
        | CimType::Sint64
        | CimType::Real32
        | CimType::Real64 => Kind::Number,
    };
    Shape { kind, array: declaration.ty.is_array() }
}

fn indexed(shape: Shape, step: &Step) -> Result<Shape, QueryError> {
    match step.index {
        None => Ok(shape),
        Some(_) if shape.array => Ok(Shape { array: false, ..shape }),
        Some(_) => type_error(step.at, format!("`{}` is no array", step.property)),
    }
}

/// Whether values of these shapes can be compared at all.
fn meet(
    sides: [(&Operand, Shape); 2],
    operator: Comparison,
    at: Position,
) -> Result<(), QueryError> {
    let [(left_operand, left), (right_operand, right)] = sides;
    if left.kind == Kind::Unknown || right.kind == Kind::Unknown {
        return Ok(());
    }
    let textual = |kind| matches!(kind, Kind::Text | Kind::Char);
    let by_text = |kind| matches!(kind, Kind::DateTime | Kind::Reference);
    let alike = left.kind == right.kind
        || (textual(left.kind) && textual(right.kind))
        || (left.kind == Kind::Text && by_text(right.kind))
        || (right.kind == Kind::Text && by_text(left.kind));
    if !alike || left.array != right.array {
        let (left, right) = (describe(left_operand, left), describe(right_operand, right));
        return type_error(at, format!("{left} can't be compared with {right}"));
    }
    let unordered = |shape: Shape| {
        shape.array || matches!(shape.kind, Kind::Boolean | Kind::Reference | Kind::Object)
    };
    if !operator.is_equality()
        && let Some((operand, shape)) = sides.into_iter().find(|(_, shape)| unordered(*shape))
    {
        let problem = format!("`{}` can't order {}", operator.text(), describe(operand, shape));
        return type_error(at, problem);
    }
    Ok(())
}

/// A string literal that meets a datetime, a reference or a char16 must be able to be one.
fn convertible(
    (operand, _): (&Operand, Shape),
    (other, shape): (&Operand, Shape),
) -> Result<(), QueryError> {
    let literals = match &operand.kind {
        OperandKind::Literal(literal) => std::slice::from_ref(literal),
        OperandKind::Array(literals) => literals,
        OperandKind::Chain(_) | OperandKind::Symbol { .. } => return Ok(()),
    };
    for literal in literals {
        let Literal::Text(text) = literal else { continue };
        let fits = match shape.kind {
            Kind::DateTime => time_from(text).is_some(),
            Kind::Reference => ObjectPath::parse(text).is_ok(),
            Kind::Char => text.chars().count() == 1,
            Kind::Unknown | Kind::Number | Kind::Boolean | Kind::Text | Kind::Object => true,
        };
        if !fits {
            let (literal, other) = (shown(&literal.to_string()), describe(other, shape));
            return type_error(operand.at, format!("{literal} can't be compared with {other}"));
        }
    }
    Ok(())
}
