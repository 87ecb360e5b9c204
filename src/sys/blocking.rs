//! A bounded share of tokio's blocking pool.
//!
//! libvirt, PAM and waiting for a child block. Each room that calls such things owns one [`Slots`], so
//! that one hanging library never takes the threads of another. At most `slots` calls run at once, at
//! most `queue` wait for a slot, and a caller waits no longer than its deadline.
//!
//! A call that has begun can't be interrupted: a caller whose deadline passes goes away, the call goes
//! on and keeps its slot until it returns. A library that hangs for ever costs `slots` threads and then
//! answers [`SlotError::Late`] or [`SlotError::Busy`], never more threads.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// A number of blocking calls that may run at once, and a queue before them.
///
/// Clones share the same slots.
#[derive(Clone, Debug)]
pub struct Slots {
    running: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    queue_limit: usize,
}

/// Why a blocking call gave no result.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SlotError {
    /// All slots are taken and the queue before them is full; the work never began.
    #[error("all slots are busy and {limit} calls wait already")]
    Busy {
        /// The length of the queue.
        limit: usize,
    },
    /// The deadline passed, in the queue or during the work.
    #[error("no answer within {deadline:?}")]
    Late {
        /// How long the caller was ready to wait.
        deadline: Duration,
    },
    /// The work panicked, or the runtime is going away.
    #[error("the blocking call broke off")]
    Broken,
}

