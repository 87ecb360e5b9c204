//! CheckParameters: what a client tells the checks.
//!
//! The entries go to the checks as lines of a file (DESIGN.md §1.1), so an entry that holds a line break
//! could forge another one, and any other control character could fool a check's author; both are refused
//! before anything runs. The file lies in a private directory, belongs to the user the checks run as, and
//! goes when it is dropped. It is locked while it is in use: what a killed daemon left is not.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use super::{
    GateError,
    trust::{Distrust, walk},
};
use crate::sys::child::User;

/// What names of parameter files begin with; something random follows.
const PREFIX: &str = "parameters-";

/// How many parameters a client may give.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParameterLimits {
    /// Entries, NULL ones included.
    pub entries: usize,
    /// Bytes (UTF-8) of one entry.
    pub entry_bytes: usize,
    /// Bytes of all entries together.
    pub total_bytes: usize,
}

impl Default for ParameterLimits {
    fn default() -> Self {
        Self { entries: 256, entry_bytes: 4 << 10, total_bytes: 256 << 10 }
    }
}

/// Makes the text of the parameter file.
///
/// # Errors
/// [`GateError::Parameter`] says which entry is wrong, why, and what is allowed.
pub(super) fn text(
    parameters: &[Option<String>],
    limits: &ParameterLimits,
) -> Result<String, GateError> {
    let refuse = |index, reason| Err(GateError::Parameter { index, reason });
    let count = parameters.len();
    if count > limits.entries {
        let most = limits.entries;
        return refuse(None, format!("there are {count} entries, at most {most} are allowed"));
    }
    let mut text = String::new();
    let mut total = 0;
    for (index, entry) in parameters.iter().enumerate() {
        let Some(entry) = entry else { continue };
        if entry.len() > limits.entry_bytes {
            let (length, most) = (entry.len(), limits.entry_bytes);
            let reason = format!("it has {length} bytes, at most {most} are allowed");
            return refuse(Some(index), reason);
        }
        if let Some((place, character)) = entry.chars().enumerate().find(|(_, c)| is_forbidden(*c))
        {
            let reason = format!(
                "character {} is U+{:04X}{}, line breaks and control characters are not allowed",
                place + 1,
                u32::from(character),
                name_of(character),
            );
            return refuse(Some(index), reason);
        }
        total += entry.len();
        text.push_str(entry);
        text.push('\n');
    }
    if total > limits.total_bytes {
        let most = limits.total_bytes;
        return refuse(None, format!("the entries have {total} bytes, at most {most} are allowed"));
    }
    Ok(text)
}

/// Control characters, and what some languages take for the end of a line besides.
fn is_forbidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn name_of(character: char) -> &'static str {
    match character {
        '\0' => " (NUL)",
        '\t' => " (tab)",
        '\n' => " (line feed)",
        '\r' => " (carriage return)",
        _ => "",
    }
}

/// Why the checks can't be given their parameters.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("the directory `{}' can't be made", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the directory is not private")]
    Unsafe(#[source] Distrust),
    #[error("`{}' can't be written", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// The file of one run's parameters; gone when dropped.
#[derive(Debug)]
pub(super) struct ParameterFile {
    path: PathBuf,
    _locked: Flock<File>,
}

impl ParameterFile {
    /// Writes the file, readable for its reader only.
    pub(super) fn write(
        directory: &Path,
        text: &str,
        reader: Option<&User>,
    ) -> Result<Self, FileError> {
        make_private(directory)?;
        loop {
            let path = directory.join(format!("{PREFIX}{}", uuid::Uuid::new_v4()));
            let failed = |source| FileError::File { path: path.clone(), source };
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o400).custom_flags(libc::O_NOFOLLOW);
            let file = options.open(&path).map_err(failed)?;
            let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
            let locked = locked.map_err(|(_, errno)| failed(errno.into()))?;
            let file = Self { path: path.clone(), _locked: locked };
            if file.fill(text, reader).map_err(failed)? {
                return Ok(file);
            }
        }
    }

    /// Fills the file, unless a sweep has taken it for an old one before it was locked.
    fn fill(&self, text: &str, reader: Option<&User>) -> io::Result<bool> {
        let mut file: &File = &self._locked;
        if file.metadata()?.nlink() == 0 {
            return Ok(false);
        }
        file.write_all(text.as_bytes())?;
        if let Some((uid, gid)) = reader.map(User::ids) {
            fchown(file, Some(uid), Some(gid))?;
        }
        Ok(true)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ParameterFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(path = %self.path.display(), %error, "parameter file stays behind");
        }
    }
}

/// Makes the directory if need be. Others may pass it, as the checks' user has to, but not list it.
fn make_private(directory: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Directory { path: directory.to_owned(), source };
    if let Some(parent) = directory.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        // Once more, as the mode above is subject to our umask.
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o711)).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    walk(directory).and_then(|reached| reached.judge()).map_err(FileError::Unsafe)
}

