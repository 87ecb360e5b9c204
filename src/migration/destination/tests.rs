use proptest::prelude::*;

use super::*;

mod parsing {
    use super::*;

    #[track_caller]
    fn accepts(text: &str, written: &str) {
        let parsed = Destination::parse(text).map(|destination| destination.to_string());
        assert_eq!(parsed.as_deref(), Ok(written), "{text:?}");
    }

    /// `position` counts characters from 1, as the message does.
    #[track_caller]
    fn refuses(text: &str, position: usize, reason: &str) {
        let error = Destination::parse(text).expect_err(text);
        assert_eq!(error.position + 1, position, "{error}");
        assert!(error.reason.contains(reason), "{error}");
    }

    #[test]
    fn names() {
        accepts("host", "host");
        accepts("Host.Example.COM", "Host.Example.COM");
        accepts("node-7.rack_2.example", "node-7.rack_2.example");
        accepts("7up", "7up");
        accepts("1.2.3.4a", "1.2.3.4a");
        accepts("xn--bcher-kva.example", "xn--bcher-kva.example");
        accepts("host:16509", "host:16509");
        accepts("host:00022", "host:22");
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        accepts(&longest, &longest);
    }

    #[test]
    fn addresses() {
        accepts("192.0.2.1", "192.0.2.1");
        accepts("192.0.2.1:22", "192.0.2.1:22");
        accepts("2001:db8::1", "[2001:db8::1]");
        accepts("[2001:DB8:0::1]", "[2001:db8::1]");
        accepts("[::1]:16514", "[::1]:16514");
        accepts("::ffff:192.0.2.1", "[::ffff:192.0.2.1]");
        // Without brackets the last group is no port.
        accepts("2001:db8::1:22", "[2001:db8::1:22]");
    }

    #[test]
    fn what_would_change_a_uri() {
        refuses("", 1, "nothing");
        refuses("user@host", 5, "only ASCII");
        refuses("host/system", 5, "only ASCII");
        refuses("host?command=/bin/sh", 5, "only ASCII");
        refuses("host?netcat=x", 5, "only ASCII");
        refuses("host&socket=/tmp/x", 5, "only ASCII");
        refuses("host#x", 5, "only ASCII");
        refuses("ho%73t", 3, "only ASCII");
        refuses("host\\x", 5, "only ASCII");
        refuses("host name", 5, "only ASCII");
        refuses(" host", 1, "only ASCII");
        refuses("host\n", 5, "only ASCII");
        refuses("host\0", 5, "only ASCII");
        refuses("host\u{7f}", 5, "only ASCII");
        refuses("höst", 2, "only ASCII");
        refuses("qemu+ssh://host/system", 5, "only ASCII");
        refuses("-oProxyCommand=x", 15, "only ASCII");
        refuses("-oProxyCommand", 1, "begin");
        refuses("$(reboot)", 1, "only ASCII");
        refuses("`reboot`", 1, "only ASCII");
    }

    #[test]
    fn malformed_names() {
        refuses(".", 1, "IPv4");
        refuses("host.", 6, "empty");
        refuses(".host", 1, "empty");
        refuses("a..b", 3, "empty");
        refuses("a.-b", 3, "begin");
        refuses("a-.b", 2, "end");
        refuses(&"a".repeat(64), 64, "63");
        refuses(&format!("{}b", "a.".repeat(127)), 254, "253");
    }

    #[test]
    fn malformed_addresses() {
        refuses("256.0.0.1", 1, "IPv4");
        refuses("1.2.3", 1, "IPv4");
        refuses("1.2.3.4.", 1, "IPv4");
        refuses("010.0.0.1", 1, "IPv4");
        refuses("2130706433", 1, "IPv4");
        refuses("[::1", 5, "bracket");
        refuses("[]", 2, "IPv6");
        refuses("[::1]x", 6, "colon");
        refuses("[::1]22", 6, "colon");
        refuses("[fe80::1%eth0]", 9, "IPv6");
        refuses("fe80::1%eth0", 8, "IPv6");
        refuses("1:2:3", 1, "IPv6");
        refuses("[192.0.2.1]", 2, "IPv6");
        refuses("[host]", 2, "IPv6");
        refuses("::1]:22", 4, "IPv6");
    }

    #[test]
    fn names_that_the_resolver_takes_for_addresses() {
        refuses("0x7f.1", 6, "not a number");
        refuses("0x7f000001", 1, "not a number");
        refuses("0X7F.0x1", 6, "not a number");
        refuses("a.0", 3, "not a number");
        accepts("0x7g", "0x7g");
    }

    #[test]
    fn ports() {
        refuses(":22", 1, "missing");
        refuses("host:", 6, "65535");
        refuses("host:0", 6, "65535");
        refuses("host:65536", 6, "65535");
        refuses("host:+22", 6, "digits");
        refuses("host:22/x", 8, "digits");
        refuses("[::1]:x", 7, "digits");
        accepts("host:65535", "host:65535");
    }