impl Slots {
    /// `slots` calls at once, `queue` more waiting.
    pub fn new(slots: usize, queue: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            queue: Arc::new(Semaphore::new(queue.min(Semaphore::MAX_PERMITS))),
            queue_limit: queue,
        }
    }

    /// Runs `work` on a blocking thread, however long that takes.
    ///
    /// Dropping the future leaves the queue; work that has begun goes on.
    ///
    /// # Errors
    /// [`SlotError::Busy`] or [`SlotError::Broken`].
    pub async fn run<T, F>(&self, work: F) -> Result<T, SlotError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        Self::work(self.slot().await?, work).await
    }

    async fn work<T, F>(slot: OwnedSemaphorePermit, work: F) -> Result<T, SlotError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let task = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        task.await.map_err(|_| SlotError::Broken)
    }

    /// Runs `work` on a blocking thread, however long that takes, if it can begin within `deadline`.
    ///
    /// # Errors
    /// Any [`SlotError`]; [`SlotError::Late`] and [`SlotError::Busy`] mean that it never began.
    pub async fn run_begun_within<T, F>(&self, deadline: Duration, work: F) -> Result<T, SlotError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let slot = tokio::time::timeout(deadline, self.slot());
        let slot = slot.await.map_err(|_| SlotError::Late { deadline })??;
        Self::work(slot, work).await
    }

    /// Runs `work` on a blocking thread; the caller waits at most `deadline`, queue included.
    ///
    /// # Errors
    /// Any [`SlotError`].
    pub async fn run_within<T, F>(&self, deadline: Duration, work: F) -> Result<T, SlotError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match tokio::time::timeout(deadline, self.run(work)).await {
            Ok(result) => result,
            Err(_) => Err(SlotError::Late { deadline }),
        }
    }

    /// Whether there are clones, or calls under way.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.running) > 1
    }

    /// Takes a slot, waiting for it in the queue if there is room. Slots are given in the order of
    /// arrival; dropping the permit frees the slot.
    ///
    /// # Errors
    /// [`SlotError::Busy`].
    pub async fn slot(&self) -> Result<OwnedSemaphorePermit, SlotError> {
        // tokio's semaphore is fair: this fails also while others wait, so nobody is overtaken.
        match Arc::clone(&self.running).try_acquire_owned() {
            Ok(slot) => return Ok(slot),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(SlotError::Broken),
        }
        let Ok(_place) = self.queue.try_acquire() else {
            return Err(SlotError::Busy { limit: self.queue_limit });
        };
        Arc::clone(&self.running).acquire_owned().await.map_err(|_| SlotError::Broken)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    /// Work that says when it begins and ends when told to.
    struct Held {
        begun: tokio::sync::mpsc::UnboundedReceiver<()>,
        release: mpsc::Sender<()>,
    }

    fn gated() -> (Held, impl FnOnce() + Send + 'static) {
        let (begin, begun) = tokio::sync::mpsc::unbounded_channel();
        let (release, released) = mpsc::channel();
        let work = move || {
            begin.send(()).expect("the test listens");
            released.recv().expect("the test releases");
        };
        (Held { begun, release }, work)
    }

    #[tokio::test]
    async fn gives_back_what_the_work_returns() {
        assert_eq!(Slots::new(1, 0).run(|| 42).await, Ok(42));
    }

    #[tokio::test]
    async fn queues_then_refuses_then_serves_the_queue() {
        let slots = Slots::new(1, 1);
        let (mut first, work) = gated();
        let running = tokio::spawn({
            let slots = slots.clone();
            async move { slots.run(work).await }
        });
        first.begun.recv().await.expect("the first call begins");

        let mut queued = Box::pin(slots.run(|| "queued"));
        assert!(futures_pending(&mut queued).await, "the second call waits");
        assert_eq!(slots.run(|| ()).await, Err(SlotError::Busy { limit: 1 }));

        first.release.send(()).expect("the first call waits");
        assert_eq!(queued.await, Ok("queued"));
        assert_eq!(running.await.expect("no panic"), Ok(()));
    }

    #[tokio::test]
    async fn a_dropped_waiter_leaves_the_queue() {
        let slots = Slots::new(1, 1);
        let held = slots.slot().await.expect("a free slot");
        let mut waiter = Box::pin(slots.run(|| ()));
        assert!(futures_pending(&mut waiter).await);
        drop(waiter);
        let mut next = Box::pin(slots.run(|| ()));
        assert!(futures_pending(&mut next).await, "the queue has room again");
        drop(held);
        assert_eq!(next.await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn late_work_keeps_its_slot_until_it_returns() {
        let slots = Slots::new(1, 8);
        let (held, work) = gated();
        let deadline = Duration::from_secs(3);
        // tokio's paused clock stands still by itself while blocking work runs.
        let mut late = Box::pin(slots.run_within(deadline, work));
        assert!(futures_pending(&mut late).await);
        let mut queued = Box::pin(slots.run_within(deadline, || ()));
        assert!(futures_pending(&mut queued).await);
        tokio::time::advance(deadline).await;
        assert_eq!(late.await, Err(SlotError::Late { deadline }));
        assert_eq!(queued.await, Err(SlotError::Late { deadline }));
        held.release.send(()).expect("the work still runs");
        assert_eq!(slots.run(|| "free again").await, Ok("free again"));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_could_not_begin_in_time_never_does() {
        let slots = Slots::new(1, 8);
        let deadline = Duration::from_secs(3);
        let held = slots.slot().await.expect("a free slot");
        let late = slots.run_begun_within(deadline, || panic!("it began"));
        assert_eq!(late.await, Err::<(), _>(SlotError::Late { deadline }));
        drop(held);
        // Once it has begun it may take longer.
        let (held, work) = gated();
        let mut begun = Box::pin(slots.run_begun_within(deadline, work));
        assert!(futures_pending(&mut begun).await);
        tokio::time::advance(2 * deadline).await;
        assert!(futures_pending(&mut begun).await);
        held.release.send(()).expect("the work still runs");
        assert_eq!(begun.await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_the_slot() {
        let slots = Slots::new(1, 0);
        let result: Result<(), _> = slots.run(|| panic!("on purpose")).await;
        assert_eq!(result, Err(SlotError::Broken));
        assert_eq!(slots.run(|| ()).await, Ok(()));
    }

    #[tokio::test]
    async fn never_more_at_once_than_slots() {
        let slots = Slots::new(3, 100);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let calls: Vec<_> = (0..60)
            .map(|_| {
                let (slots, now, most) = (slots.clone(), Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    };
                    slots.run(work).await
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.expect("no panic"), Ok(()));
        }
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    /// Polls once; whether the future still waits.
    async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }
}
