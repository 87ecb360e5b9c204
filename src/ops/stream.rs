//! Lists that are produced while they are sent.
//!
//! The producer is a tracked task that fills a bounded channel; it ends when the reader drops the
//! stream, at any point where it waits. A list that breaks off is an error, never just a shorter list.

use std::future::Future;

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Meter, ProviderError};
use crate::cim::{CimError, Object, StatusCode};

/// How many objects wait for a slow reader; enough to keep both sides busy, too few to matter.
const DEPTH: usize = 32;

/// What goes through the channel. The end is said, so that a producer that dies is noticed.
#[derive(Debug)]
enum Item {
    Object(Object),
    Failed(CimError),
    End,
}

/// The objects of a streamed answer, in order. Dropping it stops the producer.
pub struct ObjectStream {
    first: Option<Item>,
    receiver: mpsc::Receiver<Item>,
    ended: bool,
}

/// Feeds an [`ObjectStream`] whose maker is not [`Operations`](super::Operations): a seam for tests.
/// Dropped before its end was said, it leaves a list that broke off.
#[derive(Debug)]
pub struct ObjectFeed(mpsc::Sender<Item>);

impl ObjectFeed {
    /// Sends one object, or the error that ends the list; waits while the reader is slow. `false` if
    /// nobody reads any more.
    pub async fn put(&self, object: Result<Object, CimError>) -> bool {
        let item = match object {
            Ok(object) => Item::Object(object),
            Err(error) => Item::Failed(error),
        };
        self.0.send(item).await.is_ok()
    }

    /// Says that the list is complete.
    pub async fn end(self) -> bool {
        self.0.send(Item::End).await.is_ok()
    }
}

impl ObjectStream {
    /// A stream and what feeds it.
    pub fn fed() -> (ObjectFeed, Self) {
        let (sender, receiver) = mpsc::channel(DEPTH);
        (ObjectFeed(sender), Self { first: None, receiver, ended: false })
    }

    /// Waits for the next object. `None` is the end; after an error nothing follows. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Object, CimError>> {
        if self.ended {
            return None;
        }
        let item = match self.first.take() {
            Some(item) => Some(item),
            None => self.receiver.recv().await,
        };
        let result = match item {
            Some(Item::Object(object)) => return Some(Ok(object)),
            Some(Item::Failed(error)) => Some(Err(error)),
            Some(Item::End) => None,
            None => Some(Err(CimError::new(StatusCode::Failed, "internal error: list broke off"))),
        };
        self.ended = true;
        result
    }

    /// Waits for the first object, so that an error before it can still be an ordinary answer.
    pub(super) async fn begin(mut self) -> Result<Self, CimError> {
        match self.next().await {
            Some(Ok(object)) => self.first = Some(Item::Object(object)),
            Some(Err(error)) => return Err(error),
            None => {}
        }
        Ok(self)
    }

    /// Whether it is known to hold nothing more.
    pub(super) fn is_exhausted(&self) -> bool {
        self.ended
    }
}

/// Where a producer puts the objects of a stream.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Item>);

impl Writer {
    /// Sends one object; waits while the reader is slow.
    pub(super) async fn send(&self, object: Object) -> Result<(), ProviderError> {
        self.0.send(Item::Object(object)).await.map_err(|_| ProviderError::Unwanted)
    }
}

/// Starts tasks that produce streams, and stops them with the daemon.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Producers {
    /// Starts a task that runs `produce` into a stream.
    pub(super) fn start<F, P>(&self, produce: P) -> ObjectStream
    where
        P: FnOnce(Writer) -> F + Send + 'static,
        F: Future<Output = Result<(), ProviderError>> + Send,
    {
        let (ObjectFeed(sender), stream) = ObjectStream::fed();
        let stop = self.stop.clone();
        self.tasks.spawn(Meter::inherit(async move {
            let work = produce(Writer(sender.clone()));
            let last = tokio::select! {
                biased;
                // Nobody reads any more: dropping the work is all there is to do.
                () = sender.closed() => return,
                () = stop.cancelled() => Item::Failed(shutting_down()),
                result = work => match result {
                    Ok(()) => Item::End,
                    Err(error) => Item::Failed(error.into()),
                },
            };
            // Fails only if the reader is gone, which ends the matter as well.
            let _ = sender.send(last).await;
        }));
        stream
    }

    /// Starts a task that runs until it is told to stop.
    pub(super) fn spawn<F>(&self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(work(self.stop.clone()));
    }

    /// Ends all streams with SERVER_IS_SHUTTING_DOWN and waits for their producers.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn shutting_down() -> CimError {
    CimError::new(StatusCode::ServerIsShuttingDown, "the server is shutting down")
}
