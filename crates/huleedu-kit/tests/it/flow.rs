//! One service, made for the test, on the embedded broker: events in, events out, crashes between.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use huleedu_contracts::{
    envelope::EventEnvelope,
    events::{
        EventName,
        file::{BatchFileAddedV1, BatchFileRemovedV1},
    },
    ids::{CorrelationId, EventId, FileUploadId},
    topics::Topic,
};
use huleedu_kit::{
    CallContext, RunningService, ServiceCore, ServiceId, ServiceInput,
    consumer::{EventHandler, HandlerError, Incoming, UnitOfWork},
    runtime,
    store::{Migration, Store},
    testing::{TopicReader, embedded_broker, eventually, publish, service_env},
};
use sqlx::Row as _;

pub(crate) type Sample = BatchFileAddedV1;

const LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn sample(batch: &str, n: usize) -> Sample {
    BatchFileAddedV1 {
        event: EventName::default(),
        batch_id: batch.parse().unwrap(),
        file_upload_id: FileUploadId::random(),
        filename: format!("{n}.txt"),
        user_id: "teacher".parse().unwrap(),
        correlation_id: CorrelationId::random(),
        timestamp: jiff::Timestamp::UNIX_EPOCH,
    }
}

pub(crate) const SCHEMA: &[Migration] = &[Migration {
    version: 100,
    name: "seen",
    sql: "CREATE TABLE seen (position {serial}, batch TEXT NOT NULL, name TEXT NOT NULL);",
}];

/// Writes what it sees and answers each event with another, in one transaction.
#[derive(Default)]
pub(crate) struct Echo {
    /// How many tries fail before one succeeds.
    failures: AtomicU32,
    tries: AtomicU32,
    contexts: Mutex<Vec<CallContext>>,
}

#[async_trait]
impl EventHandler for Echo {
    async fn handle(&self, event: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        let data: BatchFileAddedV1 = event.data()?;
        self.tries.fetch_add(1, Ordering::SeqCst);
        let left = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() {
            return Err(HandlerError::retry("not yet"));
        }
        let Some(mut tx) = unit.begin().await? else {
            return Ok(());
        };
        sqlx::query("INSERT INTO seen (batch, name) VALUES ($1, $2)")
            .bind(data.batch_id.as_ref())
            .bind(data.filename.as_str())
            .execute(tx.conn())
            .await?;
        tx.publish(BatchFileRemovedV1 {
            event: EventName::default(),
            batch_id: data.batch_id,
            file_upload_id: data.file_upload_id,
            filename: data.filename,
            user_id: data.user_id,
            correlation_id: data.correlation_id,
            timestamp: data.timestamp,
        })
        .await?;
        tx.commit().await?;
        self.contexts.lock().unwrap().push(CallContext::current());
        Ok(())
    }
}

pub(crate) async fn start(
    bootstrap: &str,
    folder: &tempfile::TempDir,
    echo: &Arc<Echo>,
) -> RunningService {
    let env = service_env(ServiceId::EssayLifecycle, bootstrap, folder.path())
        .with("EVENT_RETRY_MIN_SECONDS", "0.02")
        .with("EVENT_RETRY_MAX_SECONDS", "0.05");
    let input = ServiceInput::new(env);
    let (common, ()) =
        runtime::load_settings(ServiceId::EssayLifecycle, &input.env, |_| ()).unwrap();
    let mut core = ServiceCore::build(ServiceId::EssayLifecycle, common, input, SCHEMA)
        .await
        .unwrap();
    core.consume(&[Topic::BatchFileAdded], Arc::<Echo>::clone(echo) as _);
    core.launch(Router::new())
}

