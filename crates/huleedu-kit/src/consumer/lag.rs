//! How far this member is behind: for each of its partitions, events that are in the log and that its
//! worker has not finished.
//!
//! Kafka is asked for the ends of the partitions, because a paused partition fetches nothing and so
//! learns of nothing new. While Kafka does not answer the last figures stand.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
};
use tracing::debug;

use super::lanes::Lane;
use crate::metrics::ConsumerMetrics;

/// How long Kafka may take for one question; the member's thread waits so long.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The lag of one member.
pub(super) struct Lag {
    metrics: ConsumerMetrics,
    every: Duration,
    next_look: Instant,
    shown: HashSet<Lane>,
    /// Where partitions begin for a group that has committed nothing there yet.
    committed: HashMap<Lane, i64>,
}

impl Lag {
    pub(super) fn new(metrics: ConsumerMetrics, every: Duration) -> Self {
        Self {
            metrics,
            every,
            next_look: Instant::now(),
            shown: HashSet::new(),
            committed: HashMap::new(),
        }
    }

    /// Looks when it is time, or at once when partitions came or went.
    pub(super) fn tick<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        rebalanced: bool,
        next: impl FnOnce() -> HashMap<Lane, i64>,
    ) {
        if rebalanced {
            // Another member may have gone on in the meantime.
            self.committed.clear();
        } else if Instant::now() < self.next_look {
            return;
        }
        self.next_look = Instant::now() + self.every;
        if let Err(error) = self.look(consumer, &next()) {
            debug!(%error, "the lag is not known now");
        }
    }

    fn look<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        next: &HashMap<Lane, i64>,
    ) -> Result<(), KafkaError> {
        let assigned = consumer.assignment()?;
        let lanes: HashSet<Lane> = lanes(&assigned);
        for gone in self.shown.difference(&lanes) {
            self.metrics.forget_lag(&gone.0, gone.1);
        }
        self.shown.retain(|lane| lanes.contains(lane));
        if lanes.is_empty() {
            return Ok(());
        }
        let ends = offsets_at(consumer, &lanes, Offset::End)?;
        self.learn_begins(consumer, &lanes, next)?;
        for (lane, end) in ends {
            let Some(begin) = next.get(&lane).or_else(|| self.committed.get(&lane)) else {
                continue;
            };
            self.metrics.lag(&lane.0, lane.1, (end - begin).max(0));
            self.shown.insert(lane);
        }
        Ok(())
    }

    /// Where the workers that have finished nothing yet would begin.
    fn learn_begins<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        lanes: &HashSet<Lane>,
        next: &HashMap<Lane, i64>,
    ) -> Result<(), KafkaError> {
        let unknown: HashSet<Lane> = lanes
            .iter()
            .filter(|lane| !next.contains_key(*lane) && !self.committed.contains_key(*lane))
            .cloned()
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let committed =
            consumer.committed_offsets(list(&unknown, Offset::Invalid)?, ANSWER_LIMIT)?;
        let committed = known(&committed);
        let fresh: HashSet<Lane> = unknown
            .into_iter()
            .filter(|lane| !committed.contains_key(lane))
            .collect();
        self.committed.extend(committed);
        if !fresh.is_empty() {
            self.committed
                .extend(offsets_at(consumer, &fresh, Offset::Beginning)?);
        }
        Ok(())
    }
}

impl Drop for Lag {
    /// A member that has left has no lag; whoever has its partitions shows it.
    fn drop(&mut self) {
        for (topic, partition) in &self.shown {
            self.metrics.forget_lag(topic, *partition);
        }
    }
}

pub(super) fn lanes(list: &TopicPartitionList) -> HashSet<Lane> {
    list.elements()
        .iter()
        .map(|e| (e.topic().to_owned(), e.partition()))
        .collect()
}

/// One question for all partitions at once.
fn offsets_at<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    lanes: &HashSet<Lane>,
    at: Offset,
) -> Result<BTreeMap<Lane, i64>, KafkaError> {
    Ok(known(
        &consumer.offsets_for_times(list(lanes, at)?, ANSWER_LIMIT)?,
    ))
}

fn list(lanes: &HashSet<Lane>, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(lanes.len());
    for (topic, partition) in lanes {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

fn known(list: &TopicPartitionList) -> BTreeMap<Lane, i64> {
    list.elements()
        .iter()
        .filter_map(|element| match element.offset() {
            Offset::Offset(offset) if element.error().is_ok() => {
                Some(((element.topic().to_owned(), element.partition()), offset))
            }
            _ => None,
        })
        .collect()
}
