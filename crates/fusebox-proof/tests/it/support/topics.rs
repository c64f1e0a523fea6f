//! Making topics, asking about them, and reading all of them.

use std::collections::BTreeMap;
use std::str;
use std::time::{Duration, Instant};

use fusebox_kafka::MAYBE_DUPLICATE_HEADER;
use fusebox_proof::history::{EventName, Found};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

use super::LIMIT;

/// Partitions of each topic here.
pub(crate) const PARTITIONS: i32 = 3;

/// What librdkafka has to say about brokers that are gone is what the test is about.
#[derive(Clone, Copy)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}

/// A name that no other run has used.
pub(crate) fn fresh(name: &str) -> String {
    format!("proof.{name}.{}", Uuid::now_v7().simple())
}

/// Makes topics with as many replicas as there are brokers.
pub(crate) async fn create<'a>(
    bootstrap: &str,
    replicas: i32,
    names: impl IntoIterator<Item = &'a str>,
) {
    let new = |name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(replicas));
    create_all(bootstrap, names.into_iter().map(new)).await;
}

pub(crate) async fn create_all<'a>(
    bootstrap: &str,
    topics: impl IntoIterator<Item = NewTopic<'a>>,
) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    let topics: Vec<_> = topics.into_iter().collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    // A cluster of several that has just come up may have no controller yet.
    let until = Instant::now() + LIMIT;
    let results = loop {
        match admin.create_topics(&topics, &options).await {
            Ok(results) => break results,
            Err(error) => assert!(Instant::now() < until, "no topics: {error}"),
        }
    };
    for result in results {
        // Made by a try whose answer was lost.
        if matches!(&result, Err((_, RDKafkaErrorCode::TopicAlreadyExists))) {
            continue;
        }
        result.unwrap();
    }
}

pub(crate) fn consumer(bootstrap: &str) -> BaseConsumer<Quiet> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "proof-reader")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "50")
        .set("check.crcs", "true")
        .set("reconnect.backoff.max.ms", "500")
        .create_with_context(Quiet)
        .unwrap()
}

/// Leader and in-sync replicas of partition 0, as far as anybody answers.
pub(crate) fn partition_zero(consumer: &BaseConsumer<Quiet>, topic: &str) -> Option<(i32, usize)> {
    let metadata = consumer
        .fetch_metadata(Some(topic), Duration::from_secs(2))
        .ok()?;
    let partitions = metadata.topics().first()?.partitions();
    let zero = partitions.iter().find(|p| p.id() == 0)?;
    Some((zero.leader(), zero.isr().len()))
}

/// Where a partition begins and ends, once its leader says so: after an outage leaders still move, and
/// whoever is asked meanwhile says that it is no leader. Blocks.
fn marks(consumer: &BaseConsumer<Quiet>, topic: &str, partition: i32) -> (i64, i64) {
    let deadline = Instant::now() + LIMIT;
    loop {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)) {
            Ok(marks) => return marks,
            Err(error) => {
                assert!(Instant::now() < deadline, "{topic}, {partition}: {error}");
                // The client asks again who leads.
                let _metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(2));
                std::thread::yield_now();
            }
        }
    }
}

/// Everything in a topic, by partition, also what a new leader shows only after a moment. Blocks.
pub(crate) fn read_all(bootstrap: &str, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<Found>> {
    let consumer = consumer(bootstrap);
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = marks(&consumer, topic, partition);
        list.add_partition_offset(topic, partition, Offset::Offset(low))
            .unwrap();
        if high > low {
            ends.insert(partition, high);
        }
    }
    consumer.assign(&list).unwrap();
    let mut found: BTreeMap<i32, Vec<Found>> = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    loop {
        assert!(Instant::now() < deadline, "still missing up to {ends:?}");
        if ends.is_empty() {
            for partition in 0..partitions {
                let (low, high) = marks(&consumer, topic, partition);
                if high > *next.get(&partition).unwrap_or(&low) {
                    ends.insert(partition, high);
                }
            }
            if ends.is_empty() {
                break;
            }
        }
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let (partition, offset) = (message.partition(), message.offset());
        found.entry(partition).or_default().push(event(&message));
        next.insert(partition, offset + 1);
        if ends.get(&partition).is_some_and(|end| offset + 1 >= *end) {
            ends.remove(&partition);
        }
    }
    found
}

/// Which event a message is.
fn event(message: &BorrowedMessage<'_>) -> Found {
    let headers = message.headers().expect("it has an event id");
    let mut id = None;
    let mut marked = false;
    for header in headers.iter() {
        if header.key == "event_id" {
            let text = str::from_utf8(header.value.unwrap()).unwrap();
            id = Some(text.parse::<Uuid>().unwrap());
        }
        marked |= header.key == MAYBE_DUPLICATE_HEADER;
    }
    let event = EventName::of(id.unwrap().as_u128()).expect("an event of ours");
    let key = message
        .key()
        .map(|key| str::from_utf8(key).unwrap().to_owned());
    assert_eq!(key, Some(format!("lane-{}", event.lane)));
    Found { event, marked }
}
