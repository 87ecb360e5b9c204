//! Whether anybody but root and ourselves can have had a hand in a file.
//!
//! [`walk`] goes from the root directory to a file the way the kernel would, component by component,
//! through descriptors, so that nothing can be exchanged between the look and the step. Every directory
//! on the way, every symbolic link and every directory on the way to its target is looked at:
//!
//! - a directory must belong to root or to us and not be writable by group or others, unless it is
//!   sticky (then nobody removes or renames what belongs to somebody else);
//! - a link must belong to root or to us; its mode means nothing;
//! - the file itself is judged by [`Reached::judge`], as not every file matters.
//!
//! Write permission by an access control list shows in the group bits of the mode.

use std::{
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat, readlinkat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
    unistd::{Uid, geteuid},
};

/// As many links as the kernel follows.
const MAX_LINKS: u32 = 40;

/// Why a file is not trusted. Each names the place that is at fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Distrust {
    /// A stranger owns it.
    #[error("`{}' belongs to user {owner}, who is neither root nor the user of this program", path.display())]
    Owner {
        /// The file, link or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Strangers can write to it.
    #[error("`{}' is writable by {} (mode {mode:04o})", path.display(), writers(*mode))]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It can't be looked at.
    #[error("can't examine `{}': {}", path.display(), errno.desc())]
    Unreachable {
        /// The file, link or directory.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
}

fn writers(mode: u32) -> &'static str {
    match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (true, true) => "group and others",
        (true, false) => "its group",
        _ => "others",
    }
}

/// A file at the end of a walk.
#[derive(Debug)]
pub(super) struct Reached {
    /// Open with `O_PATH`: good for looking at and executing, not for reading.
    pub(super) fd: OwnedFd,
    pub(super) status: FileStat,
    /// Where it is, links resolved.
    pub(super) path: PathBuf,
    /// The first thing on the way that is not to be trusted.
    pub(super) distrust: Option<Distrust>,
}

impl Reached {
    pub(super) fn kind(&self) -> SFlag {
        kind(&self.status)
    }

    /// The first reason not to trust the file: on the way, or the file itself.
    pub(super) fn judge(&self) -> Result<(), Distrust> {
        match &self.distrust {
            Some(distrust) => Err(distrust.clone()),
            None => judge(&self.path, &self.status),
        }
    }
}

pub(super) fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

/// Walks to an absolute path.
///
/// # Errors
/// [`Distrust::Unreachable`] where the walk ends; what is merely unsafe is noted in the result.
pub(super) fn walk(path: &Path) -> Result<Reached, Distrust> {
    let mut walk = Walk::from_root()?;
    walk.go(path)
}

/// Walks from a directory that was reached before to one of its entries.
///
/// # Errors
/// As [`walk`].
pub(super) fn walk_in(directory: &Reached, name: &OsStr) -> Result<Reached, Distrust> {
    let here = directory.fd.try_clone();
    let mut walk = Walk {
        here: here.map_err(|_| unreachable(&directory.path.join(name), Errno::EMFILE))?,
        status: directory.status,
        path: directory.path.clone(),
        distrust: directory.distrust.clone(),
    };
    walk.go(Path::new(name))
}

/// A walk, standing in a directory.
struct Walk {
    here: OwnedFd,
    status: FileStat,
    path: PathBuf,
    distrust: Option<Distrust>,
}

impl Walk {
    fn from_root() -> Result<Self, Distrust> {
        let path = PathBuf::from("/");
        let (here, status) = root().map_err(|errno| unreachable(&path, errno))?;
        let distrust = judge(&path, &status).err();
        Ok(Self { here, status, path, distrust })
    }

