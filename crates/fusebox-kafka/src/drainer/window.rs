//! Every record that left the backlog's head and is not settled yet: what has become of it so far.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::retry::Retry;
use crate::backlog::DeadReason;
use crate::broker::SendError;
use crate::record::{Parked, Position, Record};

/// Records between their first feeding and their settling, in order.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: BTreeMap<Position, Entry>,
    bytes: usize,
    in_flight: usize,
    delivered: usize,
    suspects: usize,
    /// Of those in flight, the one that was a suspect.
    on_trial: usize,
    burying: usize,
}

#[derive(Debug)]
struct Entry {
    parked: Parked,
    bytes: usize,
    stage: Stage,
}

/// What has become of a record.
///
/// ```text
/// InFlight ──delivered──► Delivered ──settled──► (gone)
///    │  ▲
///    │  └─alone─ Suspect      refused for its own sake, or for a reason nobody holds against it
///    ├──────────────►┘
///    └──refused alone──► Burying ──buried──► (gone)
/// ```
#[derive(Debug)]
enum Stage {
    /// With the producer; `trial` when it was sent alone after a refusal.
    InFlight { trial: Option<Trial> },
    /// Kafka has it; the backlog does not know yet.
    Delivered,
    /// To be sent alone before anything else is fed.
    Suspect(Trial),
    /// To become a dead letter.
    Burying(DeadReason),
}

/// The history of a record that was refused.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) first: SendError,
    pub(super) attempts: u32,
    pub(super) retry: Retry,
}

