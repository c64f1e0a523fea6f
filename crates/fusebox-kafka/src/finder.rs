//! Whether a client of librdkafka has lost a cluster that others find.
//!
//! librdkafka drops every broker that is not in an answer about the cluster. After an answer without any, which
//! a cluster gives that has just taken all its brokers for dead, it may have nobody left to ask, and does not
//! begin again with `bootstrap.servers` (its issue 5301).

use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};

/// Whether a new client with these properties hears of a broker. Blocks.
pub(crate) fn finds_cluster(config: &ClientConfig, limit: Duration) -> bool {
    let finder = config.create_with_context::<_, BaseProducer<Finder>>(Finder);
    finder.is_ok_and(|finder| hears(finder.client(), limit))
}

/// Whether a client hears of a broker. Blocks.
pub(crate) fn hears(client: &Client<impl ClientContext>, limit: Duration) -> bool {
    let answer = client.fetch_metadata(None, limit);
    answer.is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// A client that only looks whether the cluster is there.
struct Finder;

impl ClientContext for Finder {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, text, "librdkafka, looking for the cluster");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka, looking for the cluster");
    }
}

impl ProducerContext for Finder {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
