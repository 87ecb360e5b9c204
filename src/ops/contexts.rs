//! Open enumerations: streams that clients pull piece by piece (DSP0200 §5.3.2.24 ff.).
//!
//! A context holds its stream and nothing else, so it costs what its producer has in hand. It belongs to
//! the user, the namespace and the kind of list that opened it, survives the connection it came over,
//! and ends with its last object, with CloseEnumeration, with an error, or when nobody has asked for
//! longer than its operation timeout. Pulls on one context wait for each other; closing it wakes a
//! pull that waits for objects, which then answers PULL_HAS_BEEN_ABANDONED. Its place is taken before the
//! search begins that fills it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ObjectStream, Space, conform::shown};
use crate::cim::{CimError, ListKind, Object, StatusCode};

/// What open enumerations may cost.
#[derive(Clone, Copy, Debug)]
pub struct PullLimits {
    /// Contexts open at the same time, of all users.
    pub contexts: usize,
    /// Contexts open at the same time, of one user.
    pub contexts_per_user: usize,
    /// Objects in one answer; a client that asks for more gets this many at a time.
    pub objects: u32,
    /// How many pulls of a row may ask for no objects: they only keep a context open.
    pub empty: u32,
    /// The operation timeout where the client names none.
    pub default_timeout: Duration,
    /// The longest operation timeout a client may ask for.
    pub max_timeout: Duration,
}

impl Default for PullLimits {
    fn default() -> Self {
        Self {
            contexts: 256,
            contexts_per_user: 64,
            objects: 1000,
            // As OpenPegasus: nobody waits for objects so long.
            empty: 1000,
            default_timeout: Duration::from_secs(60),
            max_timeout: Duration::from_secs(600),
        }
    }
}

/// Whose context it is; a pull must come from the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Owner {
    pub(super) user: String,
    pub(super) space: Space,
}

/// What a pull returns.
pub(super) struct Pulled {
    pub(super) objects: Vec<Object>,
    /// `None` at the end of the sequence.
    pub(super) context: Option<String>,
}

/// All open enumerations.
#[derive(Clone)]
pub(super) struct Contexts {
    limits: PullLimits,
    table: Arc<Table>,
}

#[derive(Default)]
struct Table {
    rooms: Mutex<Rooms>,
    /// Rung when a deadline may have come nearer.
    changed: Notify,
}

#[derive(Default)]
struct Rooms {
    entries: HashMap<Uuid, Entry>,
    /// For whom a place is reserved, each as often as there are places.
    reserved: Vec<String>,
}

/// A place for an enumeration that is being opened; it is free again when dropped.
pub(super) struct Reserved {
    contexts: Contexts,
    owner: Owner,
}

struct Entry {
    owner: Owner,
    kind: ListKind,
    timeout: Duration,
    /// Pulls at work or waiting; it can't expire meanwhile.
    pulls: usize,
    /// The last pulls that asked for no objects.
    empty_pulls: u32,
    /// `None` while a pull is at work.
    expires: Option<Instant>,
    stream: Arc<AsyncMutex<ObjectStream>>,
    closed: CancellationToken,
}

impl Contexts {
    pub(super) fn new(limits: PullLimits) -> Self {
        Self { limits, table: Arc::default() }
    }

    /// The operation timeout for a client that asks for `seconds`.
    ///
    /// # Errors
    /// INVALID_OPERATION_TIMEOUT for 0, which would keep a context for ever, and above the maximum.
    pub(super) fn timeout(&self, seconds: Option<u32>) -> Result<Duration, CimError> {
        let max = self.limits.max_timeout;
        match seconds.map(|seconds| Duration::from_secs(seconds.into())) {
            None => Ok(self.limits.default_timeout),
            Some(timeout) if !timeout.is_zero() && timeout <= max => Ok(timeout),
            Some(timeout) => Err(CimError::new(
                StatusCode::InvalidOperationTimeout,
                format!(
                    "OperationTimeout is {} s: allowed are 1 to {} s",
                    timeout.as_secs(),
                    max.as_secs()
                ),
            )),
        }
    }

