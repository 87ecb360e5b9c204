//! libvirt's event loop: one thread of this process, alive while anybody needs it.
//!
//! Without it there are no events, no keep-alive and no notice of a broken connection. libvirt knows
//! one loop for the whole process, registered before the first connection is opened and for good.

use std::{
    ptr,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use virt::{
    error::{Error, clear_error_callback},
    event::{
        EventTimeoutWatch, event_add_timeout, event_register_default_impl, event_run_default_impl,
    },
};

static REGISTER: Once = Once::new();
static SHARED: Mutex<Shared> = Mutex::new(Shared { users: 0, thread: None });

struct Shared {
    users: usize,
    thread: Option<LoopThread>,
}

/// Keeps the event loop running.
pub(super) struct EventLoop(());

impl EventLoop {
    /// Starts the loop, or joins the one that runs.
    pub(super) fn enter() -> Result<Self, Error> {
        REGISTER.call_once(|| {
            // Errors are returned where they happen; libvirt would print them all as well.
            clear_error_callback();
            event_register_default_impl().expect("libvirt's own loop can be registered");
        });
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.thread.is_none() {
            shared.thread = Some(LoopThread::start()?);
        }
        shared.users += 1;
        Ok(Self(()))
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // Whoever enters meanwhile waits until the thread is gone: two must not run one loop.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.users -= 1;
        if shared.users == 0 {
            shared.thread = None;
        }
    }
}

struct LoopThread {
    stop: Arc<AtomicBool>,
    /// A timer that fires at once when the loop is to look at `stop`.
    alarm: EventTimeoutWatch,
    thread: Option<JoinHandle<()>>,
}

impl LoopThread {
    fn start() -> Result<Self, Error> {
        const NEVER: i32 = -1;
        let alarm = event_add_timeout(NEVER, |_, _| {}, ptr::null_mut())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("libvirt-events".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    // It fails only where no loop is registered.
                    let _ = event_run_default_impl();
                }
            })
            .expect("a thread can be started");
        Ok(Self { stop, alarm, thread: Some(thread) })
    }
}

impl Drop for LoopThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.alarm.event_update_timeout(0);
        // On the loop's own thread (the last user died in a callback) it ends by itself.
        if let Some(thread) =
            self.thread.take().filter(|it| it.thread().id() != thread::current().id())
        {
            let _ = thread.join();
        }
        let _ = self.alarm.event_remove_timeout();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_again_after_it_ended() {
        for _ in 0..3 {
            let first = EventLoop::enter().unwrap();
            let second = EventLoop::enter().unwrap();
            drop(first);
            drop(second);
        }
    }
}
