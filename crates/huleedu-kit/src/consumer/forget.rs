//! How long a service remembers which events it has applied.
//!
//! The inbox grows by a row with every event. Rows older than the retention go, a few hundred at a time
//! in statements of their own, so that no handler's transaction waits for more than one such statement.

use std::{convert::Infallible, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::worker::chain;
use crate::{metrics::Metrics, service::ServiceId, store::Store};

/// Rows that one statement removes.
const BATCH: u32 = 500;
/// Between two looks when nothing is too old.
const LOOK: Duration = Duration::from_mins(1);
/// Shortest rest after a full batch.
const REST: Duration = Duration::from_millis(50);
/// A rest is this many times as long as the batch before it took, so that a slow database is left alone
/// for most of the time.
const REST_FACTOR: u32 = 4;

/// What is exported about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ForgetMetrics {
    forgotten: Counter,
    oldest_age: Gauge<f64, AtomicU64>,
}

impl ForgetMetrics {
    pub(crate) fn register(service: ServiceId, metrics: &Metrics, retention: Duration) -> Self {
        let made = Self::default();
        let bound = Gauge::<f64, AtomicU64>::default();
        bound.set(retention.as_secs_f64());
        metrics.register(|registry| {
            let of =
                registry.sub_registry_with_label(("service_name".into(), service.name().into()));
            of.register(
                "kafka_inbox_forgotten_events",
                "Applied events that are not remembered any more",
                made.forgotten.clone(),
            );
            of.register(
                "kafka_inbox_oldest_age_seconds",
                "Age of the oldest applied event that is remembered",
                made.oldest_age.clone(),
            );
            of.register(
                "kafka_inbox_retention_seconds",
                "How long applied events are remembered",
                bound,
            );
        });
        made
    }
}

/// Forgets what is older than `retention` until `stop` is cancelled.
pub(crate) async fn run(
    store: Store,
    retention: Duration,
    metrics: ForgetMetrics,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let work = async {
        loop {
            let began = Instant::now();
            let wait = match store.forget_applied(retention, BATCH).await {
                Ok(forgotten) => {
                    metrics.forgotten.inc_by(forgotten);
                    let more = forgotten >= u64::from(BATCH);
                    if more { rest(began.elapsed()) } else { LOOK }
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(error, "applied events not forgotten, tried again later");
                    LOOK
                }
            };
            match store.oldest_applied_age().await {
                Ok(age) => {
                    let age = age.map_or(0.0, |age| age.as_secs_f64());
                    metrics.oldest_age.set(age);
                }
                Err(error) => {
                    tracing::debug!(error = chain(&error), "age of the inbox not known");
                }
            }
            tokio::time::sleep(wait).await;
        }
    };
    // One statement at a time, and it is done or not: nothing is half when it is dropped.
    stop.run_until_cancelled(work).await.unwrap_or(Ok(()))
}

fn rest(took: Duration) -> Duration {
    REST.max(took * REST_FACTOR).min(LOOK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_database_is_left_alone_for_most_of_the_time() {
        let of = |ms| rest(Duration::from_millis(ms)).as_millis();
        assert_eq!((of(1), of(12), of(13), of(2_000)), (50, 50, 52, 8_000));
        assert_eq!(of(3_600_000), LOOK.as_millis());
    }
}
