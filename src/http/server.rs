//! Accepts connections and serves each in a task of its own, within limits; stops in order.

use std::{io, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, debug_span, warn};

use super::{
    Handler, ListenAddress, Options,
    auth::Authenticator,
    classes::ClassTexts,
    listener::{Accepted, Bound, Listeners},
    peer::{Origin, Peer},
    places::{Place, Places},
    service::{Service, Shared},
    socket::Socket,
    tls::{Tls, TlsError, common_name},
    users::UsersError,
    wire::{Stream, Wire},
};
use crate::{
    sys::{blocking::Slots, peer_groups::peer_groups},
    telemetry::{Chain, Throttle},
    xml,
};

/// What a connection too many is told, if it speaks clear text.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";
/// How long accepting rests when the process has no descriptor left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);
/// The smallest read buffer hyper accepts.
const MIN_BUFFER: usize = 8192;

/// Why the server does not start, or does not reload.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The users file.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running server.
pub struct Server {
    addresses: Vec<ListenAddress>,
    house: Arc<House>,
    /// Accept loops and connections.
    tasks: TaskTracker,
    /// Cancelled when connections are to be cut off.
    kill: CancellationToken,
}

/// What accept loops and connections share.
struct House {
    shared: Arc<Shared>,
    tls: Option<Tls>,
    places: Places,
    /// For looking up the groups of unix socket peers.
    lookups: Slots,
    tasks: TaskTracker,
}

