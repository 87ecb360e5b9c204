//! One HTTP exchange: connect, send, read a bounded answer, all within a deadline.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;

use super::{Authority, ClientError, Endpoint, Transport};
use crate::sys::blocking::Slots;

/// So many names may be looked up at once, and so many lookups may wait. Whom nobody answers leaves the
/// blocking threads to others.
static LOOKUPS: LazyLock<Slots> = LazyLock::new(|| Slots::new(16, 4096));

/// A stream of any transport.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How long and how much an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLimits {
    /// For the connection to stand, TLS included.
    pub connect: Duration,
    /// From then on to the last byte of the answer.
    pub answer: Duration,
    /// Bytes of the answer's body.
    pub body: usize,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(120), body: 64 << 20 }
    }
}

/// An open connection; requests go over it one after the other.
pub(super) struct HttpConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl HttpConnection {
    /// Connects within `limits.connect`.
    pub(super) async fn open(
        endpoint: &Endpoint,
        tls: Option<&Arc<rustls::ClientConfig>>,
        limits: &ExchangeLimits,
    ) -> Result<Self, ClientError> {
        let unreachable =
            |source: std::io::Error| ClientError::Unreachable { url: endpoint.server(), source };
        let connecting = async {
            let stream = connect(endpoint, tls).await.map_err(unreachable)?;
            http1::Builder::new()
                // pywbem's listener breaks a line in a header of its errors.
                .ignore_invalid_headers_in_responses(true)
                .allow_obsolete_multiline_headers_in_responses(true)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|source| ClientError::Http { url: endpoint.server(), source })
        };
        let (sender, connection) = tokio::time::timeout(limits.connect, connecting)
            .await
            .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))??;
        // The task ends with the connection; dropping this value aborts it.
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to server ended");
            }
        });
        Ok(Self { sender, driver: driver.abort_handle() })
    }

    /// Whether another request may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn exchange(
        &mut self,
        url: &str,
        request: http::Request<Full<Bytes>>,
        limits: &ExchangeLimits,
    ) -> Result<http::Response<Bytes>, ClientError> {
        let http_error = |source| ClientError::Http { url: url.to_owned(), source };
        let exchanging = async {
            self.sender.ready().await.map_err(http_error)?;
            let (head, body) =
                self.sender.send_request(request).await.map_err(http_error)?.into_parts();
            let body = Limited::new(body, limits.body).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    return ClientError::TooLarge { url: url.to_owned(), limit: limits.body };
                }
                match error.downcast::<hyper::Error>() {
                    Ok(source) => http_error(*source),
                    Err(other) => ClientError::Unreachable {
                        url: url.to_owned(),
                        source: std::io::Error::other(other),
                    },
                }
            })?;
            Ok(http::Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(limits.answer, exchanging).await.map_err(|_| {
            ClientError::NoAnswer { url: url.to_owned(), seconds: limits.answer.as_secs() }
        })?
    }
}

async fn connect(
    endpoint: &Endpoint,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> std::io::Result<Box<dyn Stream>> {
    match &endpoint.transport {
        Transport::Unix(socket) => Ok(Box::new(UnixStream::connect(socket).await?)),
        Transport::Http(authority) => {
            let stream = TcpStream::connect(&*addresses(authority, &LOOKUPS).await?).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Transport::Https(authority) => {
            let config = tls.ok_or_else(|| {
                std::io::Error::other("no certificate authorities to verify it with")
            })?;
            let name =
                ServerName::try_from(authority.host.clone()).map_err(std::io::Error::other)?;
            let stream = TcpStream::connect(&*addresses(authority, &LOOKUPS).await?).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
        }
    }
}

/// The addresses of a host. One that is written as an address needs no lookup.
async fn addresses(authority: &Authority, lookups: &Slots) -> std::io::Result<Vec<SocketAddr>> {
    let Authority { host, port } = authority.clone();
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let look_up = move || Ok((host, port).to_socket_addrs()?.collect());
    lookups.run(look_up).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lookups_take_turns_and_addresses_need_none() {
        let lookups = Slots::new(1, 0);
        let taken = lookups.slot().await.unwrap();
        let of = |host: &str| Authority { host: host.to_owned(), port: 7 };
        for address in ["127.0.0.1", "::1"] {
            let found = addresses(&of(address), &lookups).await.unwrap();
            assert_eq!(found, [SocketAddr::new(address.parse().unwrap(), 7)]);
        }
        let error = addresses(&of("localhost"), &lookups).await.unwrap_err();
        assert!(error.to_string().contains("busy"), "{error}");
        drop(taken);
        let found = addresses(&of("localhost"), &lookups).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|it| it.ip().is_loopback()), "{found:?}");
    }
}