async fn seen(store: &Store) -> Vec<(String, String)> {
    sqlx::query("SELECT batch, name FROM seen ORDER BY position")
        .fetch_all(store.pool())
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

async fn send(bootstrap: &str, data: Sample) -> EventEnvelope<Sample> {
    let envelope = EventEnvelope::new(
        "test",
        CorrelationId::random(),
        jiff::Timestamp::UNIX_EPOCH,
        data,
    );
    publish(bootstrap, &envelope).await.unwrap();
    envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_in_and_its_answer_comes_out_once_even_when_delivered_twice() {
    let broker = embedded_broker().unwrap();
    let (folder, echo) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
    let bootstrap = broker.bootstrap_servers().to_owned();
    let service = start(&bootstrap, &folder, &echo).await;
    let sent = send(&bootstrap, sample("b", 1)).await;
    publish(&bootstrap, &sent).await.unwrap();
    let last = send(&bootstrap, sample("b", 2)).await;
    let reader = TopicReader::new(&bootstrap, &[Topic::BatchFileRemoved]).unwrap();
    let (_, first) = reader.next(LIMIT).await.unwrap();
    let (_, second) = reader.next(LIMIT).await.unwrap();
    // Same key, so the order is known: the duplicate would have come between these two.
    assert_eq!(first["data"]["filename"], "1.txt");
    assert_eq!(second["data"]["filename"], "2.txt");
    assert_eq!(first["correlation_id"], sent.correlation_id.to_string());
    assert_eq!(second["correlation_id"], last.correlation_id.to_string());
    assert_ne!(first["event_id"], sent.event_id.to_string());
    assert_eq!(seen(service.store()).await.len(), 2);
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_is_tried_again_and_nothing_of_its_partition_overtakes_it() {
    let broker = embedded_broker().unwrap();
    let echo = Arc::new(Echo {
        failures: AtomicU32::new(5),
        ..Echo::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    for n in 0..10 {
        send(&bootstrap, sample("b", n)).await;
    }
    let service = start(&bootstrap, &folder, &echo).await;
    let names = eventually("ten events", LIMIT, async || {
        let all = seen(service.store()).await;
        (all.len() == 10).then_some(all)
    })
    .await
    .unwrap();
    let expected: Vec<_> = (0..10)
        .map(|n| ("b".to_owned(), format!("{n}.txt")))
        .collect();
    assert_eq!(names, expected);
    assert_eq!(echo.tries.load(Ordering::SeqCst), 15);
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_applied_is_kept_with_its_reason_and_the_rest_goes_on() {
    use rdkafka::producer::{FutureProducer, FutureRecord};
    let broker = embedded_broker().unwrap();
    let (folder, echo) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
    let bootstrap = broker.bootstrap_servers().to_owned();
    let producer: FutureProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .create()
        .unwrap();
    let bad_data = br#"{"event_id":"7f3f6a3e-3c3b-4d5e-9a53-0a2b3c4d5e6f","event_type":"x","event_timestamp":"2026-01-01T00:00:00Z","source_service":"s","correlation_id":"7f3f6a3e-3c3b-4d5e-9a53-0a2b3c4d5e6f","data":{"batch_id":5}}"#;
    for payload in [b"not json".as_slice(), bad_data] {
        let record = FutureRecord::to(Topic::BatchFileAdded.as_str())
            .key("b")
            .payload(payload);
        producer.send(record, LIMIT).await.unwrap();
    }
    send(&bootstrap, sample("b", 1)).await;
    let service = start(&bootstrap, &folder, &echo).await;
    eventually("the good event", LIMIT, async || {
        (seen(service.store()).await.len() == 1).then_some(())
    })
    .await
    .unwrap();
    let dead = sqlx::query("SELECT payload, reason, event_id FROM dead_events ORDER BY log_offset")
        .fetch_all(service.store().pool())
        .await
        .unwrap();
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0].get::<Vec<u8>, _>(0), b"not json");
    assert_eq!(dead[0].get::<Option<String>, _>(2), None);
    assert!(
        dead[1].get::<String, _>(1).contains("the payload of event"),
        "{}",
        dead[1].get::<String, _>(1)
    );
    assert!(dead[1].get::<Option<String>, _>(2).is_some());
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_again_it_applies_every_event_exactly_once() {
    let broker = embedded_broker().unwrap();
    let (folder, echo) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
    let bootstrap = broker.bootstrap_servers().to_owned();
    let total = 60;
    for n in 0..total {
        send(&bootstrap, sample(&format!("b{}", n % 4), n)).await;
    }
    for kills in 1..=3 {
        let service = start(&bootstrap, &folder, &echo).await;
        eventually("some progress", LIMIT, async || {
            (seen(service.store()).await.len() >= kills * 10).then_some(())
        })
        .await
        .unwrap();
        service.kill().await;
    }
    let service = start(&bootstrap, &folder, &echo).await;
    let all = eventually("every event", LIMIT, async || {
        let all = seen(service.store()).await;
        (all.len() >= total).then_some(all)
    })
    .await
    .unwrap();
    assert_eq!(all.len(), total);
    for batch in 0..4 {
        let of: Vec<_> = all
            .iter()
            .filter(|(b, _)| *b == format!("b{batch}"))
            .collect();
        let expected: Vec<_> = (0..total)
            .filter(|n| n % 4 == batch)
            .map(|n| format!("{n}.txt"))
            .collect();
        assert_eq!(
            of.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>(),
            expected
        );
    }
    // Every answer reaches Kafka; one may come twice after a kill, but under one id.
    let reader = TopicReader::new(&bootstrap, &[Topic::BatchFileRemoved]).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < total {
        let (_, event) = reader.next(LIMIT).await.unwrap();
        ids.insert(
            event["event_id"]
                .as_str()
                .unwrap()
                .parse::<uuid::Uuid>()
                .map(EventId::from)
                .unwrap(),
        );
    }
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_on_disk_while_kafka_is_away_and_go_out_in_order_when_it_is_back() {
    let (folder, echo) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
    // Nobody listens here.
    let service = start("127.0.0.1:1", &folder, &echo).await;
    for n in 0..5 {
        let mut tx = service.store().begin().await.unwrap();
        tx.publish(sample("b", n)).await.unwrap();
        tx.commit().await.unwrap();
    }
    eventually("the circuit opens", LIMIT, async || {
        let open = service.breakers().snapshots().iter().any(|s| {
            *s.circuit_name == *"essay_lifecycle.kafka_producer" && s.state == fusebox::State::Open
        });
        open.then_some(())
    })
    .await
    .unwrap();
    service.kill().await;
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let service = start(&bootstrap, &folder, &echo).await;
    let reader = TopicReader::new(&bootstrap, &[Topic::BatchFileAdded]).unwrap();
    for n in 0..5 {
        let (_, event) = reader.next(LIMIT).await.unwrap();
        assert_eq!(event["data"]["filename"], format!("{n}.txt"));
    }
    service.stop().await.unwrap();
}

#[tokio::test]
async fn neither_stop_nor_kill_hangs_when_kafka_has_gone_for_good() {
    // Closing a consumer asks the broker and used to block the runtime's only thread for ever.
    for kill in [true, false] {
        let (folder, echo) = (tempfile::tempdir().unwrap(), Arc::new(Echo::default()));
        let broker = embedded_broker().unwrap();
        let bootstrap = broker.bootstrap_servers().to_owned();
        send(&bootstrap, sample("b", 1)).await;
        let service = start(&bootstrap, &folder, &echo).await;
        eventually("the event", LIMIT, async || {
            (seen(service.store()).await.len() == 1).then_some(())
        })
        .await
        .unwrap();
        drop(broker);
        let end = async {
            if kill {
                service.kill().await;
            } else {
                service.stop().await.unwrap();
            }
        };
        tokio::time::timeout(LIMIT, end).await.unwrap();
    }
}
