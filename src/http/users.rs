//! The users file: who may log in by password, and as what.
//!
//! One user a line, `NAME:ROLE:HASH`; the hash is an Argon2 PHC string. Empty lines and lines that
//! begin with `#` are kept. A file that others than its owner may write is refused: whoever can write
//! it can log in.

use std::{
    collections::HashMap,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use nix::{
    fcntl::{Flock, FlockArg},
    unistd::Group,
};

use crate::ops::Role;

/// The group that may read a users file made by root: the service's own.
const SERVICE_GROUP: &str = "virtcimd";
/// Longer passwords are refused: they only serve to keep a CPU busy.
pub const MAX_PASSWORD: usize = 1024;
const MAX_NAME: usize = 256;

/// The hash of a password nobody knows. A login under an unknown name is verified against it, so
/// that it takes as long as one under a known name.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGhlcmU\
                      $ulzqmUUKtNMzVfyuaYqw94CBTVFvoWK9ZdE2MnPGlLU";

/// What is wrong with a users file, or with what should be put there.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("cannot read the users file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be replaced.
    #[error("cannot write the users file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could add themselves.
    #[error("the users file {} may be written by others (mode {mode:04o}): chmod 640", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, without the line's secret.
        reason: &'static str,
    },
    /// A name that a users file cannot hold.
    #[error("a user's name is 1 to 256 bytes without ':' and control characters, no leading '#'")]
    Name,
    /// A password that nobody should have.
    #[error("a password is 1 to {MAX_PASSWORD} bytes long")]
    Password,
    /// There is no such user.
    #[error("there is no user {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
}

/// The users of one file. Has no `Debug`: hashes are secrets.
#[derive(Default)]
pub struct Users(HashMap<String, User>);

struct User {
    role: Role,
    hash: PasswordHash,
}

impl Users {
    /// Reads a users file.
    ///
    /// # Errors
    /// [`UsersError`]; one bad line spoils the file, so that no user is lost unnoticed.
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        let file = File::open(path).map_err(|source| read_error(path, source))?;
        let mode = file.metadata().map_err(|source| read_error(path, source))?.mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(UsersError::Writable { path: path.into(), mode });
        }
        let text = io::read_to_string(file).map_err(|source| read_error(path, source))?;
        Self::parse(&text).map_err(|(line, reason)| UsersError::Line {
            path: path.into(),
            line,
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut users = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            if is_no_user(line) {
                continue;
            }
            let wrong = |reason| (index + 1, reason);
            let mut fields = line.splitn(3, ':');
            let (Some(name), Some(role), Some(hash)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return Err(wrong("expected NAME:ROLE:HASH"));
            };
            if !is_name(name) {
                return Err(wrong("not a user's name"));
            }
            let role = role_from_str(role)
                .ok_or_else(|| wrong("the role is none of viewer, checker, operator, admin"))?;
            let hash = PasswordHash::new(hash.trim_end())
                .ok()
                .filter(|hash| hash.algorithm.as_str().starts_with("argon2") && hash.hash.is_some())
                .ok_or_else(|| wrong("the hash is no Argon2 PHC string"))?;
            if users.insert(name.to_owned(), User { role, hash }).is_some() {
                return Err(wrong("the user has an earlier line already"));
            }
        }
        Ok(Self(users))
    }

    /// The users' names and roles, by name.
    pub fn list(&self) -> Vec<(&str, Role)> {
        let mut list: Vec<_> =
            self.0.iter().map(|(name, user)| (name.as_str(), user.role)).collect();
        list.sort();
        list
    }

    /// The role of the user of that name and password; `None` if either is wrong. Takes some 20 ms
    /// of a CPU on purpose, and as long for a name that does not exist.
    pub fn verify(&self, name: &str, password: &[u8]) -> Option<Role> {
        let verified = |hash| Argon2::default().verify_password(password, hash).is_ok();
        match self.0.get(name) {
            Some(user) => verified(&user.hash).then_some(user.role),
            None => {
                let nobody = PasswordHash::new(NOBODY).expect("the constant is a PHC string");
                verified(&nobody);
                None
            }
        }
    }
}

