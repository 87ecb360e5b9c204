//! Which files are checks (DESIGN.md §1.2).
//!
//! The directories are read afresh each time. Every entry gets a [`Fate`] with its reason, for the gate
//! and for `virtcimd checks list` alike. Nothing is opened by a path that a client had a part in, and
//! nothing is skipped that looks like a check but can't be trusted: a gate that skips a broken lock is
//! open.

#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::Read,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::{FileStat, Mode, SFlag, makedev},
};

use super::{
    SEARCH_PATH,
    shebang::{HEAD, Shebang},
    trust::{Distrust, Reached, walk, walk_in},
};

/// Where checks are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directories {
    /// The administrator's.
    pub admin: PathBuf,
    /// A package's; the administrator's has precedence.
    pub vendor: Option<PathBuf>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// All entries, by the byte order of their names; the administrator's before the vendor's.
    pub entries: Vec<Entry>,
    /// What is wrong with a directory as a whole.
    pub troubles: Vec<Trouble>,
}

/// An entry of a check directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Where it is: the configured directory and the name.
    pub path: PathBuf,
    /// Whose directory it is in.
    pub origin: Origin,
    /// What becomes of it.
    pub fate: Fate,
}

/// Whose directory an entry is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The administrator's.
    Admin,
    /// A package's.
    Vendor,
}

/// What becomes of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is a check.
    Run(Identity),
    /// It is none.
    Ignored(Ignored),
    /// It is one, and must not run.
    Refused(Refusal),
    /// It is a vendor's check that the administrator has switched off.
    Masked {
        /// The mask.
        by: PathBuf,
    },
}

/// Why an entry is no check.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "Display says it")]
pub enum Ignored {
    Hidden,
    Leftover,
    NotRegular,
    NotExecutable,
    Mask,
    Overridden { by: PathBuf },
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden => f.write_str("its name begins with a dot"),
            Self::Leftover => f.write_str("its name is that of a backup or packaging leftover"),
            Self::NotRegular => f.write_str("it is no regular file"),
            Self::NotExecutable => f.write_str("it is not executable"),
            Self::Mask => f.write_str("it masks the vendor's check of that name"),
            Self::Overridden { by } => write!(f, "`{}' has precedence", by.display()),
        }
    }
}

/// Why a check must not run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Strangers may have had a hand in it.
    #[error("it is not safe to run: {0}")]
    Unsafe(Distrust),
    /// Strangers may have had a hand in what interprets it.
    #[error("its interpreter is not safe to run: {0}")]
    UnsafeInterpreter(Distrust),
    /// It leads nowhere, or nobody can tell.
    #[error("{0}")]
    Unexamined(Distrust),
    /// It is not the file any more that was found and examined.
    #[error("the file was changed or replaced meanwhile")]
    Changed,
}

impl From<Distrust> for Refusal {
    fn from(distrust: Distrust) -> Self {
        match distrust {
            Distrust::Owner { .. } | Distrust::Writable { .. } => Self::Unsafe(distrust),
            Distrust::Unreachable { .. } => Self::Unexamined(distrust),
        }
    }
}

/// What is wrong with a directory as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// The configured directory.
    pub directory: PathBuf,
    /// What is wrong.
    pub kind: TroubleKind,
}

/// What can be wrong with a directory.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TroubleKind {
    /// It does not exist.
    #[error("the directory does not exist")]
    Missing,
    /// It can't be read.
    #[error("the directory can't be read: {0}")]
    Unreadable(Distrust),
    /// Strangers can add and remove checks. Left to the checks to tell, if there are any.
    #[error("the directory is not safe: {0}")]
    Unsafe(Distrust),
}

/// What makes a file the same file, unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    device: u64,
    inode: u64,
    mode: u32,
    owner: u32,
    group: u32,
    size: i64,
    changed: (i64, i64),
}

impl Identity {
    fn of(status: &FileStat) -> Self {
        Self {
            device: status.st_dev,
            inode: status.st_ino,
            mode: status.st_mode,
            owner: status.st_uid,
            group: status.st_gid,
            size: status.st_size,
            changed: (status.st_ctime, status.st_ctime_nsec),
        }
    }
}

/// A check's file, examined, and open with `O_PATH`.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    /// Whether it begins with `#!`.
    pub(super) script: bool,
}

