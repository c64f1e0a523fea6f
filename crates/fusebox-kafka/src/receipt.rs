//! The receipt of an event that is safe, and waiting for Kafka's acknowledgement of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::backlog::DeadReason;
use crate::broker::Delivered;
use crate::record::Position;

/// The receipt of an event that is safe. Dropping it changes nothing.
#[derive(Debug)]
pub struct Accepted {
    /// The event's id.
    pub event_id: Uuid,
    /// Its place in the backlog; none when Kafka had it before a backlog was needed.
    pub position: Option<Position>,
    end: End,
}

/// What is known, or will be, of the event's arrival in Kafka.
#[derive(Debug)]
enum End {
    Delivered(Delivered),
    Expected(Receipt),
    Unknown,
}

/// An event that is safe and that Kafka has not acknowledged to this process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAcknowledged {
    /// Kafka refused it for good; it is kept as a dead letter.
    #[error("Kafka refused the event for good: {0}")]
    Dead(DeadReason),
    /// The drainer has stopped, or tells nobody. The event is in the backlog and the next drainer
    /// sends it, if this one has not.
    #[error("the drainer has stopped before Kafka acknowledged the event")]
    Stopped,
}

impl Accepted {
    /// A receipt that cannot be awaited further.
    pub fn new(event_id: Uuid, position: Position) -> Self {
        Self {
            event_id,
            position: Some(position),
            end: End::Unknown,
        }
    }

    /// A receipt whose end `receipt` will tell.
    pub fn expecting(event_id: Uuid, position: Option<Position>, receipt: Receipt) -> Self {
        Self {
            event_id,
            position,
            end: End::Expected(receipt),
        }
    }

    /// The receipt of an event that Kafka has.
    pub fn delivered(event_id: Uuid, delivered: Delivered) -> Self {
        Self {
            event_id,
            position: None,
            end: End::Delivered(delivered),
        }
    }

    /// Waits until Kafka has the event, however long an outage takes.
    ///
    /// # Errors
    /// When it never will, or nobody here will hear of it.
    ///
    /// # Cancel safety
    /// Dropping the future only means not to hear of it.
    pub async fn acknowledged(self) -> Result<Delivered, NotAcknowledged> {
        match self.end {
            End::Delivered(delivered) => Ok(delivered),
            End::Expected(mut receipt) => receipt.wait().await,
            End::Unknown => Err(NotAcknowledged::Stopped),
        }
    }
}

/// Somebody waits for the end of an event; see [`DrainerHandle::expect`](crate::DrainerHandle::expect).
#[derive(Debug)]
pub struct Receipt {
    answer: oneshot::Receiver<Result<Delivered, DeadReason>>,
    receipts: Arc<Receipts>,
    event_id: Uuid,
    number: u64,
}

impl Receipt {
    /// Waits for the end.
    ///
    /// # Errors
    /// When Kafka refused the event for good, or the drainer has stopped.
    ///
    /// # Cancel safety
    /// Safe; it can be awaited again until it has answered.
    pub async fn wait(&mut self) -> Result<Delivered, NotAcknowledged> {
        match (&mut self.answer).await {
            Ok(answer) => answer.map_err(NotAcknowledged::Dead),
            Err(_) => Err(NotAcknowledged::Stopped),
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.receipts.forget(self.event_id, self.number);
    }
}

/// Who waits for which event. Bounded by the receipts that are alive.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    waiting: Mutex<Waiting>,
    /// How many wait: spares the drainer a lock per record when nobody does.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    by_event: HashMap<Uuid, Vec<Waiter>>,
    next: u64,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    answer: oneshot::Sender<Result<Delivered, DeadReason>>,
}

impl Receipts {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn expect(self: &Arc<Self>, event_id: Uuid) -> Receipt {
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut waiting = self.lock();
            waiting.next += 1;
            let number = waiting.next;
            if !waiting.closed {
                let waiter = Waiter { number, answer };
                waiting.by_event.entry(event_id).or_default().push(waiter);
                self.count.fetch_add(1, Ordering::Release);
            }
            number
        };
        Receipt {
            answer: answered,
            receipts: Arc::clone(self),
            event_id,
            number,
        }
    }

    /// Tells all who wait for the event.
    pub(crate) fn answer(&self, event_id: Uuid, end: &Result<Delivered, DeadReason>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let waiters = {
            let mut waiting = self.lock();
            let waiters = waiting.by_event.remove(&event_id).unwrap_or_default();
            self.count.fetch_sub(waiters.len(), Ordering::Release);
            waiters
        };
        for waiter in waiters {
            // Who has gone away meanwhile does not want to know.
            drop(waiter.answer.send(end.clone()));
        }
    }

    /// No answer will come any more.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.by_event);
        self.count.store(0, Ordering::Release);
        drop(waiting);
        drop(left);
    }

    fn forget(&self, event_id: Uuid, number: u64) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut waiting = self.lock();
        if let Some(waiters) = waiting.by_event.get_mut(&event_id) {
            let before = waiters.len();
            waiters.retain(|waiter| waiter.number != number);
            self.count
                .fetch_sub(before - waiters.len(), Ordering::Release);
            if waiters.is_empty() {
                waiting.by_event.remove(&event_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERED: Delivered = Delivered {
        partition: 1,
        offset: 2,
    };

    #[tokio::test]
    async fn all_who_wait_for_an_event_are_told_and_who_has_gone_is_forgotten() {
        let receipts = Arc::new(Receipts::default());
        let (id, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (mut a, mut b) = (receipts.expect(id), receipts.expect(id));
        drop(receipts.expect(id));
        drop(receipts.expect(other));
        assert_eq!(receipts.count.load(Ordering::SeqCst), 2);
        assert_eq!(receipts.lock().by_event.len(), 1);
        receipts.answer(other, &Ok(DELIVERED));
        receipts.answer(id, &Ok(DELIVERED));
        assert_eq!(a.wait().await, Ok(DELIVERED));
        assert_eq!(b.wait().await, Ok(DELIVERED));
        assert_eq!(receipts.count.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_drainer_that_has_stopped_leaves_nobody_waiting() {
        let receipts = Arc::new(Receipts::default());
        let mut early = receipts.expect(Uuid::from_u128(1));
        receipts.close();
        let mut late = receipts.expect(Uuid::from_u128(1));
        assert_eq!(early.wait().await, Err(NotAcknowledged::Stopped));
        assert_eq!(late.wait().await, Err(NotAcknowledged::Stopped));
    }
}
