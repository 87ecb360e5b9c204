//! Where a server is: the URL a user writes.

use std::{fmt, path::PathBuf, str::FromStr};

/// The address of a CIM-XML server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// How it is reached.
    pub transport: Transport,
    /// The path of the HTTP request, e.g. `/cimom`.
    pub path: String,
}

/// How a server is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transport {
    /// Cleartext TCP.
    Http(Authority),
    /// TLS over TCP.
    Https(Authority),
    /// A unix socket, without TLS.
    Unix(PathBuf),
}

/// A host name or address with its port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// A DNS name or an address, IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// The text is not the URL of a server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{url}` is not the URL of a CIM-XML server: {reason}")]
pub struct EndpointError {
    /// What was given.
    pub url: String,
    /// What is wrong with it and what is allowed.
    pub reason: &'static str,
}

impl Authority {
    /// `host:port` as it stands in a Host header.
    pub fn header(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Endpoint {
    /// Reads `http://HOST[:PORT][/PATH]`, `https://…` or `unix:/SOCKET`. Ports default to 5988 and
    /// 5989. A missing path stays `/`.
    ///
    /// # Errors
    /// [`EndpointError`] for anything else; user names in the URL are refused, since they would end
    /// up in process lists and logs.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let fail = |reason| Err(EndpointError { url: url.to_owned(), reason });
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return fail("it has blanks or control characters");
        }
        if let Some(socket) = url.strip_prefix("unix:") {
            let socket = socket.strip_prefix("//").unwrap_or(socket);
            if !socket.starts_with('/') {
                return fail("a unix socket is written unix:/path");
            }
            return Ok(Self { transport: Transport::Unix(socket.into()), path: "/cimom".into() });
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return fail("it begins with http://, https:// or unix:");
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return fail("give the user with --user");
        }
        let default_port = match scheme {
            "http" => 5988,
            "https" => 5989,
            _ => return fail("it begins with http://, https:// or unix:"),
        };
        let Some(authority) = parse_authority(authority, default_port) else {
            return fail("after // stands HOST or HOST:PORT, an IPv6 address in brackets");
        };
        let transport = match scheme {
            "http" => Transport::Http(authority),
            _ => Transport::Https(authority),
        };
        Ok(Self { transport, path: path.to_owned() })
    }

    /// Where it is, without the path: that may be a secret between a listener and who sends to it.
    pub fn server(&self) -> String {
        match &self.transport {
            Transport::Http(authority) => format!("http://{}", authority.header()),
            Transport::Https(authority) => format!("https://{}", authority.header()),
            Transport::Unix(socket) => format!("unix:{}", socket.display()),
        }
    }

    /// What goes into the Host header.
    pub fn host_header(&self) -> String {
        match &self.transport {
            Transport::Http(authority) | Transport::Https(authority) => authority.header(),
            Transport::Unix(_) => "localhost".to_owned(),
        }
    }
}

fn parse_authority(text: &str, default_port: u16) -> Option<Authority> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(name) || (!text.starts_with('[') && host.contains(':'))
    {
        return None;
    }
    let port =
        if port.is_empty() { default_port } else { port.parse().ok().filter(|port| *port != 0)? };
    Some(Authority { host: host.to_owned(), port })
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        Self::parse(url)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match &self.transport {
            Transport::Http(_) | Transport::Https(_) => self.path.as_str(),
            Transport::Unix(_) => "",
        };
        write!(f, "{}{path}", self.server())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        assert_eq!(
            Endpoint::parse(url).ok().map(|endpoint| endpoint.to_string()).as_deref(),
            expected,
            "{url}"
        );
    }

    #[test]
    fn urls_are_read_and_completed() {
        check("http://host", Some("http://host:5988/"));
        check("https://host/cimom", Some("https://host:5989/cimom"));
        check("http://10.0.0.1:80/x/y", Some("http://10.0.0.1:80/x/y"));
        check("https://[::1]", Some("https://[::1]:5989/"));
        check("https://[::1]:7/", Some("https://[::1]:7/"));
        check("unix:/run/virtcimd/virtcimd.sock", Some("unix:/run/virtcimd/virtcimd.sock"));
        check("unix:///run/s", Some("unix:/run/s"));
    }

    #[test]
    fn what_a_server_is_known_by_has_no_path() {
        for (url, server) in [
            ("http://host/?token=secret", "http://host:5988"),
            ("https://[::1]:7/secret", "https://[::1]:7"),
            ("unix:/run/s", "unix:/run/s"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().server(), server);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for url in [
            "",
            "host",
            "ftp://host",
            "http://",
            "http://:80",
            "http://host:0",
            "http://host:65536",
            "http://user:pw@host",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "http://[host]",
            "unix:run/s",
            "http://ho st",
            "http://host\r\nX: y",
            "http://ho?st",
        ] {
            check(url, None);
        }
    }
}
