//! The real producer against librdkafka's mock cluster.
//!
//! The mock does not de-duplicate for a plain idempotent producer, so nothing here asserts the
//! absence of duplicates after a lost connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fusebox::State;
use fusebox_kafka::mock::EmbeddedBroker;
use fusebox_kafka::{
    Attempt, Broker, DrainerConfig, ErrorClass, KafkaProducerConfig, RdKafkaBroker,
};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

use crate::model::{MemoryBacklog, Running, breaker, firsts, record, run, until};

const FIRST: Attempt = Attempt {
    number: 1,
    maybe_duplicate: false,
    admitted_at_ms: 1_700_000_000_000,
};

fn producer(cluster: &EmbeddedBroker) -> Arc<dyn Broker> {
    let config = KafkaProducerConfig::new(cluster.bootstrap_servers(), "test");
    Arc::new(RdKafkaBroker::new(config).unwrap())
}

fn drain(backlog: &Arc<MemoryBacklog>, cluster: &EmbeddedBroker) -> Running {
    run(
        backlog,
        producer(cluster),
        &breaker(),
        DrainerConfig::default(),
    )
}

/// Reads a topic from its beginning until every one of `wanted` events was seen: numbers by key.
async fn read(
    cluster: &EmbeddedBroker,
    topic: &str,
    partitions: i32,
    wanted: usize,
) -> HashMap<String, Vec<u128>> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut seen = std::collections::HashSet::new();
    let mut by_key: HashMap<String, Vec<u128>> = HashMap::new();
    let reading = async {
        while seen.len() < wanted {
            let message = consumer.recv().await.unwrap();
            let header = message.headers().unwrap().get(0);
            assert_eq!(header.key, "event_id");
            let id: Uuid = std::str::from_utf8(header.value.unwrap())
                .unwrap()
                .parse()
                .unwrap();
            let n = id.as_u128();
            assert_eq!(message.payload().unwrap(), format!("event {n}").as_bytes());
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            seen.insert(n);
            by_key.entry(key).or_default().push(n);
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reading)
        .await
        .expect("records are missing");
    by_key
}

