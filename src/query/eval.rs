//! Whether a condition holds for an instance, in three-valued logic: `None` is "unknown".

use std::{borrow::Cow, cmp::Ordering};

use super::{
    Schema, TooMuchWork,
    ast::{Chain, Comparison, Expr, Literal, Operand, OperandKind, Quantifier, Test},
    limits::Work,
};
use crate::cim::{
    CimName, Class, DateTime, Instance, ObjectPath, PropertyDeclaration, Scalar, Value, qualifier,
};

/// What a comparison with NULL gives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Nulls {
    /// Nothing that is known.
    Unknown,
    /// NULL equals NULL and nothing else.
    Equal,
}

pub(super) fn holds(
    condition: &Expr,
    instance: &Instance,
    schema: &dyn Schema,
    nulls: Nulls,
    work: usize,
) -> Result<Option<bool>, TooMuchWork> {
    let evaluation = Evaluation { instance, schema, nulls, work: Work::new(work) };
    let holds = evaluation.holds(condition);
    if evaluation.work.is_exhausted() { Err(TooMuchWork) } else { Ok(holds) }
}

/// One value, in the form in which values of different types meet.
#[derive(Clone, Debug)]
enum Atom<'a> {
    Boolean(bool),
    Integer(i128),
    Real32(f32),
    Real(f64),
    Text(Cow<'a, str>),
    DateTime(DateTime),
    Path(Cow<'a, ObjectPath>),
    Object(&'a Instance),
    Class(&'a Class),
}

/// What an operand or a path leads to.
enum Found<'a> {
    Null,
    One(Atom<'a>),
    Many(Vec<Option<Atom<'a>>>),
}

/// How two values stand to each other.
enum Relation {
    Ordered(Ordering),
    /// Equality is all that can be asked.
    Same(bool),
    /// They can't be compared.
    None,
}

struct Evaluation<'a> {
    instance: &'a Instance,
    schema: &'a dyn Schema,
    nulls: Nulls,
    work: Work,
}

impl<'a> Evaluation<'a> {
    fn holds(&self, expr: &'a Expr) -> Option<bool> {
        match expr {
            Expr::Or(parts) => any(parts.iter().map(|part| self.holds(part))),
            Expr::And(parts) => every(parts.iter().map(|part| self.holds(part))),
            Expr::Not(part) => self.holds(part).map(|holds| !holds),
            Expr::Truth(operand) => match self.operand(operand) {
                Found::One(Atom::Boolean(value)) => Some(value),
                _ => None,
            },
            Expr::Test { operand, test } => match self.operand(operand) {
                Found::Null => self.test(None, test),
                Found::One(atom) => self.test(Some(&atom), test),
                Found::Many(elements) => self.test_array(&elements, test),
            },
            Expr::Quantified { negated, quantifier, array, test } => {
                let Found::Many(elements) = self.chain(array) else { return None };
                let results = elements.iter().map(|element| self.test(element.as_ref(), test));
                let holds = match quantifier {
                    Quantifier::Any => any(results),
                    Quantifier::Every => every(results),
                };
                holds.map(|holds| holds != *negated)
            }
            Expr::IsNull { operand, negated } => {
                Some(matches!(self.operand(operand), Found::Null) != *negated)
            }
            Expr::IsTruth { operand, negated, truth } => {
                Some((self.holds(operand) == Some(*truth)) != *negated)
            }
            Expr::Isa { chain, class, .. } => Some(match self.chain(chain) {
                Found::One(Atom::Object(instance)) => self.schema.is_a(&instance.class, class),
                Found::One(Atom::Class(found)) => self.schema.is_a(&found.name, class),
                Found::One(Atom::Path(path)) => self.schema.is_a(path.class(), class),
                Found::One(_) | Found::Many(_) | Found::Null => false,
            }),
        }
    }

    fn test(&self, left: Option<&Atom<'_>>, test: &'a Test) -> Option<bool> {
        match test {
            Test::Compare { operator, right, .. } => match self.operand(right) {
                Found::Null => self.compare(left, *operator, None),
                Found::One(right) => self.compare(left, *operator, Some(&right)),
                Found::Many(_) if left.is_none() && self.nulls == Nulls::Equal => {
                    equality(*operator, false)
                }
                Found::Many(_) => None,
            },
            Test::Like { negated, pattern, .. } => match left {
                Some(Atom::Text(text)) => Some(pattern.matches(text, &self.work) != *negated),
                _ => None,
            },
        }
    }

    /// A whole array on the left: equal to an array with equal elements in the same order.
    fn test_array(&self, left: &[Option<Atom<'_>>], test: &'a Test) -> Option<bool> {
        let Test::Compare { operator, right, .. } = test else { return None };
        match self.operand(right) {
            Found::Many(right) => {
                let same = left.len() == right.len()
                    && left.iter().zip(&right).all(|pair| match pair {
                        (None, None) => true,
                        (Some(left), Some(right)) => {
                            self.compare(Some(left), Comparison::Equal, Some(right)) == Some(true)
                        }
                        (None, Some(_)) | (Some(_), None) => false,
                    });
                equality(*operator, same)
            }
            Found::Null if self.nulls == Nulls::Equal => equality(*operator, false),
            Found::Null | Found::One(_) => None,
        }
    }

    fn compare(
        &self,
        left: Option<&Atom<'_>>,
        operator: Comparison,
        right: Option<&Atom<'_>>,
    ) -> Option<bool> {
        let (Some(left), Some(right)) = (left, right) else {
            return match self.nulls {
                Nulls::Unknown => None,
                Nulls::Equal => equality(operator, left.is_none() && right.is_none()),
            };
        };
        match relation(left, right) {
            Relation::None => None,
            Relation::Same(same) => equality(operator, same),
            Relation::Ordered(order) => Some(match operator {
                Comparison::Equal => order.is_eq(),
                Comparison::NotEqual => order.is_ne(),
                Comparison::Less => order.is_lt(),
                Comparison::LessOrEqual => order.is_le(),
                Comparison::Greater => order.is_gt(),
                Comparison::GreaterOrEqual => order.is_ge(),
            }),
        }
    }

    fn operand(&self, operand: &'a Operand) -> Found<'a> {
        match &operand.kind {
            OperandKind::Chain(chain) => self.chain(chain),
            OperandKind::Literal(literal) => {
                atom_of_literal(literal).map_or(Found::Null, Found::One)
            }
            OperandKind::Array(literals) => {
                Found::Many(literals.iter().map(atom_of_literal).collect())
            }
            OperandKind::Symbol { property, label } => self
                .declaration(property)
                .and_then(|property| labelled(property, label))
                .and_then(owned_atom)
                .map_or(Found::Null, Found::One),
        }
    }

    /// Follows a path; whatever is absent on the way is NULL.
    fn chain(&self, chain: &Chain) -> Found<'a> {
        let mut object = self.instance;
        for (position, step) in chain.steps.iter().enumerate() {
            if step.scope.as_ref().is_some_and(|scope| !self.schema.is_a(&object.class, scope)) {
                return Found::Null;
            }
            let Some(value) = object.value(&step.property) else { return Found::Null };
            let scalar = match (value, step.index) {
                (Value::Scalar(scalar), None) => scalar,
                (Value::Array(elements), Some(index)) => match elements.get(index as usize) {
                    Some(Some(scalar)) => scalar,
                    Some(None) | None => return Found::Null,
                },
                (Value::Array(elements), None) if position + 1 == chain.steps.len() => {
                    let atoms = elements.iter().map(|element| element.as_ref().and_then(atom_of));
                    return Found::Many(atoms.collect());
                }
                (Value::Array(_), None) | (Value::Scalar(_), Some(_)) => return Found::Null,
            };
            match scalar {
                Scalar::EmbeddedInstance(instance) => object = instance,
                scalar if position + 1 == chain.steps.len() => {
                    return atom_of(scalar).map_or(Found::Null, Found::One);
                }
                _ => return Found::Null,
            }
        }
        Found::One(Atom::Object(object))
    }

    /// The declaration of the property a path ends at, in the class of the object that has it.
    fn declaration(&self, chain: &Chain) -> Option<&'a PropertyDeclaration> {
        let (last, path) = chain.steps.split_last()?;
        let holder = Chain { at: chain.at, root: None, steps: path.to_vec() };
        let Found::One(Atom::Object(object)) = self.chain(&holder) else { return None };
        let class: &CimName = last.scope.as_ref().unwrap_or(&object.class);
        self.schema.class(class)?.property(&last.property)
    }
}

/// True if one is, else unknown if one is.
fn any(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for result in results {
        match result {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

/// False if one is, else unknown if one is.
fn every(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    any(results.map(|result| result.map(|holds| !holds))).map(|holds| !holds)
}

/// What `=` and `<>` say of two values that are the same or not; the others say nothing.
fn equality(operator: Comparison, same: bool) -> Option<bool> {
    match operator {
        Comparison::Equal => Some(same),
        Comparison::NotEqual => Some(!same),
        Comparison::Less
        | Comparison::LessOrEqual
        | Comparison::Greater
        | Comparison::GreaterOrEqual => None,
    }
}

fn atom_of_literal(literal: &Literal) -> Option<Atom<'_>> {
    Some(match literal {
        Literal::Null => return None,
        Literal::Boolean(value) => Atom::Boolean(*value),
        Literal::Integer(number) => Atom::Integer(*number),
        Literal::Real(number) => Atom::Real(*number),
        Literal::Text(text) => Atom::Text(Cow::Borrowed(text)),
    })
}

fn atom_of(scalar: &Scalar) -> Option<Atom<'_>> {
    Some(match scalar {
        Scalar::Boolean(value) => Atom::Boolean(*value),
        Scalar::Real32(number) => Atom::Real32(*number),
        Scalar::Real64(number) => Atom::Real(*number),
        Scalar::Char16(unit) => {
            Atom::Text(Cow::Owned(char::from_u32(u32::from(*unit))?.to_string()))
        }
        Scalar::String(text) | Scalar::Untyped(text) => Atom::Text(Cow::Borrowed(text)),
        Scalar::DateTime(value) => Atom::DateTime(*value),
        Scalar::Reference(path) => Atom::Path(Cow::Borrowed(path)),
        Scalar::EmbeddedInstance(instance) => Atom::Object(instance),
        Scalar::EmbeddedClass(class) => Atom::Class(class),
        Scalar::Uint8(_)
        | Scalar::Sint8(_)
        | Scalar::Uint16(_)
        | Scalar::Sint16(_)
        | Scalar::Uint32(_)
        | Scalar::Sint32(_)
        | Scalar::Uint64(_)
        | Scalar::Sint64(_) => Atom::Integer(scalar.as_integer()?),
    })
}

/// The atom of a labelled value, which is an integer or a string.
fn owned_atom<'a>(scalar: Scalar) -> Option<Atom<'a>> {
    match scalar {
        Scalar::String(text) => Some(Atom::Text(Cow::Owned(text))),
        scalar => scalar.as_integer().map(Atom::Integer),
    }
}

/// The value that the property's Values qualifier labels so: its partner in ValueMap or, without
/// one, its place in the list (DSP0004 §5.6.3). A range of values has no single value.
pub(super) fn labelled(property: &PropertyDeclaration, label: &str) -> Option<Scalar> {
    let list = |name| qualifier(&property.qualifiers, name)?.value.as_ref()?.array();
    let text = |element: &Option<Scalar>| element.as_ref()?.as_str().map(str::to_owned);
    let index =
        list("Values")?.iter().position(|element| text(element).as_deref() == Some(label))?;
    let written = match list("ValueMap") {
        Some(map) => text(map.get(index)?)?,
        None => index.to_string(),
    };
    Scalar::parse(property.ty.base, &written)
}

fn relation(left: &Atom<'_>, right: &Atom<'_>) -> Relation {
    match (left, right) {
        (Atom::Boolean(a), Atom::Boolean(b)) => Relation::Same(a == b),
        (Atom::Integer(a), Atom::Integer(b)) => Relation::Ordered(a.cmp(b)),
        // A real32 meets reals at its own precision: 0.1 is the real32 that is nearest to 0.1.
        (Atom::Real32(a), Atom::Real32(b)) => ordered(a.partial_cmp(b)),
        (Atom::Real32(a), Atom::Real(b)) => ordered(a.partial_cmp(&(*b as f32))),
        (Atom::Real(a), Atom::Real32(b)) => ordered((*a as f32).partial_cmp(b)),
        (Atom::Real(a), Atom::Real(b)) => ordered(a.partial_cmp(b)),
        (Atom::Integer(a), Atom::Real(b)) => ordered(compare_mixed(*a, *b)),
        (Atom::Integer(a), Atom::Real32(b)) => ordered(compare_mixed(*a, f64::from(*b))),
        (Atom::Real(a), Atom::Integer(b)) => ordered(compare_mixed(*b, *a).map(Ordering::reverse)),
        (Atom::Real32(a), Atom::Integer(b)) => {
            ordered(compare_mixed(*b, f64::from(*a)).map(Ordering::reverse))
        }
        (Atom::Text(a), Atom::Text(b)) => Relation::Ordered(a.cmp(b)),
        (Atom::DateTime(a), Atom::DateTime(b)) => compare_times(a, b),
        (Atom::DateTime(a), Atom::Text(b)) => {
            time_from(b).map_or(Relation::None, |b| compare_times(a, &b))
        }
        (Atom::Text(a), Atom::DateTime(b)) => {
            time_from(a).map_or(Relation::None, |a| compare_times(&a, b))
        }
        (Atom::Path(a), Atom::Path(b)) => Relation::Same(same_path(a, b)),
        (Atom::Path(path), Atom::Text(text)) | (Atom::Text(text), Atom::Path(path)) => {
            match ObjectPath::parse(text) {
                Ok(other) => Relation::Same(same_path(path, &other)),
                Err(_) => Relation::None,
            }
        }
        (Atom::Object(a), Atom::Object(b)) => Relation::Same(a == b),
        (Atom::Class(a), Atom::Class(b)) => Relation::Same(a == b),
        _ => Relation::None,
    }
}

fn ordered(order: Option<Ordering>) -> Relation {
    order.map_or(Relation::None, Relation::Ordered)
}

/// Compares without rounding; `None` for NaN.
fn compare_mixed(integer: i128, real: f64) -> Option<Ordering> {
    // Every 64-bit integer lies between these, which f64 holds exactly.
    const LIMIT: f64 = 1e20;
    if real.is_nan() {
        None
    } else if real >= LIMIT {
        Some(Ordering::Less)
    } else if real <= -LIMIT {
        Some(Ordering::Greater)
    } else {
        let whole = real.trunc();
        let by_whole = integer.cmp(&(whole as i128));
        Some(by_whole.then_with(|| 0.0.partial_cmp(&(real - whole)).unwrap_or(Ordering::Equal)))
    }
}

/// Two points in time or two intervals. One with unknown fields stands for a span of time (DSP0004
/// §5.2.4): spans that overlap can't be compared, unless they are written alike.
fn compare_times(a: &DateTime, b: &DateTime) -> Relation {
    if a.is_interval() != b.is_interval() {
        return Relation::None;
    }
    let ((a_first, a_last), (b_first, b_last)) = (a.bounds(), b.bounds());
    if a_first == a_last && b_first == b_last {
        Relation::Ordered(a_first.cmp(&b_first))
    } else if a_last < b_first {
        Relation::Ordered(Ordering::Less)
    } else if b_last < a_first {
        Relation::Ordered(Ordering::Greater)
    } else if a == b {
        Relation::Same(true)
    } else {
        Relation::None
    }
}

/// A datetime from CIM's 25 characters or from an RFC 3339 timestamp.
pub(super) fn time_from(text: &str) -> Option<DateTime> {
    DateTime::parse(text).ok().or_else(|| {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        DateTime::timestamp(timestamp.as_microsecond(), 0)
    })
}

fn same_path(a: &ObjectPath, b: &ObjectPath) -> bool {
    match (a, b) {
        (ObjectPath::Instance(a), ObjectPath::Instance(b)) => a.same_object(b),
        (ObjectPath::Class(a), ObjectPath::Class(b)) => {
            let same_namespace = match (&a.namespace, &b.namespace) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            };
            same_namespace && a.class == b.class
        }
        (ObjectPath::Instance(_), ObjectPath::Class(_))
        | (ObjectPath::Class(_), ObjectPath::Instance(_)) => false,
    }
}
