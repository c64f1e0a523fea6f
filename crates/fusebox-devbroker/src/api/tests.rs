//! Every request in every version, and bytes that are none.

use std::{net::Ipv4Addr, time::Duration};

use kafka_protocol::messages::{
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    describe_configs_request::DescribeConfigsResource,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    join_group_request::JoinGroupRequestProtocol,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::OffsetFetchRequestTopic,
    produce_request::{PartitionProduceData, TopicProduceData},
    sync_group_request::SyncGroupRequestAssignment,
    *,
};
use proptest::prelude::*;

use super::*;
use crate::{
    config::NewTopic, log::batch::tests::batch, server::shape::tests::left_over,
    store::offsets::Offsets, topics::TopicSettings,
};

/// A broker without a network, with topic `t` of two partitions.
struct Bench {
    broker: Broker,
    peer: Peer,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = DevBrokerConfig::in_dir(folder.path());
        config.group_initial_rebalance_delay = Duration::ZERO;
        let (topics, _) = Topics::open(folder.path(), &config).unwrap();
        let new = (NewTopic::new("t", 2), TopicSettings::default());
        topics.create(&[new]).unwrap();
        let (offsets, _) = Offsets::open(folder.path()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9092));
        Self {
            broker: Broker {
                address,
                identity: Identity::open(folder.path()).unwrap(),
                topics,
                groups: Groups::new(offsets, config.group_initial_rebalance_delay),
                faults: Faults::new(),
                appended: Notify::new(),
                config,
            },
            peer: Peer {
                address,
                gone: CancellationToken::new(),
            },
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap(),
            _folder: folder,
        }
    }

    fn send(&self, frame: Vec<u8>) -> Result<Answer, Refusal> {
        let answer = self.broker.answer(&self.peer, Bytes::from(frame));
        self.runtime.block_on(answer)
    }

    /// The answer, without length and correlation id.
    fn ask<R: Decodable>(&self, api: ApiKey, version: i16, request: &impl Encodable) -> R {
        let answer = self.send(frame(api, version, request)).unwrap();
        let Answer::Bytes(bytes) = answer else {
            panic!("{api:?} {version}: {answer:?}");
        };
        let mut bytes = bytes.freeze();
        assert_eq!(
            bytes::Buf::get_i32(&mut bytes),
            i32::try_from(bytes.len()).unwrap()
        );
        let header = ResponseHeader::decode(&mut bytes, api.response_header_version(version));
        assert_eq!(header.unwrap().correlation_id, 77);
        let response = R::decode(&mut bytes, version).unwrap();
        assert!(bytes.is_empty(), "{api:?} {version}");
        response
    }
}

fn frame(api: ApiKey, version: i16, request: &impl Encodable) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(text("tests")))
        .encode(&mut bytes, api.request_header_version(version))
        .unwrap();
    request.encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

