//! Directories of every kind, and what is found in them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
};

use super::*;

/// An administrator's and a vendor's directory.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        for name in ["admin", "vendor"] {
            fs::create_dir(place.at(name)).expect("a directory");
            place.chmod(name, 0o755);
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), Permissions::from_mode(mode)).expect("chmod");
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.at(name), text).expect("a file");
        self.chmod(name, mode);
    }

    fn directories(&self) -> Directories {
        Directories { admin: self.at("admin"), vendor: Some(self.at("vendor")) }
    }

    fn discover(&self) -> Discovery {
        discover(&self.directories())
    }

    /// Compares what was found, one `admin/NAME: FATE` a line, the place itself shortened to `.`.
    #[track_caller]
    fn check(&self, expected: &[&str]) {
        let here = self.0.path().to_str().expect("UTF-8");
        let discovery = self.discover();
        let entries = discovery.entries.iter().map(|entry| {
            let path = entry.path.strip_prefix(self.0.path()).expect("in here").display();
            match &entry.fate {
                Fate::Run(_) => format!("{path}: run"),
                Fate::Ignored(why) => format!("{path}: ignored, {why}"),
                Fate::Refused(why) => format!("{path}: refused, {why}"),
                Fate::Masked { by } => format!("{path}: masked by {}", by.display()),
            }
        });
        let troubles = discovery.troubles.iter().map(|trouble| {
            let path = trouble.directory.strip_prefix(self.0.path()).expect("in here");
            format!("{}: {}", path.display(), trouble.kind)
        });
        let found: Vec<_> = entries.chain(troubles).map(|line| line.replace(here, ".")).collect();
        assert_eq!(found, expected);
    }
}

const SCRIPT: &str = "#!/bin/sh\nexit 0\n";