/// Looks through the directories.
pub fn discover(directories: &Directories) -> Discovery {
    let mut troubles = Vec::new();
    let mut strangers = Vec::new();
    let mut look = |directory: &PathBuf, origin| {
        let (found, distrust) = look_through(directory, origin, &mut troubles);
        strangers.extend(distrust.map(|distrust| (directory.clone(), origin, distrust)));
        found
    };
    let mut entries = look(&directories.admin, Origin::Admin);
    let vendor = directories.vendor.iter().flat_map(|vendor| look(vendor, Origin::Vendor));
    for mut found in vendor.collect::<Vec<_>>() {
        let name = &found.entry.name;
        let rival =
            entries.iter_mut().find(|rival| rival.entry.name == *name && rival.takes_part());
        if let (Some(rival), true) = (rival, found.takes_part()) {
            rival.replace(&mut found);
        }
        entries.push(found);
    }
    for (directory, origin, distrust) in strangers {
        let tells =
            |it: &Found| it.entry.origin == origin && matches!(it.entry.fate, Fate::Refused(_));
        if !entries.iter().any(tells) {
            troubles.push(Trouble { directory, kind: TroubleKind::Unsafe(distrust) });
        }
    }
    let mut entries: Vec<_> = entries.into_iter().map(|found| found.entry).collect();
    entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes())); // stable: admin before vendor
    Discovery { entries, troubles }
}

/// Opens a check that was found, if it is still what it was, examining it again.
///
/// # Errors
/// [`Refusal`].
pub(super) fn open_check(path: &Path, identity: &Identity) -> Result<Opened, Refusal> {
    let reached = walk(path)?;
    if Identity::of(&reached.status) != *identity {
        reached.judge()?;
        return Err(Refusal::Changed);
    }
    let script = examine(&reached)?;
    Ok(Opened { fd: reached.fd, script })
}

/// Makes sure that a check is still what it was.
///
/// # Errors
/// [`Refusal`].
pub(super) fn same_check(path: &Path, identity: &Identity) -> Result<(), Refusal> {
    let same = walk(path).is_ok_and(|reached| Identity::of(&reached.status) == *identity);
    if same { Ok(()) } else { Err(Refusal::Changed) }
}

/// An entry while its rivals are not known.
struct Found {
    entry: Entry,
    /// Whether it switches off a vendor's check of its name: empty, or a link to /dev/null.
    mask: bool,
    /// Why it need not be the administrator's own.
    distrust: Option<Distrust>,
}

impl Found {
    /// Takes the place of a vendor's file of its name. What strangers may have put there switches off
    /// nothing, and is told.
    fn replace(&mut self, vendors: &mut Self) {
        let by = self.entry.path.clone();
        if let Some(distrust) = self.distrust.take() {
            if !matches!(self.entry.fate, Fate::Refused(_)) {
                self.entry.fate = Fate::Refused(distrust.into());
            }
        } else if self.mask {
            self.entry.fate = Fate::Ignored(Ignored::Mask);
            vendors.entry.fate = Fate::Masked { by };
        } else {
            vendors.entry.fate = Fate::Ignored(Ignored::Overridden { by });
        }
    }

    /// Whether it counts when two have the same name.
    fn takes_part(&self) -> bool {
        let Fate::Ignored(reason) = &self.entry.fate else { return true };
        match reason {
            Ignored::Hidden | Ignored::Leftover => false,
            Ignored::NotRegular => self.mask,
            Ignored::NotExecutable | Ignored::Mask | Ignored::Overridden { .. } => true,
        }
    }
}

/// What is in a directory, and why strangers can add and remove checks there.
fn look_through(
    directory: &Path,
    origin: Origin,
    troubles: &mut Vec<Trouble>,
) -> (Vec<Found>, Option<Distrust>) {
    let mut trouble = |kind| troubles.push(Trouble { directory: directory.to_owned(), kind });
    let (reached, names) = match list(directory) {
        Ok(listed) => listed,
        Err(Distrust::Unreachable { errno: Errno::ENOENT, .. }) => {
            trouble(TroubleKind::Missing);
            return (Vec::new(), None);
        }
        Err(distrust) => {
            trouble(TroubleKind::Unreadable(distrust));
            return (Vec::new(), None);
        }
    };
    let found = names.into_iter().filter_map(|name| {
        let Judged { fate, mask, distrust } = judge(&reached, &name)?;
        let path = directory.join(&name);
        Some(Found { entry: Entry { name, path, origin, fate }, mask, distrust })
    });
    (found.collect(), reached.judge().err())
}

fn list(directory: &Path) -> Result<(Reached, Vec<OsString>), Distrust> {
    let reached = walk(directory)?;
    let failed = |errno| Distrust::Unreachable { path: directory.to_owned(), errno };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let readable = openat(&reached.fd, ".", flags, Mode::empty()).map_err(failed)?;
    let entries = Dir::from_fd(readable).map_err(failed)?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok((reached, names))
}

