//! `virtcimd checks list` and `run`, without a running daemon.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use crate::checks_support::Place;

/// What the program answered; the place itself is shortened to `.`.
struct Answer {
    code: i32,
    out: String,
    notes: String,
}

/// Runs `virtcimd checks …` with the place's directories and libvirt's test driver.
fn checks(place: &Place, arguments: &[&str]) -> Answer {
    checks_with(place, "test:///default", arguments)
}

fn checks_with(place: &Place, hypervisor: &str, arguments: &[&str]) -> Answer {
    let here = place.at("");
    let here = here.to_str().unwrap().trim_end_matches('/');
    let config = place.at("virtcimd.toml");
    let other = place.at("other.xml");
    let text = format!(
        "[[hypervisor]]\nuri = \"{hypervisor}\"\n\
         [checks]\ndirectory = \"{here}/checks\"\nvendor-directory = \"{here}/vendor\"\n\
         [migration]\nallowed-destinations = [\"other\"]\n\
         [migration.destinations.other]\nuri = \"test://{}\"\n\
         [daemon]\nruntime-directory = \"{here}/run\"\n",
        other.display(),
    );
    fs::write(&config, text).unwrap();
    fs::write(&other, "<node><cpu><mhz>1</mhz><model>x86_64</model><active>1</active><nodes>1</nodes>\
                       <sockets>1</sockets><cores>1</cores><threads>1</threads></cpu><memory>9000000\
                       </memory></node>").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_virtcimd"));
    command.arg("--config").arg(&config).arg("checks").args(arguments);
    let output = command.env_remove("XDG_RUNTIME_DIR").output().unwrap();
    place.assert_nothing_left();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(here, ".");
    let (out, notes) = (text(output.stdout), text(output.stderr));
    Answer { code: output.status.code().unwrap(), out, notes }
}

#[test]
fn list_tells_what_becomes_of_each_file() {
    let place = Place::new();
    place.check("10-used", "exit 0").check("20-off", "exit 0").check("30-unsafe", "exit 0");
    fs::set_permissions(place.at("checks/20-off"), Permissions::from_mode(0o644)).unwrap();
    let answer = checks(&place, &["list"]);
    assert_eq!(answer.code, 0, "{}", answer.notes);
    fs::set_permissions(place.at("checks/30-unsafe"), Permissions::from_mode(0o777)).unwrap();
    let answer = checks(&place, &["list"]);
    let rows: Vec<Vec<&str>> =
        answer.out.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["10-used", "used", "./checks/10-used"]);
    assert_eq!(rows[1][..3], ["20-off", "ignored", "./checks/20-off"]);
    assert_eq!(rows[2][..3], ["30-unsafe", "refused", "./checks/30-unsafe"]);
    assert!(
        answer.out.contains("`./checks/30-unsafe' is writable by group and others (mode 0777)")
    );
    assert_eq!(answer.code, 1, "the gate refuses every guest");
}

#[test]
fn list_tells_of_missing_directories() {
    let place = Place::new();
    fs::remove_dir(place.at("vendor")).unwrap();
    let answer = checks(&place, &["list"]);
    assert_eq!(
        answer.out,
        "There are no files in the check directories.\n\
         `./vendor': the directory does not exist: no guest may move\n"
    );
    assert_eq!(answer.code, 1);
}

#[test]
fn run_tells_what_each_check_says() {
    let place = Place::new();
    place.check(
        "10-passes",
        "[ \"$1 $2 $VIRTCIMD_DESTINATION_HOST\" = 'test test:///default other' ]",
    );
    place.check("20-warns", "echo \"warning: $(cat \"$3\")\"");
    let arguments =
        ["run", "test", "--destination", "other", "--parameter", "a=b", "--parameter", "c"];
    let answer = checks(&place, &arguments);
    let words: Vec<Vec<&str>> =
        answer.out.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert!(words.contains(&vec!["10-passes", "passed"]), "{}", answer.out);
    assert!(words.contains(&vec!["20-warns", "warning"]), "{}", answer.out);
    assert!(answer.out.contains("warns: a=b\n"), "{}", answer.out);
    place.check("30-fails", "echo no luck; exit 1");
    let answer = checks(&place, &arguments);
    assert_eq!(answer.code, 1);
    assert!(answer.out.contains("  no luck\n"), "{}", answer.out);
    let built_in =
        answer.out.lines().any(|line| line.starts_with("VMC") || line.starts_with("built-in"));
    assert!(built_in, "{}", answer.out);
}

#[test]
fn run_without_a_destination_or_a_hypervisor_says_what_is_left_out() {
    let place = Place::new();
    place.check("check", "exit 0");
    let answer = checks(&place, &["run", "test"]);
    assert_eq!(answer.code, 0, "{}", answer.out);
    assert!(answer.out.ends_with("\ntest may move.\n"), "{}", answer.out);
    assert!(answer.notes.contains("the built-in checks are left out"), "{}", answer.notes);
    let nowhere = "test:///no/such/file.xml";
    let answer = checks_with(&place, nowhere, &["run", "test"]);
    assert_eq!(answer.code, 0, "{}", answer.out);
    assert!(answer.notes.contains("no hypervisor can be asked"), "{}", answer.notes);
    // With a destination the built-in checks are asked for as well.
    let answer = checks_with(&place, nowhere, &["run", "test", "--destination", "other"]);
    assert_eq!(answer.code, 69, "{}", answer.out);
    assert!(answer.out.ends_with("\nWhether test may move is not known.\n"), "{}", answer.out);
}

#[test]
fn run_refuses_what_makes_no_sense() {
    let place = Place::new();
    place.check("check", "touch \"$OUT/ran\"");
    for arguments in [
        &["run", "no-such-guest"][..],
        &["run", "test", "--destination", "elsewhere"],
        &["run", "test", "--destination", "other?command=x"],
        &["run", "test", "--parameter", "a\nb"],
        &["run"],
    ] {
        let answer = checks(&place, arguments);
        assert_eq!(answer.code, 2, "{arguments:?}: {}", answer.notes);
        assert!(!place.at("out/ran").exists(), "{arguments:?}");
    }
}