    /// Reserves a place for an enumeration.
    ///
    /// # Errors
    /// SERVER_LIMITS_EXCEEDED.
    pub(super) fn reserve(&self, owner: Owner) -> Result<Reserved, CimError> {
        let mut rooms = self.table.lock();
        let users = rooms.entries.values().map(|entry| &entry.owner.user).chain(&rooms.reserved);
        let of_user = users.filter(|user| **user == owner.user).count();
        let of_all = rooms.entries.len() + rooms.reserved.len();
        for (open, limit, whose) in [
            (of_all, self.limits.contexts, "on this server"),
            (of_user, self.limits.contexts_per_user, "for one user"),
        ] {
            if open >= limit {
                return Err(CimError::new(
                    StatusCode::ServerLimitsExceeded,
                    format!("{open} enumerations are open: {limit} are allowed {whose}"),
                ));
            }
        }
        rooms.reserved.push(owner.user.clone());
        Ok(Reserved { contexts: self.clone(), owner })
    }

    /// Takes the next objects of a context.
    ///
    /// # Errors
    /// INVALID_ENUMERATION_CONTEXT if the context is not open, or not to this user, in this namespace,
    /// with this kind of pull; PULL_HAS_BEEN_ABANDONED if it is closed meanwhile; SERVER_LIMITS_EXCEEDED
    /// if it asks for no objects once too often, which does not arm the timeout anew; the error the
    /// stream breaks off with.
    pub(super) async fn pull(
        &self,
        owner: &Owner,
        kind: ListKind,
        context: &str,
        max: u32,
    ) -> Result<Pulled, CimError> {
        let id = self.find(owner, context, |entry| entry.kind == kind)?;
        self.table.count_empty(id, max, self.limits.empty)?;
        let working = Working::begin(&self.table, id).ok_or_else(|| invalid(context))?;
        self.take(working, max).await
    }

    async fn take(&self, mut working: Working, max: u32) -> Result<Pulled, CimError> {
        let (stream, closed) = (Arc::clone(&working.stream), working.closed.clone());
        let mut stream = tokio::select! {
            biased;
            () = closed.cancelled() => return Err(abandoned()),
            stream = stream.lock() => stream,
        };
        // The pull it waited for may have come to the end.
        if !working.is_open() {
            return Err(invalid(&working.id.to_string()));
        }
        let mut objects = Vec::new();
        while objects.len() < max.min(self.limits.objects) as usize && !stream.is_exhausted() {
            // Nothing is lost if the close wins: the context is gone then.
            let next = tokio::select! {
                biased;
                () = closed.cancelled() => return Err(abandoned()),
                next = stream.next() => next,
            };
            match next {
                Some(Ok(object)) => {
                    working.undelivered = true;
                    objects.push(object);
                }
                Some(Err(error)) => {
                    working.end();
                    return Err(error);
                }
                None => break,
            }
        }
        if stream.is_exhausted() {
            working.end();
            return Ok(Pulled { objects, context: None });
        }
        working.undelivered = false;
        Ok(Pulled { objects, context: Some(working.id.to_string()) })
    }

    /// Closes a context; a pull at work on it is abandoned.
    ///
    /// # Errors
    /// INVALID_ENUMERATION_CONTEXT.
    pub(super) fn close(&self, owner: &Owner, context: &str) -> Result<(), CimError> {
        let id = self.find(owner, context, |_| true)?;
        self.table.remove(id);
        Ok(())
    }

    /// Checks that a context is open.
    ///
    /// # Errors
    /// INVALID_ENUMERATION_CONTEXT.
    pub(super) fn check(&self, owner: &Owner, context: &str) -> Result<(), CimError> {
        self.find(owner, context, |_| true).map(drop)
    }

    fn find(
        &self,
        owner: &Owner,
        context: &str,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<Uuid, CimError> {
        let id = Uuid::try_parse(context.trim()).map_err(|_| invalid(context))?;
        match self.table.lock().entries.get(&id) {
            Some(entry) if entry.owner == *owner && fits(entry) && !entry.is_expired() => Ok(id),
            _ => Err(invalid(context)),
        }
    }

    /// Removes contexts as they expire; runs until `stop`, then removes all.
    pub(super) async fn expire(&self, stop: CancellationToken) {
        loop {
            let next = self.table.drop_expired();
            let expiry = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.table.changed.notified() => {}
                () = expiry => {}
            }
        }
        let all = std::mem::take(&mut self.table.lock().entries);
        all.values().for_each(|entry| entry.closed.cancel());
    }
}

