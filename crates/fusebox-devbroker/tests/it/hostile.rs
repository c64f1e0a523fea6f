//! Bytes that no client would send, against the whole program: it stays up and stays small.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsRequest, FetchRequest, JoinGroupRequest, MetadataRequest,
        OffsetCommitRequest, ProduceRequest, RequestHeader,
        fetch_request::{FetchPartition, FetchTopic},
        metadata_request::MetadataRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Encodable, StrBytes},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::support::{Numbered, Process};

/// More than a broker with a few records needs, and much less than any of the lies below claims.
const ENOUGH: u64 = 256 << 20;

fn frame(api: ApiKey, version: i16, body: &impl Encodable) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("x")))
        .encode(&mut bytes, api.request_header_version(version))
        .unwrap();
    body.encode(&mut bytes, version).unwrap();
    let length = i32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Good requests with arrays in arrays, as something to be changed.
fn samples() -> Vec<Vec<u8>> {
    let topic = || kafka_protocol::messages::TopicName(StrBytes::from_static_str("t"));
    let data = PartitionProduceData::default().with_records(Some(vec![0; 70].into()));
    let produce = ProduceRequest::default().with_acks(1).with_topic_data(vec![
        TopicProduceData::default()
            .with_name(topic())
            .with_partition_data(vec![data]),
    ]);
    let fetch = FetchRequest::default().with_topics(vec![
        FetchTopic::default()
            .with_topic(topic())
            .with_partitions(vec![FetchPartition::default()]),
    ]);
    let metadata = MetadataRequest::default().with_topics(Some(vec![
        MetadataRequestTopic::default().with_name(Some(topic())),
    ]));
    vec![
        frame(ApiKey::Produce, 7, &produce),
        frame(ApiKey::Fetch, 11, &fetch),
        frame(ApiKey::Metadata, 4, &metadata),
        frame(ApiKey::JoinGroup, 4, &JoinGroupRequest::default()),
        frame(ApiKey::OffsetCommit, 6, &OffsetCommitRequest::default()),
        frame(ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()),
    ]
}

/// Sends the bytes, says that there will be no more, and waits until the broker has ended it.
fn send(bootstrap: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // It may hang up in the middle of nonsense, and the system may notice at any of these.
    let sent = stream
        .write_all(bytes)
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let kind = error.kind();
        assert!(
            sent.is_err() || kind == ErrorKind::ConnectionReset,
            "it neither answers nor hangs up: {error}"
        );
    }
}

#[test]
fn lengths_that_are_lies_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Process::start("127.0.0.1:0", folder.path());
    let huge = i32::MAX.to_be_bytes();
    for sample in samples() {
        // A length of 2 GiB over the frame, and at every place where a length may be.
        for at in 0..sample.len().saturating_sub(4) {
            let mut lie = sample.clone();
            lie[at..at + 4].copy_from_slice(&huge);
            send(&broker.bootstrap, &lie);
        }
    }
    // The longest frame that is taken, of which nothing comes.
    send(&broker.bootstrap, b"\x04\0\0\0\0\0\0\x07\0\0\0\0");
    let peak = broker.peak_memory();
    assert!(peak < ENOUGH, "it has had {peak} bytes");
    still_works(&broker);
}

#[test]
fn changed_and_random_bytes_neither_stop_nor_fill_it() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Process::start("127.0.0.1:0", folder.path());
    let cases = std::env::var("DEVBROKER_HOSTILE_FRAMES").map_or(1500, |n| n.parse().unwrap());
    let samples = samples();
    let one = (
        any::<prop::sample::Index>(),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        proptest::collection::vec(any::<u8>(), 0..64),
    );
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    // The same bytes each time: what fails once fails again.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&one, |(which, changes, random)| {
        let mut bytes = which.get(&samples).clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(random);
        send(&broker.bootstrap, &bytes);
        Ok(())
    });
    result.unwrap();
    let peak = broker.peak_memory();
    assert!(peak < ENOUGH, "it has had {peak} bytes");
    still_works(&broker);
}

fn still_works(broker: &Process) {
    let mut producer = Numbered::new(&broker.bootstrap, &[]);
    for _ in 0..100 {
        producer.send("t", 2);
    }
    producer.finish();
}
