//! What others see of a running drainer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use uuid::Uuid;

use super::blocks::{Blocked, Resolution};
use super::pace::{PaceCuts, PaceNow};
use crate::backlog::DeadReason;
use crate::broker::Delivered;
use crate::receipt::{Receipt, Receipts};
use crate::record::{Position, Record};

type Callback = Arc<dyn Fn(&Record) + Send + Sync>;

/// Wakes and watches a drainer.
#[derive(Clone)]
pub struct DrainerHandle {
    shared: Arc<Shared>,
}

/// What a drainer has done and what lies before it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct DrainerStats {
    /// Records Kafka confirmed to this drainer.
    pub delivered: u64,
    /// Records in the backlog at the last look (one a second), those under way included.
    pub waiting: u64,
    /// Dead letters at the last look.
    pub dead: u64,
    /// Records handed to the producer and not reported yet.
    pub in_flight: u64,
    /// Age of the oldest waiting record at the last look.
    pub oldest_age: Option<Duration>,
    /// Records handed over again after a try that may have reached Kafka: possible duplicates.
    pub maybe_duplicates: u64,
    /// Deliveries that failed, or whose outcome is unknown because the producer was lost.
    pub retried: u64,
    /// Producers this drainer had to replace.
    pub rebuilt: u64,
    /// Of those, such that had lost a cluster which a new one found.
    pub lost_cluster: u64,
    /// Topics that are paused for a fault of theirs.
    pub paused_topics: u64,
    /// Keys and topics that a refused record holds up.
    pub blocked: u64,
    /// Records delivered in a second, of late.
    pub drain_rate: f64,
    /// Records that came in a second, of late.
    pub arrival_rate: f64,
    /// How much may be handed over in a second at present.
    pub pace: PaceNow,
    /// How often that was halved while a backlog was made up for.
    pub pace_cuts: PaceCuts,
}

#[derive(Default)]
pub(super) struct Shared {
    pub(super) wake: Notify,
    stats: Mutex<DrainerStats>,
    callbacks: RwLock<Vec<Callback>>,
    receipts: Arc<Receipts>,
    blocked: Mutex<Vec<Blocked>>,
    decisions: Mutex<Vec<(Position, Resolution)>>,
}

impl DrainerStats {
    /// How long the backlog still lasts at the present rates; `None` while it does not shrink.
    pub fn time_to_empty(&self) -> Option<Duration> {
        at_rate(self.waiting, self.drain_rate - self.arrival_rate)
    }

    /// When `limit` records wait at the present rates; `None` while the backlog does not grow.
    pub fn time_to_full(&self, limit: u64) -> Option<Duration> {
        let room = limit.saturating_sub(self.waiting);
        at_rate(room, self.arrival_rate - self.drain_rate)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate, far below 2^52 records"
)]
fn at_rate(records: u64, rate: f64) -> Option<Duration> {
    if records == 0 {
        return Some(Duration::ZERO);
    }
    // Slower than one record in a minute is no movement.
    (rate > 1.0 / 60.0)
        .then(|| Duration::try_from_secs_f64(records as f64 / rate).ok())
        .flatten()
}

impl DrainerHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Of no drainer: nothing happens, and nobody is told of anything.
    pub(crate) fn idle() -> Self {
        Self::new(Arc::default())
    }

    /// Says that the backlog has something new. Cheap, never blocks, never lost.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// The present numbers.
    pub fn stats(&self) -> DrainerStats {
        *self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The records that hold up others, in order.
    pub fn blocked(&self) -> Vec<Blocked> {
        let blocked = self.shared.blocked.lock();
        blocked.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Decides about a record that holds up others. One that does not is left alone.
    pub fn resolve(&self, position: Position, resolution: Resolution) {
        let decisions = self.shared.decisions.lock();
        let mut decisions = decisions.unwrap_or_else(PoisonError::into_inner);
        decisions.push((position, resolution));
        drop(decisions);
        self.wake();
    }

    /// Waits for the end of an event: delivered, or refused for good. Ask before the event can be sent.
    pub fn expect(&self, event_id: Uuid) -> Receipt {
        self.shared.receipts.expect(event_id)
    }

    /// Calls `f` for each record that Kafka confirmed, before it is settled.
    ///
    /// It runs on the drainer's task, so it must return at once and must not panic.
    pub fn on_delivered(&self, f: impl Fn(&Record) + Send + Sync + 'static) {
        let mut callbacks = self
            .shared
            .callbacks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        callbacks.push(Arc::new(f));
    }
}

impl fmt::Debug for DrainerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainerHandle")
            .field("stats", &self.stats())
            .finish()
    }
}

impl Shared {
    pub(super) fn update(&self, change: impl FnOnce(&mut DrainerStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn delivered(&self, record: &Record, delivered: Delivered) {
        self.update(|stats| stats.delivered += 1);
        self.receipts.answer(record.event_id, &Ok(delivered));
        let callbacks = self
            .callbacks
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for callback in &*callbacks {
            callback(record);
        }
    }

    pub(super) fn set_blocked(&self, list: Vec<Blocked>) {
        self.update(|stats| stats.blocked = list.len() as u64);
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = list;
    }

    pub(super) fn take_decisions(&self) -> Vec<(Position, Resolution)> {
        let decisions = self.decisions.lock();
        std::mem::take(&mut *decisions.unwrap_or_else(PoisonError::into_inner))
    }

    /// A record became a dead letter.
    pub(super) fn died(&self, event_id: Uuid, reason: DeadReason) {
        self.receipts.answer(event_id, &Err(reason));
    }

    /// The drainer has ended: nobody will hear of anything any more.
    pub(super) fn close(&self) {
        self.receipts.close();
    }
}