/// Removes the files of daemons that were killed.
pub(super) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && let Ok(file) = File::open(entry.path()) {
            // Locked: a run of another process.
            if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                let removed = fs::remove_file(entry.path());
                tracing::info!(path = %entry.path().display(), ?removed, "removed an old file");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ParameterLimits =
        ParameterLimits { entries: 3, entry_bytes: 10, total_bytes: 15 };

    #[track_caller]
    fn check(entries: &[Option<&str>], expected: Result<&str, &str>) {
        let entries: Vec<_> = entries.iter().map(|entry| entry.map(str::to_owned)).collect();
        let result = text(&entries, &LIMITS).map_err(|error| error.to_string());
        assert_eq!(result.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn entries_become_lines() {
        check(&[], Ok(""));
        check(&[Some("")], Ok("\n"));
        check(&[Some("a=b"), None, Some("\u{fc} \"'$(x)")], Ok("a=b\n\u{fc} \"'$(x)\n"));
        check(&[None, None, None], Ok(""));
    }

    #[test]
    fn limits_are_exact() {
        check(&[Some("a"); 3], Ok("a\na\na\n"));
        check(&[Some("a"); 4], Err("CheckParameters: there are 4 entries, at most 3 are allowed"));
        check(&[None; 4], Err("CheckParameters: there are 4 entries, at most 3 are allowed"));
        check(&[Some("0123456789")], Ok("0123456789\n"));
        check(
            &[None, Some("012345678\u{fc}")],
            Err("CheckParameters[1]: it has 11 bytes, at most 10 are allowed"),
        );
        check(&[Some("0123456789"), Some("01234")], Ok("0123456789\n01234\n"));
        check(
            &[Some("0123456789"), Some("012345")],
            Err("CheckParameters: the entries have 16 bytes, at most 15 are allowed"),
        );
    }

    #[test]
    fn nothing_can_forge_a_line() {
        let forbidden = (0..0x20)
            .chain(0x7f..0xa0)
            .chain([0x2028, 0x2029])
            .map(|code| char::from_u32(code).expect("a character"));
        for character in forbidden {
            let result = text(&[Some(format!("a{character}b"))], &LIMITS);
            let Err(GateError::Parameter { index: Some(0), reason }) = result else {
                panic!("{character:?} gave {result:?}");
            };
            assert!(reason.starts_with("character 2 is U+"), "{reason}");
        }
        check(
            &[Some("fine"), Some("a\nb")],
            Err("CheckParameters[1]: character 2 is U+000A (line feed), line breaks and control \
                 characters are not allowed"),
        );
    }

    fn names(directory: &Path) -> Vec<PathBuf> {
        fs::read_dir(directory).expect("readable").flatten().map(|entry| entry.path()).collect()
    }

    #[test]
    fn the_file_is_private_and_goes() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("run/checks");
        let file = ParameterFile::write(&directory, "a\nb\n", None).expect("written");
        assert_eq!(fs::read_to_string(file.path()).expect("readable"), "a\nb\n");
        assert_eq!(fs::metadata(file.path()).expect("there").mode() & 0o7777, 0o400);
        assert_eq!(fs::metadata(&directory).expect("there").mode() & 0o7777, 0o711);
        drop(file);
        assert_eq!(names(&directory), [] as [PathBuf; 0]);
    }

    #[test]
    fn the_file_belongs_to_its_reader() {
        let Ok(nobody) = User::named("nobody") else { return }; // we are not root
        let place = tempfile::tempdir().expect("a directory");
        let file = ParameterFile::write(&place.path().join("checks"), "a\n", Some(&nobody));
        let file = file.expect("written");
        let status = fs::metadata(file.path()).expect("there");
        assert_eq!((status.uid(), status.gid()), nobody.ids());
        assert_eq!(status.mode() & 0o7777, 0o400);
    }

    #[test]
    fn a_sweep_takes_what_is_not_in_use() {
        let place = tempfile::tempdir().expect("a directory");
        let used = ParameterFile::write(place.path(), "", None).expect("written");
        fs::write(place.path().join("parameters-old"), "").expect("written");
        fs::write(place.path().join("other"), "").expect("written");
        sweep(place.path());
        let mut left = names(place.path());
        left.sort();
        assert_eq!(left, [place.path().join("other"), used.path().to_owned()]);
    }

    #[test]
    fn a_public_directory_is_no_place() {
        let place = tempfile::tempdir().expect("a directory");
        fs::set_permissions(place.path(), Permissions::from_mode(0o777)).expect("chmod");
        let error = ParameterFile::write(place.path(), "", None).expect_err("refused");
        assert!(matches!(error, FileError::Unsafe(_)), "{error}");
    }
}
