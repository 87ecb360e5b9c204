//! What the server is told: where to listen, whom to trust, and every limit by its name.

use std::{
    collections::BTreeMap, fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration,
};

use crate::ops::Role;

/// Everything the server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen.
    pub listeners: Vec<Listener>,
    /// Whether cleartext HTTP may be spoken on addresses other than loopback.
    pub allow_cleartext: bool,
    /// The server's certificate; needed by listeners that speak TLS.
    pub tls: Option<TlsFiles>,
    /// Who may do what.
    pub auth: AuthOptions,
    /// The limits.
    pub limits: Limits,
    /// Whether false boolean output parameters are written as pywbem understands them.
    pub pywbem_booleans: Workaround,
    /// Whether classes are written without what their arrays embed for wbemcli.
    pub wbemcli_arrays: Workaround,
}

/// One address to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// The address.
    pub address: ListenAddress,
    /// Whether the host may lack the address: an IPv6 default on a host without IPv6.
    pub may_be_absent: bool,
}

/// An address and what is spoken there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddress {
    /// Cleartext HTTP.
    Http(SocketAddr),
    /// HTTP over TLS.
    Https(SocketAddr),
    /// Cleartext HTTP on a unix socket, where the kernel tells who connects.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => write!(f, "http://{address}"),
            Self::Https(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// PEM files; they are read again on reload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// The authorities whose client certificates are accepted; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// How a caller on a network socket proves who it is.
    pub mode: AuthMode,
    /// The roles of unix socket peers, and of users that PAM lets in, by the name of a group they are
    /// in. Root and the daemon's own user are administrators at the socket; anybody else needs a group or
    /// a password.
    pub groups: BTreeMap<String, Role>,
    /// The roles of client certificates by the common name of their subject.
    pub certificates: BTreeMap<String, Role>,
}

/// How a caller on a network socket proves who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuthMode {
    /// By name and password, kept in this users file.
    UsersFile(PathBuf),
    /// By name and password, which PAM judges.
    #[cfg(feature = "pam")]
    Pam {
        /// The name of the PAM service.
        service: String,
    },
    /// Not at all. Only loopback addresses may be bound.
    None,
}

/// Whether a defect of one client is met (DESIGN.md §3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Workaround {
    /// For that client; everybody else gets what the standards say.
    Auto,
    /// For nobody.
    Off,
}

/// Every bound of this room. Each is a key of `[limits]` of the same name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections at once; one more is told 503 and closed, unless one whose peer has not logged in can
    /// be closed instead.
    pub connections: NonZeroUsize,
    /// Connections at once from one network address.
    pub connections_per_peer: NonZeroUsize,
    /// Those of the connections that are reserved for unix sockets.
    pub local_connections: NonZeroUsize,
    /// Operations at once; one more is told 503.
    pub requests: NonZeroUsize,
    /// Bytes of a request's head.
    pub header_size: NonZeroUsize,
    /// Header fields of a request.
    pub headers: NonZeroUsize,
    /// How long a request's head may take, from the first byte, and how long a new connection may
    /// stay silent. A TLS handshake has as long again.
    pub header_time: Duration,
    /// Bytes of a request's body.
    pub body_size: NonZeroUsize,
    /// How long a request's body may take.
    pub body_time: Duration,
    /// How long a connection may stay silent between two requests.
    pub idle_time: Duration,
    /// How long a client may read nothing of an answer that is being sent.
    pub send_time: Duration,
    /// Bytes of encoded classes that are kept for those who ask for them again.
    pub class_cache: NonZeroUsize,
    /// Bytes of a streamed answer that are held back to give it a Content-Length; a longer one is
    /// sent in chunks.
    pub answer_buffer: NonZeroUsize,
    /// Passwords verified at once: each costs 19 MiB and some 20 ms of a CPU.
    pub logins: NonZeroUsize,
    /// Wrong passwords a network address may send within a minute before it has to wait.
    pub failed_logins: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let count = |n| NonZeroUsize::new(n).expect("a default limit is not 0");
        Self {
            connections: count(1024),
            connections_per_peer: count(256),
            local_connections: count(64),
            requests: count(256),
            // hyper needs a read buffer of 8 KiB at least; Kerberos tickets and long paths fit.
            header_size: count(16 << 10),
            headers: count(64),
            header_time: Duration::from_secs(10),
            // The largest request of the model is CreateClass; a megabyte would do.
            body_size: count(4 << 20),
            body_time: Duration::from_secs(30),
            // pywbem keeps connections and does not retry on one that was closed.
            idle_time: Duration::from_secs(120),
            send_time: Duration::from_secs(60),
            // All classes inside the program, with one set of flags, are 2 MiB.
            class_cache: count(4 << 20),
            answer_buffer: count(64 << 10),
            logins: count(2),
            failed_logins: count(30),
        }
    }
}
