//! A connected socket that hyper owns and that we can still watch.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{TcpStream, UnixStream},
};

/// A connected socket, shared between hyper and [`Socket::hung_up`].
#[derive(Clone, Debug)]
pub(super) struct Socket(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(super) fn tcp(stream: TcpStream) -> io::Result<Self> {
        // Answers are written whole; waiting for more to send only delays them.
        stream.set_nodelay(true)?;
        // A host that died without a word is noticed within two minutes.
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &60)?;
        setsockopt(&stream, sockopt::TcpKeepInterval, &10)?;
        setsockopt(&stream, sockopt::TcpKeepCount, &6)?;
        Ok(Self(Arc::new(Kind::Tcp(stream))))
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self(Arc::new(Kind::Unix(stream)))
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(*self.0, Kind::Tcp(_))
    }

    /// A watch on the socket. It has a descriptor and with it a registration with the reactor of its
    /// own, so it does not consume the readiness that hyper waits for.
    ///
    /// # Errors
    /// If there is no descriptor to be had.
    pub(super) fn watch(&self) -> io::Result<Watch> {
        let copy = self.as_fd().try_clone_to_owned()?;
        Ok(Watch(match &*self.0 {
            Kind::Tcp(_) => Kind::Tcp(TcpStream::from_std(copy.into())?),
            Kind::Unix(_) => Kind::Unix(UnixStream::from_std(copy.into())?),
        }))
    }
}

/// What the client does to its end of a connection.
#[derive(Debug)]
pub(super) struct Watch(Kind);

impl Watch {
    /// Returns when the client has said that it will send nothing more. Whether it still reads, the
    /// kernel cannot tell for TCP: [`Watch::closed`] can after something was sent.
    ///
    /// # Errors
    /// If the socket cannot be watched.
    pub(super) async fn half_closed(&self) -> io::Result<()> {
        self.until(Interest::READABLE, Ready::is_read_closed).await
    }

    /// Returns when the connection is closed in both directions, reset or timed out.
    ///
    /// # Errors
    /// If the socket cannot be watched.
    pub(super) async fn closed(&self) -> io::Result<()> {
        self.until(Interest::WRITABLE, Ready::is_write_closed).await
    }

    /// Waits until `what` is true of the socket's readiness.
    async fn until(&self, interest: Interest, what: fn(Ready) -> bool) -> io::Result<()> {
        loop {
            let ready = match &self.0 {
                Kind::Tcp(stream) => stream.ready(interest).await?,
                Kind::Unix(stream) => stream.ready(interest).await?,
            };
            if what(ready) {
                return Ok(());
            }
            // To say that it would block clears the readiness, so that we wait for the next edge. The
            // closed states are never cleared.
            let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let cleared = match &self.0 {
                Kind::Tcp(stream) => stream.try_io(interest, would_block),
                Kind::Unix(stream) => stream.try_io(interest, would_block),
            };
            debug_assert!(cleared.is_err(), "nothing was tried");
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &*self.0 {
            Kind::Tcp(stream) => stream.as_fd(),
            Kind::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Tries an operation each time the socket is ready for it, until it does not block.
macro_rules! when_ready {
    ($self:ident, $cx:ident, $ready:ident, |$stream:ident| $operation:expr) => {
        loop {
            let result = match &*$self.0 {
                Kind::Tcp($stream) => {
                    ready!($stream.$ready($cx))?;
                    $operation
                }
                Kind::Unix($stream) => {
                    ready!($stream.$ready($cx))?;
                    $operation
                }
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                result => break result,
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        when_ready!(self, cx, poll_read_ready, |stream| stream.try_read_buf(buffer))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(when_ready!(self, cx, poll_write_ready, |stream| stream.try_write(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result =
            when_ready!(self, cx, poll_write_ready, |stream| stream.try_write_vectored(slices));
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let descriptor = self.as_fd().as_raw_fd();
        let shut = nix::sys::socket::shutdown(descriptor, nix::sys::socket::Shutdown::Write);
        Poll::Ready(shut.map_err(io::Error::from))
    }
}
