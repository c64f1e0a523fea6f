//! The audit of events: what the publishers were told is safe, against what is really in Kafka.
//!
//! The ledger is filled by the services' stores at commit ("safe") and by their drainers at Kafka's
//! acknowledgement ("delivered"). The reader is a consumer of its own that reads every topic from
//! the beginning, while the platform runs.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
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
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

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
    tally: watch::Sender<Tally>,
}

/// How many events wait for Kafka's acknowledgement, and what there has been.
#[derive(Debug, Default)]
struct Tally {
    waiting: usize,
    most_waiting: usize,
    topics: HashSet<Topic>,
}

impl Ledger {
    /// Events that are safe and not acknowledged.
    pub(crate) fn waiting(&self) -> usize {
        self.tally.borrow().waiting
    }

    /// The most there have been at once, since the start or since this was asked last.
    pub(crate) fn take_most_waiting(&self) -> usize {
        let mut most = 0;
        self.tally.send_modify(|tally| {
            most = tally.most_waiting;
            tally.most_waiting = tally.waiting;
        });
        most
    }

    /// Returns as soon as an event has been published to this topic.
    pub(crate) async fn published(&self, topic: Topic) {
        self.until(|tally| tally.topics.contains(&topic)).await;
    }

    /// Returns as soon as everything safe is acknowledged.
    pub(crate) async fn none_waiting(&self) {
        self.until(|tally| tally.waiting == 0).await;
    }

    async fn until(&self, state: impl FnMut(&Tally) -> bool) {
        // The sender is in `self`, so it is not closed while this waits.
        drop(self.tally.subscribe().wait_for(state).await);
    }

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

/// The topic of an event of the platform. Copies for dead-letter topics are none: what they are copies
/// of is audited.
fn audited(topic: &str) -> Option<Topic> {
    topic.parse().ok()
}

impl PublishObserver for Ledger {
    fn safe(&self, event_id: EventId, topic: &str) {
        let Some(topic) = audited(topic) else { return };
        let mut events = self.events();
        // The acknowledgement may have come before the publisher's commit has returned.
        let new = match events.entry(event_id) {
            Entry::Vacant(entry) => {
                entry.insert(false);
                true
            }
            Entry::Occupied(_) => false,
        };
        // Under the same lock, so that map and tally agree.
        self.tally.send_modify(|tally| {
            tally.waiting += usize::from(new);
            tally.most_waiting = tally.most_waiting.max(tally.waiting);
            tally.topics.insert(topic);
        });
    }

    fn delivered(&self, event_id: EventId, topic: &str) {
        if audited(topic).is_none() {
            return;
        }
        // A store from an earlier run may deliver what this run was never told about.
        let mut events = self.events();
        let before = events.insert(event_id, true);
        if before == Some(false) {
            self.tally.send_modify(|tally| tally.waiting -= 1);
        }
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
            .set("reconnect.backoff.max.ms", "1000")
            .create()
            .context("the audit's consumer could not be made")?;
        let metadata = consumer
            .fetch_metadata(None, Duration::from_secs(30))
            .context("Kafka does not tell its topics")?;
        let mut list = TopicPartitionList::new();
        for topic in metadata
            .topics()
            .iter()
            .filter(|t| audited(t.name()).is_some())
        {
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

    #[tokio::test]
    async fn what_waits_is_counted_once_in_whatever_order_it_is_told() {
        let ledger = Ledger::default();
        let ids: Vec<_> = (0..3).map(|_| EventId::random()).collect();
        let topic = Topic::EssaySpellcheckRequested;
        ledger.none_waiting().await;
        for id in &ids[..2] {
            ledger.safe(*id, topic.as_str());
            ledger.safe(*id, topic.as_str());
        }
        ledger.published(topic).await;
        assert_eq!(ledger.waiting(), 2);
        // Acknowledged before it is known to be safe, and twice.
        ledger.delivered(ids[2], topic.as_str());
        ledger.safe(ids[2], topic.as_str());
        ledger.delivered(ids[0], topic.as_str());
        ledger.delivered(ids[0], topic.as_str());
        assert_eq!((ledger.waiting(), ledger.take_most_waiting()), (1, 2));
        assert_eq!(ledger.take_most_waiting(), 1);
        ledger.delivered(ids[1], topic.as_str());
        ledger.none_waiting().await;
    }
}
