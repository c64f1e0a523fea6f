//! Consumer groups with several members, of librdkafka and by hand.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use fusebox_devbroker::{DevBroker, DevBrokerConfig};
use kafka_protocol::{
    messages::{
        ApiKey, GroupId, JoinGroupRequest, JoinGroupResponse, RequestHeader, ResponseHeader,
        SyncGroupRequest, SyncGroupResponse, join_group_request::JoinGroupRequestProtocol,
    },
    protocol::{Decodable, Encodable, StrBytes},
};
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::KafkaError,
    topic_partition_list::TopicPartitionListElem,
};

use crate::support::{LIMIT, Numbered, reader};

/// What a member sees.
#[derive(Debug)]
enum Seen {
    /// It has these partitions now.
    Assigned(usize, BTreeSet<i32>),
    /// It has none.
    Revoked(usize),
    Record(String),
}

struct Watch {
    member: usize,
    seen: Sender<Seen>,
}

impl ClientContext for Watch {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Watch {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let seen = match rebalance {
            Rebalance::Assign(list) => {
                let partitions = list.elements();
                let partitions = partitions
                    .iter()
                    .map(TopicPartitionListElem::partition)
                    .collect();
                Seen::Assigned(self.member, partitions)
            }
            _ => Seen::Revoked(self.member),
        };
        drop(self.seen.send(seen));
    }
}

/// A member of a group, on a thread of its own.
struct Member {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Member {
    fn start(bootstrap: &str, member: usize, seen: &Sender<Seen>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch {
            member,
            seen: seen.clone(),
        };
        let consumer: BaseConsumer<Watch> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "g")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "2000")
            .set("heartbeat.interval.ms", "100")
            .set("fetch.wait.max.ms", "20")
            .create_with_context(watch)
            .unwrap();
        consumer.subscribe(&["t"]).unwrap();
        let (stopping, seen) = (Arc::clone(&stop), seen.clone());
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Acquire) {
                let Some(message) = consumer.poll(Duration::from_millis(20)) else {
                    continue;
                };
                // While it is away from its group there are errors to be waited out.
                let Ok(message) = message else { continue };
                let payload = message.payload().unwrap().to_vec();
                // A commit that comes too late is refused: the record is another member's.
                if consumer.commit_message(&message, CommitMode::Sync).is_ok() {
                    let text = String::from_utf8(payload).unwrap();
                    drop(seen.send(Seen::Record(text)));
                }
            }
            // Dropped here: it says goodbye.
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn leave(mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// The group as the tests see it.
struct Group {
    seen: Receiver<Seen>,
    parts: Vec<BTreeSet<i32>>,
    records: Vec<String>,
}

impl Group {
    fn new(members: usize) -> (Sender<Seen>, Self) {
        let (sender, seen) = channel();
        let group = Self {
            seen,
            parts: vec![BTreeSet::new(); members],
            records: Vec::new(),
        };
        (sender, group)
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let seen = self.seen.recv_timeout(LIMIT);
            match seen.unwrap_or_else(|_| panic!("{what}: {:?}", self.parts)) {
                Seen::Assigned(member, partitions) => self.parts[member] = partitions,
                Seen::Revoked(member) => self.parts[member].clear(),
                Seen::Record(payload) => self.records.push(payload),
            }
        }
    }

    /// Waits until these members have so many partitions each, and all partitions are theirs.
    fn until_divided(&mut self, sizes: &[usize]) {
        self.until("divided", |group| {
            let all: BTreeSet<i32> = group.parts.iter().flatten().copied().collect();
            let found: Vec<usize> = group.parts.iter().map(BTreeSet::len).collect();
            found == sizes && all.len() == sizes.iter().sum::<usize>()
        });
    }
}

fn broker() -> DevBroker {
    DevBroker::start(DevBrokerConfig::temporary().with_topics([("t", 6)])).unwrap()
}

