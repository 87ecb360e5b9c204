//! Where clients may find disks at a destination (`migration.allowed-disk-directories`).
//!
//! A path is compared as it is written, part by part: it has no `..` that would lead out, and the
//! directory of the image must be one that is allowed, or below it. That holds for a destination whose
//! files nobody can see from here. What does lie on this host under that path, as it does on shared
//! storage, must be a plain file, and be where its path says: a link may lead anywhere.
//!
//! Below /dev, where only the system makes links, both are the rule: a volume group's directory holds
//! nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What no setting can open as a whole: it holds the devices and the innards of the host.
const CLOSED: [&str; 4] = ["/", "/dev", "/proc", "/sys"];

/// A directory in which, and below which, disks may be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DiskDirectory(PathBuf);

/// Why a directory is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected an absolute path without `.` and `..` that is not one of {}, found {text:?}",
    CLOSED.join(", ")
)]
pub struct DirectoryError {
    text: String,
}

impl FromStr for DiskDirectory {
    type Err = DirectoryError;

    fn from_str(text: &str) -> Result<Self, DirectoryError> {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let good = is_plain(trimmed) && !CLOSED.contains(&trimmed);
        if good { Ok(Self(trimmed.into())) } else { Err(DirectoryError { text: text.to_owned() }) }
    }
}

/// An absolute path that says where it leads.
fn is_plain(path: &str) -> bool {
    let parts = || path.split('/').skip(1);
    path.starts_with('/')
        && parts().count() > 0
        && parts().all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(char::is_control)
}

impl DiskDirectory {
    fn holds(&self, path: &Path) -> bool {
        path != self.0 && path.starts_with(&self.0)
    }

    fn is_of_devices(&self) -> bool {
        // Anybody makes files and links in /dev/shm.
        self.0.starts_with("/dev") && !self.0.starts_with("/dev/shm")
    }
}

/// All of them; none is the default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DiskDirectories(pub Vec<DiskDirectory>);

/// Why a path is not for everybody.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryRefusal {
    /// It is elsewhere.
    #[error("{} is not below any of migration.allowed-disk-directories", path.display())]
    Elsewhere {
        /// The path.
        path: PathBuf,
    },
    /// It leads out.
    #[error("{} is a link that leads out of migration.allowed-disk-directories", path.display())]
    LeadsOut {
        /// The path.
        path: PathBuf,
    },
    /// It is a device, a directory or the like.
    #[error("{} is no plain file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
}

impl DiskDirectories {
    /// Whether everybody may name that path. Looks at the files of this host, and so may block.
    ///
    /// # Errors
    /// [`DirectoryRefusal`].
    pub fn admit(&self, path: &str) -> Result<(), DirectoryRefusal> {
        let written = Path::new(path);
        let mut holding = self.0.iter().filter(|directory| directory.holds(written)).peekable();
        if !is_plain(path) || holding.peek().is_none() {
            return Err(DirectoryRefusal::Elsewhere { path: written.to_owned() });
        }
        if holding.any(DiskDirectory::is_of_devices) {
            return Ok(());
        }
        // What is not here, or not for us to see, is judged by its path alone.
        let Ok(target) = fs::canonicalize(written) else { return Ok(()) };
        if !self.real().any(|directory| target.starts_with(directory)) {
            return Err(DirectoryRefusal::LeadsOut { path: written.to_owned() });
        }
        match fs::metadata(&target) {
            Ok(found) if !found.is_file() => {
                Err(DirectoryRefusal::NoFile { path: written.to_owned() })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The directories of files where they really are, for they may be reached by links themselves.
    fn real(&self) -> impl Iterator<Item = PathBuf> {
        let files = self.0.iter().filter(|directory| !directory.is_of_devices());
        files
            .map(|directory| fs::canonicalize(&directory.0).unwrap_or_else(|_| directory.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directories(texts: &[&str]) -> DiskDirectories {
        DiskDirectories(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[track_caller]
    fn check(allowed: &[&str], path: &str, expected: Option<&str>) {
        let refused = directories(allowed).admit(path).err().map(|refusal| refusal.to_string());
        match (refused, expected) {
            (None, None) => {}
            (Some(refused), Some(expected)) => assert!(refused.contains(expected), "{refused}"),
            (refused, expected) => panic!("{path}: {refused:?}, not {expected:?}"),
        }
    }

    #[test]
    fn paths_are_compared_part_by_part() {
        let elsewhere = Some("is not below any of migration.allowed-disk-directories");
        check(&[], "/srv/images/a", elsewhere);
        let allowed = ["/srv/images/", "/dev/vg0"];
        for good in ["/srv/images/a", "/srv/images/deep/er/a", "/dev/vg0/lv"] {
            check(&allowed, good, None);
        }
        for bad in [
            "",
            "a",
            "/",
            "/srv/images",
            "/srv/images/",
            "/srv/images2/a",
            "/srv/image",
            "/srv/images/../../etc/shadow",
            "/srv/images/./a",
            "/srv/images//a",
            "//srv/images/a",
            "/dev/sda",
            "/dev/vg0",
            "/dev/vg0/../sda",
            "/etc/srv/images/a",
        ] {
            check(&allowed, bad, elsewhere);
        }
    }

    #[test]
    fn links_and_devices_are_no_way_out() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        fs::create_dir(path("images")).unwrap();
        fs::create_dir(path("images/directory")).unwrap();
        fs::create_dir(path("other")).unwrap();
        for file in ["images/a", "other/secret"] {
            fs::write(path(file), "").unwrap();
        }
        for (link, target) in [
            ("images/current", path("images/a")),
            ("images/secret", path("other/secret")),
            ("images/null", "/dev/null".to_owned()),
            ("images/out", path("other")),
            ("images/gone", path("other/nothing")),
            ("by-link", path("images")),
        ] {
            symlink(target, path(link)).unwrap();
        }
        let images = path("images");
        let check = |name: &str, expected| check(&[&images], &path(name), expected);
        check("images/a", None);
        check("images/current", None);
        check("images/not-yet", None);
        check("images/secret", Some("is a link that leads out"));
        check("images/null", Some("is a link that leads out"));
        check("images/out/secret", Some("is a link that leads out"));
        check("images/directory", Some("is no plain file"));
        let linked = directories(&[&path("by-link")]);
        assert!(linked.admit(&path("by-link/a")).is_ok());
        assert!(linked.admit(&path("by-link/secret")).is_err());
    }

    #[test]
    fn not_everything_can_be_allowed() {
        for text in [
            "",
            "srv",
            "/",
            "//",
            "/dev",
            "/dev/",
            "/proc",
            "/sys/",
            "/srv/../etc",
            "/a//b",
            "/a/.",
        ] {
            let error = text.parse::<DiskDirectory>().unwrap_err().to_string();
            assert!(error.contains("that is not one of /, /dev, /proc, /sys, found"), "{error}");
        }
    }
}