/// What can be said of an entry by itself; see [`Found`].
struct Judged {
    fate: Fate,
    mask: bool,
    distrust: Option<Distrust>,
}

impl From<Fate> for Judged {
    /// Of an entry that is what it is, whatever it looks like.
    fn from(fate: Fate) -> Self {
        Self { fate, mask: false, distrust: None }
    }
}

/// Judges one entry. `None` if it is gone already.
fn judge(directory: &Reached, name: &OsStr) -> Option<Judged> {
    if name.as_bytes().starts_with(b".") {
        return Some(Fate::Ignored(Ignored::Hidden).into());
    }
    if is_leftover(name.as_bytes()) {
        return Some(Fate::Ignored(Ignored::Leftover).into());
    }
    let reached = match walk_in(directory, name) {
        Ok(reached) => reached,
        Err(Distrust::Unreachable { path, errno: Errno::ENOENT })
            if path == directory.path.join(name) =>
        {
            return None;
        }
        Err(distrust) => return Some(Fate::Refused(distrust.into()).into()),
    };
    let status = &reached.status;
    let null = reached.kind() == SFlag::S_IFCHR && status.st_rdev == makedev(1, 3);
    let mask = null || (reached.kind() == SFlag::S_IFREG && status.st_size == 0);
    let fate = if reached.kind() != SFlag::S_IFREG {
        Fate::Ignored(Ignored::NotRegular)
    } else if status.st_mode & 0o111 == 0 {
        Fate::Ignored(Ignored::NotExecutable)
    } else {
        match examine(&reached) {
            Ok(_) => Fate::Run(Identity::of(status)),
            Err(refusal) => Fate::Refused(refusal),
        }
    };
    // Everybody may write to /dev/null; who made the link to it is what counts.
    let distrust = if null { reached.distrust.clone() } else { reached.judge().err() };
    Some(Judged { fate, mask, distrust })
}

/// What editors and package managers leave behind.
fn is_leftover(name: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 6] = [b"~", b".bak", b".swp", b".rpmsave", b".rpmnew", b".rpmorig"];
    const LAST_PARTS: [&[u8]; 2] = [b"dpkg-", b"ucf-"];
    let last_part = name.rsplit(|byte| *byte == b'.').next().filter(|part| part.len() < name.len());
    ENDINGS.iter().any(|ending| name.ends_with(ending))
        || last_part.is_some_and(|part| LAST_PARTS.iter().any(|begin| part.starts_with(begin)))
}

/// Judges a check's file and what interprets it; tells whether it is a script.
fn examine(reached: &Reached) -> Result<bool, Refusal> {
    reached.judge()?;
    let Some(shebang) = read_shebang(reached)? else { return Ok(false) };
    judge_interpreters(shebang).map_err(Refusal::UnsafeInterpreter)?;
    Ok(true)
}

/// Judges an interpreter, its own interpreter if it has one, and the program that `env` will find.
///
/// One that does not exist is none of our business: executing the check says it better.
fn judge_interpreters(shebang: Shebang) -> Result<(), Distrust> {
    const MOST: u32 = 5; // scripts interpreted by scripts, as many as the kernel allows
    let mut next = Some(shebang);
    for _ in 0..MOST {
        let Some(shebang) = next.take() else { break };
        if let Some(program) = shebang.looked_for() {
            let places = SEARCH_PATH.split(':').map(|place| Path::new(place).join(program));
            if let Some(found) = places.filter_map(|place| walk(&place).ok()).find(is_program) {
                found.judge()?;
            }
        }
        let reached = match walk(&shebang.interpreter) {
            Err(Distrust::Unreachable { errno: Errno::ENOENT, .. }) => break,
            reached => reached?,
        };
        reached.judge()?;
        next = read_shebang(&reached)?;
    }
    Ok(())
}

fn is_program(reached: &Reached) -> bool {
    reached.kind() == SFlag::S_IFREG && reached.status.st_mode & 0o111 != 0
}

/// Reads the first line of the very file that was reached. A file that may be executed but not read is
/// no script: an interpreter could not read it either.
fn read_shebang(reached: &Reached) -> Result<Option<Shebang>, Distrust> {
    if reached.kind() != SFlag::S_IFREG {
        return Ok(None);
    }
    let failed = |errno| Distrust::Unreachable { path: reached.path.clone(), errno };
    let path = format!("/proc/self/fd/{}", reached.fd.as_raw_fd());
    let file = match open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::EACCES) => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut head = Vec::with_capacity(HEAD);
    let read = File::from(file).take(HEAD as u64).read_to_end(&mut head);
    read.map_err(|error| failed(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))))?;
    Ok(Shebang::parse(&head))
}
