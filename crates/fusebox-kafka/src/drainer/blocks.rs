//! Lanes and topics that a refused record holds up, because their policy says so.
//!
//! The record stays in the backlog, at its place: after a restart it is tried, refused and held again,
//! so nothing need be remembered. What comes behind it is passed over until somebody decides.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;
use uuid::Uuid;

use crate::backlog::DeadReason;
use crate::record::{Parked, Position};

/// Keys that may be held; beyond, their topic is.
const MOST_KEYS: usize = 1_000;

/// What happens to the events behind one that Kafka refuses for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PoisonPolicy {
    /// The event becomes a dead letter, and those behind it go on: one is missing in its lane.
    #[default]
    Skip,
    /// The event and all behind it with its key wait until somebody decides.
    BlockKey,
    /// The same for the whole topic. Nothing of the topic is sent before what comes before it is
    /// acknowledged, at the price of one round trip for each event.
    BlockTopic,
}

/// An event that holds up others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocked {
    /// Its place in the backlog.
    pub position: Position,
    /// Its topic.
    pub topic: String,
    /// The key that is held up; none when it is the whole topic.
    pub key: Option<String>,
    /// Its id.
    pub event_id: Uuid,
    /// When it was admitted, in Unix milliseconds.
    pub admitted_at_ms: i64,
    /// When this process began to hold it. After a restart it is tried, refused and held anew.
    pub since: Instant,
    /// Why Kafka refused it.
    pub reason: DeadReason,
}

/// What somebody decided about an event that holds up others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Try it again.
    Retry,
    /// Make it a dead letter, and let the others go on.
    Bury,
}

/// What may be done with a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Feed,
    PassOver,
    Bury(DeadReason),
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    blocked: HashMap<Position, Blocked>,
    keys: HashSet<(String, String)>,
    topics: HashSet<String>,
    /// Decided to be buried when they are read next.
    sentenced: HashMap<Position, DeadReason>,
}

impl Blocks {
    pub(super) fn verdict(&mut self, parked: &Parked) -> Verdict {
        if self.blocked.is_empty() && self.sentenced.is_empty() {
            return Verdict::Feed;
        }
        if let Some(reason) = self.sentenced.remove(&parked.position) {
            return Verdict::Bury(reason);
        }
        let record = &parked.record;
        let key = record.key.as_ref();
        let lane = key.map(|key| (record.topic.clone(), key.clone()));
        let held = self.topics.contains(&record.topic)
            || lane.is_some_and(|lane| self.keys.contains(&lane));
        if held {
            Verdict::PassOver
        } else {
            Verdict::Feed
        }
    }

    /// Holds up what is behind the record; answers whether the policy says so.
    pub(super) fn block(
        &mut self,
        policy: PoisonPolicy,
        parked: &Parked,
        reason: &DeadReason,
        now: Instant,
    ) -> bool {
        let (position, record) = (parked.position, &parked.record);
        let key = match (policy, &record.key) {
            // Without a key there is no order to keep.
            (PoisonPolicy::Skip, _) | (PoisonPolicy::BlockKey, None) => return false,
            (PoisonPolicy::BlockKey, Some(key)) if self.keys.len() < MOST_KEYS => Some(key.clone()),
            (PoisonPolicy::BlockKey | PoisonPolicy::BlockTopic, _) => None,
        };
        match &key {
            Some(key) => self.keys.insert((record.topic.clone(), key.clone())),
            None => self.topics.insert(record.topic.clone()),
        };
        let blocked = Blocked {
            position,
            topic: record.topic.clone(),
            key,
            event_id: record.event_id,
            admitted_at_ms: parked.admitted_at_ms,
            since: now,
            reason: reason.clone(),
        };
        self.blocked.insert(position, blocked);
        true
    }

    /// Carries out what was decided; answers whether there was such a block.
    pub(super) fn resolve(&mut self, position: Position, resolution: Resolution) -> bool {
        let Some(blocked) = self.blocked.remove(&position) else {
            return false;
        };
        if resolution == Resolution::Bury {
            self.sentenced.insert(position, blocked.reason);
        }
        self.keys.clear();
        self.topics.clear();
        for other in self.blocked.values() {
            match &other.key {
                Some(key) => self.keys.insert((other.topic.clone(), key.clone())),
                None => self.topics.insert(other.topic.clone()),
            };
        }
        true
    }

    /// Forgets all: another process sends from here, and decisions are its business.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn list(&self) -> Vec<Blocked> {
        let mut list: Vec<_> = self.blocked.values().cloned().collect();
        list.sort_unstable_by_key(|blocked| blocked.position);
        list
    }
}