/// A request of each kind with something in every array, encoded.
#[expect(clippy::too_many_lines, reason = "a table")]
fn sample(api: ApiKey, version: i16) -> Vec<u8> {
    let t = || topic_name("t");
    let group = || GroupId(text("g"));
    let member = || text("m");
    match api {
        ApiKey::Produce => {
            let data = PartitionProduceData::default()
                .with_index(1)
                .with_records(Some(batch(&["v"], -1, -1, -1).into()));
            let topic = TopicProduceData::default()
                .with_name(t())
                .with_partition_data(vec![data.clone(), data]);
            let request = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(1)
                .with_topic_data(vec![topic.clone(), topic]);
            frame(api, version, &request)
        }
        ApiKey::Fetch => {
            let partition = FetchPartition::default()
                .with_partition(1)
                .with_fetch_offset(0)
                .with_partition_max_bytes(1000);
            let topic = FetchTopic::default()
                .with_topic(t())
                .with_partitions(vec![partition.clone(), partition]);
            let mut request = FetchRequest::default()
                .with_max_bytes(1000)
                .with_topics(vec![topic.clone(), topic]);
            if version >= 7 {
                let forgotten = ForgottenTopic::default()
                    .with_topic(t())
                    .with_partitions(vec![0, 1]);
                request = request.with_forgotten_topics_data(vec![forgotten]);
            }
            frame(api, version, &request)
        }
        ApiKey::ListOffsets => {
            let partition = ListOffsetsPartition::default().with_timestamp(-1);
            let topic = ListOffsetsTopic::default()
                .with_name(t())
                .with_partitions(vec![partition.clone(), partition]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic.clone(), topic]);
            frame(api, version, &request)
        }
        ApiKey::Metadata => {
            let topic = |name| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            let topics = vec![topic("t"), topic("auto"), topic("not valid")];
            frame(
                api,
                version,
                &MetadataRequest::default().with_topics(Some(topics)),
            )
        }
        ApiKey::OffsetCommit => {
            let partition = OffsetCommitRequestPartition::default()
                .with_committed_offset(5)
                .with_committed_metadata(Some(text("x")));
            let topic = OffsetCommitRequestTopic::default()
                .with_name(t())
                .with_partitions(vec![partition.clone(), partition]);
            let request = OffsetCommitRequest::default()
                .with_group_id(group())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![topic.clone(), topic]);
            frame(api, version, &request)
        }
        ApiKey::OffsetFetch => {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(t())
                .with_partition_indexes(vec![0, 1]);
            let request = OffsetFetchRequest::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic.clone(), topic]));
            frame(api, version, &request)
        }
        ApiKey::FindCoordinator => frame(
            api,
            version,
            &FindCoordinatorRequest::default().with_key(text("g")),
        ),
        ApiKey::JoinGroup => {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"meta"));
            let mut request = JoinGroupRequest::default()
                .with_group_id(group())
                .with_session_timeout_ms(6000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol.clone(), protocol]);
            if version >= 1 {
                request = request.with_rebalance_timeout_ms(6000);
            }
            frame(api, version, &request)
        }
        ApiKey::SyncGroup => {
            let part = SyncGroupRequestAssignment::default()
                .with_member_id(member())
                .with_assignment(Bytes::from_static(b"part"));
            let request = SyncGroupRequest::default()
                .with_group_id(group())
                .with_member_id(member())
                .with_assignments(vec![part.clone(), part]);
            frame(api, version, &request)
        }
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::default()
                .with_group_id(group())
                .with_member_id(member());
            frame(api, version, &request)
        }
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::default()
                .with_group_id(group())
                .with_member_id(member());
            frame(api, version, &request)
        }
        ApiKey::DescribeGroups => {
            let request = DescribeGroupsRequest::default().with_groups(vec![group(), group()]);
            frame(api, version, &request)
        }
        ApiKey::ListGroups => frame(api, version, &ListGroupsRequest::default()),
        ApiKey::ApiVersions => {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request = request
                    .with_client_software_name(text("tests"))
                    .with_client_software_version(text("1"));
            }
            frame(api, version, &request)
        }
        ApiKey::CreateTopics => {
            let setting = CreatableTopicConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("60000")));
            let assignment =
                CreatableReplicaAssignment::default().with_broker_ids(vec![NODE, NODE]);
            let topic = |name| {
                CreatableTopic::default()
                    .with_name(topic_name(name))
                    .with_num_partitions(1)
                    .with_replication_factor(1)
                    .with_assignments(vec![assignment.clone()])
                    .with_configs(vec![setting.clone(), setting.clone()])
            };
            let request = CreateTopicsRequest::default()
                .with_topics(vec![topic("new"), topic("t")])
                .with_timeout_ms(1);
            frame(api, version, &request)
        }
        ApiKey::DeleteTopics => {
            let names = vec![topic_name("gone"), topic_name("none")];
            frame(
                api,
                version,
                &DeleteTopicsRequest::default().with_topic_names(names),
            )
        }
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::default().with_transactional_id(None);
            frame(api, version, &request)
        }
        ApiKey::DescribeConfigs => {
            let resource = |kind, name, keys| {
                DescribeConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(name))
                    .with_configuration_keys(keys)
            };
            let keys = vec![text("retention.ms"), text("x")];
            let resources = vec![resource(2, "t", Some(keys)), resource(4, "1", None)];
            frame(
                api,
                version,
                &DescribeConfigsRequest::default().with_resources(resources),
            )
        }
        ApiKey::DeleteGroups => {
            let request = DeleteGroupsRequest::default().with_groups_names(vec![group(), group()]);
            frame(api, version, &request)
        }
        other => panic!("no sample of {other:?}"),
    }
}

fn all_samples() -> Vec<(ApiKey, i16, Vec<u8>)> {
    let versions = VERSIONS
        .iter()
        .flat_map(|(api, min, max)| (*min..=*max).map(|version| (*api, version)));
    versions
        .map(|(api, version)| (api, version, sample(api, version)))
        .collect()
}