    fn go(&mut self, path: &Path) -> Result<Reached, Distrust> {
        let mut ahead = components(path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            let path = self.path.join(&name);
            let failed = |errno| unreachable(&path, errno);
            let (fd, status) = step(&self.here, &name).map_err(failed)?;
            match kind(&status) {
                SFlag::S_IFLNK => {
                    self.note(judge_owner(&path, &status));
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(failed(Errno::ELOOP));
                    }
                    let target = readlinkat(&fd, "").map_err(failed)?;
                    ahead.extend(components(Path::new(&target)));
                }
                SFlag::S_IFDIR => self.enter(fd, status, &name),
                _ if ahead.is_empty() => {
                    let distrust = self.distrust.clone();
                    return Ok(Reached { fd, status, path, distrust });
                }
                _ => return Err(failed(Errno::ENOTDIR)),
            }
        }
        let (path, distrust) = (self.path.clone(), self.distrust.clone());
        let fd = self.here.try_clone().map_err(|_| unreachable(&path, Errno::EMFILE))?;
        Ok(Reached { fd, status: self.status, path, distrust })
    }

    fn enter(&mut self, fd: OwnedFd, status: FileStat, name: &OsStr) {
        match name.as_bytes() {
            b"/" => self.path = PathBuf::from("/"),
            b".." => drop(self.path.pop()),
            _ => self.path.push(name),
        }
        self.note(judge(&self.path, &status));
        (self.here, self.status) = (fd, status);
    }

    fn note(&mut self, judgement: Result<(), Distrust>) {
        if let Err(distrust) = judgement {
            self.distrust.get_or_insert(distrust);
        }
    }
}

fn unreachable(path: &Path, errno: Errno) -> Distrust {
    Distrust::Unreachable { path: path.to_owned(), errno }
}

/// The components of a path, the first one last.
fn components(path: &Path) -> Vec<OsString> {
    let steps = path.components().filter(|step| !matches!(step, Component::CurDir));
    let mut steps: Vec<_> = steps.map(|step| step.as_os_str().to_owned()).collect();
    steps.reverse();
    steps
}

fn root() -> Result<(OwnedFd, FileStat), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = open("/", flags, Mode::empty())?;
    let status = fstat(&fd)?;
    Ok((fd, status))
}

