//! `[listen]`, `[tls]`, `[auth]` and the server's part of `[limits]` and `[compatibility]`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Choice, FromNode, Located, Node, Place, Problems, Section, Table, located,
    section::Setting,
    value::{Addresses, Bytes, OneOrMany, parse_addresses},
};
use crate::{
    http::{
        AuthMode, AuthOptions, Limits, ListenAddress, Listener, Options, TlsFiles, Workaround,
        users,
    },
    ops::Role,
};

const HTTP_PORT: u16 = 5988;
const HTTPS_PORT: u16 = 5989;

impl Choice for Role {
    const WORDS: &'static [(&'static str, Self)] = users::ROLES;
}

impl Choice for Workaround {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("off", Self::Off)];
}

/// How `auth.mode` is written.
#[derive(Clone, Copy)]
enum Mode {
    UsersFile,
    Pam,
    None,
}

impl Choice for Mode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("users-file", Self::UsersFile), ("pam", Self::Pam), ("none", Self::None)];
}

/// Reads everything the server is told.
pub(super) fn read(
    root: &mut Section<'_>,
    limits: &mut Section<'_>,
    compatibility: &mut Section<'_>,
    runtime_directory: &Path,
) -> Options {
    let tls = tls(root);
    let mut listen = root.section("listen");
    let allow_cleartext = listen.or("allow-cleartext", false);
    let mut auth = root.section("auth");
    let mode = mode(&mut auth);
    let listeners = listeners(&mut listen, tls.is_some(), runtime_directory);
    for Setting { value: listener, place } in &listeners {
        judge(&listen, listener, place, &mode, allow_cleartext, tls.is_some());
    }
    listen.finish();
    let pywbem_booleans = compatibility.or("pywbem-booleans", Workaround::Auto);
    let wbemcli_arrays = compatibility.or("wbemcli-arrays", Workaround::Auto);
    Options {
        listeners: listeners.into_iter().map(|setting| setting.value).collect(),
        allow_cleartext,
        tls,
        auth: auth_options(auth, mode),
        limits: server_limits(limits),
        pywbem_booleans,
        wbemcli_arrays,
    }
}

fn tls(root: &mut Section<'_>) -> Option<TlsFiles> {
    let mut tls = root.section("tls");
    let certificate = tls.setting::<PathBuf>("certificate");
    let private_key = tls.setting::<PathBuf>("private-key");
    let client_ca = tls.setting::<PathBuf>("client-ca");
    let files = match (certificate, private_key, client_ca) {
        (Some(certificate), Some(private_key), client_ca) => Some(TlsFiles {
            certificate: certificate.value,
            private_key: private_key.value,
            client_ca: client_ca.map(|setting| setting.value),
        }),
        (Some(lonely), None, _) => {
            tls.report(&lonely.place, "tls.certificate needs tls.private-key beside it");
            None
        }
        (None, Some(lonely), _) | (None, None, Some(lonely)) => {
            tls.report(&lonely.place, "tls.certificate is missing");
            None
        }
        (None, None, None) => None,
    };
    tls.finish();
    files
}

fn mode(auth: &mut Section<'_>) -> Setting<AuthMode> {
    let mode = auth
        .setting::<Mode>("mode")
        .unwrap_or(Setting { value: Mode::UsersFile, place: Place::Nowhere });
    let users_file = auth.or("users-file", PathBuf::from("/etc/virtcimd/users"));
    let pam_service = auth.setting::<String>("pam-service");
    let value = match mode.value {
        Mode::None => AuthMode::None,
        Mode::UsersFile => AuthMode::UsersFile(users_file),
        #[cfg(feature = "pam")]
        Mode::Pam => AuthMode::Pam { service: service(auth, pam_service.as_ref()) },
        #[cfg(not(feature = "pam"))]
        Mode::Pam => {
            auth.report(&mode.place, "auth.mode \"pam\" needs a program built with PAM");
            AuthMode::UsersFile(users_file)
        }
    };
    if let (Some(service), Mode::UsersFile | Mode::None) = (pam_service, mode.value) {
        auth.report(&service.place, "auth.pam-service has a meaning only with auth.mode \"pam\"");
    }
    Setting { value, place: mode.place }
}

/// The name of a file in /etc/pam.d, and no way out of that directory.
#[cfg(feature = "pam")]
fn service(auth: &Section<'_>, written: Option<&Setting<String>>) -> String {
    let Some(Setting { value, place }) = written else { return "virtcimd".to_owned() };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if value.is_empty() || !value.chars().all(good) {
        let message = format!(
            "auth.pam-service: expected letters, digits, - and _, as in \"virtcimd\", found {value:?}"
        );
        auth.report(place, message);
    }
    value.clone()
}

fn auth_options(mut auth: Section<'_>, mode: Setting<AuthMode>) -> AuthOptions {
    let roles = |section: Section<'_>| -> BTreeMap<String, Role> {
        section.entries::<Role>().into_iter().map(|(name, role)| (name, role.value)).collect()
    };
    let groups = auth.section("groups");
    // Who may speak to libvirt itself may do through us what it could do without us.
    let groups = if groups.is_written() {
        roles(groups)
    } else {
        BTreeMap::from([("libvirt".to_string(), Role::Operator)])
    };
    let certificates = roles(auth.section("certificates"));
    auth.finish();
    AuthOptions { mode: mode.value, groups, certificates }
}