#[test]
fn three_members_share_and_one_that_leaves_is_replaced_without_loss() {
    let broker = broker();
    let bootstrap = broker.bootstrap_servers();
    let (seen, mut group) = Group::new(3);
    let members: Vec<Member> = (0..3)
        .map(|member| Member::start(&bootstrap, member, &seen))
        .collect();
    group.until_divided(&[2, 2, 2]);
    let mut producer = Numbered::new(&bootstrap, &[]);
    let mut produce = |count| {
        for _ in 0..count {
            producer.send("t", 6);
        }
        producer.finish();
        producer.sent()
    };
    let sent = produce(600);
    group.until("600 records", |group| group.records.len() >= sent);
    let [first, second, third] = members.try_into().ok().unwrap();
    third.leave();
    group.parts[2].clear();
    group.until_divided(&[3, 3, 0]);
    let sent = produce(600);
    group.until("1200 records", |group| group.records.len() >= sent);
    // Nobody died, so no record was given twice.
    let once: BTreeSet<&String> = group.records.iter().collect();
    assert_eq!((once.len(), group.records.len()), (1200, 1200));
    first.leave();
    second.leave();
}

#[test]
fn a_member_that_dies_is_replaced_when_its_session_ends() {
    let broker = broker();
    let bootstrap = broker.bootstrap_servers();
    let (seen, mut group) = Group::new(1);
    let member = Member::start(&bootstrap, 0, &seen);
    group.until_divided(&[6]);
    let dying = thread::spawn({
        let bootstrap = bootstrap.clone();
        move || join_by_hand_and_die(&bootstrap)
    });
    // The other one leads, and gives the newcomer its half.
    group.until_divided(&[3]);
    let half = dying.join().unwrap();
    assert!(!half.is_empty());
    group.until_divided(&[6]);
    member.leave();
}

/// Joins as another client would, takes its part, and hangs up without a word.
fn join_by_hand_and_die(bootstrap: &str) -> Bytes {
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut subscription = BytesMut::new();
    subscription.put_i16(0);
    subscription.put_i32(1);
    subscription.put_i16(1);
    subscription.put_slice(b"t");
    subscription.put_i32(-1);
    let subscription = subscription.freeze();
    let protocol = |name| {
        JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(name))
            .with_metadata(subscription.clone())
    };
    let group = || GroupId(StrBytes::from_static_str("g"));
    let join = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(1000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol("range"), protocol("roundrobin")]);
    let joined: JoinGroupResponse = ask(&mut stream, ApiKey::JoinGroup, 3, &join);
    assert_eq!(joined.error_code, 0);
    let sync = SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id);
    let synced: SyncGroupResponse = ask(&mut stream, ApiKey::SyncGroup, 2, &sync);
    assert_eq!(synced.error_code, 0);
    synced.assignment
}

fn ask<R: Decodable>(
    stream: &mut TcpStream,
    api: ApiKey,
    version: i16,
    request: &impl Encodable,
) -> R {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .encode(&mut frame, api.request_header_version(version))
        .unwrap();
    request.encode(&mut frame, version).unwrap();
    let length = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, api.response_header_version(version)).unwrap();
    R::decode(&mut answer, version).unwrap()
}

#[test]
fn committed_offsets_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let config = DevBrokerConfig::in_dir(folder.path()).with_topics([("t", 2)]);
        DevBroker::start(config).unwrap()
    };
    let broker = start();
    let mut producer = Numbered::new(&broker.bootstrap_servers(), &[]);
    for _ in 0..100 {
        producer.send("t", 2);
    }
    producer.finish();
    let committer = reader(&broker.bootstrap_servers(), "g");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 1, Offset::Offset(30))
        .unwrap();
    committer.commit(&list, CommitMode::Sync).unwrap();
    drop((committer, producer));
    broker.shutdown().unwrap();

    let broker = start();
    let (seen, mut group) = Group::new(1);
    let member = Member::start(&broker.bootstrap_servers(), 0, &seen);
    // All of the one partition, and what had not been committed of the other.
    group.until("the rest", |group| group.records.len() >= 70);
    let odd = group
        .records
        .iter()
        .filter(|p| p.ends_with(['1', '3', '5', '7', '9']));
    let mut odd: Vec<&String> = odd.collect();
    odd.sort();
    assert_eq!((odd.len(), odd[0].as_str()), (20, "00000061"));
    member.leave();
}
