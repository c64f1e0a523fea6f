//! Transactions, inbox and outbox on a real database.

use std::sync::{Arc, Mutex};

use fusebox_kafka::{Backlog as _, Position};
use huleedu_contracts::{events::Event as _, ids::EventId, topics::Topic};
use huleedu_kit::{
    CallContext, ServiceId,
    store::{Dialect, Migration, OutboxBacklog, PublishObserver, Store, StoreError, StoreOptions},
    testing::service_env,
};

use sqlx::Row as _;

use crate::flow::{Sample, sample};

#[derive(Debug, Default)]
struct Told(Mutex<Vec<EventId>>);

impl PublishObserver for Told {
    fn safe(&self, event_id: EventId, _: &str) {
        self.0.lock().unwrap().push(event_id);
    }
    fn delivered(&self, _: EventId, _: &str) {}
}

const OWN: &[Migration] = &[Migration {
    version: 100,
    name: "things",
    sql: "CREATE TABLE things (name TEXT NOT NULL PRIMARY KEY);",
}];

async fn open(
    folder: &tempfile::TempDir,
    limit: u64,
    told: &Arc<Told>,
) -> Result<Store, StoreError> {
    let service = ServiceId::EssayLifecycle;
    let env = service_env(service, "", folder.path());
    let options = StoreOptions {
        url: env.get("DATABASE_URL").unwrap().to_owned(),
        max_connections: 4,
        outbox_limit: limit,
        observer: Arc::<Told>::clone(told),
    };
    Store::open(service, options, OWN).await
}

#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_neither_state_nor_event() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let store = open(&folder, 10, &told).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    sqlx::query("INSERT INTO things VALUES ('a')")
        .execute(tx.conn())
        .await
        .unwrap();
    tx.publish(sample("b", 1)).await.unwrap();
    drop(tx);
    let backlog = OutboxBacklog::new(store.clone());
    assert!(backlog.peek(Position::START, 10).await.unwrap().is_empty());
    let rows = sqlx::query("SELECT name FROM things")
        .fetch_all(store.pool())
        .await
        .unwrap();
    assert!(rows.is_empty());
    assert!(told.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_event_keeps_its_bytes_headers_and_order_over_a_restart() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let store = open(&folder, 100, &told).await.unwrap();
    let context = CallContext::fresh();
    let mut ids = Vec::new();
    for n in 0..20 {
        let mut tx = store.begin().await.unwrap();
        ids.push(
            context
                .scope(tx.publish(sample("batch-1", n)))
                .await
                .unwrap(),
        );
        tx.commit().await.unwrap();
    }
    assert_eq!(*told.0.lock().unwrap(), ids);
    let before = OutboxBacklog::new(store.clone())
        .peek(Position::START, 100)
        .await
        .unwrap();
    store.close().await;
    let store = open(&folder, 100, &told).await.unwrap();
    let after = OutboxBacklog::new(store)
        .peek(Position::START, 100)
        .await
        .unwrap();
    assert_eq!(before, after);
    assert_eq!(
        after
            .iter()
            .map(|p| EventId::from(p.record.event_id))
            .collect::<Vec<_>>(),
        ids
    );
    let record = &after[0].record;
    assert_eq!(record.topic, Sample::TOPIC.as_str());
    assert_eq!(record.key.as_deref(), Some("batch-1"));
    let header = |name: &str| {
        record
            .headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(header("event_id"), Some(ids[0].to_string().as_str()));
    assert_eq!(header("event_type"), Some(Topic::BatchFileAdded.as_str()));
    assert_eq!(header("source_service"), Some("essay_lifecycle"));
    assert_eq!(
        header("correlation_id"),
        Some(context.correlation_id.to_string().as_str())
    );
    assert_eq!(
        header("traceparent"),
        Some(context.trace.to_string().as_str())
    );
}

#[tokio::test]
async fn a_settled_event_leaves_the_queue_and_its_place_is_free() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let store = open(&folder, 2, &told).await.unwrap();
    let publish = async |n| -> Result<(), StoreError> {
        let mut tx = store.begin().await?;
        tx.publish(sample("b", n)).await?;
        tx.commit().await
    };
    publish(1).await.unwrap();
    publish(2).await.unwrap();
    // At the bound it fits, beyond it the caller is told; nothing is dropped silently.
    let refused = publish(3).await.unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::OutboxFull {
                waiting: 2,
                limit: 2
            }
        ),
        "{refused:?}"
    );
    let backlog = OutboxBacklog::new(store.clone());
    let parked = backlog.peek(Position::START, 10).await.unwrap();
    assert_eq!(
        backlog.peek(parked[0].position, 10).await.unwrap(),
        parked[1..]
    );
    backlog.settle(&[parked[0].position]).await.unwrap();
    publish(3).await.unwrap();
    assert_eq!(backlog.stats().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn an_event_is_noted_once() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let store = open(&folder, 2, &told).await.unwrap();
    let id = EventId::random();
    for expected in [true, false] {
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.note_applied(id).await.unwrap(), expected);
        tx.commit().await.unwrap();
    }
    assert!(store.was_applied(id).await.unwrap());
    assert!(!store.was_applied(EventId::random()).await.unwrap());
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let store = open(&folder, 2, &told).await.unwrap();
    sqlx::query("INSERT INTO schema_migrations VALUES (999, 'from the future')")
        .execute(store.pool())
        .await
        .unwrap();
    store.close().await;
    let refused = open(&folder, 2, &told).await.unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::TooNew {
                found: 999,
                known: 100
            }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn writers_wait_for_each_other_instead_of_failing() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let store = open(&folder, 1000, &told).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|w| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let mut tx = store.begin().await?;
                    tx.publish(sample(&format!("w{w}"), n)).await?;
                    tx.commit().await?;
                }
                Ok::<(), StoreError>(())
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(OutboxBacklog::new(store).stats().await.unwrap().waiting, 80);
}