impl Server {
    /// Serves the listeners until [`Server::stop`].
    ///
    /// # Errors
    /// [`ServerError`] if users or certificates cannot be read.
    pub fn start(
        listeners: Listeners,
        options: &Options,
        xml_limits: xml::Limits,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, ServerError> {
        let shared = Arc::new(Shared {
            handler,
            authenticator: Arc::new(Authenticator::new(&options.auth, &options.limits)?),
            limits: options.limits.clone(),
            xml_limits,
            pywbem_booleans: options.pywbem_booleans,
            wbemcli_arrays: options.wbemcli_arrays,
            class_texts: Arc::new(ClassTexts::new(options.limits.class_cache.get())),
            requests: Semaphore::new(options.limits.requests.get()),
            operations: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        let (tasks, kill) = (TaskTracker::new(), CancellationToken::new());
        let house = Arc::new(House {
            shared,
            tls: options.tls.as_ref().map(Tls::load).transpose()?,
            places: Places::new(&options.limits, kill.clone()),
            lookups: Slots::new(2, options.limits.connections.get()),
            tasks: tasks.clone(),
        });
        let addresses = listeners.addresses();
        for bound in listeners.0 {
            tasks.spawn(house.clone().accept(bound));
        }
        Ok(Self { addresses, house, tasks, kill })
    }

    /// The addresses served; a port of 0 has become a number.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Reads users and certificates again. What cannot be read stays as it was.
    ///
    /// # Errors
    /// Every [`ServerError`] there is.
    pub fn reload(&self) -> Result<(), Vec<ServerError>> {
        let users = self.house.shared.authenticator.reload().err().map(ServerError::from);
        let tls = self.house.tls.as_ref().and_then(|tls| tls.reload().err()).map(ServerError::from);
        let errors: Vec<ServerError> = users.into_iter().chain(tls).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Stops accepting, lets the requests under way be answered for as long as `patience` lasts, then
    /// cuts their connections. Returns whether all of them were answered.
    pub async fn stop(self, patience: Duration) -> bool {
        let shared = &self.house.shared;
        shared.stopping.cancel();
        shared.operations.close();
        self.tasks.close();
        let drained = async {
            self.tasks.wait().await;
            shared.operations.wait().await;
        };
        let in_time = timeout(patience, drained).await.is_ok();
        self.kill.cancel();
        self.tasks.wait().await;
        in_time
    }
}

impl House {
    async fn accept(self: Arc<Self>, bound: Bound) {
        let https = matches!(bound.address, ListenAddress::Https(_));
        loop {
            let accepted = tokio::select! {
                accepted = bound.socket.accept() => accepted,
                () = self.shared.stopping.cancelled() => return,
            };
            match accepted {
                Ok(accepted) => self.admit(accepted, https),
                Err(error) => {
                    static THROTTLE: Throttle = Throttle::new(3, Duration::from_secs(10));
                    if let Some(suppressed) = THROTTLE.admit() {
                        warn!(%error, suppressed, "a connection cannot be accepted");
                    }
                    // Most errors are the connection's own; these would come back at once.
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                    }
                }
            }
        }
    }

    /// Serves a connection, or turns it away.
    fn admit(self: &Arc<Self>, accepted: Accepted, https: bool) {
        let origin = match &accepted {
            Accepted::Tcp(_, address) => Peer::network(*address).origin,
            Accepted::Unix(stream) => match stream.peer_cred() {
                Ok(credentials) => Origin::User(credentials.uid()),
                Err(error) => {
                    debug!(%error, "a peer without credentials");
                    return;
                }
            },
        };
        let Some(place) = self.places.take(origin) else {
            static THROTTLE: Throttle = Throttle::new(3, Duration::from_secs(10));
            if let Some(suppressed) = THROTTLE.admit() {
                warn!(?origin, suppressed, "too many connections, one was turned away");
            }
            if !https {
                turn_away(&accepted);
            }
            return;
        };
        let (house, place) = (self.clone(), Arc::new(place));
        self.tasks.spawn(async move {
            tokio::select! {
                () = house.connection(accepted, https, place.clone()) => {}
                () = place.evicted() => debug!(?origin, "a connection lost its place"),
            }
        });
    }

    async fn connection(&self, accepted: Accepted, https: bool, place: Arc<Place>) {
        let (socket, mut peer) = match self.identify(accepted).await {
            Ok(identified) => identified,
            Err(error) => {
                debug!(%error, "connection lost");
                return;
            }
        };
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) if https => match self.handshake(tls, socket, &mut peer).await {
                Ok(stream) => stream,
                Err(error) => {
                    debug!(peer = %peer.name, %error, "TLS handshake failed");
                    return;
                }
            },
            _ => Box::new(socket),
        };
        if peer.identity.is_some() {
            place.keep();
        }
        let span = debug_span!("connection", peer = %peer.name);
        self.serve(stream, peer, place).instrument(span).await;
    }

    async fn identify(&self, accepted: Accepted) -> io::Result<(Socket, Peer)> {
        match accepted {
            Accepted::Tcp(stream, address) => Ok((Socket::tcp(stream)?, Peer::network(address))),
            Accepted::Unix(stream) => {
                let credentials = stream.peer_cred()?;
                let groups = peer_groups(&stream)
                    .inspect_err(|error| debug!(%error, "the kernel tells no groups of peers"));
                let options = self.shared.authenticator.options().clone();
                let patience = self.shared.limits.header_time;
                let peer = self
                    .lookups
                    .run_within(patience, move || Peer::unix(&credentials, groups.ok(), &options))
                    .await
                    .map_err(io::Error::other)?;
                Ok((Socket::Unix(stream), peer))
            }
        }
    }

    async fn handshake(
        &self,
        tls: &Tls,
        socket: Socket,
        peer: &mut Peer,
    ) -> io::Result<Box<dyn Stream>> {
        let handshake = tls.acceptor().accept(socket);
        let stream = timeout(self.shared.limits.header_time, handshake).await??;
        let (_, session) = stream.get_ref();
        if let Some(certificate) = session.peer_certificates().and_then(|chain| chain.first()) {
            let name = common_name(certificate);
            peer.identity =
                name.as_deref().and_then(|name| self.shared.authenticator.certificate(name));
            if peer.identity.is_none() {
                debug!(peer = %peer.name, name, "a client certificate without a role");
            }
        }
        Ok(Box::new(stream))
    }

    async fn serve(&self, stream: Box<dyn Stream>, peer: Peer, place: Arc<Place>) {
        let limits = &self.shared.limits;
        let (wire, handle) = Wire::new(stream, limits);
        let close = self.shared.stopping.child_token();
        let service = Service {
            shared: self.shared.clone(),
            peer: Arc::new(peer),
            place,
            wire: handle,
            close: close.clone(),
        };
        let connection = http1::Builder::new()
            // The wire has deadlines of its own, which tell a slow head from an idle connection.
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // The wire tells a half close from a client that has gone.
            .half_close(true)
            .max_headers(limits.headers.get())
            .max_header_size(limits.header_size.get())
            .max_buf_size(limits.header_size.get().max(MIN_BUFFER))
            .serve_connection(TokioIo::new(wire), service);
        let mut connection = std::pin::pin!(connection);
        let mut closing = false;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = close.cancelled(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = result {
            debug!(error = %Chain(&error), "connection ended");
        }
    }
}

/// Says 503 if that does not have to wait; the connection closes in any case.
fn turn_away(accepted: &Accepted) {
    let said = match accepted {
        Accepted::Tcp(stream, _) => stream.try_write(TOO_MANY),
        Accepted::Unix(stream) => stream.try_write(TOO_MANY),
    };
    if let Err(error) = said {
        debug!(%error, "a connection was turned away without a word");
    }
}
