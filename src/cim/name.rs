//! Element names and namespace names: compared without regard to ASCII case, shown as written.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

/// A CIM element name (class, property, method, parameter, qualifier).
///
/// Non-empty; begins with a letter, `_` or a character from U+0080 to U+FFEF, followed by those or
/// digits (DSP0004 annex A). Compared, ordered and hashed without regard to ASCII case; `Display` shows it
/// as it was written. Cheap to clone.
#[derive(Clone)]
pub struct CimName(Text);

#[derive(Clone)]
enum Text {
    /// Of our own source, or kept.
    Literal(&'static str),
    Shared(Arc<str>),
}

/// The text is not a CIM element name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is not a CIM name", .0.escape_debug())]
pub struct NameError(pub String);

impl CimName {
    /// Makes a name from text a peer wrote.
    ///
    /// # Errors
    /// [`NameError`] if the text is empty or has a character that a CIM name can't have.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_name(text) {
            Ok(Self(Text::Shared(text.into())))
        } else {
            Err(NameError(text.to_owned()))
        }
    }

    /// Makes a name from a literal in our own source, which must be a valid name.
    pub const fn literal(text: &'static str) -> Self {
        assert!(!text.is_empty(), "a CIM name is not empty");
        Self(Text::Literal(text))
    }

    /// The same name, kept as long as the process lives, so that its clones share no counter and cost
    /// nothing. For the names of a schema, of which there are only so many.
    #[must_use]
    pub fn kept(&self) -> Self {
        static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        if let Text::Literal(_) = self.0 {
            return self.clone();
        }
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let text = kept.get(self.as_str()).copied().unwrap_or_else(|| {
            let text: &'static str = Box::leak(self.as_str().into());
            kept.insert(text);
            text
        });
        Self(Text::Literal(text))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Literal(text) => text,
            Text::Shared(text) => text,
        }
    }
}

/// Whether a name may begin with `c`.
pub fn begins_name(c: char) -> bool {
    let foreign = ('\u{80}'..='\u{ffef}').contains(&c) && c != '\u{feff}';
    c.is_ascii_alphabetic() || c == '_' || foreign
}

/// Whether `c` may follow in a name.
pub fn continues_name(c: char) -> bool {
    begins_name(c) || c.is_ascii_digit()
}

fn is_name(text: &str) -> bool {
    // As most names are.
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return text.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    }
    let mut chars = text.chars();
    chars.next().is_some_and(begins_name) && chars.all(continues_name)
}

impl PartialEq for CimName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl Eq for CimName {}

impl PartialEq<str> for CimName {
    fn eq(&self, other: &str) -> bool {
        self.as_str().eq_ignore_ascii_case(other)
    }
}

impl PartialEq<&str> for CimName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str().eq_ignore_ascii_case(other)
    }
}

impl Hash for CimName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_folded(self.as_str(), state);
    }
}

impl Ord for CimName {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_folded(self.as_str(), other.as_str())
    }
}

impl PartialOrd for CimName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for CimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn hash_folded<H: Hasher>(text: &str, state: &mut H) {
    // In pieces: a hasher takes a slice faster than its bytes.
    for piece in text.as_bytes().chunks(32) {
        let mut folded = [0; 32];
        for (to, from) in folded.iter_mut().zip(piece) {
            *to = from.to_ascii_lowercase();
        }
        state.write(&folded[..piece.len()]);
    }
    state.write_u8(0xff);
}

fn cmp_folded(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.bytes(), b.bytes());
    a.map(|byte| byte.to_ascii_lowercase()).cmp(b.map(|byte| byte.to_ascii_lowercase()))
}

/// A namespace name such as `root/virt`.
///
/// Leading, trailing and doubled slashes are dropped when it is parsed; compared without regard to
/// ASCII case.
#[derive(Clone)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Makes a namespace name from text a peer wrote.
    ///
    /// # Errors
    /// [`NameError`] if no component is left or a component is not printable text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        // What most clients send is normal already.
        if !text.is_empty()
            && text.bytes().all(plain)
            && text.split('/').all(|part| !part.is_empty())
        {
            return Ok(Self(text.into()));
        }
        let mut name = String::with_capacity(text.len());
        for part in text.split('/').map(str::trim).filter(|part| !part.is_empty()) {
            if part.chars().any(|c| c.is_control() || c == ':') {
                return Err(NameError(text.to_owned()));
            }
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(part);
        }
        if name.is_empty() { Err(NameError(text.to_owned())) } else { Ok(Self(name.into())) }
    }

    /// The normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components between the slashes, as CIM-XML sends them.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Namespace {}

impl Hash for Namespace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_folded(&self.0, state);
    }
}

impl Ord for Namespace {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_folded(&self.0, &other.0)
    }
}

impl PartialOrd for Namespace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_keep_their_spelling() {
        let name = CimName::parse("KVM_ComputerSystem").expect("a name");
        assert_eq!(name, CimName::literal("kvm_computersystem"));
        assert_eq!(name.to_string(), "KVM_ComputerSystem");
        assert!(CimName::literal("a") < CimName::literal("B"));
    }

    #[test]
    fn a_name_is_kept_once_for_each_spelling() {
        let kept = |text: &str| CimName::parse(text).expect("a name").kept();
        let (first, same, other) = (kept("Kept_Name"), kept("Kept_Name"), kept("kept_name"));
        assert_eq!(first.as_str().as_ptr(), same.as_str().as_ptr());
        assert_eq!((first.as_str(), other.as_str()), ("Kept_Name", "kept_name"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "1a", "a b", "a.b", "a\0", "-", "\u{feff}a", "a\u{fff0}", "\u{279d2}"] {
            assert_eq!(CimName::parse(text), Err(NameError(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn namespaces_are_normalised() {
        let namespace = Namespace::parse("//root//Virt/").expect("a namespace");
        assert_eq!(namespace.as_str(), "root/Virt");
        assert_eq!(namespace, Namespace::parse("ROOT/virt").expect("a namespace"));
        assert!(Namespace::parse(" / ").is_err());
        assert!(Namespace::parse("root/vi\nrt").is_err());
    }
}