/// O6: of two processes of one service one sends; it says until when, and a crash frees the outbox
/// after that. Nothing is sent by both at the same time.
#[tokio::test]
async fn of_two_processes_one_sends_and_the_other_takes_over() {
    use std::time::Duration;
    use tokio::time::Instant;
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let stores = [
        open(&folder, 100, &told).await.unwrap(),
        open(&folder, 100, &told).await.unwrap(),
    ];
    let publish = async |n| {
        let mut tx = stores[0].begin().await.unwrap();
        tx.publish(sample("b", n)).await.unwrap();
        tx.commit().await.unwrap();
    };
    publish(1).await;
    let (length, margin) = (Duration::from_millis(1500), Duration::from_millis(500));
    let [a, b] = [0, 1].map(|i| OutboxBacklog::shared_for(stores[i].clone(), length, margin));
    assert!(
        a.may_send_until().unwrap() <= Instant::now(),
        "nobody has asked yet"
    );
    let first = a.peek(Position::START, 10).await.unwrap();
    assert_eq!(
        (first.len(), first[0].attempts),
        (1, 1),
        "an earlier process may have sent it"
    );
    assert!(b.peek(Position::START, 10).await.unwrap().is_empty());
    assert!(b.may_send_until().unwrap() <= Instant::now());
    publish(2).await;
    let all = a.peek(Position::START, 10).await.unwrap();
    assert_eq!(all.iter().map(|p| p.attempts).collect::<Vec<_>>(), [1, 0]);
    // Everybody can see who it is, and for how long by the database's clock.
    let owner: String = sqlx::query("SELECT owner FROM outbox_lease")
        .fetch_one(stores[0].pool())
        .await
        .unwrap()
        .get(0);
    let process = format!("process {} on ", std::process::id());
    assert!(owner.starts_with(&process), "{owner}");
    let now = match stores[0].dialect() {
        Dialect::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
        Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    };
    let left: i64 = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT until - {now} FROM outbox_lease"
    )))
    .fetch_one(stores[0].pool())
    .await
    .unwrap()
    .get(0);
    let length_ms = i64::try_from(length.as_millis()).unwrap();
    assert!((1..=length_ms).contains(&left), "{left}");
    let sender = stores[1].outbox_sender().await.unwrap();
    let expected = (stores[1].dialect() == Dialect::Postgres).then_some(owner);
    assert_eq!(sender, expected);
    assert!(a.is_mine().await.unwrap() && !b.is_mine().await.unwrap());
    // Prolonged in time by counting alone, it keeps the other out beyond its first length.
    let until = Instant::now() + length * 2;
    while Instant::now() < until {
        a.stats().await.unwrap();
        assert!(a.may_send_until().unwrap() > Instant::now());
        assert!(b.peek(Position::START, 10).await.unwrap().is_empty());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It dies: its own right ends before the other one's begins.
    let ended = a.may_send_until().unwrap();
    let taken = loop {
        let page = b.peek(Position::START, 10).await.unwrap();
        if !page.is_empty() {
            break page;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(ended < Instant::now());
    assert_eq!(taken.iter().map(|p| p.attempts).collect::<Vec<_>>(), [1, 1]);
    assert!(a.peek(Position::START, 10).await.unwrap().is_empty());
    // Stopped in order, it lets the other begin at once.
    b.give_up().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(a.peek(Position::START, 10).await.unwrap().len(), 2);
}

/// Two processes with drainers, one of them killed in an outage: no event is sent twice at a time, and
/// all arrive in order.
#[tokio::test(flavor = "multi_thread")]
async fn two_drainers_of_one_outbox_deliver_everything_in_order() {
    use fusebox::{BreakerConfig, CircuitBreaker};
    use fusebox_kafka::{Drainer, DrainerConfig, KafkaProducerConfig, RdKafkaBroker};
    use huleedu_kit::testing::{TopicReader, embedded_broker};
    use std::time::Duration;
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let kafka = embedded_broker().unwrap();
    let start = async || {
        let store = open(&folder, 1_000, &told).await.unwrap();
        let (length, margin) = (Duration::from_millis(1500), Duration::from_millis(500));
        let backlog = OutboxBacklog::shared_for(store.clone(), length, margin);
        let producer = KafkaProducerConfig::new(kafka.bootstrap_servers(), "test");
        let breaker = CircuitBreaker::builder("kafka")
            .config(BreakerConfig::default())
            .build()
            .unwrap();
        let mut config = DrainerConfig::default();
        config.poll_every = Duration::from_millis(100);
        let broker = Arc::new(RdKafkaBroker::new(producer).unwrap());
        let drainer = Drainer::new(Arc::new(backlog), broker, breaker, config);
        let handle = drainer.handle();
        let task = tokio::spawn(drainer.run(tokio_util::sync::CancellationToken::new()));
        (store, handle, task)
    };
    let (store, first, first_task) = start().await;
    let (_, second, second_task) = start().await;
    let publish = async |numbers: std::ops::Range<usize>| {
        for n in numbers {
            let mut tx = store.begin().await.unwrap();
            tx.publish(sample("b", n)).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    publish(0..20).await;
    let reader = TopicReader::new(kafka.bootstrap_servers(), &[Topic::BatchFileAdded]).unwrap();
    let limit = Duration::from_mins(1);
    for n in 0..20 {
        let (_, event) = reader.next(limit).await.unwrap();
        assert_eq!(event["data"]["filename"], format!("{n}.txt"));
    }
    let counts = [first.stats().delivered, second.stats().delivered];
    assert!(counts.contains(&0), "both sent: {counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), 20);
    // The one that sends is killed.
    let (dead, alive) = if counts[0] > 0 {
        (first_task, second)
    } else {
        (second_task, first)
    };
    dead.abort();
    publish(20..40).await;
    for n in 20..40 {
        let (_, event) = reader.next(limit).await.unwrap();
        assert_eq!(event["data"]["filename"], format!("{n}.txt"));
    }
    assert_eq!(alive.stats().delivered, 20);
}

#[tokio::test]
async fn the_outbox_is_bounded_in_bytes_too() {
    let (folder, told) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let store = open(&folder, 1_000, &told).await.unwrap();
    store.limit_outbox_bytes(1_000);
    let mut published = 0;
    let refused = loop {
        let mut tx = store.begin().await.unwrap();
        match tx.publish(sample("b", published)).await {
            Ok(_) => tx.commit().await.unwrap(),
            Err(refused) => break refused,
        }
        published += 1;
    };
    assert!((1..20).contains(&published), "{published}");
    assert!(
        matches!(refused, StoreError::OutboxBytesFull { bytes, limit: 1_000 } if bytes >= 1_000),
        "{refused:?}"
    );
}
