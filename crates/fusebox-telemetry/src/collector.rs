//! The metrics of circuits, read from the breakers at scrape time.

use std::fmt;

use fusebox::{Registry, Snapshot, State};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeMetric, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Exports the circuits of one or more registries.
///
/// Every series of a circuit has the labels `service_name` and `circuit_name`:
///
/// | metric | type | further labels |
/// |---|---|---|
/// | `circuit_breaker_state` | gauge: 0 closed, 1 open, 2 half-open | |
/// | `circuit_breaker_calls_total` | counter | `result`: `success`, `failure`, `blocked`, `neutral` |
/// | `circuit_breaker_fallback_total` | counter | `fallback_type` |
/// | `circuit_breaker_recovery_attempts_total` | counter | `result`: `success`, `failure` |
/// | `circuit_breaker_transitions_total` | counter | `from`, `to` |
/// | `circuit_breaker_state_seconds_total` | counter | `state` |
/// | `circuit_breaker_registry_evicted_total` | counter | `service_name` alone |
/// | `circuit_breaker_registry_refused_total` | counter | `service_name` alone |
///
/// All combinations that can occur exist from the start with zero; a type of fallback exists once
/// it was used or [declared](fusebox::CircuitBreaker::declare_fallback). `neutral` are calls whose
/// result says nothing about the dependency, cancelled ones included: leave it out of both sides of
/// a failure ratio.
///
/// Two circuits with the same name and the same service name, in two registries, would be one
/// series twice, and a scraper refuses that.
#[derive(Debug, Clone)]
pub struct BreakerCollector {
    registries: Vec<Registry>,
}

impl BreakerCollector {
    /// A collector over these registries, and over circuits that are added to them later.
    pub fn new(registries: impl IntoIterator<Item = Registry>) -> Self {
        Self {
            registries: registries.into_iter().collect(),
        }
    }
}

impl Collector for BreakerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Taken once, so that all families of one scrape tell of the same moment of a circuit.
        let circuits: Vec<Snapshot> = self
            .registries
            .iter()
            .flat_map(Registry::snapshots)
            .collect();

        let mut states = encoder.encode_descriptor(
            "circuit_breaker_state",
            "State of the circuit: 0 closed, 1 open, 2 half-open",
            None,
            MetricType::Gauge,
        )?;
        for circuit in &circuits {
            let state = ConstGauge::new(i64::from(circuit.state.gauge()));
            put(&mut states, circuit, [], &state)?;
        }

        Counters {
            name: "circuit_breaker_calls",
            help: "Calls by result; blocked were refused, neutral say nothing about the dependency",
            unit: None,
        }
        .encode(&mut encoder, &circuits, |circuit| {
            let counts = circuit.counts;
            vec![
                ([("result", "success")], counts.success),
                ([("result", "failure")], counts.failure),
                ([("result", "blocked")], counts.blocked),
                ([("result", "neutral")], counts.neutral),
            ]
        })?;

        Counters {
            name: "circuit_breaker_fallback",
            help: "Answers given by a fallback in place of the call",
            unit: None,
        }
        .encode(&mut encoder, &circuits, |circuit| {
            let by_type = circuit.fallbacks.iter();
            by_type
                .map(|(kind, count)| ([("fallback_type", *kind)], *count))
                .collect()
        })?;

        Counters {
            name: "circuit_breaker_recovery_attempts",
            help: "Half-open periods by verdict: success closed the circuit, failure opened it again",
            unit: None,
        }
        .encode(&mut encoder, &circuits, |circuit| {
            let attempts = circuit.recovery_attempts;
            vec![
                ([("result", "success")], attempts.success),
                ([("result", "failure")], attempts.failure),
            ]
        })?;

        Counters {
            name: "circuit_breaker_transitions",
            help: "Changes of state",
            unit: None,
        }
        .encode(&mut encoder, &circuits, |circuit| {
            let changes = circuit.transitions.iter();
            changes
                .map(|(from, to, count)| ([("from", from.as_str()), ("to", to.as_str())], count))
                .collect()
        })?;

        Counters {
            // The unit puts `_seconds` on the name.
            name: "circuit_breaker_state",
            help: "Time spent in each state",
            unit: Some(Unit::Seconds),
        }
        .encode(&mut encoder, &circuits, |circuit| {
            let time = |state| circuit.time_in_state.get(state).as_secs_f64();
            State::ALL
                .map(|state| ([("state", state.as_str())], time(state)))
                .into()
        })?;

        self.encode_registries(
            &mut encoder,
            "circuit_breaker_registry_evicted",
            "Circuits made by key and removed again, to make room or because they were idle",
            Registry::evicted,
        )?;
        self.encode_registries(
            &mut encoder,
            "circuit_breaker_registry_refused",
            "Circuits not made because the registry was full of such as must stay",
            Registry::refused,
        )
    }
}

impl BreakerCollector {
    fn encode_registries(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        count: impl Fn(&Registry) -> u64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for registry in &self.registries {
            let labels = [("service_name", registry.service())];
            ConstCounter::new(count(registry)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A family of counters.
struct Counters {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
}

/// The samples of one circuit: the labels beside its names, and the value.
type Samples<V, const N: usize> = Vec<([(&'static str, &'static str); N], V)>;

impl Counters {
    fn encode<V: EncodeCounterValue, const N: usize>(
        self,
        encoder: &mut DescriptorEncoder<'_>,
        circuits: &[Snapshot],
        samples: impl Fn(&Snapshot) -> Samples<V, N>,
    ) -> fmt::Result {
        let unit = self.unit.as_ref();
        let mut family =
            encoder.encode_descriptor(self.name, self.help, unit, MetricType::Counter)?;
        for circuit in circuits {
            for (labels, value) in samples(circuit) {
                put(&mut family, circuit, labels, &ConstCounter::new(value))?;
            }
        }
        Ok(())
    }
}

/// Writes one sample of `circuit` into its family.
fn put<const N: usize>(
    family: &mut MetricEncoder<'_>,
    circuit: &Snapshot,
    labels: [(&str, &str); N],
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let names = [
        ("service_name", circuit.service_name.as_str()),
        ("circuit_name", circuit.circuit_name.as_str()),
    ];
    metric.encode(family.encode_family(&(names, labels))?)
}