/// Whether an edit made a new user or changed one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Put {
    /// The name was not in the file.
    Added,
    /// The user has a new password and role.
    Changed,
}

/// Adds a user to the file, or changes it. The file is made if it does not exist.
///
/// # Errors
/// [`UsersError`]; then the file is as it was.
pub fn put(path: &Path, name: &str, role: Role, password: &[u8]) -> Result<Put, UsersError> {
    if !is_name(name) {
        return Err(UsersError::Name);
    }
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(UsersError::Password);
    }
    let hash = Argon2::default()
        .hash_password(password)
        .expect("the default parameters can hash a password of this length");
    let entry = format!("{name}:{}:{hash}", role_as_str(role));
    edit(path, |lines| match lines.iter_mut().find(|line| is_line_of(line, name)) {
        Some(line) => {
            *line = entry;
            Ok(Put::Changed)
        }
        None => {
            lines.push(entry);
            Ok(Put::Added)
        }
    })
}

/// Removes a user from the file.
///
/// # Errors
/// [`UsersError`]; then the file is as it was.
pub fn remove(path: &Path, name: &str) -> Result<(), UsersError> {
    edit(path, |lines| {
        let before = lines.len();
        lines.retain(|line| !is_line_of(line, name));
        let found = lines.len() < before;
        found.then_some(()).ok_or_else(|| UsersError::Unknown { name: name.into() })
    })
}

/// The words for roles in the users file, on the command line and in the configuration.
pub const ROLES: &[(&str, Role)] = &[
    ("viewer", Role::Viewer),
    ("checker", Role::Checker),
    ("operator", Role::Operator),
    ("admin", Role::Admin),
];

/// The word for a role.
pub fn role_as_str(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Checker => "checker",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

/// The role of that word.
pub fn role_from_str(word: &str) -> Option<Role> {
    ROLES.iter().find(|(known, _)| *known == word).map(|(_, role)| *role)
}

/// Replaces the file by an edited copy. The directory is locked meanwhile, not the file: a lock on
/// the file would be one on the copy that goes away.
fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Vec<String>) -> Result<T, UsersError>,
) -> Result<T, UsersError> {
    let write_error = |source| UsersError::Write { path: path.into(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new("."))).map_err(write_error)?;
    let directory = Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, errno)| write_error(errno.into()))?;
    let (text, existing) = match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata().map_err(|source| read_error(path, source))?;
            let text = io::read_to_string(file).map_err(|source| read_error(path, source))?;
            (text, Some(metadata))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), None),
        Err(error) => return Err(read_error(path, error)),
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let outcome = change(&mut lines)?;
    let mut text = lines.join("\n");
    text.push('\n');
    // What we write must be readable again: a file that was broken before is not made worse.
    Users::parse(&text).map_err(|(line, reason)| UsersError::Line {
        path: path.into(),
        line,
        reason,
    })?;
    replace(path, text.as_bytes(), existing.as_ref()).map_err(write_error)?;
    directory.sync_all().map_err(write_error)?;
    Ok(outcome)
}

/// Writes a new file beside `path` and renames it, so that a reader sees the old or the new one. Owner
/// and mode stay; a new file belongs to its maker, and to the service's group where that exists.
fn replace(path: &Path, bytes: &[u8], existing: Option<&fs::Metadata>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = Temporary(path.with_file_name(name));
    // We hold the lock: what bears this name is the left-over of an edit that was killed.
    match fs::remove_file(&temporary.0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&temporary.0)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    match existing {
        Some(metadata) => {
            fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
            file.set_permissions(Permissions::from_mode(metadata.mode() & 0o640))?;
        }
        None if nix::unistd::geteuid().is_root() => {
            if let Ok(Some(group)) = Group::from_name(SERVICE_GROUP) {
                fchown(&file, None, Some(group.gid.as_raw()))?;
                file.set_permissions(Permissions::from_mode(0o640))?;
            }
        }
        None => {}
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary.0, path)
}

/// A file that is removed unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing to remove, which is the usual end.
        let _ = fs::remove_file(&self.0);
    }
}