#[test]
fn every_request_in_the_table_has_the_shape_that_is_checked_and_gets_an_answer() {
    let samples = all_samples();
    assert!(samples.len() > 60);
    for (api, version, frame) in samples {
        let bench = Bench::new();
        // The header of a request of these versions: eight bytes and the client's name.
        let body = &frame[8 + 2 + "tests".len()..];
        if let Some(left) = left_over(api, version, body) {
            assert_eq!(left, 0, "{api:?} {version}");
        }
        let answer = bench.send(frame).unwrap();
        assert!(matches!(answer, Answer::Bytes(_)), "{api:?} {version}");
    }
}

#[test]
fn every_request_can_be_rejected_delayed_cut_and_left_without_its_answer() {
    use crate::faults::{Effect, Fault};
    for (api, version, frame) in all_samples() {
        let bench = Bench::new();
        let faults = bench.broker.faults.clone();
        // No count and no key looks like this.
        let code = ResponseError::Unknown(0x5afe);
        faults.set(Fault::new(api, Effect::Delay(Duration::from_secs(9))));
        faults.set(Fault::new(api, Effect::Reject(code)));
        let answer = bench.send(frame.clone()).unwrap();
        let Answer::Bytes(bytes) = answer else {
            panic!("{api:?} {version}: {answer:?}");
        };
        let has_code = bytes.windows(2).any(|two| two == code.code().to_be_bytes());
        assert_eq!(has_code, api != ApiKey::ApiVersions, "{api:?} {version}");
        faults.clear();
        faults.set(Fault::new(api, Effect::DropAnswer));
        assert_eq!(bench.send(frame.clone()).unwrap(), Answer::Close);
        faults.clear();
        faults.set(Fault::new(api, Effect::Cut));
        assert_eq!(bench.send(frame).unwrap(), Answer::Close);
        if api == ApiKey::Produce {
            // Only the one whose answer was dropped was done: four batches.
            let topic = bench.broker.topics.get("t").unwrap();
            assert_eq!(topic.log(1).unwrap().end(), 4);
        }
    }
}

#[test]
fn what_is_appended_is_fetched_and_found_by_time() {
    let bench = Bench::new();
    let produced: ProduceResponse = {
        let data = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch(&["a", "b"], -1, -1, -1).into()));
        let topic = TopicProduceData::default()
            .with_name(topic_name("t"))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(1)
            .with_topic_data(vec![topic]);
        bench.ask::<ProduceResponse>(ApiKey::Produce, 8, &request);
        bench.ask(ApiKey::Produce, 8, &request)
    };
    assert_eq!(produced.responses[0].partition_responses[0].base_offset, 2);
    let fetch = |offset, max_bytes| -> FetchResponse {
        let partition = FetchPartition::default()
            .with_fetch_offset(offset)
            .with_partition_max_bytes(max_bytes);
        let topic = FetchTopic::default()
            .with_topic(topic_name("t"))
            .with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(10_000)
            .with_topics(vec![topic]);
        bench.ask(ApiKey::Fetch, 11, &request)
    };
    let one = batch(&["a", "b"], -1, -1, -1).len();
    for (offset, max_bytes, bytes) in [
        (0, 10_000, 2 * one),
        (1, 1, one),
        (2, 10_000, one),
        (4, 10_000, 0),
    ] {
        let fetched = &fetch(offset, max_bytes).responses[0].partitions[0];
        assert_eq!((fetched.error_code, fetched.high_watermark), (0, 4));
        assert_eq!(fetched.records.as_ref().unwrap().len(), bytes, "{offset}");
    }
    let beyond = &fetch(5, 10_000).responses[0].partitions[0];
    assert_eq!(beyond.error_code, ResponseError::OffsetOutOfRange.code());
    let at = |time| {
        let partition = ListOffsetsPartition::default().with_timestamp(time);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name("t"))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let response: ListOffsetsResponse = bench.ask(ApiKey::ListOffsets, 5, &request);
        response.topics[0].partitions[0].offset
    };
    assert_eq!(
        [at(-2), at(-1), at(1), at(1_800_000_000_000)],
        [0, 4, 0, -1]
    );
}

#[test]
fn without_an_answer_wanted_none_is_given_and_a_failure_closes_the_connection() {
    let bench = Bench::new();
    let request = |topic| {
        let data = PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch(&["a"], -1, -1, -1).into()));
        let topic = TopicProduceData::default()
            .with_name(topic_name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(0)
            .with_topic_data(vec![topic]);
        frame(ApiKey::Produce, 7, &request)
    };
    assert_eq!(bench.send(request("t")).unwrap(), Answer::None);
    assert_eq!(bench.send(request("none")).unwrap(), Answer::Close);
    let strange = ProduceRequest::default().with_acks(2).with_topic_data(vec![
        TopicProduceData::default()
            .with_name(topic_name("t"))
            .with_partition_data(vec![PartitionProduceData::default()]),
    ]);
    let refused: ProduceResponse = bench.ask(ApiKey::Produce, 7, &strange);
    let code = refused.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ResponseError::InvalidRequiredAcks.code());
}

