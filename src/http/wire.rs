//! The byte stream under hyper: TLS or none, with our deadlines.
//!
//! - A head must be complete within `header-time` of its first byte, the first one of a connection
//!   within `header-time` of its start; between requests a client may be silent for `idle-time`.
//!   While a request runs, nothing is expected of the client (a body has its own deadline).
//! - A client that takes no byte of an answer for `send-time` is cut off.
//! - Before the connection is closed, what the client still sends is read and thrown away for a
//!   moment: closing on unread bytes resets the connection and destroys the answer on its way.
//! - A client that goes away while its request runs should be noticed, one that merely says that it
//!   will send nothing more (a half close) should get its answer. TCP tells both in the same way, by
//!   FIN. So after a FIN the answer's first byte, which is `H` whatever the answer will be, is sent
//!   ahead: a process that still reads notices nothing, a closed socket replies with a reset.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};
use tokio_rustls::server::TlsStream;

use super::{
    Limits,
    socket::{Socket, Watch},
};

/// How long and how much is read from a client after the last answer.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;
/// What every answer begins with.
const FIRST_BYTE: u8 = b'H';

/// A stream of bytes, whatever is under it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Its lowest layer.
    fn socket(&self) -> &Socket;
}

impl Stream for Socket {
    fn socket(&self) -> &Socket {
        self
    }
}

impl Stream for TlsStream<Socket> {
    fn socket(&self) -> &Socket {
        self.get_ref().0
    }
}

/// What hyper reads from and writes to.
pub(super) struct Wire {
    shared: Arc<Shared>,
    limits: Deadlines,
    /// Runs out when the client has been silent for too long.
    silence: Pin<Box<Sleep>>,
    /// Runs out when the client has taken nothing for too long; `None` while it takes.
    stall: Option<Pin<Box<Sleep>>>,
    /// The bytes that may still be thrown away; `None` before the end.
    linger: Option<usize>,
}

#[derive(Clone, Copy)]
struct Deadlines {
    header: Duration,
    idle: Duration,
    send: Duration,
}

/// The other side of a [`Wire`], for the service that answers on it.
#[derive(Clone)]
pub(super) struct WireHandle {
    shared: Arc<Shared>,
}

struct Shared {
    stream: Mutex<Box<dyn Stream>>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Whether hyper has nothing left to write.
    flushed: bool,
    /// Whether the first byte of the next answer was sent already.
    ahead: bool,
}

/// What is expected of the client.
#[derive(Clone, Copy)]
enum Phase {
    /// The rest of a head, or the first byte of a new connection.
    Head(Instant),
    /// Nothing: its request runs.
    Busy,
    /// Its next request, some time.
    Idle(Instant),
}

impl Wire {
    /// The wire over `stream`.
    pub(super) fn new(stream: Box<dyn Stream>, limits: &Limits) -> (Self, WireHandle) {
        let limits = Deadlines {
            header: limits.header_time,
            idle: limits.idle_time,
            send: limits.send_time,
        };
        let deadline = Instant::now() + limits.header;
        let state = State { phase: Phase::Head(deadline), flushed: true, ahead: false };
        let shared = Arc::new(Shared { stream: Mutex::new(stream), state: Mutex::new(state) });
        let handle = WireHandle { shared: shared.clone() };
        let silence = Box::pin(tokio::time::sleep_until(deadline));
        (Self { shared, limits, silence, stall: None, linger: None }, handle)
    }

    /// Fails when the client has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let deadline = match self.shared.state().phase {
            Phase::Head(deadline) => deadline,
            Phase::Idle(since) => since + self.limits.idle,
            Phase::Busy => return Poll::Pending,
        };
        // To move a timer costs more than anything else here, and with every request the deadline
        // moves on: a timer that is too early is only moved when it goes off.
        if self.silence.deadline() > deadline {
            self.silence.as_mut().reset(deadline);
        }
        ready!(self.silence.as_mut().poll(cx));
        if self.silence.deadline() < deadline {
            self.silence.as_mut().reset(deadline);
            ready!(self.silence.as_mut().poll(cx));
        }
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client was silent for too long"))
    }

    /// Passes the result of a write on, or fails when the client has taken nothing for too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let send = self.limits.send;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(send)));
        ready!(stall.as_mut().poll(cx));
        let message = "the client read nothing for too long";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

