//! Records go in and come out: all, once, in order.

use std::time::Duration;

use fusebox_devbroker::{
    ApiKey, DevBroker, DevBrokerConfig, Effect, Fault, FsyncPolicy, ResponseError, When,
};

use crate::support::{Numbered, assert_once_in_order, eventually, read_all};

#[test]
fn twenty_thousand_records_come_back_once_and_in_order_with_every_compression() {
    let broker = DevBroker::start(DevBrokerConfig::temporary()).unwrap();
    let bootstrap = broker.bootstrap_servers();
    for compression in ["none", "gzip", "snappy", "lz4"] {
        let topic = format!("records-{compression}");
        broker.create_topic(&topic, 3).unwrap();
        let settings = [("compression.type", compression)];
        let mut producer = Numbered::new(&bootstrap, &settings);
        for _ in 0..20_000 {
            producer.send(&topic, 3);
        }
        producer.finish();
        let found = read_all(&bootstrap, &topic, 3);
        assert_once_in_order(&found, 20_000, 3);
        // Where the producer was told they are.
        producer.reports(|reports| {
            for (number, (partition, offset)) in &reports.acked {
                let at = usize::try_from(*offset).unwrap();
                assert_eq!(found[partition][at].1, format!("{number:08}"));
            }
        });
    }
    broker.shutdown().unwrap();
}

/// Sends through a broker that answers badly; returns what is in the topic afterwards, in order.
fn send_through_faults(idempotent: bool) -> Vec<String> {
    let broker = DevBroker::start(DevBrokerConfig::temporary().with_topics([("t", 1)])).unwrap();
    let bootstrap = broker.bootstrap_servers();
    let faults = broker.faults();
    let fault = |effect, n| {
        let fault = Fault::new(ApiKey::Produce, effect).on_topic("t");
        faults.set(fault.when(When::Every(n)))
    };
    let dropped = fault(Effect::DropAnswer, 7);
    let rejected = fault(Effect::Reject(ResponseError::NotLeaderOrFollower), 11);
    let cut = fault(Effect::Cut, 17);
    let settings = [
        (
            "enable.idempotence",
            if idempotent { "true" } else { "false" },
        ),
        ("max.in.flight.requests.per.connection", "5"),
        ("retries", "1000000"),
        ("batch.num.messages", "20"),
        ("linger.ms", "0"),
    ];
    let mut producer = Numbered::new(&bootstrap, &settings);
    // A few at a time, so that there are many requests.
    for round in 1..=100 {
        for _ in 0..50 {
            producer.send("t", 1);
        }
        producer.acked(round * 40);
    }
    producer.finish();
    assert!(dropped.fired() >= 20 && rejected.fired() >= 10 && cut.fired() >= 5);
    faults.clear();
    let found = read_all(&bootstrap, "t", 1);
    let payloads = found[&0].iter().map(|(_, payload)| payload.clone());
    payloads.collect()
}

#[test]
fn an_idempotent_producer_duplicates_and_reorders_nothing_whatever_becomes_of_the_answers() {
    let found = send_through_faults(true);
    let expected: Vec<String> = (0..5000).map(|number| format!("{number:08}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn without_idempotence_the_same_faults_make_duplicates() {
    // Otherwise the test above would show nothing.
    let found = send_through_faults(false);
    assert!(found.len() > 5000, "{}", found.len());
}

#[test]
fn a_broker_that_syncs_before_each_answer_keeps_up() {
    let mut config = DevBrokerConfig::temporary().with_topics([("t", 2)]);
    config.fsync = FsyncPolicy::Always;
    let broker = DevBroker::start(config).unwrap();
    let mut producer = Numbered::new(&broker.bootstrap_servers(), &[]);
    for _ in 0..2000 {
        producer.send("t", 2);
    }
    producer.finish();
    let found = read_all(&broker.bootstrap_servers(), "t", 2);
    assert_once_in_order(&found, 2000, 2);
}

#[test]
fn old_records_go_and_readers_begin_with_the_oldest_that_is_kept() {
    let mut config = DevBrokerConfig::temporary().with_topics([("t", 1)]);
    config.segment_bytes = 10_000;
    config.retention_bytes = Some(30_000);
    config.retention_check = Duration::from_millis(10);
    let broker = DevBroker::start(config).unwrap();
    let settings = [("batch.num.messages", "50")];
    let mut producer = Numbered::new(&broker.bootstrap_servers(), &settings);
    for _ in 0..10_000 {
        producer.send("t", 1);
    }
    producer.finish();
    let start = || broker.offsets("t", 0).unwrap().0;
    eventually("old records are deleted", || start() > 5000);
    // What it deletes while somebody reads is no matter here: then again.
    let (first, found) = loop {
        let first = start();
        let found = read_all(&broker.bootstrap_servers(), "t", 1);
        if start() == first {
            break (first, found);
        }
    };
    let payloads: Vec<&str> = found[&0].iter().map(|(_, p)| p.as_str()).collect();
    let expected: Vec<String> = (first..10_000).map(|n| format!("{n:08}")).collect();
    assert_eq!(payloads, expected);
    // At least what was promised: a record takes 18 bytes or so.
    assert!(found[&0].len() > 1000, "{}", found[&0].len());
}
