//! Where a guest may go: what a client calls the destination, what the administrator allows, and the
//! URI we make of both.
//!
//! libvirt's URIs can name commands to run, keys to read and sockets to open. So nothing a client sends
//! is ever pasted into one: its text is parsed to a [`Host`] and a port, which have no room for
//! anything else, and those are written out again. A name that the administrator gave an exact URI is
//! looked up, never parsed.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// The longest name that DNS can carry.
const MAX_NAME: usize = 253;
/// The longest part of a name between two dots.
const MAX_LABEL: usize = 63;

/// A host and, perhaps, a port: `name`, `192.0.2.1`, `[2001:db8::1]`, each with or without `:port`;
/// an IPv6 address without a port may come without brackets.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    host: Host,
    port: Option<u16>,
}

/// A host.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// A DNS name.
    Name(HostName),
    /// An address.
    Address(IpAddr),
}

/// A DNS name: labels of ASCII letters, digits, `-` and `_`, joined by dots. It can't be taken for an
/// address or for a program's option, and is compared without case.
#[derive(Clone, Debug)]
pub struct HostName(String);

impl PartialEq for HostName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for HostName {}

impl std::hash::Hash for HostName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

/// Why a text names no destination.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} names no host: {reason} at character {}", position + 1)]
pub struct DestinationError {
    /// What was received, cut if it is long.
    pub text: String,
    /// Where it went wrong, in characters from 0.
    pub position: usize,
    /// What is wrong there and what is allowed.
    pub reason: &'static str,
}

