//! CIM types and values (DSP0004 §5.2).

use std::{borrow::Cow, fmt, str::FromStr};

use super::{Class, DateTime, Instance, ObjectPath};

/// The type of one element; an array repeats it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the variants are the CIM type names")]
pub enum CimType {
    Boolean,
    Uint8,
    Sint8,
    Uint16,
    Sint16,
    Uint32,
    Sint32,
    Uint64,
    Sint64,
    Real32,
    Real64,
    Char16,
    String,
    DateTime,
    Reference,
}

impl CimType {
    /// Every type, in the order of DSP0004 table 2.
    pub const ALL: [Self; 15] = [
        Self::Boolean,
        Self::Uint8,
        Self::Sint8,
        Self::Uint16,
        Self::Sint16,
        Self::Uint32,
        Self::Sint32,
        Self::Uint64,
        Self::Sint64,
        Self::Real32,
        Self::Real64,
        Self::Char16,
        Self::String,
        Self::DateTime,
        Self::Reference,
    ];

    /// The name used in MOF and CIM-XML, e.g. `uint16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Uint8 => "uint8",
            Self::Sint8 => "sint8",
            Self::Uint16 => "uint16",
            Self::Sint16 => "sint16",
            Self::Uint32 => "uint32",
            Self::Sint32 => "sint32",
            Self::Uint64 => "uint64",
            Self::Sint64 => "sint64",
            Self::Real32 => "real32",
            Self::Real64 => "real64",
            Self::Char16 => "char16",
            Self::String => "string",
            Self::DateTime => "datetime",
            Self::Reference => "reference",
        }
    }

    /// The type of that name, case ignored.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.name().eq_ignore_ascii_case(name))
    }

    /// Whether values of the type are integers.
    pub fn is_integer(self) -> bool {
        self.integer_range().is_some()
    }

    /// Smallest and largest value of an integer type.
    pub fn integer_range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::Uint8 => (0, u8::MAX.into()),
            Self::Sint8 => (i8::MIN.into(), i8::MAX.into()),
            Self::Uint16 => (0, u16::MAX.into()),
            Self::Sint16 => (i16::MIN.into(), i16::MAX.into()),
            Self::Uint32 => (0, u32::MAX.into()),
            Self::Sint32 => (i32::MIN.into(), i32::MAX.into()),
            Self::Uint64 => (0, u64::MAX.into()),
            Self::Sint64 => (i64::MIN.into(), i64::MAX.into()),
            Self::Boolean
            | Self::Real32
            | Self::Real64
            | Self::Char16
            | Self::String
            | Self::DateTime
            | Self::Reference => return None,
        })
    }
}

impl fmt::Display for CimType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The full type of a property, parameter or return value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataType {
    /// The element type. An embedded object is a `String` with `embedded` set.
    pub base: CimType,
    /// Whether it is an array, and of which size.
    pub array: ArrayKind,
    /// The class a reference must point to; `None` where a peer did not say.
    pub reference_class: Option<super::CimName>,
    /// Whether a string holds an embedded object.
    pub embedded: Option<Embedded>,
}

/// Scalar, array, or array of fixed size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ArrayKind {
    Scalar,
    Array,
    Fixed(u32),
}

/// What a string property or parameter embeds (DSP0201 attribute `EmbeddedObject`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Embedded {
    /// An instance of the class its `EmbeddedInstance` qualifier names.
    Instance,
    /// Any instance or class.
    Object,
}

impl DataType {
    /// A scalar of that element type.
    pub const fn scalar(base: CimType) -> Self {
        Self { base, array: ArrayKind::Scalar, reference_class: None, embedded: None }
    }

    /// An array, of any size, of that element type.
    pub const fn array(base: CimType) -> Self {
        Self { base, array: ArrayKind::Array, reference_class: None, embedded: None }
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        self.array != ArrayKind::Scalar
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.array {
            ArrayKind::Scalar => write!(f, "{}", self.base),
            ArrayKind::Array => write!(f, "{}[]", self.base),
            ArrayKind::Fixed(size) => write!(f, "{}[{size}]", self.base),
        }
    }
}

