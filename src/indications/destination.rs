//! What a destination must be: the URL of a listener that we could speak to.

use std::net::Ipv6Addr;

use http::Uri;

use super::{SubscriptionError, complete_keys, delivery::is_private, number, required, unset};
use crate::{
    cim::{CimName, Instance},
    client::Endpoint,
};

/// The longest URL.
const MAX_URL: usize = 1024;

/// Values of PersistenceType.
const OTHER: i128 = 1;
const PERMANENT: u16 = 2;
pub(super) const TRANSIENT: i128 = 3;

/// The value of Protocol that says CIM-XML.
const CIM_XML: i128 = 2;

/// Completes a new or changed destination, if it follows the rules.
pub(super) fn complete(
    mut destination: Instance,
    system: &str,
    allow_cleartext: bool,
) -> Result<Instance, SubscriptionError> {
    complete_keys(&mut destination, system)?;
    for credential in ["username", "password"] {
        unset(&destination, credential)?;
    }
    if number(&destination, "Protocol").is_some_and(|protocol| protocol != CIM_XML) {
        return Err(SubscriptionError::Unsupported {
            property: "a Protocol other than CIM-XML (2)",
        });
    }
    match number(&destination, "PersistenceType") {
        None => destination.set(CimName::literal("PersistenceType"), PERMANENT),
        Some(OTHER) => {
            required(&destination, "OtherPersistenceType")?;
        }
        Some(TRANSIENT) => {}
        Some(kind) if kind == i128::from(PERMANENT) => {}
        Some(kind) => {
            let rule = "is 1 (Other), 2 (Permanent) or 3 (Transient)";
            return Err(SubscriptionError::value("PersistenceType", rule, &kind.to_string()));
        }
    }
    let url = required(&destination, "Destination")?.trim().to_owned();
    if let Err(rule) = check_url(&url).and_then(|listener| check_way(&listener, allow_cleartext)) {
        return Err(SubscriptionError::value("Destination", rule, &url));
    }
    destination.set(CimName::literal("Destination"), url);
    Ok(destination)
}

/// Who guests are and what becomes of them is not for everybody on the way.
fn check_way(listener: &Endpoint, allow_cleartext: bool) -> Result<(), &'static str> {
    if allow_cleartext || is_private(listener) {
        return Ok(());
    }
    Err("must begin with https:// or be on this machine (indications.allow-cleartext is false)")
}

/// The listener at that URL, or what is wrong with it.
fn check_url(url: &str) -> Result<Endpoint, &'static str> {
    if url.len() > MAX_URL {
        return Err("has at most 1024 bytes");
    }
    let uri: Uri = url.parse().map_err(|_| "must be a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must begin with http:// or https://");
    }
    let authority = uri.authority().ok_or("must name a host")?;
    if authority.as_str().contains('@') {
        return Err("must not name a user");
    }
    let host = authority.host();
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && !host.starts_with('-') && host.chars().all(is_plain)
        }
    };
    if !is_host {
        return Err("must name a host or an address, IPv6 in brackets");
    }
    // What stands after the host, if anything, is a port.
    let port = &authority.as_str()[host.len()..];
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return Err("must name a port from 1 to 65535");
    }
    Endpoint::parse(url).map_err(|_| "must be a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(), &str>) {
        assert_eq!(check_url(url).map(drop), expected, "{url:?}");
    }

    #[test]
    fn urls_of_listeners() {
        check("http://127.0.0.1:5990", Ok(()));
        check("https://listener.example.org", Ok(()));
        check("http://[::1]:8000/a/path?with=query", Ok(()));
        check("http://localhost:8001/CIMListener/x", Ok(()));
        check(&format!("http://h/{}", "x".repeat(MAX_URL - 9)), Ok(()));
    }

    #[track_caller]
    fn check_cleartext(url: &str, is_private: bool) {
        let listener = check_url(url).expect("a URL");
        assert_eq!(check_way(&listener, true), Ok(()), "{url}");
        assert_eq!(check_way(&listener, false).is_ok(), is_private, "{url}");
    }

    #[test]
    fn what_others_could_read_is_sent_only_if_that_is_allowed() {
        check_cleartext("https://listener.example.org", true);
        check_cleartext("http://127.0.0.1:5990", true);
        check_cleartext("http://127.8.9.10:5990/x", true);
        check_cleartext("http://[::1]:5990", true);
        check_cleartext("http://[::ffff:127.0.0.1]:5990", true);
        check_cleartext("http://LocalHost:8000", true);
        check_cleartext("http://localhost.example.org:8000", false);
        check_cleartext("http://listener.example.org", false);
        check_cleartext("http://192.0.2.1:5990", false);
        check_cleartext("http://[2001:db8::1]:5990", false);
        check_cleartext("http://0.0.0.0:5990", false);
    }

    #[test]
    fn what_is_no_url_of_a_listener() {
        check("localhost:5990", Err("must begin with http:// or https://"));
        check("ftp://host/x", Err("must begin with http:// or https://"));
        check("file:///etc/passwd", Err("must be a URL"));
        check("", Err("must be a URL"));
        check("http://", Err("must be a URL"));
        check("http:///x", Err("must be a URL"));
        check("http://a b/", Err("must be a URL"));
        check("http://host\r\nX: y/", Err("must be a URL"));
        check("http://host?query", Err("must be a URL"));
        check("http://user:secret@host/", Err("must not name a user"));
        check("http://ho$t/", Err("must name a host or an address, IPv6 in brackets"));
        check("http://-oProxy/", Err("must name a host or an address, IPv6 in brackets"));
        check("http://[::g]/", Err("must name a host or an address, IPv6 in brackets"));
        check("http://host:0/", Err("must name a port from 1 to 65535"));
        check("http://host:/", Err("must name a port from 1 to 65535"));
        check("http://host:99999/", Err("must name a port from 1 to 65535"));
        check(&format!("http://h/{}", "x".repeat(MAX_URL)), Err("has at most 1024 bytes"));
    }
}
