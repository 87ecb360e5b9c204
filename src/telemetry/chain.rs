//! Text for log fields.

use std::{error::Error, fmt};

/// Shows an error and its sources in one line: `what we did: what failed: why`.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Shows a stranger's text in a log: control characters are escaped, so that it can neither forge a
/// line nor command a terminal, and at most [`Clean::LENGTH`] characters appear.
pub struct Clean<'a>(pub &'a str);

impl Clean<'_> {
    /// How many characters are shown.
    pub const LENGTH: usize = 256;
}

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        for c in characters.by_ref().take(Self::LENGTH) {
            // Bidirectional overrides reorder what a reader sees just as escapes do.
            let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}') {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        if characters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the users file")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_source_once() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(Chain(&error).to_string(), "cannot read the users file: disk on fire");
    }

    #[test]
    fn a_stranger_cannot_forge_a_line() {
        let clean = Clean("a\nb\u{1b}[31m\u{202e}ü").to_string();
        assert_eq!(clean, "a\\u{a}b\\u{1b}[31m\\u{202e}ü");
        let long = "x".repeat(1000);
        assert_eq!(Clean(&long).to_string().chars().count(), Clean::LENGTH + 1);
    }
}
