//! Sockets to accept connections on: bound by us, or handed over by the service manager.

use std::{
    fs, io,
    mem::discriminant,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::sys::socket::{SockaddrLike, SockaddrStorage, getsockname, setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tracing::info;

use super::{AuthMode, ListenAddress, Listener, Options};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Why an address is not listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process listens there.
    #[error("cannot listen on {}: another process does", path.display())]
    Taken {
        /// The socket's path.
        path: PathBuf,
    },
    /// It would be open to the network without authentication.
    #[error("auth.mode \"none\" is for loopback only, and {address} is open to the network")]
    Unauthenticated {
        /// The address.
        address: SocketAddr,
    },
    /// It would carry passwords in clear text.
    #[error("{address} is open to the network in clear text and listen.allow-cleartext is not set")]
    Cleartext {
        /// The address.
        address: SocketAddr,
    },
    /// It is for TLS, and there is no certificate.
    #[error("{address} is for https, and there is no certificate")]
    NoCertificate {
        /// The address.
        address: SocketAddr,
    },
    /// A descriptor that was handed over is no listening socket we know.
    #[error("descriptor {name:?} handed over by the service manager is of no use")]
    Inherited {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to listen on.
    #[error("there is no address to listen on")]
    Nothing,
}

/// A listening socket that the service manager handed over.
#[derive(Debug)]
pub struct Inherited {
    /// FileDescriptorName= of the socket unit; `https` means TLS.
    pub name: String,
    /// The socket.
    pub descriptor: OwnedFd,
}

/// Listening sockets, not yet served.
#[derive(Debug)]
pub struct Listeners(pub(super) Vec<Bound>);

#[derive(Debug)]
pub(super) struct Bound {
    /// The address as bound: a port of 0 has become a number.
    pub(super) address: ListenAddress,
    pub(super) socket: Acceptor,
}

#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Goes with the listener; `None` if the file is not ours.
        _file: Option<SocketFile>,
    },
}

/// A connection as accepted.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listeners {
    /// Takes the inherited sockets and binds the configured addresses. Where there is an inherited
    /// socket of a kind (http, https, unix), it takes the place of all configured ones of that kind.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be bound; then none is.
    pub async fn bind(options: &Options, inherited: Vec<Inherited>) -> Result<Self, BindError> {
        let mut bound = Vec::new();
        for socket in inherited {
            bound.push(adopt(socket)?);
        }
        let kinds: Vec<_> = bound.iter().map(|bound| discriminant(&bound.address)).collect();
        let wanted = |listener: &&Listener| !kinds.contains(&discriminant(&listener.address));
        for listener in options.listeners.iter().filter(wanted) {
            match bind(&listener.address).await {
                Ok(listener) => bound.push(listener),
                Err(BindError::Bind { address, source })
                    if listener.may_be_absent && is_absent(&source) =>
                {
                    info!(address, "the host has no such address");
                }
                Err(error) => return Err(error),
            }
        }
        if bound.is_empty() {
            return Err(BindError::Nothing);
        }
        bound.iter().try_for_each(|bound| judge(&bound.address, options))?;
        Ok(Self(bound))
    }

    /// The addresses as bound.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.0.iter().map(|bound| bound.address.clone()).collect()
    }
}

/// The rules the configuration was held to, held once more to what is really bound.
fn judge(address: &ListenAddress, options: &Options) -> Result<(), BindError> {
    let (address, cleartext) = match address {
        ListenAddress::Http(address) => (*address, true),
        ListenAddress::Https(address) => (*address, false),
        ListenAddress::Unix(_) => return Ok(()),
    };
    if !cleartext && options.tls.is_none() {
        return Err(BindError::NoCertificate { address });
    }
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    if options.auth.mode == AuthMode::None {
        return Err(BindError::Unauthenticated { address });
    }
    if cleartext && !options.allow_cleartext {
        return Err(BindError::Cleartext { address });
    }
    Ok(())
}

/// Whether the host lacks the address or its family.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

async fn bind(address: &ListenAddress) -> Result<Bound, BindError> {
    match address {
        ListenAddress::Http(tcp) => {
            let (socket, tcp) = bind_tcp(*tcp)?;
            Ok(Bound { address: ListenAddress::Http(tcp), socket })
        }
        ListenAddress::Https(tcp) => {
            let (socket, tcp) = bind_tcp(*tcp)?;
            Ok(Bound { address: ListenAddress::Https(tcp), socket })
        }
        ListenAddress::Unix(path) => {
            let (listener, file) = bind_unix(path).await?;
            Ok(Bound {
                address: address.clone(),
                socket: Acceptor::Unix { listener, _file: Some(file) },
            })
        }
    }
}

fn bind_tcp(address: SocketAddr) -> Result<(Acceptor, SocketAddr), BindError> {
    let listen = || -> io::Result<_> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for the connections of the process before.
        socket.set_reuseaddr(true)?;
        if address.is_ipv6() {
            // [::] beside 0.0.0.0 must not collide with it.
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
        }
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((Acceptor::Tcp(listener), address))
    };
    listen().map_err(|source| BindError::Bind { address: address.to_string(), source })
}

/// Binds a unix socket that everybody may connect to: who may do what is decided by who connects.
async fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |source| BindError::Bind { address: format!("unix:{}", path.display()), source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            if UnixStream::connect(path).await.is_ok() {
                return Err(BindError::Taken { path: path.to_owned() });
            }
            // Nobody listens: the socket of a process that was killed.
            fs::remove_file(path).map_err(failed)?;
        }
        // Anything else is not ours to remove; bind says that it is there.
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
    let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}

/// The file of a unix socket we bound; removed with it, unless another process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            // If it cannot be removed, the next start finds that nobody listens on it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn adopt(socket: Inherited) -> Result<Bound, BindError> {
    let Inherited { name, descriptor } = socket;
    let https = name == "https";
    let result = (|| {
        let address: SockaddrStorage = getsockname(std::os::fd::AsRawFd::as_raw_fd(&descriptor))?;
        if !nix::sys::socket::getsockopt(&descriptor.as_fd(), sockopt::AcceptConn)? {
            return Err(io::Error::other("it does not listen"));
        }
        if address.family() == Some(nix::sys::socket::AddressFamily::Unix) {
            let listener = std::os::unix::net::UnixListener::from(descriptor);
            listener.set_nonblocking(true)?;
            let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
            let address = ListenAddress::Unix(path.unwrap_or_default());
            let listener = UnixListener::from_std(listener)?;
            let socket = Acceptor::Unix { listener, _file: None };
            return Ok(Bound { address, socket });
        }
        let listener = std::net::TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let address =
            if https { ListenAddress::Https(address) } else { ListenAddress::Http(address) };
        Ok(Bound { address, socket: Acceptor::Tcp(TcpListener::from_std(listener)?) })
    })();
    result.map_err(|source| BindError::Inherited { name, source })
}

impl Acceptor {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer))
            }
            Self::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| Accepted::Unix(stream))
            }
        }
    }
}
