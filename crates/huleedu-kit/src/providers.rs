//! Explicit wiring: each provider builds one thing from settings and hands it on. With
//! `CIRCUIT_BREAKER_ENABLED=false` the same types are built as pass-through, and nothing else
//! changes.

use std::{sync::Arc, time::Duration};

use fusebox::{BreakerConfig, CircuitBreaker, Registry, RegistryError, SettingsError};
use fusebox_http::{BuildError, HttpClient};
use fusebox_journal::OpenError;
use fusebox_kafka::{KafkaProducerConfig, RdKafkaBroker, SendError};
use http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;
use url::Url;

use crate::{
    clients::{ContentClient, HttpContentClient},
    context::{CORRELATION_HEADER, CallContext, TRACEPARENT_HEADER},
    publishing::Publishing,
    service::ServiceId,
    settings::{CommonSettings, JournalSettings, KafkaSettings, PublishMode},
    store::{PublishObserver, Store},
};

/// Something could not be wired.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WiringError {
    /// Two circuits of one service would share a name, or a configuration is bad.
    #[error("a circuit could not be registered")]
    Circuit(#[from] RegistryError),
    /// The file of circuit settings makes no sense.
    #[error("the circuit settings of the file were refused")]
    CircuitFile(#[from] SettingsError),
    /// An HTTP client could not be built.
    #[error("an HTTP client could not be built")]
    Http(#[from] BuildError),
    /// The Kafka producer could not be made.
    #[error("the Kafka producer could not be made")]
    Kafka(#[from] SendError),
    /// The journal of events could not be opened.
    #[error("the journal of events could not be opened; KAFKA_JOURNAL_DIR names its folder")]
    Journal(#[from] OpenError),
}

/// The registry of one service's circuits.
///
/// # Errors
/// When the file of circuit settings makes no sense.
pub fn provide_circuit_breaker_registry(
    service: ServiceId,
    settings: &CommonSettings,
) -> Result<Registry, WiringError> {
    let file = settings.circuit_file.as_ref();
    Ok(Registry::builder(service.name())
        .enabled(settings.circuit_breaker_enabled)
        .settings(file.map(|file| file.settings().clone()).unwrap_or_default())
        .build()?)
}

/// A circuit named `{service}.{what}`.
///
/// # Errors
/// When the name is taken or the configuration bad.
pub fn provide_circuit(
    registry: &Registry,
    service: ServiceId,
    what: &str,
    config: BreakerConfig,
) -> Result<CircuitBreaker, WiringError> {
    let breaker = registry.register(format!("{}.{what}", service.name()), config)?;
    breaker.on_event(|event| tracing::warn!(?event, "circuit changed"));
    Ok(breaker)
}

/// A client of `base_url` behind the circuit `{service}.{what}`; correlation id and trace of the
/// work under way go with every request.
///
/// # Errors
/// When circuit or client cannot be built.
pub fn provide_http_client(
    registry: &Registry,
    service: ServiceId,
    what: &str,
    config: BreakerConfig,
    base_url: &Url,
    timeout: Duration,
) -> Result<HttpClient, WiringError> {
    let breaker = provide_circuit(registry, service, what, config)?;
    Ok(HttpClient::builder(base_url.as_str(), breaker)
        .timeout(timeout)
        .max_body(64 * 1024 * 1024)
        .decorate(Arc::new(add_context))
        .ids(CallContext::ids)
        .build()?)
}

/// A client of the Content Service behind the circuit `{service}.content_client`.
///
/// # Errors
/// When circuit or client cannot be built.
pub fn provide_content_client(
    registry: &Registry,
    service: ServiceId,
    config: BreakerConfig,
    base_url: &Url,
    timeout: Duration,
) -> Result<Arc<dyn ContentClient>, WiringError> {
    let http = provide_http_client(
        registry,
        service,
        "content_client",
        config,
        base_url,
        timeout,
    )?;
    Ok(Arc::new(HttpContentClient::new(http)))
}

/// What makes a service's events safe.
#[derive(Debug)]
pub(crate) enum Keeper<'a> {
    /// The outbox in its database.
    Outbox(&'a Store),
    /// A journal; and who is told about events.
    Journal(&'a JournalSettings, Arc<dyn PublishObserver>),
}

/// Name of the circuit of a service's Kafka publisher.
pub(crate) fn kafka_circuit_name(service: ServiceId) -> String {
    format!("{}.kafka_producer", service.name())
}

/// The publisher of a service: through its outbox, or through a journal when it publishes without
/// changing state of its own.
///
/// # Errors
/// When circuit, producer or journal cannot be had.
pub(crate) async fn provide_kafka_publisher(
    registry: &Registry,
    service: ServiceId,
    settings: &KafkaSettings,
    keeper: Keeper<'_>,
) -> Result<Publishing, WiringError> {
    let breaker = provide_circuit(
        registry,
        service,
        "kafka_producer",
        settings.circuit.clone(),
    )?;
    let mut producer = KafkaProducerConfig::new(settings.bootstrap_servers.clone(), service.name());
    // Without a circuit there is a plain producer, which must go on after a refusal.
    producer.ends_when_refused = match &keeper {
        Keeper::Outbox(_) => true,
        Keeper::Journal(journal, _) => breaker.is_enabled() || journal.mode == PublishMode::Memory,
    };
    let broker = Arc::new(RdKafkaBroker::new(producer)?);
    match keeper {
        Keeper::Outbox(store) => Ok(Publishing::outbox(settings, store, broker, breaker)),
        Keeper::Journal(journal, observer) => {
            Ok(Publishing::journal(settings, journal, broker, breaker, observer).await?)
        }
    }
}

fn add_context(headers: &mut HeaderMap) {
    let context = CallContext::current();
    let pairs = [
        (CORRELATION_HEADER, context.correlation_id.to_string()),
        (TRACEPARENT_HEADER, context.trace.child().to_string()),
    ];
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers
                .entry(HeaderName::from_static(name))
                .or_insert(value);
        }
    }
}
