//! The audit of events: what the publishers were told is safe, against what is really in Kafka.
//!
//! The ledger is filled by the services' stores at commit ("safe") and by their drainers at Kafka's
//! acknowledgement ("delivered"). The reader is a consumer of its own that reads every topic from
//! the beginning, while the platform runs.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use huleedu_contracts::{headers, ids::EventId, topics::Topic};
use huleedu_kit::store::PublishObserver;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    message::{BorrowedMessage, Headers as _},
};
use serde::Serialize;
use tokio::{sync::Notify, task::JoinHandle};

/// What became of every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct EventCounts {
    /// Publishers were told that these are safe.
    pub(crate) published: usize,
    /// Of these, found in Kafka.
    pub(crate) delivered: usize,
    /// Of these, still waiting in an outbox for Kafka.
    pub(crate) waiting: usize,
    /// Of these, neither in Kafka nor waiting. Must be 0.
    pub(crate) lost: usize,
}

/// What the publishers were told. Holds 17 bytes and a table entry per event.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Safe events; the value tells whether Kafka has acknowledged.
    events: Mutex<HashMap<EventId, bool>>,
}

impl Ledger {
    fn events(&self) -> MutexGuard<'_, HashMap<EventId, bool>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares with the ids that were found in Kafka.
    fn compare(&self, found: &HashSet<EventId>) -> EventCounts {
        let events = self.events();
        let (mut delivered, mut waiting, mut lost) = (0, 0, 0);
        for (id, acknowledged) in events.iter() {
            match (found.contains(id), acknowledged) {
                (true, _) => delivered += 1,
                (false, false) => waiting += 1,
                (false, true) => lost += 1,
            }
        }
        EventCounts {
            published: events.len(),
            delivered,
            waiting,
            lost,
        }
    }
}

/// Events of the platform. Copies for dead-letter topics are none: what they are copies of is audited.
fn audited(topic: &str) -> bool {
    topic.parse::<Topic>().is_ok()
}

impl PublishObserver for Ledger {
    fn safe(&self, event_id: EventId, topic: &str) {
        if !audited(topic) {
            return;
        }
        self.events().entry(event_id).or_insert(false);
    }

    fn delivered(&self, event_id: EventId, topic: &str) {
        if !audited(topic) {
            return;
        }
        // A store from an earlier run may deliver what this run was never told about.
        self.events().insert(event_id, true);
    }
}

/// The reader of all topics.
#[derive(Debug)]
pub(crate) struct Audit {
    ledger: Arc<Ledger>,
    found: Arc<Mutex<HashSet<EventId>>>,
    news: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Audit {
    /// Starts reading every topic from its beginning.
    pub(crate) fn start(bootstrap: &str, ledger: Arc<Ledger>) -> anyhow::Result<Self> {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "huleedu-audit")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()
            .context("the audit's consumer could not be made")?;
        let metadata = consumer
            .fetch_metadata(None, Duration::from_secs(30))
            .context("Kafka does not tell its topics")?;
        let mut list = TopicPartitionList::new();
        for topic in metadata.topics().iter().filter(|t| audited(t.name())) {
            for partition in topic.partitions() {
                list.add_partition_offset(topic.name(), partition.id(), Offset::Beginning)?;
            }
        }
        // Assigned by hand: no group, no rebalance, nothing committed.
        consumer
            .assign(&list)
            .context("the audit cannot read the topics")?;
        let found = Arc::new(Mutex::new(HashSet::new()));
        let news = Arc::new(Notify::new());
        let (sink, bell) = (Arc::clone(&found), Arc::clone(&news));
        let task = tokio::spawn(async move {
            loop {
                match consumer.recv().await {
                    Ok(message) => {
                        if let Some(id) = event_id(&message) {
                            sink.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .insert(id);
                            bell.notify_waiters();
                        }
                    }
                    Err(error) => tracing::warn!(%error, "the audit could not read"),
                }
            }
        });
        Ok(Self {
            ledger,
            found,
            news,
            task,
        })
    }

    /// The counts, as soon as everything published was found, or after `limit` whatever was.
    pub(crate) async fn finish(self, limit: Duration) -> EventCounts {
        let deadline = tokio::time::Instant::now() + limit;
        let counts = loop {
            let news = self.news.notified();
            let counts = self
                .ledger
                .compare(&self.found.lock().unwrap_or_else(PoisonError::into_inner));
            if counts.delivered == counts.published {
                break counts;
            }
            tokio::select! {
                () = news => {}
                // Also looks again by itself: an acknowledgement rings no bell.
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                () = tokio::time::sleep_until(deadline) => break counts,
            }
        };
        self.task.abort();
        counts
    }
}

fn event_id(message: &BorrowedMessage<'_>) -> Option<EventId> {
    let header = message
        .headers()?
        .iter()
        .find(|h| h.key == headers::EVENT_ID)?;
    let text = std::str::from_utf8(header.value?).ok()?;
    Some(EventId::from(text.parse::<uuid::Uuid>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_event_that_is_not_in_kafka_is_lost_and_an_unacknowledged_one_waits() {
        let ledger = Ledger::default();
        let topic = Topic::BatchFileAdded.as_str();
        let ids: Vec<_> = (0..4).map(|_| EventId::random()).collect();
        for id in &ids {
            ledger.safe(*id, topic);
        }
        ledger.delivered(ids[0], topic);
        ledger.delivered(ids[1], topic);
        // A dead letter's copy is no event of its own.
        ledger.delivered(EventId::random(), &Topic::BatchFileAdded.dead_letter());
        // 0: found and acknowledged; 1: acknowledged only; 2: found before its acknowledgement.
        let found = HashSet::from([ids[0], ids[2], EventId::random()]);
        let expected = EventCounts {
            published: 4,
            delivered: 2,
            waiting: 1,
            lost: 1,
        };
        assert_eq!(ledger.compare(&found), expected);
    }
}