impl Destination {
    /// Reads what a client calls a destination.
    ///
    /// # Errors
    /// [`DestinationError`].
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        parse(text).map_err(|(offset, reason)| DestinationError {
            text: text.chars().take(MAX_NAME).collect(),
            position: text.get(..offset).map_or(0, |before| before.chars().count()),
            reason,
        })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, if it was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// As it stands in a URI.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(&name.0)?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// What is wrong, and at which byte.
type Wrong = (usize, &'static str);

fn parse(text: &str) -> Result<Destination, Wrong> {
    if text.is_empty() {
        return Err((0, "there is nothing"));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) =
            rest.split_once(']').ok_or((text.len(), "the closing bracket is missing"))?;
        let address = ipv6(inner, 1)?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(parse_port(port, text.len() - port.len())?),
            None if after.is_empty() => None,
            None => return Err((inner.len() + 2, "only a colon and a port may follow a bracket")),
        };
        return Ok(Destination { host: Host::Address(address.into()), port });
    }
    if text.bytes().filter(|byte| *byte == b':').count() > 1 {
        return Ok(Destination { host: Host::Address(ipv6(text, 0)?.into()), port: None });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let parsed = name_or_ipv4(host)?;
    let port = port.map(|port| parse_port(port, host.len() + 1)).transpose()?;
    Ok(Destination { host: parsed, port })
}

fn ipv6(text: &str, offset: usize) -> Result<Ipv6Addr, Wrong> {
    if let Some(bad) = text.find(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.') {
        return Err((offset + bad, "an IPv6 address has only digits, a to f, colons and dots"));
    }
    text.parse().map_err(|_| (offset, "not an IPv6 address"))
}

fn parse_port(text: &str, offset: usize) -> Result<u16, Wrong> {
    if let Some(bad) = text.find(|c: char| !c.is_ascii_digit()) {
        return Err((offset + bad, "a port has only digits"));
    }
    match text.parse() {
        Ok(0) | Err(_) => Err((offset, "a port is a number from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}

fn name_or_ipv4(text: &str) -> Result<Host, Wrong> {
    if text.is_empty() {
        return Err((0, "the host is missing"));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let address: Ipv4Addr = text.parse().map_err(|_| (0, "not an IPv4 address"))?;
        return Ok(Host::Address(address.into()));
    }
    HostName::parse(text).map(Host::Name)
}

impl HostName {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(bad) = text.find(|c: char| !allowed(c)) {
            return Err((bad, "a name has only ASCII letters, digits, `-`, `_` and dots"));
        }
        if text.len() > MAX_NAME {
            return Err((MAX_NAME, "a name is at most 253 characters long"));
        }
        let mut offset = 0;
        let mut last = "";
        for label in text.split('.') {
            if label.is_empty() {
                return Err((offset, "a part between dots is empty"));
            }
            if label.len() > MAX_LABEL {
                return Err((
                    offset + MAX_LABEL,
                    "a part between dots is at most 63 characters long",
                ));
            }
            // At the beginning it would make the host an option of ssh.
            if label.starts_with('-') {
                return Err((offset, "a part between dots does not begin with `-`"));
            }
            if label.ends_with('-') {
                return Err((
                    offset + label.len() - 1,
                    "a part between dots does not end with `-`",
                ));
            }
            offset += label.len() + 1;
            last = label;
        }
        // The resolver takes `10.1`, `0x7f.1` and `2130706433` for addresses, past every rule.
        let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let number = last.bytes().all(|byte| byte.is_ascii_digit())
            || hexadecimal.is_some_and(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()));
        if number {
            return Err((text.len() - last.len(), "the last part of a name is not a number"));
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How the destination's libvirtd is reached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(missing_docs, reason = "the names are libvirt's and the model's")]
pub enum Transport {
    Ssh,
    /// Without a look at the destination's certificate.
    Tls,
    TlsStrict,
    Tcp,
    Unix,
}

impl Transport {
    /// The value of `VIRTCIMD_TRANSPORT`, and the word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Tls => "tls",
            Self::TlsStrict => "tls-strict",
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }

    /// The transport that a URI names: `qemu+tcp://host/system` is tcp. libvirt's own default is tls
    /// for a URI with a host. A driver within our process has none.
    fn of_uri(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let verifies = !rest.contains("no_verify=");
        match scheme.split_once('+') {
            Some((_, "ssh" | "libssh" | "libssh2")) => Some(Self::Ssh),
            Some((_, "tcp")) => Some(Self::Tcp),
            Some((_, "unix")) => Some(Self::Unix),
            Some((_, "tls")) => Some(if verifies { Self::TlsStrict } else { Self::Tls }),
            None if scheme == "test" => None,
            None if rest.starts_with('/') => Some(Self::Unix),
            None => Some(if verifies { Self::TlsStrict } else { Self::Tls }),
            Some(_) => None,
        }
    }
}

/// Which hypervisor's URIs are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are libvirt's")]
pub enum Driver {
    Qemu,
    Xen,
    /// Its libvirt driver can't migrate: only names with an exact URI are destinations.
    Lxc,
}

/// One entry of `migration.allowed-destinations`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AllowedDestination {
    /// `name`.
    Name(HostName),
    /// `*.domain`: every name that ends so, and not the domain itself.
    Domain(HostName),
    /// `192.0.2.0/24`, or one address. A name is never looked up to be compared with it.
    Network(IpAddr, u8),
}

/// Why an entry of `migration.allowed-destinations` is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected a name, `*.domain`, an address or a network like 192.0.2.0/24, found {text:?}: {reason}"
)]
pub struct AllowedError {
    text: String,
    reason: &'static str,
}

impl FromStr for AllowedDestination {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        let wrong = |reason| AllowedError { text: text.to_owned(), reason };
        let name = |text| HostName::parse(text).map_err(|(_, reason)| wrong(reason));
        if let Some(domain) = text.strip_prefix("*.") {
            return name(domain).map(Self::Domain);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong("not an address"))?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix.parse().ok().filter(|prefix| digits && *prefix <= most);
            let prefix = prefix.ok_or_else(|| wrong("no such prefix length"))?;
            let beyond = u32::from(most - prefix);
            if masked(address, prefix).checked_shl(beyond).unwrap_or(0) != masked(address, most) {
                return Err(wrong("the address has bits beyond the prefix"));
            }
            return Ok(Self::Network(address, prefix));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address, if address.is_ipv4() { 32 } else { 128 }));
        }
        name(text).map(Self::Name)
    }
}

impl AllowedDestination {
    fn admits(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(allowed), Host::Name(name)) => allowed == name,
            (Self::Domain(domain), Host::Name(name)) => {
                let (name, domain) = (name.as_str(), domain.as_str());
                name.len().checked_sub(domain.len()).is_some_and(|at| {
                    at > 1
                        && name.as_bytes()[at - 1] == b'.'
                        && name[at..].eq_ignore_ascii_case(domain)
                })
            }
            (Self::Network(network, prefix), Host::Address(address)) => {
                // An IPv4 address in IPv6's clothes is the same host.
                let address = if network.is_ipv4() { address.to_canonical() } else { *address };
                network.is_ipv4() == address.is_ipv4()
                    && masked(*network, *prefix) == masked(address, *prefix)
            }
            (Self::Network(..), Host::Name(_))
            | (Self::Name(_) | Self::Domain(_), Host::Address(_)) => false,
        }
    }
}

/// The first `prefix` bits of an address.
fn masked(address: IpAddr, prefix: u8) -> u128 {
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    bits.checked_shr(width - u32::from(prefix)).unwrap_or(0)
}

