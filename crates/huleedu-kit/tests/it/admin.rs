//! The operator's desk: what it sees, what it changes, and what it leaves alone.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use fusebox_kafka::{Backlog as _, Position};
use huleedu_contracts::{headers, topics::Topic};
use huleedu_kit::{
    ServiceCore, ServiceId, ServiceInput,
    admin::{
        AdminError, DeadKind, DeadQuery, Desk, EventQuery, Home, QueueStats, SocketPath, StoreDesk,
    },
    consumer::{EventHandler, HandlerError, Incoming, UnitOfWork},
    runtime,
    store::{NoObserver, OutboxBacklog, Store, StoreError, StoreOptions},
    testing::{embedded_broker, eventually, http_client, publish, service_env},
};
use sqlx::Row as _;

use crate::flow::sample;

const LIMIT: Duration = Duration::from_mins(1);
const SERVICE: ServiceId = ServiceId::EssayLifecycle;

fn sqlite(folder: &tempfile::TempDir) -> StoreOptions {
    options(format!("sqlite://{}/store.db", folder.path().display()))
}

fn options(url: String) -> StoreOptions {
    StoreOptions {
        url,
        max_connections: 4,
        outbox_limit: 10,
        observer: Arc::new(NoObserver),
    }
}

/// On SQLite or PostgreSQL, as whoever runs the tests wants it.
async fn store(folder: &tempfile::TempDir) -> Store {
    let env = service_env(SERVICE, "", folder.path());
    let options = options(env.get("DATABASE_URL").unwrap().to_owned());
    Store::open(SERVICE, options, &[]).await.unwrap()
}

async fn publish_to(store: &Store, n: usize) {
    let mut tx = store.begin().await.unwrap();
    tx.publish(sample("b", n)).await.unwrap();
    tx.commit().await.unwrap();
}

/// As the drainer does when Kafka has refused an event twice.
async fn refuse(store: &Store, position: i64) {
    sqlx::query(
        "UPDATE outbox SET settled_at = 1, dead_reason = 'MSG_SIZE_TOO_LARGE: too large (attempts: 2)' \
         WHERE position = $1",
    )
    .bind(position)
    .execute(store.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn a_refused_event_goes_out_again_behind_all_that_waits_under_its_own_id() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    for n in 0..3 {
        publish_to(&store, n).await;
    }
    let backlog = OutboxBacklog::new(store.clone());
    let first = backlog.peek(Position::START, 1).await.unwrap().remove(0);
    refuse(&store, first.position.0).await;
    let desk = Desk::new(SERVICE, store.clone());
    let letters = desk.dead(&DeadQuery::default()).await.unwrap();
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}");
    };
    assert_eq!(letter.id.to_string(), format!("sent-{}", first.position));
    assert_eq!(
        (letter.code.as_str(), letter.attempts),
        ("MSG_SIZE_TOO_LARGE", 2)
    );
    let stats = desk.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.dead_sent), (2, 1));

    let requeued = desk.requeue(letter.id).await.unwrap();
    assert_eq!(requeued.event_id, first.record.event_id.to_string());
    let waiting = backlog.peek(Position::START, 10).await.unwrap();
    let last = waiting.last().unwrap();
    assert_eq!(waiting.len(), 3);
    assert_eq!(Some(last.position.0), requeued.position);
    let mut expected = first.record.clone();
    let from = format!("{SERVICE}/{}", letter.id);
    expected
        .headers
        .push((headers::REPLAYED_FROM.to_owned(), from));
    assert_eq!(last.record, expected);
    let again = desk.requeue(letter.id).await.unwrap_err();
    assert!(matches!(again, AdminError::NotFound(_)), "{again}");
    assert_eq!(desk.stats().await.unwrap().dead_sent, 0);
}

