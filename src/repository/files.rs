//! Where MOF comes from: the schema inside the program, and directories.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use super::LoadProblem;
use crate::mof::Loader;

/// The files of `schema/`, by name.
static BUILTIN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// The file that includes all others.
pub(super) const MAIN: &str = "schema/virtcimd.mof";

/// How many files all directories together may have, and how deep directories may nest. The DMTF's
/// schema has 1700 files in directories two deep.
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 8;

/// Finds the files inside the program.
pub(super) struct Builtin;

impl Builtin {
    pub(super) fn text(name: &str) -> Option<&'static str> {
        BUILTIN.iter().find(|(known, _)| *known == name).map(|&(_, text)| text)
    }
}

impl Loader for Builtin {
    fn find(&mut self, _from: &str, name: &str) -> Result<String, String> {
        Ok(format!("schema/{name}"))
    }

    fn read(&mut self, full_name: &str) -> Result<Cow<'static, str>, String> {
        Self::text(full_name).map(Cow::Borrowed).ok_or_else(|| "there is no such file".to_owned())
    }
}

/// Finds what the files of a directory include: files of that directory, named from the file that
/// includes them.
pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory and its `*.mof` files, sorted, those of its directories included.
    pub(super) fn open(path: &Path, files: &mut Vec<PathBuf>) -> Result<Self, LoadProblem> {
        let failed = |error| LoadProblem::Read { path: path.to_owned(), error };
        let root = path.canonicalize().map_err(failed)?;
        collect(&root, MAX_DEPTH, files)?;
        Ok(Self { root })
    }
}

fn collect(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), LoadProblem> {
    let failed = |error| LoadProblem::Read { path: directory.to_owned(), error };
    let mut entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // Links are followed, so that a file can be lent from elsewhere; a loop ends at the depth.
        let path = entry.path();
        let kind = fs::metadata(&path)
            .map_err(|error| LoadProblem::Read { path: path.clone(), error })?
            .file_type();
        if kind.is_dir() && depth > 0 {
            collect(&path, depth - 1, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|end| end == "mof") {
            if files.len() == MAX_FILES {
                let path = directory.to_owned();
                return Err(LoadProblem::TooManyFiles { path, limit: MAX_FILES });
            }
            files.push(path);
        }
    }
    Ok(())
}

/// The name under which a file is known, the same however it was reached.
pub(super) fn full_name(path: &Path) -> io::Result<String> {
    path.canonicalize()?
        .into_os_string()
        .into_string()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8"))
}

/// The text of a file, which must be UTF-8.
pub(super) fn read(full_name: &str) -> io::Result<Cow<'static, str>> {
    fs::read_to_string(full_name).map(Cow::Owned)
}

impl Loader for Directory {
    fn find(&mut self, from: &str, name: &str) -> Result<String, String> {
        let folder = Path::new(from).parent().unwrap_or(&self.root);
        let found = full_name(&folder.join(name)).map_err(|error| error.to_string())?;
        if !Path::new(&found).starts_with(&self.root) {
            return Err(format!("it is not in {}", self.root.display()));
        }
        Ok(found)
    }

    fn read(&mut self, full_name: &str) -> Result<Cow<'static, str>, String> {
        read(full_name).map_err(|error| error.to_string())
    }
}
