//! The metrics every service exports: HTTP requests, consumed events, circuits and the queue of
//! events that wait for Kafka. Labels are bounded: routes, not paths; topics, not ids.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fusebox_telemetry::BreakerCollector;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

mod publishing;

pub(crate) use publishing::PublishWatch;

use crate::service::ServiceId;

/// The metrics registry of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    http: HttpMetrics,
    consumer: ConsumerMetrics,
}

impl Metrics {
    /// The registry with everything that all services have.
    pub fn new(service: ServiceId, breakers: fusebox::Registry) -> Self {
        let mut registry = Registry::default();
        let http = HttpMetrics::default();
        let consumer = ConsumerMetrics::default();
        let of = registry.sub_registry_with_label(("service_name".into(), service.name().into()));
        of.register(
            "http_requests",
            "HTTP requests answered",
            http.requests.clone(),
        );
        of.register(
            "http_request_duration_seconds",
            "Time to answer a request",
            http.duration.clone(),
        );
        of.register(
            "kafka_events_consumed",
            "Events taken from Kafka, by result",
            consumer.events.clone(),
        );
        of.register(
            "kafka_event_duration_seconds",
            "Time of one try at an event",
            consumer.duration.clone(),
        );
        of.register(
            "kafka_consumer_lag",
            "Events of a partition that are in Kafka and not finished here",
            consumer.lag.clone(),
        );
        of.register(
            "kafka_consumer_paused_partitions",
            "Partitions that wait for their worker to catch up",
            consumer.paused.clone(),
        );
        of.register(
            "kafka_dead_events",
            "Received events that were given up and wait for a person",
            consumer.dead.clone(),
        );
        of.register(
            "kafka_consumer_replaced",
            "Consumers that had lost a cluster that others find",
            consumer.replaced.clone(),
        );
        registry.register_collector(Box::new(BreakerCollector::new([breakers])));
        Self {
            registry: Arc::new(Mutex::new(registry)),
            http,
            consumer,
        }
    }

    /// HTTP request metrics.
    pub fn http(&self) -> &HttpMetrics {
        &self.http
    }

    /// Consumer metrics.
    pub fn consumer(&self) -> &ConsumerMetrics {
        &self.consumer
    }

    /// Lets a service add its own metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Exports what a service publishes, and what waits.
    pub(crate) fn watch_publishing(&self, watch: PublishWatch) {
        self.register(|r| r.register_collector(Box::new(watch)));
    }

    /// The text of a scrape and its content type.
    pub fn encode(&self, accept: Option<&str>) -> (&'static str, String) {
        fusebox_telemetry::encode(
            &self.registry.lock().unwrap_or_else(PoisonError::into_inner),
            accept,
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    method: &'static str,
    route: String,
    status_code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

/// Requests by method, route and status; durations by method and route.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<HttpLabels, Counter>,
    duration: Family<RouteLabels, Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let duration = || Histogram::new(exponential_buckets(0.001, 2.5, 12));
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(duration),
        }
    }
}

impl HttpMetrics {
    /// Counts one answered request. `route` is the pattern, never the path.
    pub fn answered(&self, method: &http::Method, route: &str, status: u16, took: Duration) {
        let method = known_method(method);
        let route = route.to_owned();
        let labels = HttpLabels {
            method,
            route: route.clone(),
            status_code: status,
        };
        self.requests.get_or_create(&labels).inc();
        self.duration
            .get_or_create(&RouteLabels { method, route })
            .observe(took.as_secs_f64());
    }
}

/// A caller may invent methods; the label may not grow with them.
fn known_method(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        http::Method::HEAD => "HEAD",
        http::Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// What became of one try at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(
    non_camel_case_types,
    reason = "the variants are the label values on the wire"
)]
pub enum EventResult {
    /// Applied.
    applied,
    /// Had been applied before.
    duplicate,
    /// Will be tried again.
    retried,
    /// Kept in `dead_events`.
    dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    topic: String,
    result: EventResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    topic: String,
    partition: i32,
}

/// Events by topic and result; durations by topic; how far behind, by partition.
#[derive(Debug, Clone)]
pub struct ConsumerMetrics {
    events: Family<EventLabels, Counter>,
    duration: Family<TopicLabels, Histogram>,
    lag: Family<PartitionLabels, Gauge>,
    paused: Family<TopicLabels, Gauge>,
    dead: Family<TopicLabels, Gauge>,
    /// None in a service without consumers.
    replaced: Family<[(&'static str, &'static str); 0], Counter>,
}

impl Default for ConsumerMetrics {
    fn default() -> Self {
        let duration = || Histogram::new(exponential_buckets(0.001, 2.5, 12));
        Self {
            events: Family::default(),
            duration: Family::new_with_constructor(duration),
            lag: Family::default(),
            paused: Family::default(),
            dead: Family::default(),
            replaced: Family::default(),
        }
    }
}

impl ConsumerMetrics {
    /// Makes the series of a topic that is listened to, so that a first failure is an increase from
    /// zero and not a series that begins with one.
    pub(crate) fn declare(&self, topic: &str) {
        use EventResult::{applied, dead, duplicate, retried};
        drop(self.replaced.get_or_create(&[]));
        for result in [applied, duplicate, retried, dead] {
            let labels = EventLabels {
                topic: topic.to_owned(),
                result,
            };
            drop(self.events.get_or_create(&labels));
        }
        let labels = TopicLabels {
            topic: topic.to_owned(),
        };
        drop(self.duration.get_or_create(&labels));
        drop(self.paused.get_or_create(&labels));
        drop(self.dead.get_or_create(&labels));
    }

    pub(crate) fn lag(&self, topic: &str, partition: i32, events: i64) {
        let topic = topic.to_owned();
        let labels = PartitionLabels { topic, partition };
        self.lag.get_or_create(&labels).set(events);
    }

    /// The partition is another member's now, who shows its lag.
    pub(crate) fn forget_lag(&self, topic: &str, partition: i32) {
        let topic = topic.to_owned();
        self.lag.remove(&PartitionLabels { topic, partition });
    }

    pub(crate) fn paused(&self, topic: &str, more: i64) {
        let topic = topic.to_owned();
        self.paused
            .get_or_create(&TopicLabels { topic })
            .inc_by(more);
    }

    pub(crate) fn dead(&self, topic: &str, events: u64) {
        let topic = topic.to_owned();
        let events = i64::try_from(events).unwrap_or(i64::MAX);
        self.dead.get_or_create(&TopicLabels { topic }).set(events);
    }

    pub(crate) fn replaced(&self) {
        self.replaced.get_or_create(&[]).inc();
    }

    pub(crate) fn count(&self, topic: &str, result: EventResult) {
        self.events
            .get_or_create(&EventLabels {
                topic: topic.to_owned(),
                result,
            })
            .inc();
    }

    pub(crate) fn handled(&self, topic: &str, took: Duration) {
        self.duration
            .get_or_create(&TopicLabels {
                topic: topic.to_owned(),
            })
            .observe(took.as_secs_f64());
    }
}