/// One value. NULL is the absence of a value: `Option<Value>`, `Option<Scalar>`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are the CIM type names")]
pub enum Scalar {
    Boolean(bool),
    Uint8(u8),
    Sint8(i8),
    Uint16(u16),
    Sint16(i16),
    Uint32(u32),
    Sint32(i32),
    Uint64(u64),
    Sint64(i64),
    Real32(f32),
    Real64(f64),
    /// One UCS-2 code unit.
    Char16(u16),
    String(String),
    DateTime(DateTime),
    Reference(Box<ObjectPath>),
    /// A string property's embedded instance.
    EmbeddedInstance(Box<Instance>),
    /// A string property's embedded class.
    EmbeddedClass(Box<Class>),
    /// Text whose type the sender left out (wbemcli sends no TYPE and no PARAMTYPE). Only decoders
    /// make it; `ops` gives it the declared type before a provider sees it.
    Untyped(String),
}

impl Scalar {
    /// The CIM type; `None` for [`Scalar::Untyped`].
    pub fn cim_type(&self) -> Option<CimType> {
        Some(match self {
            Self::Boolean(_) => CimType::Boolean,
            Self::Uint8(_) => CimType::Uint8,
            Self::Sint8(_) => CimType::Sint8,
            Self::Uint16(_) => CimType::Uint16,
            Self::Sint16(_) => CimType::Sint16,
            Self::Uint32(_) => CimType::Uint32,
            Self::Sint32(_) => CimType::Sint32,
            Self::Uint64(_) => CimType::Uint64,
            Self::Sint64(_) => CimType::Sint64,
            Self::Real32(_) => CimType::Real32,
            Self::Real64(_) => CimType::Real64,
            Self::Char16(_) => CimType::Char16,
            Self::String(_) | Self::EmbeddedInstance(_) | Self::EmbeddedClass(_) => CimType::String,
            Self::DateTime(_) => CimType::DateTime,
            Self::Reference(_) => CimType::Reference,
            Self::Untyped(_) => return None,
        })
    }

    /// The value of any integer type.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Self::Uint8(n) => n.into(),
            Self::Sint8(n) => n.into(),
            Self::Uint16(n) => n.into(),
            Self::Sint16(n) => n.into(),
            Self::Uint32(n) => n.into(),
            Self::Sint32(n) => n.into(),
            Self::Uint64(n) => n.into(),
            Self::Sint64(n) => n.into(),
            Self::Boolean(_)
            | Self::Real32(_)
            | Self::Real64(_)
            | Self::Char16(_)
            | Self::String(_)
            | Self::DateTime(_)
            | Self::Reference(_)
            | Self::EmbeddedInstance(_)
            | Self::EmbeddedClass(_)
            | Self::Untyped(_) => return None,
        })
    }

    /// The integer as a value of the integer type `ty`; `None` if `ty` is no integer type or the
    /// number is out of its range.
    pub fn from_integer(ty: CimType, n: i128) -> Option<Self> {
        Some(match ty {
            CimType::Uint8 => Self::Uint8(n.try_into().ok()?),
            CimType::Sint8 => Self::Sint8(n.try_into().ok()?),
            CimType::Uint16 => Self::Uint16(n.try_into().ok()?),
            CimType::Sint16 => Self::Sint16(n.try_into().ok()?),
            CimType::Uint32 => Self::Uint32(n.try_into().ok()?),
            CimType::Sint32 => Self::Sint32(n.try_into().ok()?),
            CimType::Uint64 => Self::Uint64(n.try_into().ok()?),
            CimType::Sint64 => Self::Sint64(n.try_into().ok()?),
            CimType::Boolean
            | CimType::Real32
            | CimType::Real64
            | CimType::Char16
            | CimType::String
            | CimType::DateTime
            | CimType::Reference => return None,
        })
    }

    /// Reads `text` as a value of `ty` as CIM-XML writes it (DSP0201 §5.2.3): blanks around numbers
    /// and booleans are ignored, integers may be decimal or `0x` hexadecimal.
    ///
    /// `None` if the text is no value of the type; always `None` for references.
    pub fn parse(ty: CimType, text: &str) -> Option<Self> {
        let trimmed = text.trim();
        match ty {
            CimType::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Self::Boolean(true)),
            CimType::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Self::Boolean(false)),
            CimType::Boolean | CimType::Reference => None,
            CimType::Real32 => parse_real(trimmed).map(Self::Real32),
            CimType::Real64 => parse_real(trimmed).map(Self::Real64),
            CimType::Char16 => {
                let mut units = text.encode_utf16();
                let unit = units.next()?;
                units.next().is_none().then_some(Self::Char16(unit))
            }
            CimType::String => Some(Self::String(text.to_owned())),
            CimType::DateTime => DateTime::parse(trimmed).ok().map(Self::DateTime),
            CimType::Uint8
            | CimType::Sint8
            | CimType::Uint16
            | CimType::Sint16
            | CimType::Uint32
            | CimType::Sint32
            | CimType::Uint64
            | CimType::Sint64 => Self::from_integer(ty, parse_integer(trimmed)?),
        }
    }

    /// The text CIM-XML writes for the value; [`Scalar::parse`] reads it back. `None` for references
    /// and embedded objects, which are not plain text.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Boolean(true) => Cow::Borrowed("TRUE"),
            Self::Boolean(false) => Cow::Borrowed("FALSE"),
            Self::Uint8(n) => Cow::Owned(n.to_string()),
            Self::Sint8(n) => Cow::Owned(n.to_string()),
            Self::Uint16(n) => Cow::Owned(n.to_string()),
            Self::Sint16(n) => Cow::Owned(n.to_string()),
            Self::Uint32(n) => Cow::Owned(n.to_string()),
            Self::Sint32(n) => Cow::Owned(n.to_string()),
            Self::Uint64(n) => Cow::Owned(n.to_string()),
            Self::Sint64(n) => Cow::Owned(n.to_string()),
            Self::Real32(n) => Cow::Owned(real_text(&format!("{n:?}"))),
            Self::Real64(n) => Cow::Owned(real_text(&format!("{n:?}"))),
            Self::Char16(unit) => Cow::Owned(
                char::from_u32((*unit).into()).unwrap_or(char::REPLACEMENT_CHARACTER).into(),
            ),
            Self::String(text) | Self::Untyped(text) => Cow::Borrowed(text),
            Self::DateTime(value) => Cow::Borrowed(value.as_str()),
            Self::Reference(_) | Self::EmbeddedInstance(_) | Self::EmbeddedClass(_) => return None,
        })
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Untyped(text) => Some(text),
            _ => None,
        }
    }
}

fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let n = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -n } else { n })
}

/// Generic so that a real32 is rounded once, not twice by way of a real64.
fn parse_real<T: FromStr + From<f32>>(text: &str) -> Option<T> {
    match text {
        "INF" | "+INF" => Some(f32::INFINITY.into()),
        "-INF" => Some(f32::NEG_INFINITY.into()),
        "NaN" => Some(f32::NAN.into()),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => text.parse().ok(),
        _ => None,
    }
}

/// A real as CIM-XML and MOF write it, from what `{:?}` makes of it: the shortest digits that read
/// back as the same number, always with a point, `E` before an exponent.
fn real_text(debug: &str) -> String {
    match (debug, debug.split_once('e')) {
        ("inf", _) => "INF".to_owned(),
        ("-inf", _) => "-INF".to_owned(),
        (_, Some((mantissa, exponent))) if mantissa.contains('.') => {
            format!("{mantissa}E{exponent}")
        }
        (_, Some((mantissa, exponent))) => format!("{mantissa}.0E{exponent}"),
        (_, None) => debug.to_owned(),
    }
}

/// A value that is not NULL: one scalar, or an array whose elements may be NULL.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    Scalar(Scalar),
    Array(Vec<Option<Scalar>>),
}

impl Value {
    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            Self::Array(_) => None,
        }
    }

    /// The elements, if it is an array.
    pub fn array(&self) -> Option<&[Option<Scalar>]> {
        match self {
            Self::Scalar(_) => None,
            Self::Array(elements) => Some(elements),
        }
    }

    /// The string, if it is a scalar string.
    pub fn as_str(&self) -> Option<&str> {
        self.scalar().and_then(Scalar::as_str)
    }

    /// The boolean, if it is a scalar boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Scalar(Scalar::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is a scalar of an integer type.
    pub fn as_integer(&self) -> Option<i128> {
        self.scalar().and_then(Scalar::as_integer)
    }

    /// The path, if it is a scalar reference.
    pub fn as_reference(&self) -> Option<&ObjectPath> {
        match self {
            Self::Scalar(Scalar::Reference(path)) => Some(path),
            _ => None,
        }
    }

    /// The embedded instance, if it is a scalar embedded instance.
    pub fn as_instance(&self) -> Option<&Instance> {
        match self {
            Self::Scalar(Scalar::EmbeddedInstance(instance)) => Some(instance),
            _ => None,
        }
    }
}