fn assert_lanes_in_order(by_key: &HashMap<String, Vec<u128>>) {
    for (key, numbers) in by_key {
        let firsts = firsts(numbers);
        assert!(firsts.is_sorted(), "{key} is out of order: {firsts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_loses_nothing_and_keeps_the_order_of_each_key() {
    let cluster = EmbeddedBroker::start(&[("t", 4)]).unwrap();
    let backlog = Arc::new(MemoryBacklog::default());
    let breaker = breaker();
    let running = run(
        &backlog,
        producer(&cluster),
        &breaker,
        DrainerConfig::default(),
    );
    let push = |numbers: std::ops::RangeInclusive<u128>| {
        for n in numbers {
            backlog.push(record(n, "t", &format!("k{}", n % 16)));
        }
        running.handle.wake();
    };
    push(1..=1_000);
    until("a good start", || backlog.settled() > 200).await;
    cluster.outage().unwrap();
    push(1_001..=3_000);
    until("open", || breaker.state() == State::Open).await;
    assert!(backlog.waiting() > 1_000);
    cluster.heal().unwrap();
    until("drained", || backlog.waiting() == 0).await;
    until("closed", || breaker.state() == State::Closed).await;
    assert_lanes_in_order(&read(&cluster, "t", 4, 3_000).await);
    assert!(backlog.dead().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_circuit_heals_by_asking_the_cluster() {
    let cluster = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    let backlog = Arc::new(MemoryBacklog::default());
    let breaker = breaker();
    backlog.push(record(1, "t", "k"));
    let running = run(
        &backlog,
        producer(&cluster),
        &breaker,
        DrainerConfig::default(),
    );
    until("settled", || backlog.waiting() == 0).await;
    for _ in 0..3 {
        breaker.try_acquire().unwrap().failure();
    }
    assert_eq!(breaker.state(), State::Open);
    until("closed", || breaker.state() == State::Closed).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_of_a_record_ends_in_a_dead_letter_and_the_rest_arrives() {
    let codes = [
        "MSG_SIZE_TOO_LARGE",
        "RECORD_LIST_TOO_LARGE",
        "INVALID_RECORD",
        "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        "POLICY_VIOLATION",
        "INVALID_TIMESTAMP",
    ];
    let cluster = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    let backlog = Arc::new(MemoryBacklog::default());
    let running = drain(&backlog, &cluster);
    backlog.push(record(1_000, "t", "k"));
    until("connected", || backlog.waiting() == 0).await;
    for (i, code) in codes.into_iter().enumerate() {
        cluster.refuse_produce(&[code, code]).unwrap();
        let n = i as u128;
        backlog.push(record(n, "t", "k"));
        running.handle.wake();
        until(code, || backlog.waiting() == 0).await;
        let dead = backlog.dead();
        assert_eq!(dead.len(), i + 1, "{code}");
        assert_eq!(dead[i].1.code, code);
        assert_eq!(dead[i].1.attempts, 2, "{code}");
        // Refused once only: the batch was at fault, not the record.
        cluster.refuse_produce(&[code]).unwrap();
        backlog.push(record(100 + n, "t", "k"));
        running.handle.wake();
        until("sent alone", || backlog.waiting() == 0).await;
        assert_eq!(
            backlog.dead().len(),
            i + 1,
            "{code} buried at its first refusal"
        );
    }
    let read = read(&cluster, "t", 1, 1 + codes.len()).await;
    assert_eq!(firsts(&read["k"]), [1_000, 100, 101, 102, 103, 104, 105]);
    running.stop().await;
}

/// What the library retries inside, what we retry, what pauses a topic, what kills a producer: in
/// each case the record arrives, and nothing is buried. Each refusal that reaches us ends the producer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_refusal_loses_a_record() {
    let codes = [
        ("REQUEST_TIMED_OUT", 0),
        ("NOT_ENOUGH_REPLICAS", 0),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", 0),
        ("NOT_LEADER_FOR_PARTITION", 0),
        ("KAFKA_STORAGE_ERROR", 0),
        ("TOPIC_AUTHORIZATION_FAILED", 1),
        ("CLUSTER_AUTHORIZATION_FAILED", 1),
        ("THROTTLING_QUOTA_EXCEEDED", 1),
        ("INVALID_PRODUCER_EPOCH", 1),
        ("PRODUCER_FENCED", 1),
        ("OUT_OF_ORDER_SEQUENCE_NUMBER", 1),
    ];
    let cluster = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    let backlog = Arc::new(MemoryBacklog::default());
    let running = drain(&backlog, &cluster);
    backlog.push(record(0, "t", "k"));
    until("connected", || backlog.waiting() == 0).await;
    for (i, (code, rebuilt)) in codes.into_iter().enumerate() {
        let before = running.handle.stats().rebuilt;
        cluster.refuse_produce(&[code]).unwrap();
        backlog.push(record(1 + i as u128, "t", "k"));
        running.handle.wake();
        until(code, || backlog.waiting() == 0).await;
        assert_eq!(running.handle.stats().rebuilt - before, rebuilt, "{code}");
    }
    assert!(backlog.dead().is_empty());
    let read = read(&cluster, "t", 1, 1 + codes.len()).await;
    assert!(firsts(&read["k"]).is_sorted());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_refusals_have_their_class() {
    let cluster = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    let mut config = KafkaProducerConfig::new(cluster.bootstrap_servers(), "test");
    config.linger = Duration::from_secs(5);
    config
        .extra
        .push(("queue.buffering.max.messages".to_owned(), "10".to_owned()));
    let broker = RdKafkaBroker::new(config.clone()).unwrap();
    let mut large = record(1, "t", "k");
    large.payload = vec![0; 2_000_000].into();
    let error = broker
        .enqueue(&large, FIRST)
        .err()
        .expect("two megabytes are too much");
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Message, "MSG_SIZE_TOO_LARGE")
    );
    let mut deliveries = Vec::new();
    let error = loop {
        let mut keyless = record(2, "t", "k");
        keyless.key = None;
        match broker.enqueue(&keyless, FIRST) {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::BackPressure, "_QUEUE_FULL")
    );
    assert_eq!(deliveries.len(), 10);
    // Giving the producer up reports what it held, and the new one works.
    broker.rebuild().unwrap();
    let error = deliveries.remove(0).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unavailable, "{error}");
    broker.probe().await.unwrap();

    for (name, value) in [
        ("client.dns.lookup", "sometimes"),
        ("acks", "1"),
        ("message.timeout.ms", "1000"),
        ("enable.gapless.guarantee", "false"),
    ] {
        let mut config = config.clone();
        config.extra.push((name.to_owned(), value.to_owned()));
        let error = RdKafkaBroker::new(config).unwrap_err();
        assert_eq!(error.class, ErrorClass::Configuration, "{name}");
        assert!(error.text.contains(name), "{error}");
    }
}

/// What a broker knows nothing of it takes with any number, so the first of a partition goes alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_follows_the_first_record_of_a_partition_before_it_is_acknowledged() {
    let cluster = EmbeddedBroker::start(&[("t", 2)]).unwrap();
    cluster.delay(Duration::from_millis(100)).unwrap();
    let broker = producer(&cluster);
    let first = broker.enqueue(&record(1, "t", "a"), FIRST).unwrap();
    let held_back = |key: &str| {
        let error = broker.enqueue(&record(2, "t", key), FIRST).err();
        error.is_some_and(|e| e.class == ErrorClass::BackPressure && e.code == "_FIRST_UNDER_WAY")
    };
    assert!(held_back("a") && held_back("b"));
    let at = first.await.unwrap().partition;
    let second = broker.enqueue(&record(2, "t", "a"), FIRST).unwrap();
    let third = broker.enqueue(&record(3, "t", "a"), FIRST).unwrap();
    // A key that lies elsewhere begins anew there.
    let elsewhere = broker.enqueue(&record(4, "t", "d"), FIRST).unwrap();
    assert!(held_back("d"));
    assert_eq!(second.await.unwrap().partition, at);
    assert_eq!(third.await.unwrap().partition, at);
    assert_eq!(elsewhere.await.unwrap().partition, 1 - at);
    // And for a new producer all begins anew.
    broker.rebuild().unwrap();
    drop(broker.enqueue(&record(5, "t", "a"), FIRST).unwrap());
    assert!(held_back("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_without_a_cluster_says_so() {
    let cluster = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    cluster.outage().unwrap();
    let broker = RdKafkaBroker::new(KafkaProducerConfig::new(
        cluster.bootstrap_servers(),
        "test",
    ))
    .unwrap();
    let (sink, mut troubles) = tokio::sync::mpsc::unbounded_channel();
    broker.report_trouble_to(Arc::new(move |error| drop(sink.send(error))));
    let delivery = broker.enqueue(&record(1, "t", "k"), FIRST).unwrap();
    let trouble = troubles.recv().await.unwrap();
    assert_eq!(
        (trouble.class, trouble.code.as_str()),
        (ErrorClass::Unavailable, "_ALL_BROKERS_DOWN")
    );
    cluster.heal().unwrap();
    let delivered = delivery.await.unwrap();
    assert_eq!((delivered.partition, delivered.offset), (0, 0));
}