impl Shared {
    fn stream(&self) -> MutexGuard<'_, Box<dyn Stream>> {
        self.stream.lock().expect("no holder of this lock panics")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl WireHandle {
    /// A request has come; from now on nothing is expected of the client.
    pub(super) fn busy(&self) {
        self.shared.state().phase = Phase::Busy;
    }

    /// The request is answered; the next one may come.
    pub(super) fn idle(&self) {
        self.shared.state().phase = Phase::Idle(Instant::now());
    }

    /// Returns when the client has gone. Never returns if that cannot be known.
    pub(super) async fn hung_up(&self) {
        if self.try_hung_up().await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns when the connection is closed in both directions, for one whose answer is on its way: a
    /// client that closed its end is noticed with the next bytes it is sent.
    pub(super) async fn cut_off(&self) {
        let watched = async {
            let watch = self.watch()?;
            watch.closed().await
        };
        if watched.await.is_err() {
            std::future::pending().await
        }
    }

    async fn try_hung_up(&self) -> io::Result<()> {
        let watch = self.watch()?;
        watch.half_closed().await?;
        if watch.is_tcp() && !self.send_ahead().await? {
            std::future::pending::<()>().await;
        }
        watch.closed().await
    }

    fn watch(&self) -> io::Result<Watch> {
        self.shared.stream().socket().watch()
    }

    /// Sends the first byte of the answer. `false` if an earlier answer is still being sent.
    async fn send_ahead(&self) -> io::Result<bool> {
        let sent = std::future::poll_fn(|cx| {
            let mut stream = self.shared.stream();
            let mut state = self.shared.state();
            if state.ahead || !state.flushed {
                return Poll::Ready(Ok(state.ahead));
            }
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &[FIRST_BYTE]))?;
            state.ahead = written == 1;
            Poll::Ready(Ok::<_, io::Error>(state.ahead))
        });
        // A write that fails says what we want to know; the watch sees it too.
        let sent = sent.await.unwrap_or(true);
        // TLS keeps a record until it is flushed.
        let flush =
            std::future::poll_fn(|cx| Pin::new(&mut *self.shared.stream()).poll_flush(cx)).await;
        drop(flush);
        Ok(sent)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut *self.shared.stream()).poll_read(cx, buffer);
        if result.is_pending() {
            return self.poll_silence(cx).map(Err);
        }
        let arrived = buffer.filled().len() > before;
        let mut state = self.shared.state();
        if let (Phase::Idle(_), true) = (state.phase, arrived) {
            state.phase = Phase::Head(Instant::now() + self.limits.header);
        }
        drop(state);
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.shared.was_sent_ahead(bytes.first()) {
            return Poll::Ready(Ok(1));
        }
        let result = Pin::new(&mut *self.shared.stream()).poll_write(cx, bytes);
        self.unless_stalled(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.shared.was_sent_ahead(slices.iter().find_map(|slice| slice.first())) {
            return Poll::Ready(Ok(1));
        }
        let result = Pin::new(&mut *self.shared.stream()).poll_write_vectored(cx, slices);
        self.unless_stalled(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.shared.stream().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut *self.shared.stream()).poll_flush(cx);
        if result.is_ready() {
            self.shared.state().flushed = true;
        }
        self.unless_stalled(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let result = Pin::new(&mut *self.shared.stream()).poll_shutdown(cx);
            ready!(self.unless_stalled(cx, result))?;
            if let Phase::Idle(_) = self.shared.state().phase {
                return Poll::Ready(Ok(()));
            }
            self.linger = Some(LINGER_BYTES);
            self.silence.as_mut().reset(Instant::now() + LINGER_TIME);
        }
        self.poll_linger(cx).map(Ok)
    }
}

impl Wire {
    /// Throws away what the client still sends, within limits.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        let mut left = self.linger.unwrap_or_default();
        while left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            let result = Pin::new(&mut *self.shared.stream()).poll_read(cx, &mut buffer);
            match (result, buffer.filled().len()) {
                (Poll::Pending, _) => {
                    self.linger = Some(left);
                    return self.silence.as_mut().poll(cx);
                }
                (Poll::Ready(Ok(())), length @ 1..) => left = left.saturating_sub(length),
                (Poll::Ready(_), _) => break,
            }
        }
        self.linger = Some(0);
        Poll::Ready(())
    }
}

impl Shared {
    /// Whether hyper is about to write the byte that was sent ahead. Notes that it writes at all.
    fn was_sent_ahead(&self, first: Option<&u8>) -> bool {
        let mut state = self.state();
        state.flushed = false;
        if !state.ahead || first.is_none() {
            return false;
        }
        debug_assert_eq!(first, Some(&FIRST_BYTE), "an answer begins with its status line");
        state.ahead = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
        net::{TcpListener, TcpStream, UnixStream},
        time::timeout,
    };

    use super::*;

