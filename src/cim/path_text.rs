//! Object paths as text: `//host/namespace:Class.key="value",other=5` (DSP0004 annex F, DSP0207).
//!
//! The name of a class's only key may be left out, as in DSP0201: `Class="value"`.
//!
//! Reading also accepts the `/namespace:Class…` and `https://host/namespace:Class…` of DSP0207.
//! Neither form tells strings, datetimes and quoted paths apart: a quoted value is read as a string,
//! and [`KeyValue::same_value`] knows that it may be a path.

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
};

use super::{CimName, ClassPath, InstancePath, Key, KeyValue, Namespace, ObjectPath};

/// The text is no object path; `position` counts characters from 0.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an object path at character {position}: expected {expected}")]
pub struct PathError {
    /// The first character that is wrong, from 0.
    pub position: usize,
    /// What had to stand there.
    pub expected: &'static str,
}

impl ObjectPath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`PathError`] with the first wrong character.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Reader { text, offset: 0 }.path()
    }
}

struct Reader<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, PathError> {
        let position = self.text[..self.offset].chars().count();
        Err(PathError { position, expected })
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.offset += wanted.len();
        }
        found
    }

    fn path(mut self) -> Result<ObjectPath, PathError> {
        let host = self.host()?;
        let namespace = self.namespace()?;
        if host.is_some() && namespace.is_none() {
            return self.fail("a namespace and `:` after the host");
        }
        let class = self.name()?;
        if self.rest().is_empty() {
            return Ok(ClassPath { host, namespace, class }.into());
        }
        if self.take("=") {
            let keys = vec![Key { name: None, value: self.value()? }];
            if !self.rest().is_empty() {
                return self.fail("the end after the only key's value");
            }
            return Ok(InstancePath { host, namespace, class, keys }.into());
        }
        if !self.take(".") {
            return self.fail("`.`, `=` or the end after the class name");
        }
        let mut keys: Vec<Key> = Vec::new();
        let mut names = HashSet::new();
        loop {
            let name = self.name()?;
            if !names.insert(name.clone()) {
                return self.fail("each key only once");
            }
            if !self.take("=") {
                return self.fail("`=` after the key's name");
            }
            keys.push(Key { name: Some(name), value: self.value()? });
            if self.rest().is_empty() {
                return Ok(InstancePath { host, namespace, class, keys }.into());
            }
            if !self.take(",") {
                return self.fail("`,` or the end after the key's value");
            }
        }
    }

    fn host(&mut self) -> Result<Option<String>, PathError> {
        let scheme =
            self.rest().bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'-').count();
        if scheme > 0 && self.rest()[scheme..].starts_with("://") {
            self.offset += scheme + 1;
        }
        if !self.take("//") {
            self.take("/");
            return Ok(None);
        }
        let end = self.rest().find(['/', '"']).unwrap_or(self.rest().len());
        let host = &self.rest()[..end];
        if host.is_empty() || !self.rest()[end..].starts_with('/') {
            return self.fail("a host and `/`");
        }
        self.offset += end + 1;
        Ok(Some(host.to_owned()))
    }

    /// What stands before a colon, unless that is part of a key already.
    fn namespace(&mut self) -> Result<Option<Namespace>, PathError> {
        let Some(end) = self.rest().find([':', '=', '"']) else { return Ok(None) };
        if !self.rest()[end..].starts_with(':') {
            return Ok(None);
        }
        let Ok(namespace) = Namespace::parse(&self.rest()[..end]) else {
            return self.fail("a namespace");
        };
        self.offset += end + 1;
        Ok(Some(namespace))
    }

    fn name(&mut self) -> Result<CimName, PathError> {
        let end = self.rest().find(['.', '=', ',', '"']).unwrap_or(self.rest().len());
        let Ok(name) = CimName::parse(&self.rest()[..end]) else { return self.fail("a name") };
        self.offset += end;
        Ok(name)
    }

    fn value(&mut self) -> Result<KeyValue, PathError> {
        if self.take("\"") {
            return self.quoted('"').map(KeyValue::String);
        }
        if self.take("'") {
            return self.quoted('\'').map(KeyValue::String);
        }
        let end = self.rest().find(',').unwrap_or(self.rest().len());
        let text = &self.rest()[..end];
        let value = if text.eq_ignore_ascii_case("true") {
            KeyValue::Boolean(true)
        } else if text.eq_ignore_ascii_case("false") {
            KeyValue::Boolean(false)
        } else if let Ok(number) = text.parse() {
            KeyValue::Integer(number)
        } else if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
            && let Ok(number) = text.parse::<f64>()
            && number.is_finite()
        {
            KeyValue::Real(number)
        } else {
            return self.fail("a key's value: a string in quotes, a number, TRUE or FALSE");
        };
        self.offset += end;
        Ok(value)
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        let mut value = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, escaped)) => value.push(escaped),
                    None => break,
                },
                c if c == quote => {
                    self.offset += at + c.len_utf8();
                    return Ok(value);
                }
                c => value.push(c),
            }
        }
        self.offset = self.text.len();
        self.fail("a closing quote")
    }
}