    #[test]
    fn a_message_shows_strange_characters_without_sending_them() {
        let message = Destination::parse("a\u{1b}[31m\n").unwrap_err().to_string();
        assert_eq!(
            message,
            "\"a\\u{1b}[31m\\n\" names no host: a name has only ASCII letters, digits, `-`, `_` and \
             dots at character 2"
        );
    }
}

mod uris {
    use super::*;

    #[track_caller]
    fn check(text: &str, driver: Driver, transport: Transport, expected: &str) {
        let uri = Destination::parse(text).unwrap().uri(driver, transport).unwrap();
        assert_eq!(uri, expected);
    }

    #[test]
    fn each_driver_and_transport() {
        use Driver::{Qemu, Xen};
        use Transport::{Ssh, Tcp, Tls, TlsStrict};
        check("host", Qemu, Ssh, "qemu+ssh://host/system");
        check("host", Qemu, Tcp, "qemu+tcp://host/system");
        check("host", Qemu, TlsStrict, "qemu+tls://host/system");
        check("host", Qemu, Tls, "qemu+tls://host/system?no_verify=1");
        check("host", Xen, Ssh, "xen+ssh://host");
        check("host", Xen, Tcp, "xen+tcp://host");
        check("host", Xen, TlsStrict, "xen+tls://host");
        check("host", Xen, Tls, "xen+tls://host/?no_verify=1");
        check("::1", Qemu, Tcp, "qemu+tcp://[::1]/system");
        check("[::1]:99", Xen, Tls, "xen+tls://[::1]:99/?no_verify=1");
        check("192.0.2.1:99", Qemu, Ssh, "qemu+ssh://192.0.2.1:99/system");
    }

    #[test]
    fn none_for_a_socket_or_a_container() {
        let host = Destination::parse("host").unwrap();
        for driver in [Driver::Qemu, Driver::Xen] {
            assert_eq!(host.uri(driver, Transport::Unix), Err(TargetError::UnixWithoutUri));
        }
        assert_eq!(host.uri(Driver::Lxc, Transport::Ssh), Err(TargetError::NoRemoteHosts));
    }
}

mod policy {
    use super::*;

    fn allowing(entries: &[&str]) -> DestinationPolicy {
        let allowed = entries.iter().map(|entry| entry.parse().unwrap()).collect();
        DestinationPolicy { allowed: Some(allowed), ..DestinationPolicy::default() }
    }

    #[track_caller]
    fn check(entry: &str, text: &str, expected: bool) {
        let result = allowing(&[entry]).resolve(Driver::Qemu, text, None);
        assert_eq!(result.is_ok(), expected, "{entry} {text}: {result:?}");
    }

    #[test]
    fn names_and_domains() {
        check("host", "host", true);
        check("host", "HOST:22", true);
        check("host", "host2", false);
        check("host", "host.example", false);
        check("*.example", "a.example", true);
        check("*.example", "a.b.EXAMPLE", true);
        check("*.example", "example", false);
        check("*.example", "badexample", false);
        check("*.example", "a.example.evil", false);
    }