#[test]
fn a_newer_question_for_versions_is_answered_in_the_oldest_and_others_are_refused() {
    let bench = Bench::new();
    let mut newer = sample(ApiKey::ApiVersions, 3);
    newer[3] = 9;
    let Answer::Bytes(mut bytes) = bench.send(newer).unwrap() else {
        panic!("no answer");
    };
    bytes::Buf::advance(&mut bytes, 8);
    let response = ApiVersionsResponse::decode(&mut bytes.freeze(), 0).unwrap();
    assert_eq!(
        response.error_code,
        ResponseError::UnsupportedVersion.code()
    );
    assert_eq!(response.api_keys.len(), VERSIONS.len());
    for (api, version) in [
        (ApiKey::Metadata, 9),
        (ApiKey::Produce, 2),
        (ApiKey::EndTxn, 0),
    ] {
        let mut other = sample(ApiKey::Metadata, 1);
        other[..2].copy_from_slice(&(api as i16).to_be_bytes());
        other[2..4].copy_from_slice(&i16::to_be_bytes(version));
        let refusal = bench.send(other).unwrap_err();
        assert!(matches!(refusal, Refusal::Unsupported { .. }), "{refusal}");
    }
}

#[test]
fn a_transactional_producer_is_told_that_there_are_no_transactions() {
    let bench = Bench::new();
    let request =
        InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("x"))));
    let response: InitProducerIdResponse = bench.ask(ApiKey::InitProducerId, 1, &request);
    let code = ResponseError::TransactionalIdAuthorizationFailed.code();
    assert_eq!(response.error_code, code);
    let request = FindCoordinatorRequest::default().with_key_type(1);
    let response: FindCoordinatorResponse = bench.ask(ApiKey::FindCoordinator, 2, &request);
    assert_eq!(response.error_code, code);
}

#[test]
fn groups_and_settings_can_be_seen() {
    let bench = Bench::new();
    bench.send(sample(ApiKey::OffsetCommit, 6)).unwrap();
    bench.send(sample(ApiKey::JoinGroup, 3)).unwrap();
    let listed: ListGroupsResponse =
        bench.ask(ApiKey::ListGroups, 2, &ListGroupsRequest::default());
    assert_eq!(listed.groups[0].group_id.as_str(), "g");
    let request = DescribeGroupsRequest::default()
        .with_groups(vec![GroupId(text("g")), GroupId(text("none"))]);
    let described: DescribeGroupsResponse = bench.ask(ApiKey::DescribeGroups, 4, &request);
    assert_eq!(
        described.groups[0].group_state.as_str(),
        "CompletingRebalance"
    );
    assert_eq!(described.groups[0].members[0].client_id.as_str(), "tests");
    assert_eq!(described.groups[1].group_state.as_str(), "Dead");
    let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]);
    let deleted: DeleteGroupsResponse = bench.ask(ApiKey::DeleteGroups, 1, &request);
    assert_eq!(
        deleted.results[0].error_code,
        ResponseError::NonEmptyGroup.code()
    );
    // All that was committed, without saying what.
    let request = OffsetFetchRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_topics(None);
    let fetched: OffsetFetchResponse = bench.ask(ApiKey::OffsetFetch, 5, &request);
    assert_eq!(fetched.topics[0].partitions[0].committed_offset, 5);
    let request = DescribeConfigsRequest::default().with_resources(vec![
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t")),
    ]);
    let configs: DescribeConfigsResponse = bench.ask(ApiKey::DescribeConfigs, 3, &request);
    let names: Vec<&str> = configs.results[0]
        .configs
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert!(names.contains(&"retention.ms"), "{names:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_frames_never_panic(
        api in prop::sample::select(VERSIONS),
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let bench = Bench::new();
        // Wholly random, and random behind the header of something we take.
        drop(bench.send(bytes.clone()));
        let mut frame = sample(api.0, api.2);
        frame.truncate(15);
        frame.extend(&bytes);
        drop(bench.send(frame));
    }

    #[test]
    fn changed_and_cut_frames_never_panic(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let bench = Bench::new();
        let samples = all_samples();
        let (_, _, mut frame) = which.get(&samples).clone();
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        drop(bench.send(frame));
    }
}
