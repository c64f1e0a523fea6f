//! The exact text of a scrape, in both formats.

use std::sync::Arc;
use std::time::Duration;

use fusebox::{BreakerConfig, Outcome, Registry as Circuits, VirtualClock};
use fusebox_telemetry::{BreakerCollector, encode};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// One circuit that opened, recovered in its second attempt and used a fallback; one that is new
/// and has an awkward name.
fn metrics() -> Registry {
    let clock = VirtualClock::new();
    let circuits = Circuits::with_clock("spellchecker", Arc::new(clock.clone()));
    let config = BreakerConfig::new()
        .with_failure_threshold(2)
        .with_success_threshold(1)
        .with_break_jitter(0.0);
    let content = circuits
        .register("content_client", config.clone())
        .expect("a new name");
    circuits.register("a \"b\"", config).expect("a new name");
    content.declare_fallback("default");

    clock.advance(Duration::from_millis(1_500));
    let call = |outcome| content.try_acquire().expect("admitted").record(outcome);
    for outcome in [
        Outcome::Success,
        Outcome::Neutral,
        Outcome::Failure,
        Outcome::Failure,
    ] {
        call(outcome);
    }
    assert!(content.try_acquire().is_err(), "open");
    content.fallback("cache");
    clock.advance(Duration::from_secs(1));
    call(Outcome::Failure);
    clock.advance(Duration::from_secs(2));
    call(Outcome::Success);
    clock.advance(Duration::from_millis(250));

    let mut metrics = Registry::default();
    metrics.register_collector(Box::new(BreakerCollector::new([circuits])));
    metrics
}

#[test]
fn the_older_text_format_is_the_default() {
    let (content_type, body) = encode(&metrics(), None);
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(body, include_str!("scrape.txt"));
}

#[test]
fn open_metrics_is_given_when_asked_for() {
    let (content_type, body) = encode(&metrics(), Some("application/openmetrics-text"));
    assert_eq!(
        content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(body, include_str!("scrape.openmetrics.txt"));
}

/// Half of the metrics behind a healthy answer would hide the loss.
#[test]
fn what_cannot_be_written_fails_the_scrape() {
    let mut registry = Registry::default();
    let native = Histogram::new_native(
        prometheus_client::metrics::histogram::NativeHistogramConfig::new(1.1),
    );
    registry.register("h", "native only", native);
    let (_, body) = encode(&registry, None);
    assert_eq!(body, "a metric could not be written as text\n");
}