/// `//host/namespace:`, as far as it is known.
fn write_prefix(
    f: &mut fmt::Formatter<'_>,
    host: Option<&String>,
    namespace: Option<&Namespace>,
) -> fmt::Result {
    // A host means nothing without a namespace after it.
    if let (Some(host), Some(_)) = (host, namespace) {
        write!(f, "//{host}/")?;
    }
    match namespace {
        Some(namespace) => write!(f, "{namespace}:"),
        None => Ok(()),
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        if c == '"' || c == '\\' {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

impl fmt::Display for ClassPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_prefix(f, self.host.as_ref(), self.namespace.as_ref())?;
        write!(f, "{}", self.class)
    }
}

impl fmt::Display for InstancePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_prefix(f, self.host.as_ref(), self.namespace.as_ref())?;
        write!(f, "{}", self.class)?;
        for (index, key) in self.keys.iter().enumerate() {
            if let Some(name) = &key.name {
                write!(f, "{}{name}", if index == 0 { '.' } else { ',' })?;
            }
            write!(f, "={}", key.value)?;
        }
        Ok(())
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(path) => path.fmt(f),
            Self::Instance(path) => path.fmt(f),
        }
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => write_quoted(f, text),
            Self::Boolean(true) => f.write_str("TRUE"),
            Self::Boolean(false) => f.write_str("FALSE"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Reference(path) => write_quoted(f, &path.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, written: &str) {
        let path = ObjectPath::parse(text).expect("a path");
        assert_eq!(path.to_string(), written);
        assert_eq!(ObjectPath::parse(written), Ok(path), "reading back {written}");
    }

    #[test]
    fn paths_are_read_and_written() {
        check("KVM_HostSystem", "KVM_HostSystem");
        check("root/virt:KVM_HostSystem", "root/virt:KVM_HostSystem");
        check("/root/virt:A.b=1", "root/virt:A.b=1");
        check("//h:5988/root/virt:A.b=-1,c=TRUE", "//h:5988/root/virt:A.b=-1,c=TRUE");
        check("https://[::1]:5989/root:A.b=1.5", "//[::1]:5989/root:A.b=1.5");
        check(r#"A.k="a \"q\" \\ ,.=:""#, r#"A.k="a \"q\" \\ ,.=:""#);
        check(r#"A.k='x',l="""#, r#"A.k="x",l="""#);
        check(r#"A.k="n:B.c=\"1\"""#, r#"A.k="n:B.c=\"1\"""#);
    }

    #[track_caller]
    fn refused(text: &str, position: usize) {
        let error = ObjectPath::parse(text).expect_err(text);
        assert_eq!(error.position, position, "{text}: {error}");
    }

    #[test]
    fn errors_name_the_character() {
        refused("", 0);
        refused("//host", 2);
        refused("///n:A", 2);
        refused("//host/A", 7);
        refused(":A", 0);
        refused("n:", 2);
        refused("n:é A", 2);
        refused("A.", 2);
        refused("A.b", 3);
        refused("A.b=", 4);
        refused("A.b=x", 4);
        refused("A.b=1,", 6);
        refused("A.b=1,B=2", 7);
        refused("A.b=\"é", 6);
        refused("A.b=\"x\"y", 7);
        refused("A.b=NaN", 4);
        refused("A.b=1e999", 4);
        refused("A=", 2);
        refused("A=1,b=2", 3);
    }

    #[test]
    fn many_keys_take_no_more_time_than_few() {
        // Comparing each with each would take minutes.
        let keys: Vec<String> = (0..200_000).map(|n| format!("k{n}=1")).collect();
        let path = ObjectPath::parse(&format!("A.{}", keys.join(","))).expect("a path");
        assert_eq!(path.instance().map(|path| path.keys.len()), Some(200_000));
    }

    #[test]
    fn a_quoted_path_is_the_reference_it_writes() {
        let inner = InstancePath::new(CimName::literal("B"), [(CimName::literal("c"), "1")]);
        let reference = KeyValue::from(inner);
        let quoted = KeyValue::String("b.C=\"1\"".to_owned());
        assert!(reference.same_value(&quoted) && quoted.same_value(&reference));
        assert!(!reference.same_value(&KeyValue::String("B.c=\"2\"".to_owned())));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            host in proptest::option::of("[a-z.]{1,8}(:[0-9]{1,4})?"),
            values in prop::collection::vec(
                prop_oneof![
                    any::<String>().prop_map(KeyValue::String),
                    any::<bool>().prop_map(KeyValue::Boolean),
                    any::<i64>().prop_map(|n| KeyValue::Integer(n.into())),
                    any::<f64>().prop_filter("a number", |n| n.is_finite()).prop_map(KeyValue::Real),
                ],
                1..4,
            ),
        ) {
            let keys = values.into_iter().enumerate().map(|(index, value)| Key {
                name: Some(CimName::parse(&format!("k{index}")).expect("a name")),
                value,
            });
            let path = ObjectPath::Instance(InstancePath {
                host,
                namespace: Some(Namespace::parse("root/virt").expect("a namespace")),
                class: CimName::literal("A_B"),
                keys: keys.collect(),
            });
            prop_assert_eq!(ObjectPath::parse(&path.to_string()), Ok(path));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = ObjectPath::parse(&text);
        }
    }
}
