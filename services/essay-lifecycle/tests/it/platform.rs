//! One service on one embedded broker, and what it was sent, has handled and has published.
//!
//! The store is a SQLite file. With `TEST_POSTGRES_URL` (a server on which databases may be made,
//! `postgres://user@host:port`) it is a new PostgreSQL database per test.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use essay_lifecycle::{SERVICE, start};
use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_contracts::{
    EventEnvelope,
    api::lifecycle::{BatchEssaysResponse, EssayStatusResponse, EssayTimelineResponse},
    events::Event,
    ids::{BatchId, CorrelationId, EssayId},
    status::EssayStatus,
};
use huleedu_kit::{
    RunningService, ServiceInput,
    settings::Env,
    testing::{TopicReader, embedded_broker, eventually, http_client, publish, service_env},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::Row as _;

/// Generous: the suite shares two cores with whatever else runs.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Platform {
    /// Never ends: a consumer that is closed without its broker waits for it.
    broker: &'static EmbeddedBroker,
    folder: tempfile::TempDir,
    env: Env,
    service: Option<RunningService>,
    sent: AtomicU64,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(|env| env).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(Env) -> Env) -> Self {
        let broker: &EmbeddedBroker = Box::leak(Box::new(
            embedded_broker().expect("the embedded broker starts"),
        ));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut env = change(service_env(
            SERVICE,
            broker.bootstrap_servers(),
            folder.path(),
        ));
        if let Ok(server) = std::env::var("TEST_POSTGRES_URL") {
            env = env.with("DATABASE_URL", postgres_database(&server).await);
        }
        let mut platform = Self {
            broker,
            folder,
            env,
            service: None,
            sent: AtomicU64::new(0),
        };
        platform.launch().await;
        platform
    }

    async fn launch(&mut self) {
        let service = start(ServiceInput::new(self.env.clone()))
            .await
            .expect("the service starts");
        self.service = Some(service);
    }

    /// Ends the service as a crash would and starts it again on the same files.
    pub(crate) async fn crash_and_restart(&mut self) {
        self.service.take().expect("it runs").kill().await;
        assert!(self.folder.path().exists());
        self.launch().await;
    }

    /// Ends the service as a crash would, and leaves it so.
    pub(crate) async fn crash(&mut self) {
        self.service.take().expect("it runs").kill().await;
    }

    pub(crate) async fn restart(&mut self) {
        self.launch().await;
    }

    fn service(&self) -> &RunningService {
        self.service.as_ref().expect("it runs")
    }

    /// Sends an event in a fresh envelope, as another service would.
    pub(crate) async fn send<T: Event>(&self, data: T) -> EventEnvelope<T> {
        let envelope = envelope(data);
        self.send_again(&envelope).await;
        envelope
    }

    /// Sends these very bytes.
    pub(crate) async fn send_again<T: Event>(&self, envelope: &EventEnvelope<T>) {
        publish(self.broker.bootstrap_servers(), envelope)
            .await
            .expect("the broker takes it");
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends an event and the same bytes once more.
    pub(crate) async fn send_twice<T: Event>(&self, data: T) {
        let envelope = self.send(data).await;
        self.send_again(&envelope).await;
    }

    /// Waits until everything that was sent has been handled. Only without restarts: counts of a
    /// crashed service are gone.
    pub(crate) async fn handled(&self) {
        let sent = self.sent.load(Ordering::SeqCst);
        eventually(&format!("{sent} events handled"), LIMIT, || async {
            (self.handled_so_far().await >= sent).then_some(())
        })
        .await
        .expect("everything sent is handled");
        assert_eq!(self.handled_so_far().await, sent);
    }

    async fn handled_so_far(&self) -> u64 {
        let text = self.get_text("/metrics").await.1;
        text.lines()
            .filter(|line| line.starts_with("kafka_events_consumed_total{"))
            .filter(|line| !line.contains("result=\"retried\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// What the service has published, whether or not Kafka has it already.
    pub(crate) async fn published<T: Event>(&self) -> Vec<T> {
        let rows = sqlx::query("SELECT payload FROM outbox WHERE topic = $1 ORDER BY position")
            .bind(T::TOPIC.as_str())
            .fetch_all(self.service().store().pool())
            .await
            .expect("the outbox can be read");
        rows.iter()
            .map(|row| {
                let payload: Vec<u8> = row.try_get("payload").expect("a payload");
                EventEnvelope::<T>::from_json(&payload)
                    .expect("an event of its topic")
                    .data
            })
            .collect()
    }

    /// Waits for `count` events of one topic on Kafka itself.
    pub(crate) async fn received<T: Event>(&self, count: usize) -> Vec<T> {
        let reader = TopicReader::new(self.broker.bootstrap_servers(), &[T::TOPIC])
            .expect("a reader of the topic");
        let mut all = Vec::new();
        while all.len() < count {
            let (_, value) = reader.next(LIMIT).await.expect("one more event");
            let envelope: EventEnvelope<T> =
                serde_json::from_value(value).expect("an event of its topic");
            assert_eq!(envelope.event_type, T::TOPIC.as_str());
            all.push(envelope.data);
        }
        all
    }

    /// The reasons of events that could never be applied.
    pub(crate) async fn dead(&self) -> Vec<String> {
        sqlx::query("SELECT reason FROM dead_events ORDER BY id")
            .fetch_all(self.service().store().pool())
            .await
            .expect("dead events can be read")
            .iter()
            .map(|row| row.try_get("reason").expect("a reason"))
            .collect()
    }

    async fn get_text(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.service().base_url());
        let response = http_client()
            .get(url)
            .send()
            .await
            .expect("the service answers");
        let status = response.status().as_u16();
        (status, response.text().await.expect("a body"))
    }

    /// A GET whose answer is expected to have this status.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, status: u16) -> T {
        let (answered, text) = self.get_text(path).await;
        assert_eq!(answered, status, "{path}: {text}");
        serde_json::from_str(&text).expect("a body of its type")
    }

    pub(crate) async fn batch(&self, batch: &BatchId) -> BatchEssaysResponse {
        self.get(&format!("/v1/batches/{batch}/status"), 200).await
    }

    pub(crate) async fn essay(&self, essay: &EssayId) -> EssayStatusResponse {
        self.get(&format!("/v1/essays/{essay}/status"), 200).await
    }

    pub(crate) async fn timeline(&self, essay: &EssayId) -> Vec<EssayStatus> {
        let answer: EssayTimelineResponse =
            self.get(&format!("/v1/essays/{essay}/timeline"), 200).await;
        assert!(answer.entries.is_sorted_by_key(|entry| entry.at));
        answer.entries.iter().map(|entry| entry.status).collect()
    }

    /// The states of a batch's essays, in the order of the slots.
    pub(crate) async fn states(&self, batch: &BatchId) -> Vec<EssayStatus> {
        self.batch(batch)
            .await
            .essays
            .iter()
            .map(|essay| essay.current_status)
            .collect()
    }
}

pub(crate) fn envelope<T: Event>(data: T) -> EventEnvelope<T> {
    EventEnvelope::new("test", CorrelationId::random(), Timestamp::now(), data)
}

async fn postgres_database(server: &str) -> String {
    sqlx::any::install_default_drivers();
    let name = format!("els_{}", BatchId::random().as_str().replace('-', ""));
    let pool = sqlx::AnyPool::connect(&format!("{server}/postgres"))
        .await
        .expect("the server");
    // The name is made of a UUID's digits.
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&pool)
        .await
        .expect("a new database");
    pool.close().await;
    format!("{server}/{name}")
}
