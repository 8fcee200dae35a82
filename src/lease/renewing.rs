//! A thread that renews leases.

use super::{Pool, Renewer};
use crate::error::LeaseError;
use crate::platform::clock::Clock;
use crate::types::{LeaseId, Ticks};
use core::fmt;
use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};

/// The longest time that the thread does not look at its clock, which may go on by leaps (a suspended machine).
const LONGEST: u64 = 1000;

/// A [`Renewer`] on a thread of its own, which ends when this value is dropped.
///
/// ```
/// use fabric_mq::clock::SystemClock;
/// use fabric_mq::lease::{HeapPool, Lease, Pool, Renewer, Renewing};
/// use fabric_mq::{LeaseError, Ticks};
///
/// let ttl = Ticks::from_millis(200);
/// let pool = HeapPool::new(SystemClock::new());
/// let lease = pool.acquire(1024, ttl)?;
/// let renewing = Renewing::start(Renewer::new(pool.clone()), pool.clock().clone(), |id, error| {
///     eprintln!("lease {id} is not renewed: {error}");
/// })?;
/// renewing.keep(lease.id(), ttl)?;
/// std::thread::sleep(std::time::Duration::from_millis(300));
/// pool.sweep();
/// assert_eq!(lease.check(), Ok(()));
/// # Ok::<(), LeaseError>(())
/// ```
pub struct Renewing {
    // Dropped before the thread is waited for.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Keep(LeaseId, Ticks),
    Forget(LeaseId),
}

impl Renewing {
    /// Starts the thread. `clock` is the pool's, or goes as it does; `failed` is called on the thread, as
    /// [`Renewer::poll`] says. If it panics, the thread ends.
    ///
    /// # Errors
    /// [`LeaseError::Io`] if the system has no thread for it.
    pub fn start<P, C>(
        renewer: Renewer<P>,
        clock: C,
        failed: impl FnMut(LeaseId, LeaseError) + Send + 'static,
    ) -> Result<Self, LeaseError>
    where
        P: Pool + Send + 'static,
        C: Clock + Send + 'static,
    {
        let (orders, inbox) = channel();
        let thread = Builder::new()
            .name("lease renewal".into())
            .spawn(move || run(renewer, &clock, failed, &inbox))
            .map_err(|error| LeaseError::Io(error.raw_os_error().unwrap_or(0)))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// As [`Renewer::keep`]; soon, on the thread.
    ///
    /// # Errors
    /// [`LeaseError::Disconnected`] if the thread has ended.
    pub fn keep(&self, id: LeaseId, ttl: Ticks) -> Result<(), LeaseError> {
        self.order(Order::Keep(id, ttl))
    }

    /// As [`Renewer::forget`]; soon, on the thread.
    ///
    /// # Errors
    /// [`LeaseError::Disconnected`] if the thread has ended.
    pub fn forget(&self, id: LeaseId) -> Result<(), LeaseError> {
        self.order(Order::Forget(id))
    }

    fn order(&self, order: Order) -> Result<(), LeaseError> {
        let orders = self.orders.as_ref().ok_or(LeaseError::Disconnected)?;
        orders.send(order).map_err(|_| LeaseError::Disconnected)
    }
}

fn run<P: Pool>(
    mut renewer: Renewer<P>,
    clock: &impl Clock,
    mut failed: impl FnMut(LeaseId, LeaseError),
    inbox: &Receiver<Order>,
) {
    loop {
        let now = clock.now();
        let next = renewer.poll(now, &mut failed).unwrap_or(Ticks::MAX);
        let wait = next.as_millis().saturating_sub(now.as_millis()).min(LONGEST);
        match inbox.recv_timeout(Duration::from_millis(wait)) {
            Ok(Order::Keep(id, ttl)) => renewer.keep(id, ttl),
            Ok(Order::Forget(id)) => {
                renewer.forget(id);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        // The thread finds nobody at the other end, and returns: after the renewal that is under way, if one is.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // If `failed` panicked, that was said on the thread.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        f.debug_struct("Renewing").field("runs", &runs).finish_non_exhaustive()
    }
}