fn step(here: &OwnedFd, name: &OsStr) -> Result<(OwnedFd, FileStat), Errno> {
    if name == "/" {
        return root();
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(here, name, flags, Mode::empty())?;
    let status = fstatat(&fd, "", AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok((fd, status))
}

/// Judges a file or directory by itself.
fn judge(path: &Path, status: &FileStat) -> Result<(), Distrust> {
    judge_owner(path, status)?;
    let sticky = kind(status) == SFlag::S_IFDIR && status.st_mode & 0o1000 != 0;
    if status.st_mode & 0o022 != 0 && !sticky {
        let mode = status.st_mode & 0o7777;
        return Err(Distrust::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

fn judge_owner(path: &Path, status: &FileStat) -> Result<(), Distrust> {
    let owner = Uid::from_raw(status.st_uid);
    if owner.is_root() || owner == geteuid() {
        return Ok(());
    }
    Err(Distrust::Owner { path: path.to_owned(), owner: owner.as_raw() })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, chown, lchown, symlink},
    };

    use super::*;

    /// A tree of our own in a place with trusted ground only, or none where there is no such place.
    struct Ground(tempfile::TempDir);

    impl Ground {
        fn new() -> Self {
            let ground = Self(tempfile::tempdir().expect("a directory"));
            fs::create_dir_all(ground.at("a/b")).expect("directories");
            fs::write(ground.at("a/b/file"), "").expect("a file");
            for (name, mode) in [("", 0o755), ("a", 0o755), ("a/b", 0o755), ("a/b/file", 0o755)] {
                ground.chmod(name, mode);
            }
            ground
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn chmod(&self, name: &str, mode: u32) {
            fs::set_permissions(self.at(name), Permissions::from_mode(mode)).expect("chmod");
        }

        fn link(&self, target: impl AsRef<Path>, name: &str) {
            symlink(target, self.at(name)).expect("a link");
        }

        #[track_caller]
        fn check(&self, name: &str, expected: Result<(), Distrust>) {
            let judged = walk(&self.at(name)).and_then(|reached| reached.judge());
            assert_eq!(judged, expected);
        }

        fn writable(&self, name: &str, mode: u32) -> Result<(), Distrust> {
            let path = components(&self.at(name)).into_iter().rev().collect();
            Err(Distrust::Writable { path, mode })
        }
    }

    #[test]
    fn a_file_on_safe_ground_is_trusted() {
        let ground = Ground::new();
        ground.check("a/b/file", Ok(()));
        ground.check("a/./b/../b/file", Ok(()));
        ground.check("a/b", Ok(()));
        let reached = walk(&ground.at("a/../a/b/file")).expect("reached");
        assert_eq!(reached.path, ground.at("a/b/file"));
    }

    #[test]
    fn each_part_of_the_path_counts() {
        for mode in [0o775, 0o757, 0o777] {
            for name in ["a/b/file", "a/b", "a", ""] {
                let ground = Ground::new();
                ground.chmod(name, mode);
                ground.check("a/b/file", ground.writable(name, mode));
            }
        }
    }

    #[test]
    fn sticky_directories_pass_and_sticky_files_do_not() {
        let ground = Ground::new();
        ground.chmod("a/b", 0o1777);
        ground.check("a/b/file", Ok(()));
        ground.chmod("a/b/file", 0o1777);
        ground.check("a/b/file", ground.writable("a/b/file", 0o1777));
    }

    #[test]
    fn strangers_own_nothing_on_the_path() {
        if !geteuid().is_root() {
            return; // only root can give files away
        }
        for name in ["a/b/file", "a/b", "a"] {
            let ground = Ground::new();
            chown(ground.at(name), Some(65534), None).expect("chown");
            let path = ground.at(name);
            ground.check("a/b/file", Err(Distrust::Owner { path, owner: 65534 }));
        }
        let ground = Ground::new();
        ground.link("a/b/file", "link");
        lchown(ground.at("link"), Some(65534), None).expect("lchown");
        let path = ground.at("link");
        ground.check("link", Err(Distrust::Owner { path, owner: 65534 }));
    }

    #[test]
    fn links_are_followed_and_both_paths_count() {
        let ground = Ground::new();
        fs::create_dir(ground.at("other")).expect("a directory");
        ground.chmod("other", 0o755);
        ground.link(ground.at("a/b/file"), "other/absolute");
        ground.link("../a/b/file", "other/relative");
        ground.link("other", "directory-link");
        for name in ["other/absolute", "other/relative", "directory-link/relative"] {
            ground.check(name, Ok(()));
        }
        ground.chmod("a", 0o777);
        for name in ["other/absolute", "other/relative", "directory-link/relative"] {
            ground.check(name, ground.writable("a", 0o777));
        }
        ground.chmod("a", 0o755);
        ground.chmod("other", 0o777);
        for name in ["other/absolute", "other/relative", "directory-link/relative"] {
            ground.check(name, ground.writable("other", 0o777));
        }
    }

    #[test]
    fn what_can_not_be_reached_says_where() {
        let ground = Ground::new();
        ground.link("loop", "loop");
        ground.link("nowhere", "dangling");
        ground.link("a/b/file/", "slash");
        let cases = [
            ("missing", "missing", Errno::ENOENT),
            ("missing/deeper", "missing", Errno::ENOENT),
            ("a/b/file/deeper", "a/b/file", Errno::ENOTDIR),
            ("loop", "loop", Errno::ELOOP),
            ("dangling", "nowhere", Errno::ENOENT),
        ];
        for (name, place, errno) in cases {
            let path = ground.at(place);
            ground.check(name, Err(Distrust::Unreachable { path, errno }));
        }
    }

    #[test]
    fn an_entry_carries_the_distrust_of_its_directory() {
        let ground = Ground::new();
        ground.chmod("a", 0o777);
        let directory = walk(&ground.at("a/b")).expect("reached");
        let file = walk_in(&directory, OsStr::new("file")).expect("reached");
        assert_eq!(file.judge(), ground.writable("a", 0o777));
    }

    #[test]
    fn reasons_are_sentences() {
        let path = PathBuf::from("/x");
        let reasons = [
            Distrust::Owner { path: path.clone(), owner: 1000 },
            Distrust::Writable { path: path.clone(), mode: 0o775 },
            Distrust::Writable { path: path.clone(), mode: 0o757 },
            Distrust::Writable { path: path.clone(), mode: 0o1777 },
            Distrust::Unreachable { path, errno: Errno::ENOENT },
        ];
        assert_eq!(
            reasons.map(|reason| reason.to_string()),
            [
                "`/x' belongs to user 1000, who is neither root nor the user of this program",
                "`/x' is writable by its group (mode 0775)",
                "`/x' is writable by others (mode 0757)",
                "`/x' is writable by group and others (mode 1777)",
                "can't examine `/x': No such file or directory",
            ]
        );
    }
}