impl Reserved {
    /// Opens the enumeration and takes its first objects. If the caller does not wait for them, it does
    /// not stay open, for nobody knows it.
    ///
    /// # Errors
    /// The error the stream begins with.
    pub(super) async fn open(
        self,
        kind: ListKind,
        stream: ObjectStream,
        timeout: Duration,
        max: u32,
    ) -> Result<Pulled, CimError> {
        let contexts = self.contexts.clone();
        let mut working = self.admit(kind, stream, timeout);
        working.undelivered = true;
        contexts.take(working, max).await
    }

    fn admit(self, kind: ListKind, stream: ObjectStream, timeout: Duration) -> Working {
        let table = &self.contexts.table;
        let (id, closed) = (Uuid::new_v4(), CancellationToken::new());
        let stream = Arc::new(AsyncMutex::new(stream));
        let owner = self.owner.clone();
        let entry = Entry {
            owner,
            kind,
            timeout,
            pulls: 1,
            empty_pulls: 0,
            expires: None,
            stream: Arc::clone(&stream),
            closed: closed.clone(),
        };
        table.lock().entries.insert(id, entry);
        Working { table: Arc::clone(table), id, stream, closed, undelivered: false }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut rooms = self.contexts.table.lock();
        if let Some(at) = rooms.reserved.iter().position(|user| *user == self.owner.user) {
            rooms.reserved.swap_remove(at);
        }
    }
}

impl Entry {
    fn is_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Instant::now())
    }
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, Rooms> {
        // No code panics while it holds the lock; the maps are whole in any case.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a pull that asks for no objects, of which `limit` are allowed.
    fn count_empty(&self, id: Uuid, max: u32, limit: u32) -> Result<(), CimError> {
        let mut rooms = self.lock();
        let Some(entry) = rooms.entries.get_mut(&id) else { return Ok(()) };
        entry.empty_pulls = if max == 0 { entry.empty_pulls.saturating_add(1) } else { 0 };
        if entry.empty_pulls > limit {
            let text = format!("{limit} pulls asked for no objects: now ask for some");
            return Err(CimError::new(StatusCode::ServerLimitsExceeded, text));
        }
        Ok(())
    }

    fn remove(&self, id: Uuid) {
        if let Some(entry) = self.lock().entries.remove(&id) {
            entry.closed.cancel();
        }
    }

    /// Drops what has expired and tells when the next will.
    fn drop_expired(&self) -> Option<Instant> {
        let mut rooms = self.lock();
        let entries = &mut rooms.entries;
        entries.retain(|_, entry| {
            let expired = entry.is_expired();
            if expired {
                entry.closed.cancel();
            }
            !expired
        });
        entries.values().filter_map(|entry| entry.expires).min()
    }
}

/// A pull at work: its context does not expire until this is dropped, which arms the timeout anew.
struct Working {
    table: Arc<Table>,
    id: Uuid,
    stream: Arc<AsyncMutex<ObjectStream>>,
    closed: CancellationToken,
    /// Whether objects were taken that nobody got. The list would go on with a hole, so if it stays at
    /// that because the client hangs up, the context goes as well.
    undelivered: bool,
}

impl Working {
    fn begin(table: &Arc<Table>, id: Uuid) -> Option<Self> {
        let mut rooms = table.lock();
        let entry = rooms.entries.get_mut(&id)?;
        entry.pulls += 1;
        entry.expires = None;
        let (stream, closed) = (Arc::clone(&entry.stream), entry.closed.clone());
        Some(Self { table: Arc::clone(table), id, stream, closed, undelivered: false })
    }

    fn is_open(&self) -> bool {
        self.table.lock().entries.contains_key(&self.id)
    }

    /// The sequence is over: the context goes. It was not closed, so pulls that wait for this one are not
    /// abandoned: they come too late.
    fn end(&mut self) {
        self.table.lock().entries.remove(&self.id);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if self.undelivered {
            self.end();
        }
        if let Some(entry) = self.table.lock().entries.get_mut(&self.id) {
            entry.pulls -= 1;
            entry.expires = (entry.pulls == 0).then(|| Instant::now() + entry.timeout);
        }
        self.table.changed.notify_one();
    }
}

fn invalid(context: &str) -> CimError {
    let context = shown(context);
    CimError::new(
        StatusCode::InvalidEnumerationContext,
        format!(
            "the enumeration context `{context}` is not open for this user, namespace and operation"
        ),
    )
}

fn abandoned() -> CimError {
    CimError::new(StatusCode::PullHasBeenAbandoned, "the enumeration was closed during the pull")
}