#[tokio::test]
async fn what_is_discarded_is_gone_and_the_rest_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    for n in 0..3 {
        publish_to(&store, n).await;
    }
    refuse(&store, 1).await;
    refuse(&store, 2).await;
    let desk = Desk::new(SERVICE, store.clone());
    desk.discard("sent-1".parse().unwrap()).await.unwrap();
    // One that waits is no dead letter, whatever it is called.
    for id in ["sent-1", "sent-3", "received-1"] {
        let error = desk.discard(id.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, AdminError::NotFound(_)), "{id}: {error}");
    }
    let letters = desk.dead(&DeadQuery::default()).await.unwrap();
    let ids: Vec<_> = letters.iter().map(|l| l.id.to_string()).collect();
    assert_eq!(ids, ["sent-2"]);
    assert_eq!(desk.events(&EventQuery::default()).await.unwrap().len(), 1);
    for (query, found) in [
        (
            DeadQuery {
                code: Some("MSG_SIZE_TOO_LARGE".to_owned()),
                ..DeadQuery::default()
            },
            1,
        ),
        (
            DeadQuery {
                code: Some("MSG".to_owned()),
                ..DeadQuery::default()
            },
            0,
        ),
        (
            DeadQuery {
                kind: Some(DeadKind::Received),
                ..DeadQuery::default()
            },
            0,
        ),
        (
            DeadQuery {
                topic: Some("other".to_owned()),
                ..DeadQuery::default()
            },
            0,
        ),
    ] {
        assert_eq!(desk.dead(&query).await.unwrap().len(), found, "{query:?}");
    }
}

#[tokio::test]
async fn a_store_is_looked_at_from_outside_without_a_change_and_only_in_its_own_version() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Store::attach(SERVICE, sqlite(&folder), true)
        .await
        .unwrap_err();
    assert!(matches!(missing, StoreError::Open(_)), "{missing}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let own = Store::open(SERVICE, sqlite(&folder), &[]).await.unwrap();
    publish_to(&own, 1).await;
    own.close().await;
    let file = folder.path().join("store.db");
    let before = fs::read(&file).unwrap();
    let look = Store::attach(SERVICE, sqlite(&folder), false)
        .await
        .unwrap();
    let desk = StoreDesk::new(SERVICE, look.clone());
    assert_eq!(desk.stats().await.unwrap().waiting, 1);
    let report = desk.verify(|_, _| ()).await.unwrap();
    assert_eq!((report.rows, report.findings), (1, Vec::new()));
    let id = "sent-1".parse().unwrap();
    assert!(matches!(desk.discard(id).await, Err(AdminError::Store(_))));
    look.close().await;
    assert!(fs::read(&file).unwrap() == before, "the file was changed");
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no other file was made"
    );

    let own = Store::open(SERVICE, sqlite(&folder), &[]).await.unwrap();
    sqlx::query("UPDATE outbox SET headers = 'no JSON'")
        .execute(own.pool())
        .await
        .unwrap();
    let findings = StoreDesk::new(SERVICE, own.clone())
        .verify(|_, _| ())
        .await
        .unwrap()
        .findings;
    assert!(
        matches!(findings.as_slice(), [one] if one.starts_with("event 1: ")),
        "{findings:?}"
    );
    sqlx::query("DELETE FROM schema_migrations WHERE version > 1 AND version < 100")
        .execute(own.pool())
        .await
        .unwrap();
    own.close().await;
    let old = Store::attach(SERVICE, sqlite(&folder), false)
        .await
        .unwrap_err();
    assert!(matches!(old, StoreError::TooOld { found: 1, .. }), "{old}");
}

/// Fails for good until it is repaired.
#[derive(Default)]
struct Repairable {
    repaired: AtomicBool,
    tries: AtomicU32,
}

