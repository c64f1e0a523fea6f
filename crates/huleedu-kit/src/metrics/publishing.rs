//! What a service publishes: what waits behind its circuit (M5.5), how fast it goes, what was refused,
//! and the journal where there is one.

use std::fmt::Error;

use fusebox_journal::{Histogram, JournalStats};
use fusebox_kafka::{DrainerHandle, DrainerStats, PublisherStats, ResilientPublisher};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{providers::kafka_circuit_name, service::ServiceId, store::Store};

/// What the gauges of seconds say when nothing of the kind is in sight: a year.
const NOT_IN_SIGHT: f64 = 31_536_000.0;

/// Reads the publishing side of one service at scrape time.
#[derive(Debug)]
pub(crate) struct PublishWatch {
    pub(crate) service: ServiceId,
    pub(crate) drainer: DrainerHandle,
    pub(crate) publisher: Option<ResilientPublisher>,
    pub(crate) store: Option<Store>,
    pub(crate) limit: u64,
    pub(crate) limit_bytes: u64,
}

/// Writes families that all have the two labels of a circuit.
struct Families<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
    labels: [(&'static str, String); 2],
}

impl Families<'_, '_> {
    fn add(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> Result<(), Error> {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(family.encode_family(&self.labels)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.add(name, help, &ConstGauge::new(value))
    }

    fn number(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.add(name, help, &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.add(name, help, &ConstCounter::new(value))
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Histogram) -> Result<(), Error> {
        self.add(name, help, &Times(times))
    }

    /// One sample for each value of one further label.
    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: &[(&'static str, u64)],
    ) -> Result<(), Error> {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            let [service, circuit] = self.labels.clone();
            let labels = [service, circuit, (label, (*value).to_owned())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Durations counted in steps, as a histogram in seconds.
struct Times<'a>(&'a Histogram);

impl EncodeMetric for Times<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let bound = |index| Histogram::bound(index).map_or(f64::MAX, |bound| bound.as_secs_f64());
        let buckets = self.0.buckets.iter().enumerate();
        let buckets: Vec<_> = buckets.map(|(i, count)| (bound(i), *count)).collect();
        let sum = self.0.sum.as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, self.0.count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl Collector for PublishWatch {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut families = Families {
            encoder: &mut encoder,
            labels: [
                ("service_name", self.service.name().to_owned()),
                ("circuit_name", kafka_circuit_name(self.service)),
            ],
        };
        let stats = self.publisher.as_ref().map(ResilientPublisher::stats);
        self.encode_queue(&mut families, &self.drainer.stats())?;
        self.encode_refused(&mut families, stats.as_ref())?;
        if self.service.publishes_without_state() {
            let journal = self.publisher.as_ref();
            let journal = journal.and_then(ResilientPublisher::journal);
            let journal = journal.map(fusebox_journal::Journal::stats);
            let stats = stats.unwrap_or_default();
            self.encode_journal(&mut families, &stats, &journal.unwrap_or_default())?;
        }
        Ok(())
    }
}

impl PublishWatch {
    fn encode_queue(&self, f: &mut Families<'_, '_>, stats: &DrainerStats) -> Result<(), Error> {
        f.gauge(
            "circuit_breaker_fallback_queue_size",
            "Events that wait for Kafka",
            stats.waiting,
        )?;
        f.gauge(
            "circuit_breaker_fallback_queue_limit",
            "Events that may wait for Kafka",
            self.limit,
        )?;
        f.gauge(
            "outbox_dead_events",
            "Events that Kafka refused for good",
            stats.dead,
        )?;
        f.counter(
            "outbox_delivered_events",
            "Events that Kafka has acknowledged",
            stats.delivered,
        )?;
        f.gauge(
            "kafka_publish_in_flight",
            "Events handed to Kafka and not acknowledged",
            stats.in_flight,
        )?;
        f.number(
            "kafka_publish_oldest_age_seconds",
            "Age of the oldest event that waits for Kafka",
            stats.oldest_age.map_or(0.0, |age| age.as_secs_f64()),
        )?;
        f.number(
            "kafka_publish_drain_rate",
            "Events acknowledged in a second, of late",
            stats.drain_rate,
        )?;
        // Nothing can be bounded to zero.
        f.number(
            "kafka_publish_pace_events",
            "Events that may be handed to Kafka in a second now; 0 is no bound",
            stats.pace.records.unwrap_or(0.0),
        )?;
        f.number(
            "kafka_publish_pace_bytes",
            "Bytes of events that may be handed to Kafka in a second now; 0 is no bound",
            stats.pace.bytes.unwrap_or(0.0),
        )?;
        f.counters(
            "kafka_publish_pace_cuts",
            "Halvings of that while a backlog was made up for",
            "reason",
            &[
                ("slow", stats.pace_cuts.slow),
                ("refused", stats.pace_cuts.refused),
                ("full", stats.pace_cuts.full),
            ],
        )?;
        let seconds = |time: Option<std::time::Duration>| {
            time.map_or(NOT_IN_SIGHT, |time| time.as_secs_f64().min(NOT_IN_SIGHT))
        };
        f.number(
            "kafka_publish_seconds_to_full",
            "When publishing will be refused at the present rates",
            seconds(stats.time_to_full(self.limit)),
        )?;
        f.number(
            "kafka_publish_seconds_to_empty",
            "When nothing will wait any more at the present rates",
            seconds(stats.time_to_empty()),
        )?;
        f.counter(
            "kafka_publish_retries",
            "Deliveries that failed or whose outcome is unknown",
            stats.retried,
        )?;
        f.counter(
            "kafka_publish_possible_duplicates",
            "Events sent again that may be in Kafka already",
            stats.maybe_duplicates,
        )?;
        f.counter(
            "kafka_producer_rebuilt",
            "Producers that had to be replaced",
            stats.rebuilt,
        )?;
        f.gauge(
            "kafka_publish_paused_topics",
            "Topics that are paused for a fault of theirs",
            stats.paused_topics,
        )?;
        f.gauge(
            "kafka_publish_blocked",
            "Keys and topics that a refused event holds up",
            stats.blocked,
        )
    }

    fn encode_refused(
        &self,
        f: &mut Families<'_, '_>,
        published: Option<&PublisherStats>,
    ) -> Result<(), Error> {
        let published = published.copied().unwrap_or_default();
        let full = published.refused_full + self.store.as_ref().map_or(0, Store::outbox_refused);
        f.counters(
            "kafka_publish_refused",
            "Events that were not taken",
            "reason",
            &[
                ("full", full),
                ("no_space", published.refused_no_space),
                ("invalid", published.refused_invalid),
                ("failed", published.refused_failed),
            ],
        )
    }

    fn encode_journal(
        &self,
        f: &mut Families<'_, '_>,
        published: &PublisherStats,
        journal: &JournalStats,
    ) -> Result<(), Error> {
        f.histogram(
            "kafka_publish_duration_seconds",
            "Time until an event was safe",
            &published.latency,
        )?;
        f.gauge(
            "kafka_publish_waiting_for_room",
            "Callers that wait because as many events wait as may",
            published.waiting_for_room,
        )?;
        f.gauge("journal_bytes", "Bytes the journal takes", journal.bytes)?;
        f.gauge(
            "journal_limit_bytes",
            "Bytes the journal may take",
            self.limit_bytes,
        )?;
        f.gauge(
            "journal_records",
            "Events in the journal that are not settled",
            journal.waiting,
        )?;
        f.gauge(
            "journal_disk_free_bytes",
            "Bytes free on the journal's disk",
            journal.disk_free.unwrap_or(0),
        )?;
        f.gauge(
            "journal_read_only",
            "1 when a disk error keeps the journal from taking events",
            u64::from(journal.read_only),
        )?;
        f.histogram(
            "journal_sync_duration_seconds",
            "Time of one write and sync",
            &journal.sync_times,
        )?;
        f.counter(
            "journal_append_failures",
            "Writes and syncs that failed",
            journal.append_failures,
        )?;
        f.counter(
            "journal_lost_records",
            "Events that were safe and that the disk has damaged",
            journal.lost_records,
        )?;
        f.counter(
            "journal_damaged_ranges",
            "Damaged places found in the journal",
            journal.damaged_ranges,
        )
    }
}
