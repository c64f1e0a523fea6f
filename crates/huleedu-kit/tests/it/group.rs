//! Consumer groups with several members: what the platform before this one got wrong (its flaws are named C1
//! to C12 in the tests) must not come back.
//!
//! They run on librdkafka's mock cluster, the two that ask most of a broker also on ours, and with
//! `TEST_BROKER=durable` all of them do.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fusebox_devbroker::{ApiKey, DevBroker, DevBrokerConfig, Effect, Fault, ResponseError, When};
use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_contracts::{envelope::EventEnvelope, headers, ids::CorrelationId, topics::Topic};
use huleedu_kit::{
    ServiceId,
    consumer::{
        self, ConsumerError, ConsumerOptions, EventHandler, HandlerError, Incoming, UnitOfWork,
    },
    metrics::Metrics,
    store::{Migration, NoObserver, Store, StoreOptions},
    testing::{embedded_broker, eventually, service_env},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, StreamConsumer},
    message::{Header, Headers as _, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use sqlx::Row as _;
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::flow::sample;

const LIMIT: Duration = Duration::from_mins(1);
const TOPIC: Topic = Topic::BatchFileAdded;
const GROUP: &str = "group-under-test";

const SCHEMA: &[Migration] = &[Migration {
    version: 100,
    name: "seen",
    sql: "CREATE TABLE seen (position {serial}, part BIGINT NOT NULL, name TEXT NOT NULL, member TEXT NOT NULL);",
}];

/// What all members of a test do with an event; its file's name says which event it is.
struct Plan {
    /// Tries per event, over all members.
    tries: Mutex<HashMap<String, u32>>,
    /// Events that fail for as long as they are in here.
    failing: Mutex<Vec<String>>,
    /// Events that hang, once each, until their future is dropped.
    hanging: Mutex<Vec<String>>,
    dropped: AtomicU32,
    panicking: AtomicBool,
    /// One permit is one event that may be applied.
    permits: Semaphore,
}

impl Plan {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            tries: Mutex::default(),
            failing: Mutex::default(),
            hanging: Mutex::default(),
            dropped: AtomicU32::new(0),
            panicking: AtomicBool::new(false),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn tries(&self, name: &str) -> u32 {
        self.tries.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

/// A future that tells when it is dropped.
struct Hang<'a>(&'a AtomicU32);

impl Drop for Hang<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Apply {
    plan: Arc<Plan>,
    member: &'static str,
}

#[async_trait]
impl EventHandler for Apply {
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        let name = event
            .data::<huleedu_contracts::events::file::BatchFileAddedV1>()?
            .filename;
        *self
            .plan
            .tries
            .lock()
            .unwrap()
            .entry(name.clone())
            .or_default() += 1;
        self.plan.permits.acquire().await.unwrap().forget();
        let hangs = {
            let mut hanging = self.plan.hanging.lock().unwrap();
            let place = hanging.iter().position(|n| *n == name);
            place.map(|place| hanging.remove(place)).is_some()
        };
        if hangs {
            let _told = Hang(&self.plan.dropped);
            std::future::pending::<()>().await;
        }
        if self.plan.failing.lock().unwrap().contains(&name) {
            return Err(HandlerError::retry("not yet"));
        }
        assert!(
            !(name == "boom.txt" && self.plan.panicking.load(Ordering::SeqCst)),
            "the handler has a bug"
        );
        let Some(mut tx) = unit.begin().await? else {
            return Ok(());
        };
        sqlx::query("INSERT INTO seen (part, name, member) VALUES ($1, $2, $3)")
            .bind(i64::from(event.partition))
            .bind(name.as_str())
            .bind(self.member)
            .execute(tx.conn())
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// What the members talk to.
enum Cluster {
    /// librdkafka's.
    Mock(EmbeddedBroker),
    /// Ours, with its log on disk.
    Durable(DevBroker),
}

impl Cluster {
    fn wanted() -> Self {
        match std::env::var("TEST_BROKER").as_deref() {
            Ok("durable") => Self::durable(),
            Ok(other) => panic!("TEST_BROKER is `{other}`; allowed: durable"),
            Err(_) => Self::Mock(embedded_broker().unwrap()),
        }
    }

    fn durable() -> Self {
        let topics = Topic::ALL.iter().map(|topic| (topic.as_str(), 3));
        let config = DevBrokerConfig::temporary().with_topics(topics);
        Self::Durable(DevBroker::start(config).unwrap())
    }

    fn bootstrap_servers(&self) -> String {
        match self {
            Self::Mock(broker) => broker.bootstrap_servers().to_owned(),
            Self::Durable(broker) => broker.bootstrap_servers(),
        }
    }
}

/// A broker, a store, and members that come and go.
struct Group {
    broker: Cluster,
    store: Store,
    plan: Arc<Plan>,
    metrics: Metrics,
    give_up_after: Duration,
    _folder: tempfile::TempDir,
}

struct Joined {
    stop: CancellationToken,
    task: JoinHandle<Result<(), ConsumerError>>,
}

impl Joined {
    async fn leave(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Group {
    async fn new() -> Self {
        Self::on(Cluster::wanted()).await
    }

    async fn on(broker: Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = ServiceId::EssayLifecycle;
        let env = service_env(service, "", folder.path());
        let options = StoreOptions {
            url: env.get("DATABASE_URL").unwrap().to_owned(),
            max_connections: 4,
            outbox_limit: 1000,
            observer: Arc::new(NoObserver),
        };
        Self {
            broker,
            store: Store::open(service, options, SCHEMA).await.unwrap(),
            plan: Plan::new(),
            metrics: Metrics::new(service, fusebox::Registry::new(service.name())),
            give_up_after: LIMIT,
            _folder: folder,
        }
    }

    fn join(&self, member: &'static str) -> Joined {
        self.join_for(member, &[TOPIC])
    }

    fn join_for(&self, member: &'static str, topics: &[Topic]) -> Joined {
        let stop = CancellationToken::new();
        let mut options = ConsumerOptions::new(self.broker.bootstrap_servers(), GROUP, topics);
        options.retry_min = Duration::from_millis(20);
        options.retry_max = Duration::from_millis(50);
        options.give_up_after = self.give_up_after;
        options.lag_every = Duration::from_millis(50);
        let plan = Arc::clone(&self.plan);
        let run = consumer::run(
            options,
            self.store.clone(),
            Arc::new(Apply { plan, member }),
            self.metrics.consumer().clone(),
            stop.clone(),
        );
        Joined {
            stop,
            task: tokio::spawn(run),
        }
    }

    fn producer(&self) -> FutureProducer {
        ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap_servers())
            .set("linger.ms", "0")
            .create()
            .unwrap()
    }

    /// Sends `{name}.txt` to a partition.
    async fn send(&self, partition: i32, names: impl IntoIterator<Item = String>) {
        let producer = self.producer();
        for name in names {
            let mut data = sample("b", 0);
            data.filename = format!("{name}.txt");
            let envelope = envelope(data);
            let payload = envelope.to_json().unwrap();
            let record = FutureRecord::to(TOPIC.as_str())
                .partition(partition)
                .key("b")
                .payload(&payload);
            producer.send(record, LIMIT).await.unwrap();
        }
    }

    /// Partition, name and member of everything that was applied, in order.
    async fn seen(&self) -> Vec<(i64, String, String)> {
        sqlx::query("SELECT part, name, member FROM seen ORDER BY position")
            .fetch_all(self.store.pool())
            .await
            .unwrap()
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }

    async fn until_seen(&self, count: usize) -> Vec<(i64, String, String)> {
        eventually("events applied", LIMIT, async || {
            let seen = self.seen().await;
            (seen.len() >= count).then_some(seen)
        })
        .await
        .unwrap()
    }

    /// Where the group would go on.
    fn committed(&self) -> BTreeMap<i32, Offset> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap_servers())
            .set("group.id", GROUP)
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(TOPIC.as_str(), 0, 2);
        let list = consumer.committed_offsets(list, LIMIT).unwrap();
        let elements = list.elements();
        elements
            .iter()
            .map(|e| (e.partition(), e.offset()))
            .collect()
    }

    /// The value of a metric that has no other label than the service; 0 before the service shows it.
    fn metric_of_service(&self, name: &str) -> f64 {
        let (_, text) = self.metrics.encode(None);
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit_once(' '));
        value.map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// Values of a metric by its labels behind `service_name`.
    fn metric(&self, name: &str) -> BTreeMap<String, f64> {
        let (_, text) = self.metrics.encode(None);
        text.lines()
            .filter_map(|line| {
                let rest = line.strip_prefix(name)?.strip_prefix('{')?;
                let (labels, value) = rest.rsplit_once("} ")?;
                let (_, labels) = labels.split_once(',')?;
                Some((labels.to_owned(), value.parse().unwrap()))
            })
            .collect()
    }
}

fn envelope<T: huleedu_contracts::events::Event>(data: T) -> EventEnvelope<T> {
    let epoch = jiff::Timestamp::UNIX_EPOCH;
    EventEnvelope::new("test", CorrelationId::random(), epoch, data)
}

fn numbered(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|n| format!("{n:04}"))
}

/// Each partition in the order in which it was sent.
fn assert_in_order(seen: &[(i64, String, String)], per_partition: usize) {
    for partition in 0..3 {
        let names: Vec<_> = seen
            .iter()
            .filter(|(p, ..)| *p == partition)
            .map(|(_, name, _)| name.clone())
            .collect();
        let expected: Vec<_> = numbered(0, per_partition)
            .map(|n| format!("{partition}-{n}.txt"))
            .collect();
        assert_eq!(names, expected, "partition {partition}");
    }
}

/// C2, C3: work under way elsewhere was started a second time or skipped; a partition that moved took
/// its queue along, so that two members worked at the same events.
#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_and_no_event_is_tried_twice_skipped_or_out_of_order() {
    members_come_and_go(Group::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_our_own_broker() {
    members_come_and_go(Group::on(Cluster::durable()).await).await;
}

async fn members_come_and_go(group: Group) {
    let each = 150;
    for partition in 0..3 {
        let names = numbered(0, each).map(|n| format!("{partition}-{n}"));
        group.send(partition, names).await;
    }
    group.plan.permits.forget_permits(usize::MAX);
    group.plan.permits.add_permits(60);
    let first = group.join("first");
    group.until_seen(50).await;
    // The second comes while every partition has a long queue at the first.
    let second = group.join("second");
    group.plan.permits.add_permits(150);
    let of = |seen: &[(i64, String, String)], who: &str| {
        seen.iter().filter(|(.., member)| member == who).count()
    };
    eventually("both work", LIMIT, async || {
        let seen = group.seen().await;
        group.plan.permits.add_permits(1);
        (of(&seen, "second") > 0).then_some(())
    })
    .await
    .unwrap();
    // The first leaves in the middle of its work; what it has begun may end, or it would be dropped after
    // the time of grace and tried again, as it should.
    let pump = async {
        loop {
            group.plan.permits.add_permits(1);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = first.leave() => {}
        () = pump => {}
    }
    group.plan.permits.add_permits(10_000);
    let seen = group.until_seen(3 * each).await;
    // Whoever leaves while the group is still moving has its last commit refused, and those events come
    // again: so wait until the one that is left has said how far it is.
    let end = Offset::Offset(i64::try_from(each).unwrap());
    let ends = BTreeMap::from([(0, end), (1, end), (2, end)]);
    eventually("all is committed", LIMIT, async || {
        (group.committed() == ends).then_some(())
    })
    .await
    .unwrap();
    second.leave().await;
    assert_in_order(&seen, each);
    assert!(of(&seen, "first") > 0 && of(&seen, "second") > 0);
    let tries = group.plan.tries.lock().unwrap();
    let twice: Vec<_> = tries.iter().filter(|(_, tries)| **tries > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(group.committed(), ends);
}

/// A cluster that has just come back may say that it has no broker; a client may then have nobody left to ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_lost_its_cluster_is_replaced_and_skips_nothing() {
    let group = Group::on(Cluster::durable()).await;
    let Cluster::Durable(broker) = &group.broker else {
        unreachable!("asked for");
    };
    // The more topics an answer has, the longer the client is at it, and the more likely it gets lost.
    let member = group.join_for("a", Topic::ALL);
    let mut sent = 0;
    while group.metric_of_service("kafka_consumer_replaced_total") == 0.0 {
        assert!(sent < 40, "it never got lost");
        group.send(0, numbered(sent, sent + 1)).await;
        sent += 1;
        group.until_seen(sent).await;
        let none = Fault::new(ApiKey::Metadata, Effect::NoBrokers).when(When::Next(1));
        let none = broker.faults().set(none);
        // Who is told that another broker leads asks who does.
        let code = ResponseError::NotLeaderOrFollower;
        let moved = Fault::new(ApiKey::Fetch, Effect::Reject(code)).when(When::Next(1));
        broker.faults().set(moved);
        eventually("it has heard of no brokers", LIMIT, async || {
            (none.fired() == 1).then_some(())
        })
        .await
        .unwrap();
    }
    println!("lost by answer {}", sent - 1);
    group.send(0, numbered(sent, sent + 1)).await;
    let seen = group.until_seen(sent + 1).await;
    let names: Vec<_> = seen.iter().map(|(_, name, _)| name.clone()).collect();
    let expected: Vec<_> = numbered(0, sent + 1).map(|n| format!("{n}.txt")).collect();
    assert_eq!(names, expected);
    member.leave().await;
}

/// A handler that hangs has a few seconds when its partition goes, and then is gone before the other
/// member begins: never two at one event.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_hangs_is_dropped_before_another_member_gets_it() {
    let group = Group::new().await;
    group
        .plan
        .hanging
        .lock()
        .unwrap()
        .extend(["0-0000.txt", "1-0000.txt", "2-0000.txt"].map(str::to_owned));
    for partition in 0..3 {
        group
            .send(
                partition,
                numbered(0, 2).map(|n| format!("{partition}-{n}")),
            )
            .await;
    }
    let first = group.join("first");
    eventually("three events hang", LIMIT, async || {
        group.plan.hanging.lock().unwrap().is_empty().then_some(())
    })
    .await
    .unwrap();
    assert_eq!(group.plan.dropped.load(Ordering::SeqCst), 0);
    let second = group.join("second");
    let seen = group.until_seen(6).await;
    assert_eq!(group.plan.dropped.load(Ordering::SeqCst), 3);
    assert_in_order(&seen, 2);
    for partition in 0..3 {
        assert_eq!(group.plan.tries(&format!("{partition}-0000.txt")), 2);
        assert_eq!(group.plan.tries(&format!("{partition}-0001.txt")), 1);
    }
    first.leave().await;
    second.leave().await;
}

/// C1, C6, C7: a failing event ran twice at once, its offset was committed with the next one, and it
/// was lost; C8: events from before the first join were never seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_holds_up_its_partition_alone_and_is_never_committed_past() {
    a_failing_event_holds_up_its_partition(Group::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_holds_up_its_partition_alone_on_our_own_broker() {
    a_failing_event_holds_up_its_partition(Group::on(Cluster::durable()).await).await;
}

async fn a_failing_event_holds_up_its_partition(group: Group) {
    group
        .plan
        .failing
        .lock()
        .unwrap()
        .push("0-0002.txt".to_owned());
    for partition in 0..3 {
        let names = numbered(0, 5).map(|n| format!("{partition}-{n}"));
        group.send(partition, names).await;
    }
    let member = group.join("first");
    let seen = group.until_seen(12).await;
    eventually("some tries", LIMIT, async || {
        (group.plan.tries("0-0002.txt") > 3).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(seen.iter().filter(|(p, ..)| *p == 0).count(), 2, "{seen:?}");
    member.leave().await;
    assert_eq!(
        group.committed(),
        BTreeMap::from([
            (0, Offset::Offset(2)),
            (1, Offset::Offset(5)),
            (2, Offset::Offset(5))
        ])
    );
    let before = group.plan.tries("0-0002.txt");
    group.plan.failing.lock().unwrap().clear();
    let member = group.join("second");
    assert_in_order(&group.until_seen(15).await, 5);
    assert_eq!(group.plan.tries("0-0002.txt"), before + 1);
    member.leave().await;
}

/// The same story for a panic, which used to end the worker: the next event of the partition was
/// applied and committed past the one that panicked.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_at_which_the_handler_panics_is_kept_and_the_rest_goes_on() {
    let group = Group::new().await;
    group.plan.panicking.store(true, Ordering::SeqCst);
    group.send(0, ["a", "boom", "z"].map(str::to_owned)).await;
    let member = group.join("first");
    let seen = group.until_seen(2).await;
    let names: Vec<_> = seen.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.txt", "z.txt"]);
    assert_eq!(group.plan.tries("boom.txt"), 3);
    let row = sqlx::query("SELECT code, reason, attempts, log_offset FROM dead_events")
        .fetch_one(group.store.pool())
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>(0), "PANICKED");
    let reason: String = row.get(1);
    assert!(reason.contains("the handler has a bug"), "{reason}");
    assert_eq!((row.get::<i64, _>(2), row.get::<i64, _>(3)), (3, 1));
    member.leave().await;
}

/// C12: the dead-letter topic got JSON inside JSON under a wrong key, or nothing. Here it gets the
/// bytes, the key and the headers as they came, and the cause; in one transaction with the row.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_never_works_is_given_up_in_time_with_a_copy_for_the_dead_letter_topic() {
    let mut group = Group::new().await;
    group.give_up_after = Duration::from_millis(200);
    group
        .plan
        .failing
        .lock()
        .unwrap()
        .push("bad.txt".to_owned());
    let mut data = sample("b", 0);
    data.filename = "bad.txt".to_owned();
    let bad = envelope(data);
    let payload = bad.to_json().unwrap();
    let odd = Header {
        key: "odd",
        value: Some(&[0xff_u8]),
    };
    let record = FutureRecord::to(TOPIC.as_str())
        .partition(0)
        .key("the-key")
        .headers(OwnedHeaders::new().insert(odd))
        .payload(&payload);
    group.producer().send(record, LIMIT).await.unwrap();
    group.send(0, ["good".to_owned()]).await;
    let member = group.join("first");
    group.until_seen(1).await;
    let dead = sqlx::query(
        "SELECT event_id, correlation_id, code, event_key, headers, sent_at FROM dead_events",
    )
    .fetch_one(group.store.pool())
    .await
    .unwrap();
    assert_eq!(dead.get::<String, _>(0), bad.event_id.to_string());
    assert_eq!(dead.get::<String, _>(1), bad.correlation_id.to_string());
    assert_eq!(dead.get::<String, _>(2), "RETRIES_EXHAUSTED");
    assert_eq!(dead.get::<Vec<u8>, _>(3), b"the-key");
    assert_eq!(dead.get::<String, _>(4), r#"[["odd",[255]]]"#);
    assert!(dead.get::<i64, _>(5) > 0);
    let copy = sqlx::query("SELECT topic, event_key, payload, headers FROM outbox")
        .fetch_one(group.store.pool())
        .await
        .unwrap();
    assert_eq!(copy.get::<String, _>(0), TOPIC.dead_letter());
    assert_eq!(copy.get::<String, _>(1), "the-key");
    assert_eq!(copy.get::<Vec<u8>, _>(2), payload);
    let all: HashMap<String, String> =
        serde_json::from_str::<Vec<(String, String)>>(&copy.get::<String, _>(3))
            .unwrap()
            .into_iter()
            .collect();
    assert_eq!(all[headers::EVENT_ID], bad.event_id.to_string());
    assert_eq!(all[headers::DLQ_ERROR_CODE], "RETRIES_EXHAUSTED");
    assert_eq!(all[headers::DLQ_TOPIC], TOPIC.as_str());
    assert_eq!(all[headers::DLQ_OFFSET], "0");
    assert_eq!(all["odd.hex"], "ff");
    eventually("the gauge", LIMIT, async || {
        let dead = group.metric("kafka_dead_events");
        (dead[&format!("topic=\"{TOPIC}\"")] >= 1.0).then_some(())
    })
    .await
    .unwrap();
    member.leave().await;
}

/// C4: an event's identity was a header's when there was one, so the same event by two ways was two.
#[tokio::test(flavor = "multi_thread")]
async fn one_event_by_two_ways_is_applied_once() {
    let group = Group::new().await;
    let envelope = envelope(sample("b", 1));
    let payload = envelope.to_json().unwrap();
    let producer = group.producer();
    for id in [None, Some("7f3f6a3e-3c3b-4d5e-9a53-0a2b3c4d5e6f")] {
        let mut all = OwnedHeaders::new();
        if let Some(id) = id {
            all = all.insert(Header {
                key: headers::EVENT_ID,
                value: Some(id),
            });
        }
        let record = FutureRecord::to(TOPIC.as_str())
            .partition(1)
            .key("b")
            .headers(all)
            .payload(&payload);
        producer.send(record, LIMIT).await.unwrap();
    }
    group.send(1, ["last".to_owned()]).await;
    let member = group.join("first");
    let seen = group.until_seen(2).await;
    let names: Vec<_> = seen.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["1.txt", "last.txt"]);
    member.leave().await;
}

/// Memory stays bounded: the partition of a slow worker is paused, and all of it arrives in order.
/// C9, C10: nothing is "recovered" by seeking when it is merely slow or quiet.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_worker_pauses_its_partition_and_the_lag_is_shown_until_it_is_gone() {
    let group = Group::new().await;
    let total = 700;
    group
        .send(0, numbered(0, total).map(|n| format!("0-{n}")))
        .await;
    group.plan.permits.forget_permits(usize::MAX);
    let member = group.join("first");
    let topic = format!("topic=\"{TOPIC}\"");
    let lag = |partition: i32| format!("{topic},partition=\"{partition}\"");
    let paused = async |wanted: f64| {
        eventually("paused partitions", LIMIT, async || {
            let paused = group.metric("kafka_consumer_paused_partitions");
            (paused.get(&topic) == Some(&wanted)).then_some(())
        })
        .await
        .unwrap();
    };
    paused(1.0).await;
    group.send(0, ["0-0700".to_owned()]).await;
    // What came while the partition was paused counts too.
    let expected = BTreeMap::from([(lag(0), 701.0), (lag(1), 0.0), (lag(2), 0.0)]);
    let shown = eventually("the lag", LIMIT, async || {
        (group.metric("kafka_consumer_lag") == expected).then_some(())
    })
    .await;
    assert!(shown.is_ok(), "{:?}", group.metric("kafka_consumer_lag"));
    group.plan.permits.add_permits(10_000);
    let seen = group.until_seen(total + 1).await;
    let names: Vec<_> = seen.into_iter().map(|(_, name, _)| name).collect();
    let expected: Vec<_> = numbered(0, total + 1)
        .map(|n| format!("0-{n}.txt"))
        .collect();
    assert_eq!(names, expected);
    paused(0.0).await;
    eventually("no lag", LIMIT, async || {
        let lags = group.metric("kafka_consumer_lag");
        lags.values().all(|lag| *lag == 0.0).then_some(())
    })
    .await
    .unwrap();
    member.leave().await;
    // Whoever has the partitions now shows their lag.
    assert!(group.metric("kafka_consumer_lag").is_empty());
}

/// The copy really arrives in the dead-letter topic, through the service's own drainer.
#[tokio::test(flavor = "multi_thread")]
async fn the_dead_letter_topic_gets_the_bytes_as_they_came() {
    let broker = Cluster::wanted();
    let bootstrap = broker.bootstrap_servers();
    let folder = tempfile::tempdir().unwrap();
    let service = crate::flow::start(&bootstrap, &folder, &Arc::default()).await;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .create()
        .unwrap();
    let record = FutureRecord::to(TOPIC.as_str())
        .key("k")
        .payload(b"\xff not json".as_slice());
    producer.send(record, LIMIT).await.unwrap();
    let reader: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .set("topic.metadata.refresh.interval.ms", "200")
        .set("allow.auto.create.topics", "true")
        .create()
        .unwrap();
    reader.subscribe(&[&TOPIC.dead_letter()]).unwrap();
    let copy = async {
        loop {
            // "Unknown topic" until the copy makes it.
            if let Ok(message) = reader.recv().await {
                break message.detach();
            }
        }
    };
    let copy = tokio::time::timeout(LIMIT, copy).await.unwrap();
    assert_eq!(copy.payload(), Some(b"\xff not json".as_slice()));
    assert_eq!(copy.key(), Some(b"k".as_slice()));
    let codes: Vec<_> = copy
        .headers()
        .unwrap()
        .iter()
        .filter(|h| h.key == headers::DLQ_ERROR_CODE)
        .map(|h| h.value)
        .collect();
    assert_eq!(codes, [Some(b"UNREADABLE".as_slice())]);
    service.stop().await.unwrap();
}
