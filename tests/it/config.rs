//! `virtcimd check-config` and the files we ship.

use std::{fs, path::Path, process::Command};

use virtcimd::config::{self, Config, Overrides};

/// Runs `virtcimd check-config` on this text.
fn check_config(text: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("virtcimd.toml");
    fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_virtcimd"))
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), said.replace(&format!("{}/", directory.path().display()), ""))
}

#[test]
fn good_is_0_and_wrong_is_78_with_every_line() {
    assert_eq!(check_config(""), (Some(0), "virtcimd.toml: the configuration is good\n".into()));
    let (code, said) =
        check_config("[checks]\ntimeout = 5\n[log]\nlevel = \"lo=ud\"\ncolour = 1\n");
    assert_eq!(code, Some(78));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("virtcimd.toml:2: checks.timeout: "), "{said}");
    assert!(lines[1].starts_with("virtcimd.toml:4: log.level "), "{said}");
    assert!(lines[2].starts_with("virtcimd.toml:5: unknown key `log.colour`"), "{said}");
}

#[test]
fn files_that_the_configuration_names_are_looked_at() {
    let (code, said) = check_config(
        "[tls]\ncertificate = \"/nonexistent/c\"\nprivate-key = \"/nonexistent/k\"\n[schema]\n\
         directories = \"/nonexistent/s\"\n",
    );
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("cannot read the certificate from /nonexistent/c"), "{said}");
    assert!(said.contains("/nonexistent/s"), "{said}");
    let (code, said) = check_config(
        "[checks]\nuser = \"no-such-user\"\n[indications]\nca = \"/nonexistent/ca.pem\"\n",
    );
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("no-such-user") && said.contains("/nonexistent/ca.pem"), "{said}");
}

#[test]
fn a_missing_file_is_an_error_if_it_was_named() {
    let status = Command::new(env!("CARGO_BIN_EXE_virtcimd"))
        .args(["--config", "/nonexistent.toml", "check-config"])
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(78));
}

/// The sample as shipped is good, and so it is with every commented setting switched on.
#[test]
fn the_sample_is_good_as_it_is_and_with_everything_switched_on() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/virtcimd.toml");
    let sample = fs::read_to_string(sample).unwrap();
    assert_eq!(check_config(&sample).0, Some(0));
    let (_, said) = check_config(&switched_on(&sample));
    // Only what a sample cannot have is missing: the files of certificates and schema, and a user.
    let missing = ["cannot read", "/usr/share/mof", "cannot take trusted", "there is no user"];
    for line in said.lines() {
        assert!(missing.iter().any(|it| line.contains(it)), "{said}");
    }
}

/// The sample with its commented settings as settings: `#key = value` and `#[section]` are such, `# text`
/// is text.
fn switched_on(sample: &str) -> String {
    let is_setting = |text: &str| text.starts_with(|c: char| !c.is_whitespace() && c != '#');
    let line = |line| match str::strip_prefix(line, '#') {
        Some(setting) if is_setting(setting) => setting,
        _ => line,
    };
    sample.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_sample_shows_are_the_defaults() {
    let load = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        config::load(Some(file.path()), &Overrides::default()).unwrap()
    };
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/virtcimd.toml");
    let (shown, default) = (load(&switched_on(&fs::read_to_string(sample).unwrap())), load(""));
    // The rest are examples, or depend on the machine.
    let told = |config: &Config| {
        let Config { checks, http, operations, .. } = config;
        let times = (checks.timeout, checks.grace, checks.queue, checks.when_directory_missing);
        let sizes = (checks.output_bytes, checks.reason_bytes, &checks.parameters, &checks.limits);
        format!("{times:?} {sizes:?} {:?} {operations:?}", http.limits)
    };
    assert_eq!(told(&shown), told(&default));
}

/// The sections of the configuration and the keys each knows, as the program tells them.
fn known_keys() -> Vec<(String, Vec<String>)> {
    const SECTIONS: [&str; 14] = [
        "listen",
        "tls",
        "auth",
        "checks",
        "checks.resources",
        "migration",
        "jobs",
        "compatibility",
        "indications",
        "limits",
        "schema",
        "store",
        "log",
        "daemon",
    ];
    let text: String =
        SECTIONS.iter().map(|section| format!("[{section}]\nno-such-key-anywhere = 1\n")).collect();
    let (_, said) = check_config(&text);
    let keys = said.lines().map(|line| {
        let (_, rest) = line.split_once("unknown key `").unwrap();
        let (name, known) = rest.split_once("`; known here: ").unwrap_or((rest, ""));
        let section = name.strip_suffix(".no-such-key-anywhere").unwrap_or(name);
        let known = known.split(", ").filter(|key| !key.is_empty());
        (section.to_owned(), known.map(str::to_owned).collect())
    });
    let keys: Vec<_> = keys.collect();
    assert_eq!(keys.len(), SECTIONS.len(), "{said}");
    keys
}

#[test]
fn the_sample_and_the_manual_name_every_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sample = fs::read_to_string(root.join("config/virtcimd.toml")).unwrap();
    let manual =
        fs::read_to_string(root.join("docs/man/virtcimd.toml.5")).unwrap().replace('\\', "");
    for (section, keys) in known_keys() {
        for key in keys {
            let is_table = format!("[{section}.{key}");
            let in_sample = sample.lines().any(|line| {
                let line = line.strip_prefix('#').unwrap_or(line);
                line.starts_with(&format!("{key} =")) || line.starts_with(&is_table)
            });
            // PAM is for programs built with it, which the sample is not about.
            assert!(in_sample || key == "pam-service", "the sample lacks {section}.{key}");
            assert!(manual.contains(&key), "virtcimd.toml(5) lacks {section}.{key}");
        }
    }
}