/// The listeners as written, or the defaults: loopback, the unix socket, and TLS everywhere if there
/// is a certificate.
fn listeners(
    listen: &mut Section<'_>,
    has_tls: bool,
    runtime_directory: &Path,
) -> Vec<Setting<Listener>> {
    let mut listeners = Vec::new();
    let mut add = |address, place: &Place, may_be_absent| {
        let value = Listener { address, may_be_absent };
        listeners.push(Setting { value, place: place.clone() });
    };
    let by_default = |port, address: [IpAddr; 2]| {
        address.map(|address| (SocketAddr::new(address, port), address.is_ipv6()))
    };
    match listen.setting::<OneOrMany<Addresses>>("http") {
        Some(written) => {
            for address in written.value.0.into_iter().flat_map(|addresses| addresses.0) {
                add(ListenAddress::Http(address), &written.place, false);
            }
        }
        None => {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            for (address, may_be_absent) in by_default(HTTP_PORT, loopback) {
                add(ListenAddress::Http(address), &Place::Nowhere, may_be_absent);
            }
        }
    }
    match listen.setting::<OneOrMany<Addresses>>("https") {
        Some(written) => {
            for address in written.value.0.into_iter().flat_map(|addresses| addresses.0) {
                add(ListenAddress::Https(address), &written.place, false);
            }
        }
        None if has_tls => {
            let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
            for (address, may_be_absent) in by_default(HTTPS_PORT, any) {
                add(ListenAddress::Https(address), &Place::Nowhere, may_be_absent);
            }
        }
        None => {}
    }
    match listen.setting::<OneOrMany<PathBuf>>("unix") {
        Some(written) => {
            for path in written.value.0 {
                add(ListenAddress::Unix(path), &written.place, false);
            }
        }
        None => {
            let path = runtime_directory.join("virtcimd.sock");
            add(ListenAddress::Unix(path), &Place::Nowhere, false);
        }
    }
    listeners
}

/// What a listener must not be.
fn judge(
    listen: &Section<'_>,
    listener: &Listener,
    place: &Place,
    mode: &Setting<AuthMode>,
    allow_cleartext: bool,
    has_tls: bool,
) {
    let (address, cleartext) = match &listener.address {
        ListenAddress::Http(address) => (address, true),
        ListenAddress::Https(address) => {
            if !has_tls {
                let message = "a listener for https needs tls.certificate and tls.private-key";
                listen.report(place, message);
            }
            (address, false)
        }
        ListenAddress::Unix(_) => return,
    };
    if mode.value == AuthMode::None && !address.ip().is_loopback() {
        let place = if *place == Place::Nowhere { &mode.place } else { place };
        let message = format!(
            "auth.mode \"none\" is for loopback only, and {address} is open to the network"
        );
        listen.report(place, message);
    } else if cleartext && !allow_cleartext && !address.ip().is_loopback() {
        let message = format!(
            "passwords would cross the network in clear text on {address}: use https, or set \
             listen.allow-cleartext = true"
        );
        listen.report(place, message);
    }
}

fn server_limits(limits: &mut Section<'_>) -> Limits {
    let defaults = Limits::default();
    let mut bytes = |key, default| limits.optional::<Bytes>(key).map_or(default, |bytes| bytes.0);
    let header_size = bytes("header-size", defaults.header_size);
    let body_size = bytes("body-size", defaults.body_size);
    let class_cache = bytes("class-cache", defaults.class_cache);
    let answer_buffer = bytes("answer-buffer", defaults.answer_buffer);
    Limits {
        connections: limits.or("connections", defaults.connections),
        connections_per_peer: limits.or("connections-per-peer", defaults.connections_per_peer),
        local_connections: limits.or("local-connections", defaults.local_connections),
        requests: limits.or("requests", defaults.requests),
        header_size,
        headers: limits.or("headers", defaults.headers),
        header_time: time(limits, "header-time", defaults.header_time),
        body_size,
        body_time: time(limits, "body-time", defaults.body_time),
        idle_time: time(limits, "idle-time", defaults.idle_time),
        send_time: time(limits, "send-time", defaults.send_time),
        class_cache,
        answer_buffer,
        logins: limits.or("logins", defaults.logins),
        failed_logins: limits.or("failed-logins", defaults.failed_logins),
    }
}

/// A limit in time; 0 is refused.
pub(super) fn time(limits: &mut Section<'_>, key: &'static str, default: Duration) -> Duration {
    match limits.setting::<Duration>(key) {
        Some(written) if written.value.is_zero() => {
            limits.report(&written.place, format!("{} must be greater than 0", limits.full(key)));
            default
        }
        Some(written) => written.value,
        None => default,
    }
}

/// Puts the listeners of `--listen` in place of all others.
pub(super) fn replace_listeners(root: &mut Table, arguments: &[String], problems: &Problems) {
    let place = Place::Argument("--listen");
    let mut lists: BTreeMap<&str, Vec<Located>> =
        ["http", "https", "unix"].map(|kind| (kind, Vec::new())).into();
    for argument in arguments {
        let (kind, address) = match argument.split_once(':') {
            Some((kind @ ("http" | "https"), rest)) => {
                (kind, rest.strip_prefix("//").unwrap_or(rest).trim_end_matches('/'))
            }
            Some(("unix", path)) => ("unix", path),
            _ => ("http", argument.as_str()),
        };
        let right = match kind {
            "unix" => PathBuf::from_node(&Node::Text(address.into())).map(drop),
            _ => parse_addresses(address).map(drop),
        };
        match right {
            Ok(()) => {
                let list = lists.get_mut(kind).expect("every kind has a list");
                list.push(located(Node::Text(address.into()), &place));
            }
            Err(reason) => problems.report(place.clone(), reason),
        }
    }
    let entry = root.entry("listen".into());
    let listen = entry.or_insert_with(|| located(Node::Table(Table::new()), &place));
    if let Node::Table(listen) = &mut listen.node {
        for (kind, list) in lists {
            listen.insert(kind.into(), located(Node::Array(list), &place));
        }
    }
}
