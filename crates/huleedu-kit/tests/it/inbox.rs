//! How long applied events are remembered.

use std::{sync::Arc, time::Duration};

use huleedu_contracts::ids::EventId;
use huleedu_kit::{
    ServiceId,
    store::{NoObserver, Store, StoreOptions, now_ms},
    testing::{embedded_broker, eventually, http_client, publish, service_env},
};
use sqlx::Row as _;

use crate::flow::{Echo, SCHEMA, sample, start};

const LIMIT: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

async fn open(folder: &tempfile::TempDir) -> Store {
    let service = ServiceId::EssayLifecycle;
    let env = service_env(service, "", folder.path());
    let options = StoreOptions {
        url: env.get("DATABASE_URL").unwrap().to_owned(),
        max_connections: 4,
        outbox_limit: 10,
        observer: Arc::new(NoObserver),
    };
    Store::open(service, options, SCHEMA).await.unwrap()
}

/// Notes `count` events as applied so long ago, the first one longest.
async fn applied(store: &Store, name: &str, count: i64, ago: Duration) {
    sqlx::query(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1) \
         INSERT INTO inbox (event_id, applied_at) SELECT $2 || CAST(n AS TEXT), $3 + n FROM numbers",
    )
    .bind(count)
    .bind(name)
    .bind(now_ms() - i64::try_from(ago.as_millis()).unwrap())
    .execute(store.pool())
    .await
    .unwrap();
}

async fn remembered(store: &Store) -> Vec<String> {
    let rows = sqlx::query("SELECT event_id FROM inbox ORDER BY applied_at")
        .fetch_all(store.pool())
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_is_older_than_the_retention_goes_the_oldest_first_and_no_row_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    assert_eq!(store.oldest_applied_age().await.unwrap(), None);
    applied(&store, "old-", 5, DAY + Duration::from_secs(10)).await;
    applied(&store, "young-", 2, HOUR * 23).await;
    let age = store.oldest_applied_age().await.unwrap().unwrap();
    assert!(age >= DAY && age < DAY + Duration::from_mins(1), "{age:?}");
    assert_eq!(store.forget_applied(DAY, 3).await.unwrap(), 3);
    let rest = ["old-4", "old-5", "young-1", "young-2"];
    assert_eq!(remembered(&store).await, rest);
    assert_eq!(store.forget_applied(DAY, 3).await.unwrap(), 2);
    assert_eq!(store.forget_applied(DAY, 3).await.unwrap(), 0);
    assert_eq!(remembered(&store).await, ["young-1", "young-2"]);
}

#[tokio::test]
async fn a_delivery_within_the_retention_is_known_and_one_beyond_it_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let id = EventId::random();
    let note = async || {
        let mut tx = store.begin().await.unwrap();
        let new = tx.note_applied(id).await.unwrap();
        tx.commit().await.unwrap();
        new
    };
    let age = async |by: Duration| {
        sqlx::query("UPDATE inbox SET applied_at = applied_at - $1")
            .bind(i64::try_from(by.as_millis()).unwrap())
            .execute(store.pool())
            .await
            .unwrap();
    };
    assert!(note().await);
    age(HOUR * 23).await;
    assert_eq!(store.forget_applied(DAY, 100).await.unwrap(), 0);
    assert!(!note().await);
    age(HOUR + Duration::from_secs(1)).await;
    assert_eq!(store.forget_applied(DAY, 100).await.unwrap(), 1);
    assert!(note().await);
}

/// Every row is removed by one of them, and none waits for another's rows.
#[tokio::test(flavor = "multi_thread")]
async fn several_replicas_forget_together() {
    let folder = tempfile::tempdir().unwrap();
    let stores = [
        open(&folder).await,
        open(&folder).await,
        open(&folder).await,
    ];
    applied(&stores[0], "old-", 2_000, DAY * 2).await;
    applied(&stores[0], "young-", 7, HOUR).await;
    let replicas = stores.map(|store| {
        tokio::spawn(async move {
            let mut mine = 0;
            // None for this one while others have all that is left in hand: then it looks again.
            while store.oldest_applied_age().await.unwrap().unwrap() > DAY {
                mine += store.forget_applied(DAY, 50).await.unwrap();
            }
            (mine, store)
        })
    });
    let mut sum = 0;
    for replica in replicas {
        let (mine, store) = replica.await.unwrap();
        sum += mine;
        assert_eq!(remembered(&store).await.len(), 7);
    }
    assert_eq!(sum, 2_000);
}

/// A service that was down for long, or is new to the bound, has much to forget: it applies events
/// meanwhile, ends when it is told to, and goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_forgets_in_the_background_and_stops_in_the_middle_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let month = DAY * 30;
    applied(&store, "old-", 10_000, month + DAY).await;
    applied(&store, "young-", 3, DAY * 29).await;
    store.close().await;
    let broker = embedded_broker().unwrap();
    let bootstrap = broker.bootstrap_servers().to_owned();
    let echo = Arc::new(Echo::default());
    let service = start(&bootstrap, &folder, &echo).await;
    let store = service.store().clone();
    let count = async || remembered(&store).await.len();
    eventually("the first are forgotten", LIMIT, async || {
        (count().await < 10_003).then_some(())
    })
    .await
    .unwrap();
    tokio::time::timeout(LIMIT, service.stop())
        .await
        .unwrap()
        .unwrap();

    let service = start(&bootstrap, &folder, &echo).await;
    let store = service.store().clone();
    let left = remembered(&store).await.len();
    assert!((4..10_003).contains(&left), "stopped in the middle: {left}");
    let envelope = huleedu_contracts::envelope::EventEnvelope::new(
        "test",
        huleedu_contracts::ids::CorrelationId::random(),
        jiff::Timestamp::UNIX_EPOCH,
        sample("b", 1),
    );
    publish(&bootstrap, &envelope).await.unwrap();
    eventually("the event is applied", LIMIT, async || {
        store
            .was_applied(envelope.event_id)
            .await
            .unwrap()
            .then_some(())
    })
    .await
    .unwrap();
    let rest = eventually("the old ones are gone", LIMIT, async || {
        let rest = remembered(&store).await;
        (!rest.iter().any(|id| id.starts_with("old-"))).then_some(rest)
    })
    .await
    .unwrap();
    let event = envelope.event_id.to_string();
    assert_eq!(rest, ["young-1", "young-2", "young-3", event.as_str()]);
    let metrics = async || {
        let url = format!("{}/metrics", service.base_url());
        let answer = http_client().get(url).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let value = |name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name}{{")));
            let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        (
            value("kafka_inbox_forgotten_events_total"),
            value("kafka_inbox_oldest_age_seconds"),
            value("kafka_inbox_retention_seconds"),
        )
    };
    let month = month.as_secs_f64();
    eventually("the metrics say so", LIMIT, async || {
        let (forgotten, oldest, bound) = metrics().await;
        let right = forgotten >= 1.0 && oldest > 0.9 * month && oldest < month;
        (right && (bound - month).abs() < 0.5).then_some(())
    })
    .await
    .unwrap();
    service.stop().await.unwrap();
}