    /// Longer than any test needs and shorter than anybody's patience.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn tcp_pair() -> (Wire, WireHandle, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Socket::tcp(listener.accept().await.unwrap().0).unwrap();
        let (wire, handle) = Wire::new(Box::new(socket), &Limits::default());
        (wire, handle, client)
    }

    #[tokio::test]
    async fn a_client_that_closed_is_noticed() {
        let (_wire, handle, mut client) = tcp_pair().await;
        client.write_all(b"request").await.unwrap();
        drop(client);
        timeout(PATIENCE, handle.hung_up()).await.expect("noticed");
    }

    #[tokio::test]
    async fn a_client_that_closes_after_more_unread_bytes_is_noticed() {
        let (_wire, handle, mut client) = tcp_pair().await;
        client.write_all(b"first").await.unwrap();
        let watch = tokio::spawn(async move { handle.hung_up().await });
        tokio::task::yield_now().await;
        client.write_all(b"second").await.unwrap();
        drop(client);
        timeout(PATIENCE, watch).await.expect("noticed").unwrap();
    }

    #[tokio::test]
    async fn a_reset_is_noticed() {
        let (_wire, handle, client) = tcp_pair().await;
        client.set_zero_linger().unwrap();
        drop(client);
        timeout(PATIENCE, handle.hung_up()).await.expect("noticed");
    }

    #[tokio::test]
    async fn a_client_that_half_closed_gets_its_answer_once_and_is_noticed_when_it_goes() {
        let (mut wire, handle, mut client) = tcp_pair().await;
        client.shutdown().await.unwrap();
        let mut watch = tokio::spawn({
            let handle = handle.clone();
            async move { handle.hung_up().await }
        });
        // The byte sent ahead arrives, and with it no news of the client's end.
        assert_eq!(client.read_u8().await.unwrap(), b'H');
        assert!(!watch.is_finished());
        wire.write_all(b"HTTP/1.1 200 OK").await.unwrap();
        let mut rest = [0; 14];
        client.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"TTP/1.1 200 OK");
        wire.write_all(b"H").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'H', "only one byte was owed");
        assert!(timeout(Duration::from_millis(1), &mut watch).await.is_err());
        wire.write_all(b"x").await.unwrap();
        drop(client);
        timeout(PATIENCE, watch).await.expect("noticed").unwrap();
    }

    #[tokio::test]
    async fn nothing_is_sent_ahead_into_an_unfinished_answer() {
        let (mut wire, handle, mut client) = tcp_pair().await;
        wire.write_all(b"HTTP/1.1 200 OK").await.unwrap();
        assert!(!handle.send_ahead().await.unwrap());
        wire.flush().await.unwrap();
        assert!(handle.send_ahead().await.unwrap());
        wire.write_all(b"HTTP").await.unwrap();
        let mut all = [0; 19];
        client.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"HTTP/1.1 200 OKHTTP");
    }

    #[tokio::test]
    async fn a_unix_client_that_half_closed_is_not_gone() {
        let (server, client) = UnixStream::pair().unwrap();
        let (_wire, handle) = Wire::new(Box::new(Socket::Unix(server)), &Limits::default());
        let mut client = client;
        client.shutdown().await.unwrap();
        let mut watch = Box::pin(handle.hung_up());
        assert!(timeout(Duration::from_millis(1), &mut watch).await.is_err());
        drop(client);
        timeout(PATIENCE, watch).await.expect("noticed");
    }

    impl Stream for DuplexStream {
        fn socket(&self) -> &Socket {
            unreachable!("these tests watch no client")
        }
    }

    fn paused_wire() -> (Wire, WireHandle, DuplexStream) {
        let (server, client) = tokio::io::duplex(16);
        let (wire, handle) = Wire::new(Box::new(server), &Limits::default());
        (wire, handle, client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_deadline_from_the_first_byte() {
        let (mut wire, handle, mut client) = paused_wire();
        let limits = Limits::default();
        let start = Instant::now();
        // A new connection that says nothing.
        assert_eq!(wire.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), limits.header_time);
        // A kept one may be silent for longer,
        handle.busy();
        handle.idle();
        let start = Instant::now();
        assert_eq!(wire.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), limits.idle_time);
        // but not once it has begun, however steadily it drips.
        handle.idle();
        let drip = tokio::spawn(async move {
            while client.write_u8(b'x').await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        let error = loop {
            if let Err(error) = wire.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), limits.header_time);
        drop((wire, handle));
        drip.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_expected_of_a_client_whose_request_runs() {
        let (mut wire, handle, _client) = paused_wire();
        handle.busy();
        assert!(timeout(Duration::from_secs(3600), wire.read_u8()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut_off_and_one_that_reads_slowly_is_not() {
        let (mut wire, handle, mut client) = paused_wire();
        handle.busy();
        let limit = Limits::default().send_time;
        let reader = tokio::spawn(async move {
            let mut byte = [0; 8];
            for _ in 0..10 {
                tokio::time::sleep(limit - Duration::from_secs(1)).await;
                client.read_exact(&mut byte).await.unwrap();
            }
            client
        });
        wire.write_all(&[b'x'; 80]).await.unwrap();
        let _client = reader.await.unwrap();
        let start = Instant::now();
        assert_eq!(wire.write_all(&[b'x'; 80]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), limit);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_sends_after_the_end_is_thrown_away_for_a_while() {
        let (mut wire, handle, mut client) = paused_wire();
        handle.busy();
        let sender = tokio::spawn(async move {
            client.write_all(&[b'x'; 1000]).await.unwrap();
            client
        });
        let start = Instant::now();
        wire.shutdown().await.unwrap();
        assert_eq!(start.elapsed(), LINGER_TIME, "the client did not close");
        drop(sender.await.unwrap());
    }
}
