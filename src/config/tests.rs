//! What a configuration may say, and what is said about it if it may not.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use super::*;
use crate::{
    checks::{WhenMissing, builtin::Level},
    http::{AuthMode, ListenAddress},
    migration::DiskDirectories,
    providers::Prefix,
};

/// Loads `text` as the main file, with fragments `(name, text)` beside it.
fn load_text(
    text: &str,
    fragments: &[(&str, &str)],
    overrides: &Overrides,
) -> Result<Config, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("virtcimd.toml");
    fs::write(&file, text).unwrap();
    fs::create_dir(directory.path().join("virtcimd.d")).unwrap();
    for (name, text) in fragments {
        fs::write(directory.path().join("virtcimd.d").join(name), text).unwrap();
    }
    let prefix = format!("{}/", directory.path().display());
    load(Some(&file), overrides).map_err(|ConfigError(problems)| {
        problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    })
}

#[track_caller]
fn good(text: &str) -> Config {
    load_text(text, &[], &Overrides::default()).unwrap_or_else(|p| panic!("{text}: {p:#?}"))
}

/// `text` has exactly this problem.
#[track_caller]
fn bad(text: &str, problem: &str) {
    let problems = load_text(text, &[], &Overrides::default()).expect_err(text);
    assert_eq!(problems, [problem], "{text}");
}

fn addresses(config: &Config) -> Vec<String> {
    let addresses = config.http.listeners.iter().map(|listener| match &listener.address {
        ListenAddress::Http(address) => format!("http {address}"),
        ListenAddress::Https(address) => format!("https {address}"),
        ListenAddress::Unix(path) => format!("unix {}", path.display()),
    });
    addresses.collect()
}

#[test]
fn no_word_at_all_is_a_safe_configuration() {
    let config = good("");
    assert!(
        matches!(&config.http.auth.mode, AuthMode::UsersFile(path) if path == Path::new("/etc/virtcimd/users"))
    );
    let loopback = |listener: &http::Listener| match &listener.address {
        ListenAddress::Http(address) => address.ip().is_loopback() && address.port() == 5988,
        ListenAddress::Https(_) => false,
        ListenAddress::Unix(_) => true,
    };
    assert!(config.http.listeners.iter().all(loopback));
    assert_eq!(config.http.listeners.len(), 3);
    assert_eq!(config.checks.directory, Path::new("/usr/libexec/extchecks"));
    assert_eq!(config.checks.timeout, Duration::from_secs(10));
    assert_eq!(config.checks.when_directory_missing, WhenMissing::Fail);
    assert_eq!(config.hypervisors[0].uri, "qemu:///system");
}

