//! Every record that left the backlog's head and is not settled yet: what has become of it so far.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::span::TrySpan;
use crate::backlog::DeadReason;
use crate::record::{Parked, Position, Record};

/// Records between their first feeding and their settling, in order.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: BTreeMap<Position, Entry>,
    bytes: usize,
    in_flight: usize,
    delivered: usize,
    /// Whether what is in flight is one record that was sent alone.
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
///    ├──refused, or not answered──► (gone; read again in its place)
///    └──refused for good──► Burying ──buried──► (gone)
/// ```
#[derive(Debug)]
enum Stage {
    /// With the producer; alone when it was refused before.
    InFlight {
        alone: bool,
        fed: Instant,
        span: TrySpan,
    },
    /// Kafka has it; the backlog does not know yet.
    Delivered,
    /// To become a dead letter.
    Burying(DeadReason),
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

    /// Whether a record is under way that was to be sent alone: nothing else may be fed.
    pub(super) fn is_isolating(&self) -> bool {
        self.on_trial > 0
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

    pub(super) fn record(&self, position: Position) -> Option<&Record> {
        self.parked(position).map(|parked| &parked.record)
    }

    /// When a record in flight was handed over.
    pub(super) fn fed_at(&self, position: Position) -> Option<Instant> {
        match self.entries.get(&position)?.stage {
            Stage::InFlight { fed, .. } => Some(fed),
            Stage::Delivered | Stage::Burying(_) => None,
        }
    }

    pub(super) fn parked(&self, position: Position) -> Option<&Parked> {
        self.entries.get(&position).map(|entry| &entry.parked)
    }

    pub(super) fn insert_in_flight(
        &mut self,
        parked: Parked,
        alone: bool,
        fed: Instant,
        span: TrySpan,
    ) {
        self.insert(parked, Stage::InFlight { alone, fed, span });
    }

    pub(super) fn insert_burying(&mut self, parked: Parked, reason: DeadReason) {
        self.insert(parked, Stage::Burying(reason));
    }

    /// The span of a record in flight; none of any other.
    pub(super) fn take_span(&mut self, position: Position) -> TrySpan {
        match self
            .entries
            .get_mut(&position)
            .map(|entry| &mut entry.stage)
        {
            Some(Stage::InFlight { span, .. }) => std::mem::take(span),
            _ => TrySpan::default(),
        }
    }

    pub(super) fn mark_delivered(&mut self, position: Position) {
        self.restage(position, Stage::Delivered);
    }

    /// Forgets a record; the backlog still has it, and it is read again.
    pub(super) fn remove(&mut self, position: Position) -> Option<Parked> {
        let entry = self.entries.remove(&position)?;
        self.bytes -= entry.bytes;
        self.uncount(&entry.stage);
        Some(entry.parked)
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

    fn add(&mut self, [in_flight, on_trial, delivered, burying]: [usize; 4]) {
        self.in_flight += in_flight;
        self.on_trial += on_trial;
        self.delivered += delivered;
        self.burying += burying;
    }

    fn uncount(&mut self, stage: &Stage) {
        let [in_flight, on_trial, delivered, burying] = stage.counters();
        self.in_flight -= in_flight;
        self.on_trial -= on_trial;
        self.delivered -= delivered;
        self.burying -= burying;
    }
}

impl Stage {
    /// What one record adds to: in flight, on trial, delivered, burying.
    fn counters(&self) -> [usize; 4] {
        match self {
            Self::InFlight { alone, .. } => [1, usize::from(*alone), 0, 0],
            Self::Delivered => [0, 0, 1, 0],
            Self::Burying(_) => [0, 0, 0, 1],
        }
    }
}