#[test]
fn names_are_in_byte_order_and_leftovers_are_left() {
    let place = Place::new();
    for name in ["b", "B", "10", "9", "\u{fc}", "a b", "a.dpkgx", "dpkg-x", "x.conf", "ucf-x"] {
        place.file(&format!("admin/{name}"), SCRIPT, 0o755);
    }
    let leftovers = [
        "a~",
        "a.bak",
        "a.swp",
        "a.rpmsave",
        "a.rpmnew",
        "a.rpmorig",
        "a.dpkg-old",
        "a.dpkg-new",
        "a.dpkg-dist",
        "a.ucf-old",
        "a.ucf-dist",
    ];
    for name in leftovers {
        place.file(&format!("admin/{name}"), SCRIPT, 0o755);
    }
    place.file("admin/.hidden", SCRIPT, 0o755);
    let leftover =
        |name| format!("admin/{name}: ignored, its name is that of a backup or packaging leftover");
    let mut expected: Vec<_> =
        ["b", "B", "10", "9", "\u{fc}", "a b", "a.dpkgx", "dpkg-x", "x.conf", "ucf-x"]
            .map(|name| format!("admin/{name}: run"))
            .into();
    expected.extend(leftovers.map(leftover));
    expected.push("admin/.hidden: ignored, its name begins with a dot".into());
    expected.sort_by_key(|line| line.split(':').next().map(str::to_owned));
    place.check(&expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_is_no_executable_file_is_ignored() {
    let place = Place::new();
    place.file("admin/readme", "", 0o644);
    place.file("admin/group-only", SCRIPT, 0o654);
    fs::create_dir(place.at("admin/directory")).expect("a directory");
    nix::unistd::mkfifo(&place.at("admin/fifo"), Mode::S_IRWXU).expect("a fifo");
    symlink("directory", place.at("admin/link-to-directory")).expect("a link");
    symlink("/dev/null", place.at("admin/null")).expect("a link");
    place.check(&[
        "admin/directory: ignored, it is no regular file",
        "admin/fifo: ignored, it is no regular file",
        "admin/group-only: run",
        "admin/link-to-directory: ignored, it is no regular file",
        "admin/null: ignored, it is no regular file",
        "admin/readme: ignored, it is not executable",
    ]);
}

#[test]
fn the_administrator_has_precedence() {
    let place = Place::new();
    for name in ["both", "empty", "executable-empty", "null", "off", "vendor-only"] {
        place.file(&format!("vendor/{name}"), SCRIPT, 0o755);
    }
    place.file("admin/both", SCRIPT, 0o755);
    place.file("admin/empty", "", 0o644);
    place.file("admin/executable-empty", "", 0o755);
    place.file("admin/off", SCRIPT, 0o644);
    symlink("/dev/null", place.at("admin/null")).expect("a link");
    fs::create_dir(place.at("admin/vendor-only")).expect("a directory");
    let mask = "ignored, it masks the vendor's check of that name";
    place.check(&[
        "admin/both: run",
        "vendor/both: ignored, `./admin/both' has precedence",
        &format!("admin/empty: {mask}"),
        "vendor/empty: masked by ./admin/empty",
        &format!("admin/executable-empty: {mask}"),
        "vendor/executable-empty: masked by ./admin/executable-empty",
        &format!("admin/null: {mask}"),
        "vendor/null: masked by ./admin/null",
        "admin/off: ignored, it is not executable",
        "vendor/off: ignored, `./admin/off' has precedence",
        "admin/vendor-only: ignored, it is no regular file",
        "vendor/vendor-only: run",
    ]);
}

#[test]
fn an_empty_executable_that_masks_nothing_is_a_check() {
    // It will fail: a check that a full disk has emptied must not open the gate.
    let place = Place::new();
    place.file("admin/emptied", "", 0o755);
    place.check(&["admin/emptied: run"]);
}

#[test]
fn unsafe_checks_are_refused() {
    let place = Place::new();
    place.file("admin/group", SCRIPT, 0o775);
    place.file("admin/others", SCRIPT, 0o757);
    place.file("target", SCRIPT, 0o757);
    symlink("../target", place.at("admin/link")).expect("a link");
    symlink("nowhere", place.at("admin/dangling")).expect("a link");
    symlink("loop", place.at("admin/loop")).expect("a link");
    let place_mode = "is writable by its group (mode 0775)";
    place.check(&[
        "admin/dangling: refused, can't examine `./admin/nowhere': No such file or directory",
        &format!("admin/group: refused, it is not safe to run: `./admin/group' {place_mode}"),
        "admin/link: refused, it is not safe to run: `./target' is writable by others (mode 0757)",
        "admin/loop: refused, can't examine `./admin/loop': Too many symbolic links encountered",
        "admin/others: refused, it is not safe to run: `./admin/others' is writable by others \
         (mode 0757)",
    ]);
}

#[test]
fn an_unsafe_directory_is_told_by_its_checks_or_by_itself() {
    let place = Place::new();
    place.file("admin/check", SCRIPT, 0o755);
    place.file("admin/readme", "", 0o644);
    place.chmod("admin", 0o777);
    place.chmod("vendor", 0o775);
    place.check(&[
        "admin/check: refused, it is not safe to run: `./admin' is writable by group and others \
         (mode 0777)",
        "admin/readme: ignored, it is not executable",
        "vendor: the directory is not safe: `./vendor' is writable by its group (mode 0775)",
    ]);
    place.chmod("admin", 0o1777);
    place.chmod("vendor", 0o1775);
    place.check(&["admin/check: run", "admin/readme: ignored, it is not executable"]);
}

#[test]
fn what_strangers_may_have_put_there_switches_off_nothing() {
    let place = Place::new();
    for name in ["empty", "null", "off", "run"] {
        place.file(&format!("vendor/{name}"), SCRIPT, 0o755);
    }
    place.file("admin/empty", "", 0o755);
    place.file("admin/off", SCRIPT, 0o644);
    place.file("admin/run", SCRIPT, 0o755);
    symlink("/dev/null", place.at("admin/null")).expect("a link");
    place.chmod("admin", 0o777);
    let refused = "refused, it is not safe to run: `./admin' is writable by group and others \
                   (mode 0777)";
    place.check(&[
        &format!("admin/empty: {refused}"),
        "vendor/empty: run",
        &format!("admin/null: {refused}"),
        "vendor/null: run",
        &format!("admin/off: {refused}"),
        "vendor/off: run",
        &format!("admin/run: {refused}"),
        "vendor/run: run",
    ]);
}

#[test]
fn a_stranger_masks_nothing_in_a_directory_for_everybody() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root can give files away.
    }
    let place = Place::new();
    place.file("vendor/check", SCRIPT, 0o755);
    place.file("admin/check", "", 0o644);
    chown(place.at("admin/check"), Some(65534), None).expect("chown");
    place.chmod("admin", 0o1777);
    place.check(&[
        "admin/check: refused, it is not safe to run: `./admin/check' belongs to user 65534, \
         who is neither root nor the user of this program",
        "vendor/check: run",
    ]);
}