    #[test]
    fn networks() {
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.0/24", "192.0.3.0", false);
        check("192.0.2.0/24", "[::ffff:192.0.2.7]", true);
        check("192.0.2.0/24", "host", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("2001:db8::1", "[2001:db8::1]:22", true);
        check("::/0", "2001:db8::1", true);
        check("::/0", "192.0.2.1", false);
    }

    #[test]
    fn entries_are_checked_when_they_are_read() {
        for wrong in
            ["", "*", "*.", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/+8", "a/8", "a@b", "[::1]"]
        {
            let error = wrong.parse::<AllowedDestination>().expect_err(wrong).to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }

    #[test]
    fn nothing_allowed_is_not_everything_allowed() {
        assert!(allowing(&[]).resolve(Driver::Qemu, "host", None).is_err());
        assert!(DestinationPolicy::default().resolve(Driver::Qemu, "host", None).is_ok());
    }

    #[test]
    fn transports() {
        let policy = DestinationPolicy::default();
        let resolve = |transport| policy.resolve(Driver::Qemu, "host", transport);
        let target = resolve(None).unwrap();
        assert_eq!((target.transport, &*target.uri), (Transport::Ssh, "qemu+ssh://host/system"));
        assert_eq!(resolve(Some(Transport::Tcp)).unwrap().uri, "qemu+tcp://host/system");
        let refused = resolve(Some(Transport::Tls)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "transport tls is not in migration.allowed-transports, which has ssh, tls-strict, tcp, unix"
        );
        assert_eq!(resolve(Some(Transport::Unix)), Err(TargetError::UnixWithoutUri));
        let mut willing = policy.clone();
        willing.transports.push(Transport::Tls);
        let target = willing.resolve(Driver::Qemu, "host", Some(Transport::Tls)).unwrap();
        assert_eq!(target.uri, "qemu+tls://host/system?no_verify=1");
    }

    #[test]
    fn a_name_with_a_uri_gets_it_whatever_else_is_allowed() {
        #[track_caller]
        fn check(uri: &str, transport: Transport) {
            let mut policy = allowing(&[]);
            policy.transports = vec![Transport::Ssh];
            let migration_uri = Some("tcp://10.0.0.1".to_owned());
            let named =
                NamedDestination { uri: uri.to_owned(), migration_uri: migration_uri.clone() };
            policy.named.insert("other".to_owned(), named);
            for driver in [Driver::Qemu, Driver::Lxc] {
                let target = policy.resolve(driver, "Other", None).unwrap();
                let (name, uri, migration_uri) =
                    ("other".to_owned(), uri.to_owned(), migration_uri.clone());
                assert_eq!(target, Target { name, uri, migration_uri, transport });
            }
            assert!(policy.resolve(Driver::Qemu, "other:22", None).is_err());
        }
        check("test:///file.xml", Transport::Ssh);
        check("qemu+tcp://h:1/system", Transport::Tcp);
        check("qemu+unix:///system?socket=/run/b", Transport::Unix);
        check("qemu:///system?socket=/run/b", Transport::Unix);
        check("qemu://h/system", Transport::TlsStrict);
        check("qemu+tls://h/system?no_verify=1", Transport::Tls);
        check("qemu+ssh://root@h/system?keyfile=/k", Transport::Ssh);
    }

    #[test]
    fn refusals_name_what_was_refused() {
        let refused = allowing(&["a"]).resolve(Driver::Qemu, "[::1]:22", None).unwrap_err();
        let text = "destination [::1]:22 is not in migration.allowed-destinations";
        assert_eq!(refused.to_string(), text);
        assert!(matches!(
            allowing(&["a"]).resolve(Driver::Qemu, "a?x", None),
            Err(TargetError::Malformed(_))
        ));
    }
}

/// A strict reading of what we wrote, by other means than writing it: scheme, host, port, rest.
fn take_apart(uri: &str) -> (&str, &str, Option<&str>, &str) {
    let (scheme, rest) = uri.split_once("://").unwrap();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    assert!(!authority.contains('@'), "{uri}");
    let (host, port) = match authority.rfind(']') {
        Some(bracket) => (&authority[..=bracket], authority[bracket + 1..].strip_prefix(':')),
        None => {
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
        }
    };
    (scheme, host, port, rest)
}

/// Texts that look like destinations, or nearly.
fn near_destination() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("host"),
        Just("example"),
        Just("127"),
        Just("0x7f"),
        Just("::1"),
        Just("2001:db8::1"),
        Just("["),
        Just("]"),
        Just(":"),
        Just("."),
        Just("-"),
        Just("22"),
        Just("@"),
        Just("/"),
        Just("?"),
        Just("&"),
        Just("%"),
        Just("#"),
        Just("="),
        Just("command"),
        Just(" "),
        Just("\n"),
        Just("\0"),
        Just("ö"),
        Just("_"),
        Just("+"),
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever a client sends, either it is refused or the URI has its host and nothing more of it.
    #[test]
    fn only_the_host_gets_into_a_uri(text in prop_oneof![near_destination(), ".{0,80}", "[ -~]{0,40}"]) {
        if let Ok(destination) = Destination::parse(&text) {
            let ours = [
                (Driver::Qemu, Transport::Ssh, "qemu+ssh", "/system"),
                (Driver::Qemu, Transport::Tls, "qemu+tls", "/system?no_verify=1"),
                (Driver::Xen, Transport::TlsStrict, "xen+tls", ""),
                (Driver::Xen, Transport::Tls, "xen+tls", "/?no_verify=1"),
            ];
            for (driver, transport, scheme, rest) in ours {
                let uri = destination.uri(driver, transport).unwrap();
                let (host, port) = match destination.host() {
                    Host::Name(name) => (name.as_str().to_owned(), destination.port()),
                    Host::Address(IpAddr::V6(address)) => (format!("[{address}]"), destination.port()),
                    Host::Address(address) => (address.to_string(), destination.port()),
                };
                let port = port.map(|port| port.to_string());
                prop_assert_eq!(take_apart(&uri), (scheme, &*host, port.as_deref(), rest));
                prop_assert!(uri.bytes().all(|byte| byte.is_ascii_graphic()));
                // A name is the client's own, letter by letter.
                if let Host::Name(name) = destination.host() {
                    prop_assert!(text.starts_with(name.as_str()));
                    prop_assert!(!name.as_str().starts_with('-'));
                    prop_assert!(name.as_str().parse::<IpAddr>().is_err());
                }
            }
        }
    }

    /// What is written is read again as the same.
    #[test]
    fn reading_what_was_written_changes_nothing(text in near_destination()) {
        if let Ok(destination) = Destination::parse(&text) {
            prop_assert_eq!(Destination::parse(&destination.to_string()), Ok(destination));
        }
    }

    #[test]
    fn every_address_is_read(address: IpAddr, port in 1..=u16::MAX) {
        let bare = Destination::parse(&address.to_string()).unwrap();
        prop_assert_eq!(bare.host(), &Host::Address(address));
        let with_port = std::net::SocketAddr::new(address, port).to_string();
        let parsed = Destination::parse(&with_port).unwrap();
        prop_assert_eq!((parsed.host(), parsed.port()), (&Host::Address(address), Some(port)));
    }
}