impl Window {
    pub(super) fn contains(&self, position: Position) -> bool {
        self.entries.contains_key(&position)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn delivered(&self) -> usize {
        self.delivered
    }

    /// Whether a record must be sent alone, or is being sent so: nothing else may be fed.
    pub(super) fn is_isolating(&self) -> bool {
        self.suspects > 0 || self.on_trial > 0
    }

    /// Whether a record of this size may be added. One record always may, however large.
    pub(super) fn has_room(&self, bytes: usize, max_records: usize, max_bytes: usize) -> bool {
        self.entries.is_empty()
            || (self.entries.len() < max_records && self.bytes.saturating_add(bytes) <= max_bytes)
    }

    pub(super) fn is_topic_in_flight(&self, topic: &str) -> bool {
        self.in_flight > 0
            && self.entries.values().any(|entry| {
                matches!(entry.stage, Stage::InFlight { .. }) && entry.parked.record.topic == topic
            })
    }

    pub(super) fn is_lane_in_flight(&self, record: &Record) -> bool {
        let same = |other: &Record| other.topic == record.topic && other.key == record.key;
        self.in_flight > 0
            && record.key.is_some()
            && self.entries.values().any(|entry| {
                matches!(entry.stage, Stage::InFlight { .. }) && same(&entry.parked.record)
            })
    }

    pub(super) fn record(&self, position: Position) -> Option<&Record> {
        self.parked(position).map(|parked| &parked.record)
    }

    pub(super) fn parked(&self, position: Position) -> Option<&Parked> {
        self.entries.get(&position).map(|entry| &entry.parked)
    }

    pub(super) fn insert_in_flight(&mut self, parked: Parked) {
        self.insert(parked, Stage::InFlight { trial: None });
    }

    pub(super) fn insert_suspect(&mut self, parked: Parked, error: SendError) {
        let trial = Trial {
            first: error,
            attempts: 1,
            retry: Retry::default(),
        };
        self.insert(parked, Stage::Suspect(trial));
    }

    pub(super) fn insert_burying(&mut self, parked: Parked, reason: DeadReason) {
        self.insert(parked, Stage::Burying(reason));
    }

    pub(super) fn mark_delivered(&mut self, position: Position) {
        self.restage(position, Stage::Delivered);
    }

    pub(super) fn mark_suspect(&mut self, position: Position, trial: Trial) {
        self.restage(position, Stage::Suspect(trial));
    }

    pub(super) fn mark_burying(&mut self, position: Position, reason: DeadReason) {
        self.restage(position, Stage::Burying(reason));
    }

    /// The history of a record in flight, when it was sent alone.
    pub(super) fn trial(&self, position: Position) -> Option<Trial> {
        match &self.entries.get(&position)?.stage {
            Stage::InFlight { trial } => trial.clone(),
            _ => None,
        }
    }

    /// The oldest suspect and when it may be sent.
    pub(super) fn oldest_suspect(&self) -> Option<(Position, &Trial)> {
        if self.suspects == 0 {
            return None;
        }
        self.entries
            .iter()
            .find_map(|(position, entry)| match &entry.stage {
                Stage::Suspect(trial) => Some((*position, trial)),
                _ => None,
            })
    }

    /// When the oldest suspect is due, if that is later than now.
    pub(super) fn suspect_due(&self) -> Option<Instant> {
        self.oldest_suspect()
            .and_then(|(_, trial)| trial.retry.not_before())
    }

    /// Puts the suspect at `position` in flight, alone.
    pub(super) fn try_suspect(&mut self, position: Position) {
        let trial = match self.entries.get(&position).map(|entry| &entry.stage) {
            Some(Stage::Suspect(trial)) => Trial {
                attempts: trial.attempts + 1,
                ..trial.clone()
            },
            _ => return,
        };
        self.restage(position, Stage::InFlight { trial: Some(trial) });
    }

    /// Forgets a record; the backlog still has it, and it is read again.
    pub(super) fn remove(&mut self, position: Position) -> Option<Parked> {
        let entry = self.entries.remove(&position)?;
        self.bytes -= entry.bytes;
        self.uncount(&entry.stage);
        Some(entry.parked)
    }

    /// Forgets the records that wait for a try alone.
    pub(super) fn forget_suspects(&mut self) {
        while let Some((position, _)) = self.oldest_suspect() {
            self.remove(position);
        }
    }

    /// Forgets everything in flight; answers what that was.
    pub(super) fn remove_in_flight(&mut self) -> Vec<Position> {
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.stage, Stage::InFlight { .. }))
            .map(|(position, _)| *position)
            .collect();
        for position in &gone {
            self.remove(*position);
        }
        gone
    }

    /// What can be settled, ascending.
    pub(super) fn delivered_positions(&self) -> Vec<Position> {
        self.entries
            .iter()
            .filter(|(_, entry)| matches!(entry.stage, Stage::Delivered))
            .map(|(position, _)| *position)
            .collect()
    }

    /// The oldest record to bury.
    pub(super) fn next_burial(&self) -> Option<(Position, DeadReason)> {
        if self.burying == 0 {
            return None;
        }
        self.entries
            .iter()
            .find_map(|(position, entry)| match &entry.stage {
                Stage::Burying(reason) => Some((*position, reason.clone())),
                _ => None,
            })
    }

    fn insert(&mut self, parked: Parked, stage: Stage) {
        let position = parked.position;
        let bytes = parked.record.wire_size();
        self.count(&stage);
        self.bytes += bytes;
        let before = self.entries.insert(
            position,
            Entry {
                parked,
                bytes,
                stage,
            },
        );
        debug_assert!(
            before.is_none(),
            "what is read again is compared with the window first"
        );
    }

    fn restage(&mut self, position: Position, stage: Stage) {
        if let Some(entry) = self.entries.get_mut(&position) {
            let before = std::mem::replace(&mut entry.stage, stage);
            self.uncount(&before);
            let after = self.entries[&position].stage.counters();
            self.add(after);
        }
    }

    fn count(&mut self, stage: &Stage) {
        self.add(stage.counters());
    }

    fn add(&mut self, [in_flight, on_trial, delivered, suspects, burying]: [usize; 5]) {
        self.in_flight += in_flight;
        self.on_trial += on_trial;
        self.delivered += delivered;
        self.suspects += suspects;
        self.burying += burying;
    }

    fn uncount(&mut self, stage: &Stage) {
        let [in_flight, on_trial, delivered, suspects, burying] = stage.counters();
        self.in_flight -= in_flight;
        self.on_trial -= on_trial;
        self.delivered -= delivered;
        self.suspects -= suspects;
        self.burying -= burying;
    }
}

impl Stage {
    /// What one record adds to: in flight, on trial, delivered, suspects, burying.
    fn counters(&self) -> [usize; 5] {
        match self {
            Self::InFlight { trial: None } => [1, 0, 0, 0, 0],
            Self::InFlight { trial: Some(_) } => [1, 1, 0, 0, 0],
            Self::Delivered => [0, 0, 1, 0, 0],
            Self::Suspect(_) => [0, 0, 0, 1, 0],
            Self::Burying(_) => [0, 0, 0, 0, 1],
        }
    }
}