#[test]
fn every_key_of_the_design_is_understood() {
    let config = good(
        r#"
        [listen]
        http = "127.0.0.1:5988"
        https = ["0.0.0.0:5989", "[::]:5989"]
        unix = "/run/x.sock"
        [tls]
        certificate = "/c.pem"
        private-key = "/k.pem"
        client-ca = "/ca.pem"
        [auth]
        mode = "users-file"
        users-file = "/u"
        [auth.groups]
        wheel = "admin"
        [auth.certificates]
        robot = "checker"
        [[hypervisor]]
        uri = "qemu:///system"
        [[hypervisor]]
        uri = "test:///default"
        prefix = "Xen"
        [checks]
        directory = "/d"
        vendor-directory = "/v"
        timeout = "2s"
        grace = "250ms"
        parallel = 2
        parallel-total = 4
        when-directory-missing = "pass"
        user = "nobody"
        [checks.timeouts]
        "20-storage" = "1m"
        [checks.builtin]
        VMC007 = "off"
        [checks.resources]
        open-files = 64
        file-size = "1 MiB"
        [migration]
        mode = "direct"
        allowed-destinations = ["*.example.com", "192.0.2.0/24"]
        allowed-transports = ["ssh", "tls"]
        default-transport = "tls"
        max-outgoing = 3
        max-per-destination = 1
        shutdown-timeout = "5m"
        failed-job-state = "exception"
        [migration.destinations.other]
        uri = "test:///file.xml"
        migration-uri = "tcp://10.0.0.1"
        [jobs]
        keep = "1h"
        [compatibility]
        pywbem-booleans = "off"
        wbemcli-arrays = "off"
        check-failure = "error"
        [indications]
        max-filters = 7
        max-queued = 8
        max-kept = "1 KiB"
        retry-attempts = 0
        retry-interval = "1s"
        removal-action = "disable"
        removal-interval = "1h"
        connect-timeout = "2s"
        answer-timeout = "3s"
        allow-cleartext = true
        ca = "/listeners.pem"
        [limits]
        connections = 10
        body-size = "1 MiB"
        queued-checks = 5
        pull-empty = 3
        query-size = "1 KiB"
        query-depth = 4
        query-parts = 50
        query-pattern-steps = 60
        query-pattern-depth = 7
        query-work = 8000
        [schema]
        directories = ["/s"]
        [store]
        path = "/db"
        [log]
        format = "json"
        level = "debug"
        [daemon]
        runtime-directory = "/r"
        stop-timeout = "5s"
        "#,
    );
    assert_eq!(
        addresses(&config),
        ["http 127.0.0.1:5988", "https 0.0.0.0:5989", "https [::]:5989", "unix /run/x.sock"]
    );
    assert_eq!(config.hypervisors[1].prefix, Prefix::Xen);
    assert_eq!((config.indications.filters, config.indications.destinations), (7, 1000));
    let delivery = &config.delivery;
    assert_eq!((delivery.queued, delivery.kept, delivery.attempts), (8, 1024, 0));
    assert_eq!(delivery.removal, indications::RemovalAction::Disable);
    assert!(delivery.allow_cleartext);
    assert_eq!(delivery.ca.as_deref(), Some(Path::new("/listeners.pem")));
    assert_eq!(config.checks.timeouts["20-storage"], Duration::from_secs(60));
    assert_eq!(config.check_levels, Levels::new([("VMC007", Level::Off)]).unwrap());
    assert_eq!(config.checks.limits.open_files, Some(64));
    assert_eq!(config.checks.limits.file_size, Some(1 << 20));
    assert_eq!(config.checks.runtime_directory, Path::new("/r/checks"));
    assert_eq!(config.migration.policy.named["other"].uri, "test:///file.xml");
    assert_eq!(config.checks.queue, 5);
    assert_eq!(config.operations.pull.empty, 3);
    let query = config.operations.query;
    assert_eq!((query.length, query.depth, query.parts), (1024, 4, 50));
    assert_eq!((query.pattern_steps, query.pattern_depth, query.work), (60, 7, 8000));
    assert_eq!(config.indications.query, query);
    assert_eq!(config.http.limits.body_size.get(), 1 << 20);
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = "[checks]\ntimeuot = \"10s\"\ntimeout = 10\n\n[checkz]\n\
                [listen]\nhttp = \"0.0.0.0:5988\"\n[limits]\nconnections = 0\n";
    let fragment = "[auth]\nmode = \"nobody\"\n";
    let problems =
        load_text(text, &[("50-auth.toml", fragment)], &Overrides::default()).unwrap_err();
    assert_eq!(
        problems,
        [
            "virtcimd.d/50-auth.toml:2: auth.mode: expected \"users-file\" or \"pam\" or \"none\", \
             found \"nobody\"",
            "virtcimd.toml:2: unknown key `checks.timeuot`; did you mean `timeout`?",
            "virtcimd.toml:3: checks.timeout: expected a duration with its unit: write \"10s\"",
            "virtcimd.toml:5: unknown section `checkz`; did you mean `checks`?",
            "virtcimd.toml:7: passwords would cross the network in clear text on 0.0.0.0:5988: use \
             https, or set listen.allow-cleartext = true",
            "virtcimd.toml:9: limits.connections: expected a number greater than 0, found 0",
        ]
    );
}

#[test]
fn an_unknown_key_is_found_in_every_section() {
    for section in [
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
    ] {
        let problems = load_text(&format!("[{section}]\nqqqqqq = 1\n"), &[], &Overrides::default())
            .expect_err(section);
        let start = format!("virtcimd.toml:2: unknown key `{section}.qqqqqq`; known here: ");
        assert!(problems.len() == 1 && problems[0].starts_with(&start), "{problems:?}");
    }
    bad(
        "[[hypervisor]]\nuri = \"test:///default\"\nprefx = \"KVM\"\n",
        "virtcimd.toml:3: unknown key `hypervisor.prefx`; did you mean `prefix`?",
    );
    bad(
        "[migration.destinations.x]\nuri = \"test:///default\"\nurl = \"y\"\n",
        "virtcimd.toml:3: unknown key `migration.destinations.x.url`; did you mean `uri`?",
    );
}

#[test]
fn text_that_is_no_toml_is_reported_with_its_line() {
    let problems = load_text("[checks]\ntimeout = \n", &[], &Overrides::default()).unwrap_err();
    assert!(problems[0].starts_with("virtcimd.toml:2: "), "{problems:?}");
}

