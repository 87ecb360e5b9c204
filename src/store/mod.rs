//! What outlives the process, in SQLite: jobs, subscriptions, and indications that wait.
//!
//! One connection lives on one named thread; a [`Store`] is a clonable front that sends it one request
//! after the other. An answer means that the change is on the disk (WAL, `synchronous = FULL`); an
//! error means that nothing was changed. A request that was sent is carried out even if nobody waits
//! for the answer any more.
//!
//! Rows are plain text and numbers. What is deliberately absent: CIM, and any idea of what a job or a
//! subscription means.

mod error;
mod indications;
mod jobs;
mod outbox;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    fs::{DirBuilder, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

pub use error::StoreError;
pub use indications::{ObjectKind, ObjectRow};
pub use jobs::{JobRow, Jobs};
pub use outbox::{Outboxes, ParcelRow, SequenceRow};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

/// How many requests may wait for the thread.
const QUEUE: usize = 256;

type Request = Box<dyn FnOnce(&mut Connection) + Send>;

enum Message {
    Work(Request),
    Close,
}

/// The front of the store. Clones share it.
#[derive(Clone)]
pub struct Store {
    messages: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Store {
    /// Opens the file, making it and its directory if need be, and brings it to the newest schema.
    ///
    /// # Errors
    /// [`StoreError`] if the file is unreadable, in use, damaged or from a newer program.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let (messages, mut waiting) = mpsc::channel(QUEUE);
        let (ready, opened) = oneshot::channel();
        let file = path.to_owned();
        let run = move || {
            let mut connection = match open(&file) {
                Ok(connection) => connection,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            if ready.send(Ok(())).is_err() {
                return;
            }
            while let Some(Message::Work(request)) = waiting.blocking_recv() {
                request(&mut connection);
            }
        };
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(run)
            .map_err(|source| StoreError::Unreadable { path: path.to_owned(), source })?;
        opened.await.map_err(|_| StoreError::Closed)??;
        Ok(Self { messages, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Finishes what was asked and closes the file. Later requests get [`StoreError::Closed`].
    pub async fn close(&self) {
        let _ = self.messages.send(Message::Close).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Lets writes fail, or work again.
    #[cfg(test)]
    pub(crate) async fn refuse_writes(&self, refuse: bool) {
        let set = move |connection: &mut Connection| {
            Ok(connection.pragma_update(None, "query_only", refuse)?)
        };
        self.call(set).await.expect("a setting");
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let request: Request = Box::new(move |connection| {
            let _ = answer.send(work(connection));
        });
        self.messages.send(Message::Work(request)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    make_file(path).map_err(|source| StoreError::Unreadable { path: path.to_owned(), source })?;
    let in_use = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::InUse { path: path.to_owned() }
        }
        _ => error.into(),
    };
    let mut connection = Connection::open(path)?;
    // Two daemons on one store would both carry out its jobs: the second is turned away at once.
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(in_use)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(in_use)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(in_use)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(in_use)?;
    // Takes the lock now, and not at the first request.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT").map_err(in_use)?;
    check_integrity(&connection)?;
    schema::migrate(&mut connection, path)?;
    Ok(connection)
}

/// The file holds names and parameters of guests: nobody else's business.
fn make_file(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent()
        && !directory.as_os_str().is_empty()
        && !directory.is_dir()
    {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn check_integrity(connection: &Connection) -> Result<(), StoreError> {
    let problem: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if problem == "ok" { Ok(()) } else { Err(StoreError::Damaged { problem }) }
}