/// A destination to which the administrator gave exact URIs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedDestination {
    /// The connection's URI.
    pub uri: String,
    /// Where the memory goes.
    pub migration_uri: Option<String>,
}

/// What the administrator allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DestinationPolicy {
    /// Destinations a client may name; `None` is any.
    pub allowed: Option<Vec<AllowedDestination>>,
    /// Transports a client may name. Only here is TLS without verification enabled.
    pub transports: Vec<Transport>,
    /// The transport where a client names none.
    pub default_transport: Transport,
    /// Names with exact URIs, which are allowed by being here.
    pub named: BTreeMap<String, NamedDestination>,
}

impl Default for DestinationPolicy {
    fn default() -> Self {
        Self {
            allowed: None,
            transports: vec![Transport::Ssh, Transport::TlsStrict, Transport::Tcp, Transport::Unix],
            default_transport: Transport::Ssh,
            named: BTreeMap::new(),
        }
    }
}

/// A destination that is allowed, and how it is reached.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Target {
    /// As the client named it.
    pub name: String,
    /// The connection's URI.
    pub uri: String,
    /// The administrator's address for the memory.
    pub migration_uri: Option<String>,
    /// What carries the connection.
    pub transport: Transport,
}

/// Why a destination is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// It is no host.
    #[error(transparent)]
    Malformed(#[from] DestinationError),
    /// The administrator does not allow this host.
    #[error("destination {0} is not in migration.allowed-destinations")]
    DestinationNotAllowed(Destination),
    /// The administrator does not allow this transport.
    #[error(
        "transport {} is not in migration.allowed-transports, which has {}",
        asked.as_str(),
        allowed.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ")
    )]
    TransportNotAllowed {
        /// The client's, or the default.
        asked: Transport,
        /// The administrator's.
        allowed: Vec<Transport>,
    },
    /// A socket has no host name.
    #[error("transport unix needs a destination with a URI of its own, in migration.destinations")]
    UnixWithoutUri,
    /// This driver knows no remote hosts.
    #[error("this hypervisor can't migrate to a host that has no URI in migration.destinations")]
    NoRemoteHosts,
}

impl DestinationPolicy {
    /// Decides where `text` leads, and whether a client may go there.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn resolve(
        &self,
        driver: Driver,
        text: &str,
        transport: Option<Transport>,
    ) -> Result<Target, TargetError> {
        let asked = transport.unwrap_or(self.default_transport);
        let named = self.named.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((name, NamedDestination { uri, migration_uri })) = named {
            return Ok(Target {
                name: name.clone(),
                uri: uri.clone(),
                migration_uri: migration_uri.clone(),
                transport: Transport::of_uri(uri).unwrap_or(asked),
            });
        }
        let destination = Destination::parse(text)?;
        if !self.admits(destination.host()) {
            return Err(TargetError::DestinationNotAllowed(destination));
        }
        if !self.transports.contains(&asked) {
            let allowed = self.transports.clone();
            return Err(TargetError::TransportNotAllowed { asked, allowed });
        }
        let uri = destination.uri(driver, asked)?;
        Ok(Target { name: text.to_owned(), uri, migration_uri: None, transport: asked })
    }

    /// Whether a client may name this host, be it for the guest or for its memory.
    pub fn admits(&self, host: &Host) -> bool {
        let admitted = |allowed: &Vec<AllowedDestination>| allowed.iter().any(|it| it.admits(host));
        self.allowed.as_ref().is_none_or(admitted)
    }
}

impl Destination {
    /// The URI under which `driver` finds this host.
    ///
    /// # Errors
    /// [`TargetError::UnixWithoutUri`], [`TargetError::NoRemoteHosts`].
    pub fn uri(&self, driver: Driver, transport: Transport) -> Result<String, TargetError> {
        let (scheme, path) = match driver {
            Driver::Qemu => ("qemu", "/system"),
            Driver::Xen => ("xen", ""),
            Driver::Lxc => return Err(TargetError::NoRemoteHosts),
        };
        Ok(match transport {
            Transport::Unix => return Err(TargetError::UnixWithoutUri),
            Transport::Ssh => format!("{scheme}+ssh://{self}{path}"),
            Transport::Tcp => format!("{scheme}+tcp://{self}{path}"),
            Transport::TlsStrict => format!("{scheme}+tls://{self}{path}"),
            Transport::Tls => {
                let path = if path.is_empty() { "/" } else { path };
                format!("{scheme}+tls://{self}{path}?no_verify=1")
            }
        })
    }
}