#[test]
fn authentication_is_never_off_on_the_network() {
    bad(
        "[auth]\nmode = \"none\"\n[listen]\nhttp = \"0.0.0.0:5988\"\nallow-cleartext = true\n",
        "virtcimd.toml:4: auth.mode \"none\" is for loopback only, and 0.0.0.0:5988 is open to the \
         network",
    );
    good("[auth]\nmode = \"none\"\n");
    good("[auth]\nmode = \"none\"\n[listen]\nhttp = \"127.0.0.2:0\"\n");
    // Also where the listener is a default and only the mode was written.
    let problems = load_text(
        "[auth]\nmode = \"none\"\n[tls]\ncertificate = \"/c\"\nprivate-key = \"/k\"\n",
        &[],
        &Overrides::default(),
    )
    .unwrap_err();
    assert!(problems.iter().all(|p| p.starts_with("virtcimd.toml:2: auth.mode")), "{problems:?}");
    // And where the command line opens the network.
    let overrides = Overrides { listen: vec!["0.0.0.0:0".into()], ..Overrides::default() };
    let problems = load_text("[auth]\nmode = \"none\"\n", &[], &overrides).unwrap_err();
    assert_eq!(
        problems,
        ["--listen: auth.mode \"none\" is for loopback only, and 0.0.0.0:0 is open to the network"]
    );
}

#[test]
fn cleartext_on_the_network_must_be_asked_for() {
    bad(
        "[listen]\nhttp = \"192.0.2.1:5988\"\n",
        "virtcimd.toml:2: passwords would cross the network in clear text on 192.0.2.1:5988: use \
         https, or set listen.allow-cleartext = true",
    );
    good("[listen]\nhttp = \"192.0.2.1:5988\"\nallow-cleartext = true\n");
}

#[test]
fn a_certificate_needs_its_key_and_https_needs_both() {
    bad(
        "[tls]\ncertificate = \"/c\"\n",
        "virtcimd.toml:2: tls.certificate needs tls.private-key beside it",
    );
    bad("[tls]\nclient-ca = \"/c\"\n", "virtcimd.toml:2: tls.certificate is missing");
    bad(
        "[listen]\nhttps = \"[::]:5989\"\n",
        "virtcimd.toml:2: a listener for https needs tls.certificate and tls.private-key",
    );
    let config = good("[tls]\ncertificate = \"/c\"\nprivate-key = \"/k\"\n");
    assert!(addresses(&config).contains(&"https [::]:5989".to_string()));
}

#[test]
fn zero_is_no_limit() {
    for line in ["body-size = 0", "idle-time = \"0s\"", "xml-depth = 0", "requests = -1"] {
        let problems = load_text(&format!("[limits]\n{line}\n"), &[], &Overrides::default());
        assert_eq!(problems.expect_err(line).len(), 1, "{line}");
    }
    for key in ["pull-empty", "query-size", "query-depth", "query-parts", "query-pattern-steps"] {
        let zero =
            format!("virtcimd.toml:2: limits.{key}: expected a number greater than 0, found 0");
        bad(&format!("[limits]\n{key} = 0\n"), &zero);
    }
    bad(
        "[limits]\nquery-work = -1\n",
        "virtcimd.toml:2: limits.query-work: expected a number greater than 0, found -1",
    );
    assert_eq!(good("[limits]\nquery-pattern-depth = 64\n").operations.query.pattern_depth, 64);
    for key in ["query-depth", "query-pattern-depth"] {
        let deep = format!("virtcimd.toml:2: limits.{key} must be at most 64, found 65");
        bad(&format!("[limits]\n{key} = 65\n"), &deep);
    }
    bad(
        "[checks.builtin]\nVMC001 = \"off\"\n",
        "virtcimd.toml:2: checks.builtin: VMC001 can't be weakened: it makes sure that the \
         destination can be reached and is not the source",
    );
    bad("[checks]\ntimeout = \"0s\"\n", "virtcimd.toml:2: checks.timeout must be greater than 0");
}

#[test]
fn hypervisors_have_different_prefixes() {
    bad(
        "[[hypervisor]]\nuri = \"qemu:///system\"\n[[hypervisor]]\nuri = \"test:///default\"\n",
        "virtcimd.toml:4: qemu:///system and test:///default have the prefix KVM both: give one of \
         them another prefix",
    );
    bad(
        "[[hypervisor]]\nuri = \"qemu\"\n",
        "virtcimd.toml:2: hypervisor.uri: expected a URI like \"qemu:///system\", found \"qemu\"",
    );
    bad("[[hypervisor]]\nprefix = \"Xen\"\n", "virtcimd.toml:1: hypervisor.uri is missing");
    assert_eq!(good("[[hypervisor]]\nuri = \"lxc:///\"\n").hypervisors[0].prefix, Prefix::Lxc);
}

#[test]
fn destinations_are_names_domains_and_networks() {
    bad(
        "[migration]\nallowed-destinations = [\"good.example.com\", \"*.x/y\"]\n",
        "virtcimd.toml:2: migration.allowed-destinations: expected a name, `*.domain`, an address or \
         a network like 192.0.2.0/24, found \"*.x/y\": a name has only ASCII letters, digits, `-`, \
         `_` and dots",
    );
    bad(
        "[migration]\ndefault-transport = \"tls\"\n",
        "virtcimd.toml:2: migration.default-transport is not in allowed-transports",
    );
}

