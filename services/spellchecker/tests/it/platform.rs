//! The service, a Content Service and a broker; what was asked and what was answered.

use std::{net::SocketAddr, time::Duration};

use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_contracts::{
    EventEnvelope,
    events::{
        Event, EventName,
        spellcheck::{
            EssayLifecycleSpellcheckRequestV1, SpellcheckPhaseCompletedV1, SpellcheckResultV1,
        },
    },
    ids::{BatchId, CorrelationId, EssayId, LanguageTag, StorageId},
    metadata::{ENTITY_ESSAY, SystemProcessingMetadata},
    status::EssayStatus,
};
use huleedu_kit::{
    RunningService, ServiceInput,
    settings::Env,
    testing::{TopicReader, embedded_broker, eventually, http_client, publish, service_env},
};
use jiff::Timestamp;
use sqlx::Row as _;
use tokio::net::TcpListener;

/// Generous: the suite shares two cores with whatever else runs.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

pub(crate) type Request = EssayLifecycleSpellcheckRequestV1;

/// Ended by [`Platform::stop`]; the broker is the last field, so that nobody outlives it either when
/// a test fails before.
pub(crate) struct Platform {
    service: Option<RunningService>,
    content: Option<RunningService>,
    content_address: SocketAddr,
    batch: BatchId,
    folder: tempfile::TempDir,
    broker: EmbeddedBroker,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let broker = embedded_broker().expect("the embedded broker starts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut platform = Self {
            service: None,
            content: None,
            content_address: listener.local_addr().expect("an address"),
            batch: BatchId::random(),
            folder,
            broker,
        };
        platform.start_content(listener).await;
        platform.start_service().await;
        platform
    }

    fn env(&self, service: huleedu_kit::ServiceId) -> Env {
        service_env(service, self.broker.bootstrap_servers(), self.folder.path())
    }

    async fn start_content(&mut self, listener: TcpListener) {
        let input = ServiceInput::new(self.env(content::SERVICE)).on(listener);
        let service = content::start(input)
            .await
            .expect("the Content Service starts");
        self.content = Some(service);
    }

    async fn start_service(&mut self) {
        let env = self
            .env(spellchecker::SERVICE)
            .with(
                "CONTENT_SERVICE_URL",
                format!("http://{}", self.content_address),
            )
            .with("MAX_TEXT_BYTES", "100000")
            .with("EVENT_RETRY_MIN_SECONDS", "0.02")
            .with("EVENT_RETRY_MAX_SECONDS", "0.2")
            .with("CONTENT_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "0.2");
        let service = spellchecker::start(ServiceInput::new(env))
            .await
            .expect("the service starts");
        self.service = Some(service);
    }

    /// Ends both services, then the broker.
    pub(crate) async fn stop(mut self) {
        for service in [self.service.take(), self.content.take()] {
            service
                .expect("it runs")
                .stop()
                .await
                .expect("an orderly end");
        }
    }

    /// Ends the Content Service as a crash would.
    pub(crate) async fn crash_content(&mut self) {
        self.content.take().expect("it runs").kill().await;
    }

    /// Starts it again at the same address, on the same files.
    pub(crate) async fn restart_content(&mut self) {
        let listener = TcpListener::bind(self.content_address)
            .await
            .expect("the port is free again");
        self.start_content(listener).await;
    }

    pub(crate) async fn crash_and_restart_service(&mut self) {
        self.service.take().expect("it runs").kill().await;
        self.start_service().await;
    }

    pub(crate) fn service(&self) -> &RunningService {
        self.service.as_ref().expect("it runs")
    }

    /// Puts bytes into the Content Service.
    pub(crate) async fn put(&self, bytes: &[u8]) -> StorageId {
        let answer: huleedu_contracts::api::content::StoreContentResponse = http_client()
            .post(format!("http://{}/v1/content", self.content_address))
            .header("content-type", "text/plain; charset=utf-8")
            .body(bytes.to_vec())
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        answer.storage_id
    }

    /// What the Content Service has under an id.
    pub(crate) async fn text(&self, id: &StorageId) -> String {
        let response = http_client()
            .get(format!("http://{}/v1/content/{id}", self.content_address))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        response.text().await.expect("a text")
    }

    /// A request for one essay.
    pub(crate) fn request(&self, text: &StorageId, language: &str) -> EventEnvelope<Request> {
        let essay = EssayId::random();
        let now = Timestamp::now();
        let data = Request {
            event_name: EventName::new(),
            system_metadata: SystemProcessingMetadata::for_essay(&essay, &self.batch, now),
            entity_id: essay,
            entity_type: Some(ENTITY_ESSAY.to_owned()),
            parent_id: self.batch.clone(),
            timestamp: now,
            status: EssayStatus::AwaitingSpellcheck,
            text_storage_id: text.clone(),
            language: LanguageTag::new(language).expect("a tag"),
        };
        EventEnvelope::new("test", CorrelationId::random(), now, data)
    }

    pub(crate) async fn send(&self, envelope: &EventEnvelope<Request>) {
        publish(self.broker.bootstrap_servers(), envelope)
            .await
            .expect("the broker takes it");
    }

    /// The answers on Kafka, as soon as there are this many of each kind.
    pub(crate) async fn answers(
        &self,
        count: usize,
    ) -> Vec<(SpellcheckPhaseCompletedV1, SpellcheckResultV1)> {
        let thin = self.received::<SpellcheckPhaseCompletedV1>(count).await;
        let rich = self.received::<SpellcheckResultV1>(count).await;
        thin.into_iter()
            .map(|thin| {
                let rich = rich
                    .iter()
                    .find(|rich| rich.entity_id == thin.entity_id)
                    .expect("both answers for each essay");
                assert_eq!(rich.correlation_id, thin.correlation_id);
                assert_eq!(rich.batch_id, self.batch);
                assert_eq!(thin.batch_id, self.batch);
                assert_eq!(
                    rich.corrected_text_storage_id,
                    thin.corrected_text_storage_id
                );
                (thin, rich.clone())
            })
            .collect()
    }

    /// The one pair of answers there is.
    pub(crate) async fn answer(&self) -> (SpellcheckPhaseCompletedV1, SpellcheckResultV1) {
        self.answers(1).await.remove(0)
    }

    async fn received<T: Event>(&self, count: usize) -> Vec<T> {
        let reader = TopicReader::new(self.broker.bootstrap_servers(), &[T::TOPIC])
            .expect("a reader of the topic");
        let mut all = Vec::new();
        while all.len() < count {
            let (_, value) = reader.next(LIMIT).await.expect("one more event");
            let envelope: EventEnvelope<T> =
                serde_json::from_value(value).expect("an event of its topic");
            all.push(envelope.data);
        }
        all
    }

    /// How many rows a query of the service's store gives.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query(query)
            .fetch_one(self.service().store().pool())
            .await
            .expect("the store answers")
            .try_get(0)
            .expect("a number")
    }

    /// Waits until this many requests are settled.
    pub(crate) async fn settled(&self, jobs: i64) {
        eventually(&format!("{jobs} requests settled"), LIMIT, || async {
            (self.count("SELECT COUNT(*) FROM spellcheck_jobs").await >= jobs).then_some(())
        })
        .await
        .expect("every request is settled");
    }
}