#[async_trait]
impl EventHandler for Repairable {
    async fn handle(&self, _: &Incoming, unit: &UnitOfWork) -> Result<(), HandlerError> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        if !self.repaired.load(Ordering::SeqCst) {
            return Err(HandlerError::permanent("a rule is missing"));
        }
        let Some(tx) = unit.begin().await? else {
            return Ok(());
        };
        Ok(tx.commit().await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_socket_a_dead_letter_is_applied_when_its_cause_is_gone() {
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let env = service_env(SERVICE, &bootstrap, folder.path())
        // With PostgreSQL there is no file to be beside.
        .with(
            "ADMIN_SOCKET",
            folder.path().join("own.sock").display().to_string(),
        );
    let start = async || {
        let input = ServiceInput::new(env.clone());
        let (common, ()) = runtime::load_settings(SERVICE, &input.env, |_| ()).unwrap();
        ServiceCore::build(SERVICE, common, input, &[]).await
    };
    let handler = Arc::new(Repairable::default());
    let mut core = start().await.unwrap();
    core.consume(
        &[Topic::BatchFileAdded],
        Arc::<Repairable>::clone(&handler) as _,
    );
    let service = core.launch(Router::new());
    let database = Home::Database(SERVICE, env.get("DATABASE_URL").unwrap());
    let place = SocketPath::of(env.get("ADMIN_SOCKET"), database).unwrap();
    let owner = place.owner().unwrap().unwrap();
    let socket = owner.socket().unwrap().to_owned();
    assert_eq!(Some(socket.as_path()), place.socket());
    let owner = owner.to_string();
    assert_eq!(
        owner,
        format!("process {}: huleedu {SERVICE}", std::process::id())
    );
    // A second one on the same store is refused with the name of the first.
    let second = start().await.unwrap_err();
    assert!(format!("{second:?}").contains(&owner), "{second:?}");

    let envelope = huleedu_contracts::envelope::EventEnvelope::new(
        "test",
        huleedu_contracts::ids::CorrelationId::random(),
        jiff::Timestamp::UNIX_EPOCH,
        sample("b", 1),
    );
    publish(&bootstrap, &envelope).await.unwrap();
    // Makes the process's choice of TLS, which every client needs.
    drop(http_client());
    let http = reqwest::Client::builder()
        .unix_socket(socket)
        .build()
        .unwrap();
    let ask = async |path: &str| {
        let url = format!("http://admin/admin/v1/{path}");
        http.get(url).send().await.unwrap()
    };
    let stats = async || ask("stats").await.json::<QueueStats>().await.unwrap();
    eventually("a dead letter", LIMIT, async || {
        (stats().await.dead_received.values().sum::<u64>() == 1).then_some(())
    })
    .await
    .unwrap();
    let now = stats().await;
    assert_eq!(
        (now.process, now.limit),
        (Some(std::process::id()), Some(1000))
    );
    assert_eq!(now.circuit.as_deref(), Some("closed"));
    assert_eq!(ask("dead/received-2").await.status(), 404);
    assert_eq!(ask("dead/nonsense").await.status(), 400);
    let letter: serde_json::Value = ask("dead/received-1").await.json().await.unwrap();
    assert_eq!(letter["reason"], "a rule is missing");
    assert_eq!(letter["key"]["text"], "b");

    handler.repaired.store(true, Ordering::SeqCst);
    let url = "http://admin/admin/v1/dead/received-1/requeue";
    let answer = http.post(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    eventually("the event is applied", LIMIT, async || {
        let done = service
            .store()
            .was_applied(envelope.event_id)
            .await
            .unwrap();
        done.then_some(())
    })
    .await
    .unwrap();
    assert_eq!(handler.tries.load(Ordering::SeqCst), 2);
    assert_eq!(stats().await.dead_received.values().sum::<u64>(), 0);
    assert_eq!(http.post(url).send().await.unwrap().status(), 404);
    let sent = sqlx::query("SELECT COUNT(*) FROM outbox WHERE topic = $1")
        .bind(Topic::BatchFileAdded.as_str())
        .fetch_one(service.store().pool())
        .await
        .unwrap();
    assert_eq!(sent.get::<i64, _>(0), 1);
    service.stop().await.unwrap();
    assert!(place.owner().unwrap().is_none());
}
