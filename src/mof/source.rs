//! The texts of one compilation, and places in them.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc};

use super::{MofError, Problem};

/// The largest text read, include files each on its own. The DMTF's largest file has 200 KB.
pub const MAX_TEXT: usize = 16 << 20;

/// The texts of one compilation. Places in them are small; a [`Location`] is worked out only for a
/// message.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<File>,
    names: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct File {
    name: Arc<str>,
    text: Cow<'static, str>,
}

/// One of the texts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileId(u32);

/// A place in one of the texts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    file: FileId,
    offset: u32,
}

impl Place {
    pub(super) fn new(file: FileId, offset: usize) -> Self {
        let offset = u32::try_from(offset).expect("texts are shorter than MAX_TEXT");
        Self { file, offset }
    }
}

/// A place as people read it: `file:line:column`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// The file's name.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Sources {
    /// Adds a text under the name that messages use.
    ///
    /// # Errors
    /// [`Problem::TooLong`] beyond [`MAX_TEXT`].
    pub fn add(
        &mut self,
        name: &str,
        text: impl Into<Cow<'static, str>>,
    ) -> Result<FileId, MofError> {
        let text = text.into();
        let name: Arc<str> = name.into();
        if text.len() > MAX_TEXT {
            let location = Location { file: name, line: 1, column: 1 };
            return Err(MofError { location, problem: Problem::TooLong, hint: None });
        }
        let id = FileId(u32::try_from(self.files.len()).expect("fewer than 2^32 files"));
        self.names.insert(name.clone());
        self.files.push(File { name, text });
        Ok(id)
    }

    /// The name of a text.
    pub fn name(&self, file: FileId) -> &Arc<str> {
        &self.files[file.0 as usize].name
    }

    /// Whether a text of that name was added.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn text(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].text
    }

    /// Line and column of a place.
    pub fn locate(&self, place: Place) -> Location {
        let text = self.text(place.file);
        let before = &text[..place.offset as usize];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Location {
            file: self.name(place.file).clone(),
            line: count(before.bytes().filter(|&b| b == b'\n').count() + 1),
            column: count(before[line_start..].chars().count() + 1),
        }
    }
}