#[test]
fn an_unsafe_directory_whose_checks_are_overridden_is_told_as_well() {
    let place = Place::new();
    place.file("admin/check", SCRIPT, 0o755);
    place.file("vendor/check", SCRIPT, 0o755);
    place.chmod("vendor", 0o777);
    place.check(&[
        "admin/check: run",
        "vendor/check: ignored, `./admin/check' has precedence",
        "vendor: the directory is not safe: `./vendor' is writable by group and others (mode 0777)",
    ]);
}

#[test]
fn strangers_checks_are_refused() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root can give files away
    }
    let place = Place::new();
    place.file("admin/check", SCRIPT, 0o755);
    chown(place.at("admin/check"), Some(65534), None).expect("chown");
    place.check(&["admin/check: refused, it is not safe to run: `./admin/check' belongs to user \
         65534, who is neither root nor the user of this program"]);
}

#[test]
fn interpreters_are_examined() {
    let place = Place::new();
    place.file("good", SCRIPT, 0o755);
    place.file("bad", "", 0o777);
    let here = place.0.path().display();
    place.file("nested", &format!("#!{here}/bad\n"), 0o755);
    place.file("admin/good", &format!("#!{here}/good -x\n"), 0o755);
    place.file("admin/bad", &format!("#!{here}/bad\n"), 0o755);
    place.file("admin/nested", &format!("#!{here}/nested\n"), 0o755);
    place.file("admin/missing", &format!("#!{here}/missing\n"), 0o755);
    place.file("admin/env", "#!/usr/bin/env -S A=b sh -e\n", 0o755);
    let refused = "refused, its interpreter is not safe to run: `./bad' is writable by group and \
                   others (mode 0777)";
    place.check(&[
        &format!("admin/bad: {refused}"),
        "admin/env: run",
        "admin/good: run",
        "admin/missing: run",
        &format!("admin/nested: {refused}"),
    ]);
}

#[test]
fn directories_that_are_not_there_or_not_readable() {
    let place = Place::new();
    fs::remove_dir(place.at("admin")).expect("rmdir");
    fs::remove_dir(place.at("vendor")).expect("rmdir");
    place.file("vendor", "", 0o755);
    place.check(&[
        "admin: the directory does not exist",
        "vendor: the directory can't be read: can't examine `./vendor': Not a directory",
    ]);
}

#[test]
fn a_check_that_changed_is_not_opened() {
    let place = Place::new();
    let path = place.at("admin/check");
    let found = || match place.discover().entries.as_slice() {
        [Entry { fate: Fate::Run(identity), .. }] => *identity,
        other => panic!("{other:?}"),
    };
    let changes: [(&str, &dyn Fn()); 4] = [
        ("written", &|| fs::write(&path, "#!/bin/sh\nexit 1\n").expect("written")),
        ("mode", &|| place.chmod("admin/check", 0o700)),
        ("swapped", &|| {
            place.file("admin/other", SCRIPT, 0o755);
            fs::rename(place.at("admin/other"), &path).expect("swapped");
        }),
        ("swapped and back", &|| {
            fs::rename(&path, place.at("away")).expect("away");
            place.file("admin/check", SCRIPT, 0o755);
            fs::rename(place.at("away"), &path).expect("back");
        }),
    ];
    for (name, change) in changes {
        place.file("admin/check", SCRIPT, 0o755);
        let identity = found();
        assert!(open_check(&path, &identity).expect("unchanged").script, "{name}");
        assert_eq!(same_check(&path, &identity), Ok(()), "{name}");
        change();
        assert_eq!(open_check(&path, &identity).err(), Some(Refusal::Changed), "{name}");
        assert_eq!(same_check(&path, &identity), Err(Refusal::Changed), "{name}");
    }
    place.file("admin/check", SCRIPT, 0o755);
    let identity = found();
    place.chmod("admin/check", 0o757);
    assert!(matches!(open_check(&path, &identity), Err(Refusal::Unsafe(_))));
}