#[test]
fn directories_of_disks_are_absolute_and_none_by_default() {
    assert_eq!(good("").migration.disk_directories, DiskDirectories::default());
    let text = "[migration]\nallowed-disk-directories = [\"/srv/images\", \"/dev/vg0/\"]\n";
    let allowed = ["/srv/images", "/dev/vg0"].map(|it| it.parse().expect("a directory"));
    assert_eq!(good(text).migration.disk_directories, DiskDirectories(allowed.to_vec()));
    bad(
        "[migration]\nallowed-disk-directories = \"/dev\"\n",
        "virtcimd.toml:2: migration.allowed-disk-directories: expected an absolute path without `.` \
         and `..` that is not one of /, /dev, /proc, /sys, found \"/dev\"",
    );
}

#[test]
fn fragments_are_merged_in_the_order_of_their_names() {
    let config = load_text(
        "[checks]\ntimeout = \"1s\"\nparallel = 3\n[[hypervisor]]\nuri = \"qemu:///system\"\n",
        &[
            ("20-b.toml", "[checks]\ntimeout = \"3s\"\n"),
            ("10-a.toml", "[checks]\ntimeout = \"2s\"\n[[hypervisor]]\nuri = \"lxc:///\"\n"),
            ("90-not.conf", "[checks]\ntimeout = \"9s\"\n"),
            (".hidden.toml", "[checks]\ntimeout = \"9s\"\n"),
        ],
        &Overrides::default(),
    )
    .unwrap();
    assert_eq!(config.checks.timeout, Duration::from_secs(3));
    assert_eq!(config.checks.parallel.get(), 3);
    assert_eq!(config.hypervisors.len(), 2);
}

#[test]
fn the_command_line_wins() {
    let overrides = Overrides {
        hypervisors: vec!["test:///default".into()],
        listen: vec!["127.0.0.1:0".into(), "unix:/x.sock".into(), "http://[::1]:80/".into()],
        check_directory: Some("/e".into()),
        check_timeout: Some(Duration::from_secs(7)),
    };
    let text = "[listen]\nunix = \"/y.sock\"\nallow-cleartext = true\n[checks]\ndirectory = \"/d\"\n\
                timeout = \"1s\"\n[[hypervisor]]\nuri = \"qemu:///system\"\n";
    let config = load_text(text, &[], &overrides).unwrap();
    assert_eq!(addresses(&config), ["http 127.0.0.1:0", "http [::1]:80", "unix /x.sock"]);
    assert!(config.http.allow_cleartext);
    assert!(config.delivery.allow_cleartext, "as clients, so listeners");
    assert_eq!(config.checks.directory, Path::new("/e"));
    assert_eq!(config.checks.timeout, Duration::from_secs(7));
    assert_eq!(config.hypervisors.len(), 1);
    assert_eq!(config.hypervisors[0].uri, "test:///default");
    let overrides = Overrides { listen: vec!["nowhere".into()], ..Overrides::default() };
    let problems = load_text("", &[], &overrides).unwrap_err();
    assert!(problems.len() == 1 && problems[0].starts_with("--listen: "), "{problems:?}");
}

#[test]
fn listeners_may_need_more_than_clients_and_less() {
    assert!(!good("").delivery.allow_cleartext);
    let stricter =
        good("[listen]\nallow-cleartext = true\n[indications]\nallow-cleartext = false\n");
    assert!(!stricter.delivery.allow_cleartext);
    assert!(good("[indications]\nallow-cleartext = true\n").delivery.allow_cleartext);
    let text = "[indications]\nretry-attempts = 70000\n";
    let most = "virtcimd.toml:2: indications.retry-attempts: expected a number from 0 to 65535, \
                found 70000";
    bad(text, most);
    let zero = "virtcimd.toml:2: indications.retry-interval must be greater than 0";
    bad("[indications]\nretry-interval = \"0s\"\n", zero);
}

#[test]
fn a_named_file_must_exist() {
    let ConfigError(problems) =
        load(Some(Path::new("/nonexistent/virtcimd.toml")), &Overrides::default()).unwrap_err();
    assert_eq!(problems[0].place, Place::WholeFile(Path::new("/nonexistent/virtcimd.toml").into()));
}

#[test]
fn addresses_are_literal() {
    let socket: SocketAddr = "127.0.0.1:5988".parse().unwrap();
    let config = good("[listen]\nhttp = \"localhost:5988\"\nunix = []\n");
    assert_eq!(config.http.listeners[0].address, ListenAddress::Http(socket));
    assert_eq!(config.http.listeners.len(), 2);
}
