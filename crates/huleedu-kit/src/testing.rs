//! What integration tests of services share: a platform of one broker and one data folder, ports
//! chosen by the system, and waiting for states instead of for a while.

use std::{future::Future, time::Duration};

use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_contracts::topics::Topic;
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{Consumer as _, StreamConsumer},
    producer::{FutureProducer, FutureRecord},
};

use sqlx::Connection as _;

use crate::{service::ServiceId, settings::Env};

/// An embedded broker with every topic of the platform.
///
/// # Errors
/// When librdkafka cannot make one.
pub fn embedded_broker() -> Result<EmbeddedBroker, fusebox_kafka::SendError> {
    let topics: Vec<(&str, i32)> = Topic::ALL.iter().map(|topic| (topic.as_str(), 3)).collect();
    EmbeddedBroker::start(&topics)
}

/// A plain HTTP client, as a user of a service would have.
pub fn http_client() -> reqwest::Client {
    // A second installation in the same process changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}

/// An environment for one service: this broker, its own SQLite file or journal in `folder`.
///
/// With `TEST_POSTGRES_URL` (a server on which databases may be made,
/// `postgres://user:password@host:port`) it is a PostgreSQL database instead, one per service and
/// folder; the server is thrown away afterwards, not the database.
///
/// # Panics
/// When the PostgreSQL server does not make the database.
pub fn service_env(service: ServiceId, bootstrap: &str, folder: &std::path::Path) -> Env {
    let env = Env::empty()
        .with("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
        .with("HTTP_PORT", "0");
    if service.publishes_without_state() {
        let dir = folder.join(format!("{}.journal", service.slug()));
        return env.with("KAFKA_JOURNAL_DIR", dir.display().to_string());
    }
    let database_url = match std::env::var("TEST_POSTGRES_URL") {
        Ok(server) => postgres_database(server, service, folder),
        Err(_) => format!("sqlite://{}/{}.db", folder.display(), service.slug()),
    };
    env.with("DATABASE_URL", database_url)
}

/// The URL of the database of `service` and `folder`, which is made when it is not there yet.
fn postgres_database(server: String, service: ServiceId, folder: &std::path::Path) -> String {
    // The same folder must lead to the same database: that is what a restart finds again.
    let place = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_OID,
        folder.as_os_str().as_encoded_bytes(),
    );
    let database = format!("{}_{}", service.name(), place.simple());
    let url = format!("{server}/{database}");
    let make = async move {
        sqlx::any::install_default_drivers();
        let mut conn = sqlx::AnyConnection::connect(&format!("{server}/postgres")).await?;
        let there = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(database.as_str())
            .fetch_optional(&mut conn)
            .await?;
        if there.is_none() {
            // Names of services are words, the rest are hexadecimal digits.
            let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
            sqlx::raw_sql(sql).execute(&mut conn).await?;
        }
        Ok::<(), sqlx::Error>(())
    };
    // A thread of its own: the caller may be inside a runtime, which must not be blocked on.
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(sqlx::Error::Io)?
            .block_on(make)
    })
    .join()
    .expect("the thread neither panics nor is it killed")
    .expect("the PostgreSQL server of TEST_POSTGRES_URL makes a database");
    url
}

/// Asks `condition` again and again until it answers `Some`, at most for `limit`.
///
/// # Errors
/// `what` did not happen in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> Result<T, String> {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(format!("not within {limit:?}: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads every event of some topics from the beginning.
pub struct TopicReader {
    consumer: StreamConsumer,
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").finish_non_exhaustive()
    }
}

impl TopicReader {
    /// A reader of `topics`.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn new(bootstrap: &str, topics: &[Topic]) -> Result<Self, rdkafka::error::KafkaError> {
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", format!("test-{}", uuid::Uuid::new_v4()))
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut list = rdkafka::TopicPartitionList::new();
        for topic in topics {
            for partition in 0..3 {
                list.add_partition_offset(topic.as_str(), partition, rdkafka::Offset::Beginning)?;
            }
        }
        // Assigned by hand: no group, so no wait for a rebalance.
        consumer.assign(&list)?;
        Ok(Self { consumer })
    }

    /// The next event as topic and JSON.
    ///
    /// # Errors
    /// When none comes within `limit` or it is not JSON.
    pub async fn next(&self, limit: Duration) -> Result<(String, serde_json::Value), String> {
        let message = tokio::time::timeout(limit, self.consumer.recv())
            .await
            .map_err(|_| format!("no event within {limit:?}"))?
            .map_err(|e| e.to_string())?;
        let payload = message.payload().unwrap_or_default();
        let value = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
        Ok((message.topic().to_owned(), value))
    }
}

/// Publishes `envelope` as another service would.
///
/// # Errors
/// When the broker does not take it.
pub async fn publish<T: huleedu_contracts::events::Event>(
    bootstrap: &str,
    envelope: &huleedu_contracts::envelope::EventEnvelope<T>,
) -> Result<(), String> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("linger.ms", "0")
        .create()
        .map_err(|e| e.to_string())?;
    let payload = serde_json::to_vec(envelope).map_err(|e| e.to_string())?;
    let key = envelope.data.key();
    let record = FutureRecord::to(T::TOPIC.as_str())
        .key(&key)
        .payload(&payload);
    producer
        .send(record, Duration::from_secs(10))
        .await
        .map_err(|(e, _)| e.to_string())?;
    Ok(())
}