macro_rules! from_scalar {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl From<$rust> for Scalar {
            fn from(value: $rust) -> Self {
                Self::$variant(value)
            }
        }
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::Scalar(Scalar::$variant(value))
            }
        }
        impl From<Vec<$rust>> for Value {
            fn from(values: Vec<$rust>) -> Self {
                Self::Array(values.into_iter().map(|value| Some(Scalar::$variant(value))).collect())
            }
        }
    )*};
}

from_scalar! {
    bool => Boolean, u8 => Uint8, i8 => Sint8, i16 => Sint16, u32 => Uint32, i32 => Sint32,
    u64 => Uint64, i64 => Sint64, f32 => Real32, f64 => Real64, String => String,
    DateTime => DateTime, u16 => Uint16,
}

impl From<&str> for Scalar {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Scalar(value.into())
    }
}

impl From<ObjectPath> for Value {
    fn from(path: ObjectPath) -> Self {
        Self::Scalar(Scalar::Reference(Box::new(path)))
    }
}

impl From<Instance> for Value {
    fn from(instance: Instance) -> Self {
        Self::Scalar(Scalar::EmbeddedInstance(Box::new(instance)))
    }
}

impl From<Vec<Instance>> for Value {
    fn from(instances: Vec<Instance>) -> Self {
        let embed = |instance| Some(Scalar::EmbeddedInstance(Box::new(instance)));
        Self::Array(instances.into_iter().map(embed).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ty: CimType, text: &str, expected: Option<Scalar>) {
        assert_eq!(Scalar::parse(ty, text), expected, "{ty} {text:?}");
    }

    #[test]
    fn text_becomes_a_value_of_the_type_or_nothing() {
        check(CimType::Uint8, " 255 ", Some(Scalar::Uint8(255)));
        check(CimType::Uint8, "256", None);
        check(CimType::Uint8, "-1", None);
        check(CimType::Uint16, "0xFf", Some(Scalar::Uint16(255)));
        check(CimType::Uint16, "0x", None);
        check(CimType::Uint16, "+-5", None);
        check(CimType::Sint64, "-9223372036854775808", Some(Scalar::Sint64(i64::MIN)));
        check(CimType::Uint64, "99999999999999999999999999999999999999999999", None);
        check(CimType::Boolean, " TRUE\n", Some(Scalar::Boolean(true)));
        check(CimType::Boolean, "", None);
        check(CimType::Boolean, "1", None);
        check(CimType::Char16, "é", Some(Scalar::Char16(0xe9)));
        check(CimType::Char16, "\u{1F600}", None);
        check(CimType::Real64, "-INF", Some(Scalar::Real64(f64::NEG_INFINITY)));
        check(CimType::Real32, "1.5E1", Some(Scalar::Real32(15.0)));
        check(CimType::Real64, "infinity", None);
        check(CimType::String, "  a ", Some(Scalar::String("  a ".into())));
        check(CimType::Reference, "a", None);
    }

    #[track_caller]
    fn check_text(scalar: Scalar, text: &str) {
        assert_eq!(scalar.text().as_deref(), Some(text));
        let ty = scalar.cim_type().expect("typed");
        let back = Scalar::parse(ty, text);
        assert_eq!(format!("{back:?}"), format!("{:?}", Some(scalar)));
    }

    #[test]
    fn values_are_written_so_that_they_read_back() {
        check_text(Scalar::Boolean(false), "FALSE");
        check_text(Scalar::Sint64(i64::MIN), "-9223372036854775808");
        check_text(Scalar::Real64(1.0), "1.0");
        check_text(Scalar::Real64(-1e300), "-1.0E300");
        check_text(Scalar::Real64(1e-5), "1.0E-5");
        check_text(Scalar::Real32(0.1), "0.1");
        check_text(Scalar::Real32(f32::MAX), "3.4028235E38");
        check_text(Scalar::Real32(f32::NEG_INFINITY), "-INF");
        check_text(Scalar::Real64(f64::NAN), "NaN");
        check_text(Scalar::Char16(0x20), " ");
    }

    #[test]
    fn every_type_is_found_by_its_name() {
        for ty in CimType::ALL {
            assert_eq!(CimType::from_name(&ty.name().to_uppercase()), Some(ty));
        }
    }
}
