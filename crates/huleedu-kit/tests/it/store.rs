//! Transactions, inbox and outbox on a real database.

use std::sync::{Arc, Mutex};

use fusebox_kafka::{Backlog as _, Position};
use huleedu_contracts::{events::Event as _, ids::EventId, topics::Topic};
use huleedu_kit::{
    CallContext, ServiceId,
    store::{Migration, OutboxBacklog, PublishObserver, Store, StoreError, StoreOptions},
    testing::service_env,
};

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