fn read_error(path: &Path, source: io::Error) -> UsersError {
    UsersError::Read { path: path.into(), source }
}

fn is_no_user(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn is_line_of(line: &str, name: &str) -> bool {
    !is_no_user(line) && line.split(':').next() == Some(name)
}

fn is_name(name: &str) -> bool {
    let length = (1..=MAX_NAME).contains(&name.len());
    length && !name.starts_with('#') && !name.chars().any(|c| c == ':' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(text: &str, line: usize, reason: &str) {
        match Users::parse(text) {
            Ok(_) => panic!("accepted {text:?}"),
            Err(problem) => assert_eq!(problem, (line, reason)),
        }
    }

    #[test]
    fn only_whole_lines_are_users() {
        refuses("\n# c\nalice\n", 3, "expected NAME:ROLE:HASH");
        refuses("alice:viewer\n", 1, "expected NAME:ROLE:HASH");
        refuses(":viewer:x", 1, "not a user's name");
        refuses(
            &format!("alice:king:{NOBODY}"),
            1,
            "the role is none of viewer, checker, operator, admin",
        );
        refuses("alice:viewer:secret", 1, "the hash is no Argon2 PHC string");
        refuses("alice:viewer:$6$salt$hash", 1, "the hash is no Argon2 PHC string");
        refuses("alice:viewer:$argon2id$v=19$m=8,t=1,p=1", 1, "the hash is no Argon2 PHC string");
        let twice = format!("a:viewer:{NOBODY}\na:admin:{NOBODY}\n");
        refuses(&twice, 2, "the user has an earlier line already");
    }

    #[test]
    fn a_user_is_added_changed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        assert_eq!(put(&path, "alice", Role::Viewer, b"one").unwrap(), Put::Added);
        assert_eq!(put(&path, "bob", Role::Admin, "pä ss:word".as_bytes()).unwrap(), Put::Added);
        assert_eq!(put(&path, "alice", Role::Checker, b"two").unwrap(), Put::Changed);
        let users = Users::read(&path).unwrap();
        assert_eq!(users.list(), [("alice", Role::Checker), ("bob", Role::Admin)]);
        assert_eq!(users.verify("alice", b"two"), Some(Role::Checker));
        assert_eq!(users.verify("alice", b"one"), None);
        assert_eq!(users.verify("bob", "pä ss:word".as_bytes()), Some(Role::Admin));
        assert_eq!(users.verify("carol", b"two"), None);
        remove(&path, "alice").unwrap();
        assert!(matches!(remove(&path, "alice"), Err(UsersError::Unknown { .. })));
        assert_eq!(Users::read(&path).unwrap().list(), [("bob", Role::Admin)]);
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the file is left behind");
    }

    #[test]
    fn comments_owner_and_mode_survive_an_edit_and_a_new_file_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        put(&path, "alice", Role::Viewer, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o027, 0, "others may not read it");
        fs::write(&path, format!("# operators\nalice:viewer:{NOBODY}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        put(&path, "bob", Role::Viewer, b"one").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# operators\nalice:viewer:$argon2id$"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_file_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, "").unwrap();
        for (mode, good) in [(0o600, true), (0o640, true), (0o660, false), (0o602, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(Users::read(&path).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn names_and_passwords_that_would_spoil_the_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        for name in ["", "a:b", "a\nb", "#a", "a\0", &"x".repeat(257)] {
            let refused = put(&path, name, Role::Admin, b"x");
            assert!(matches!(refused, Err(UsersError::Name)), "{name:?}");
        }
        for password in [&b""[..], &[b'x'; MAX_PASSWORD + 1]] {
            let refused = put(&path, "alice", Role::Admin, password);
            assert!(matches!(refused, Err(UsersError::Password)));
        }
        assert!(!path.exists());
    }

    #[test]
    fn two_edits_at_once_both_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    put(path, &format!("user{number}"), Role::Viewer, b"x").unwrap()
                });
            }
        });
        assert_eq!(Users::read(&path).unwrap().list().len(), 8);
    }
}
