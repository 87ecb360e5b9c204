//! A connected socket, of either kind, that can be watched while others read from it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{TcpStream, UnixStream},
};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
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
        Ok(Self::Tcp(stream))
    }

    /// A watch on the socket. It has a descriptor and with it a registration with the reactor of its
    /// own, so it does not consume the readiness that hyper waits for.
    ///
    /// # Errors
    /// If there is no descriptor to be had.
    pub(super) fn watch(&self) -> io::Result<Watch> {
        let copy = self.as_fd().try_clone_to_owned()?;
        Ok(Watch(match self {
            Self::Tcp(_) => Self::Tcp(TcpStream::from_std(copy.into())?),
            Self::Unix(_) => Self::Unix(UnixStream::from_std(copy.into())?),
        }))
    }
}

/// What the client does to its end of a connection.
#[derive(Debug)]
pub(super) struct Watch(Socket);

impl Watch {
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.0, Socket::Tcp(_))
    }

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
                Socket::Tcp(stream) => stream.ready(interest).await?,
                Socket::Unix(stream) => stream.ready(interest).await?,
            };
            if what(ready) {
                return Ok(());
            }
            // To say that it would block clears the readiness, so that we wait for the next edge. The
            // closed states are never cleared.
            let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let cleared = match &self.0 {
                Socket::Tcp(stream) => stream.try_io(interest, would_block),
                Socket::Unix(stream) => stream.try_io(interest, would_block),
            };
            debug_assert!(cleared.is_err(), "nothing was tried");
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// The streams' own reading and writing know that less than was asked for means that there is no more
/// for now. Otherwise each answer would be followed by one more read, and a client that is quick with
/// its next request would be served before all that wait.
impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn after_a_short_read_there_is_nothing_to_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::tcp(listener.accept().await.unwrap().0).unwrap();
        client.write_all(b"request").await.unwrap();
        assert_eq!(socket.read(&mut [0; 64]).await.unwrap(), 7);
        let Socket::Tcp(stream) = &socket else { unreachable!("it was made of one") };
        let again = stream.try_io(Interest::READABLE, || Ok(()));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
