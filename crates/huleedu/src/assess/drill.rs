//! A drill: in the middle of the batch the embedded broker goes away, and comes back after a while.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use anyhow::Context as _;
use fusebox::{EventKind, State};
use fusebox_devbroker::Faults;
use huleedu_contracts::topics::Topic;
use huleedu_kit::RunningService;
use jiff::SignedDuration;
use serde::Serialize;
use tokio::time::Instant;

use crate::{audit::Ledger, platform::Platform};

/// The middle of a batch: the first essay is spell-checked, and everything else waits for it.
const MOMENT: Topic = Topic::SpellcheckPhaseCompleted;
/// How long circuits may take to close after the batch has ended.
const CLOSE_LIMIT: Duration = Duration::from_mins(1);
/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What happens to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {
    /// Its connections are closed and new ones refused.
    BrokerOutage,
    /// Its connections stay, and it says nothing.
    BrokerFreeze,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BrokerOutage => "broker away",
            Self::BrokerFreeze => "broker frozen",
        })
    }
}

/// What is to be drilled, for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drill {
    trouble: Trouble,
    lasts: Duration,
}

impl FromStr for Drill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = || "broker-outage=TIME or broker-freeze=TIME, such as broker-outage=20s";
        let (trouble, lasts) = text.split_once('=').ok_or_else(allowed)?;
        let trouble = match trouble {
            "broker-outage" => Trouble::BrokerOutage,
            "broker-freeze" => Trouble::BrokerFreeze,
            _ => return Err(allowed().to_owned()),
        };
        let lasts: SignedDuration = lasts.parse().map_err(|_| allowed())?;
        let lasts = Duration::try_from(lasts).map_err(|_| allowed())?;
        Ok(Self { trouble, lasts })
    }
}

/// What the drill showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drilled {
    trouble: Trouble,
    seconds: f64,
    /// Events that waited for Kafka when it went away.
    waiting_before: usize,
    /// The most that waited.
    waiting_most: usize,
    /// Seconds from its return until none waited.
    emptied_after_seconds: f64,
    /// The ways of the Kafka circuits that opened.
    circuits: Vec<Way>,
}

/// The states of one circuit, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Way {
    circuit_name: String,
    states: Vec<&'static str>,
}

impl Drilled {
    /// Two lines or more for people.
    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![format!(
            "drill: {} for {:.1} s; events waiting for it: {} before, {} at most, none {:.1} s after",
            self.trouble,
            self.seconds,
            self.waiting_before,
            self.waiting_most,
            self.emptied_after_seconds
        )];
        let way = |way: &Way| format!("{}: {}", way.circuit_name, way.states.join(" → "));
        lines.extend(self.circuits.iter().map(way));
        if self.circuits.is_empty() {
            lines.push("no circuit opened".to_owned());
        }
        lines.join("\n       ")
    }
}

/// Makes sure that the broker is well again, however the drill ends.
struct Heal(Faults);

impl Drop for Heal {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Drill {
    /// Waits for the middle of the batch, does it, and waits until nothing waits for Kafka any more.
    ///
    /// # Errors
    /// When the platform runs on a Kafka that is not ours to stop.
    pub(crate) async fn carry_out(self, platform: &Platform) -> anyhow::Result<Drilled> {
        let broker = platform.broker().context("this Kafka is not ours")?;
        let ledger: Arc<Ledger> = Arc::clone(platform.ledger());
        ledger.published(MOMENT).await;
        let faults = Heal(broker.faults());
        ledger.take_most_waiting();
        let waiting_before = ledger.waiting();
        let began = Instant::now();
        match self.trouble {
            Trouble::BrokerOutage => faults.0.outage(),
            Trouble::BrokerFreeze => faults.0.freeze(),
        }
        tracing::warn!(trouble = %self.trouble, seconds = self.lasts.as_secs_f64(), "drill begins");
        tokio::time::sleep(self.lasts).await;
        let waiting_most = ledger.take_most_waiting();
        drop(faults);
        let returned = Instant::now();
        tracing::warn!("drill ends");
        ledger.none_waiting().await;
        Ok(Drilled {
            trouble: self.trouble,
            seconds: (returned - began).as_secs_f64(),
            waiting_before,
            waiting_most,
            emptied_after_seconds: returned.elapsed().as_secs_f64(),
            circuits: Vec::new(),
        })
    }
}

impl Drilled {
    /// Adds what the circuits did, once they have closed again.
    ///
    /// # Errors
    /// When one stays open although Kafka is back.
    pub(crate) async fn with_circuits(mut self, platform: &Platform) -> anyhow::Result<Self> {
        let deadline = Instant::now() + CLOSE_LIMIT;
        loop {
            self.circuits = ways(platform.services());
            let open = self
                .circuits
                .iter()
                .find(|way| way.states.last() != Some(&"closed"));
            let Some(open) = open else { return Ok(self) };
            anyhow::ensure!(
                Instant::now() < deadline,
                "circuit {} is still {} {} s after the batch has ended",
                open.circuit_name,
                open.states.last().unwrap_or(&"closed"),
                CLOSE_LIMIT.as_secs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The ways of those Kafka circuits that have changed their state.
fn ways(services: &[RunningService]) -> Vec<Way> {
    let mut ways = Vec::new();
    for breaker in services.iter().flat_map(|s| s.breakers().breakers()) {
        let name = breaker.snapshot().circuit_name;
        if !name.ends_with(".kafka_producer") {
            continue;
        }
        let mut states = vec![State::Closed.as_str()];
        for event in breaker.recent_events() {
            if let EventKind::Transition { to, .. } = event.kind {
                states.push(to.as_str());
            }
        }
        if states.len() > 1 {
            ways.push(Way {
                circuit_name: name,
                states,
            });
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_are_read_and_others_refused() {
        let drill: Drill = "broker-outage=20s".parse().unwrap();
        let expected = Drill {
            trouble: Trouble::BrokerOutage,
            lasts: Duration::from_secs(20),
        };
        assert_eq!(drill, expected);
        assert!("broker-freeze=500ms".parse::<Drill>().is_ok());
        for wrong in [
            "",
            "broker-outage",
            "broker-outage=",
            "broker-outage=-1s",
            "rain=1s",
        ] {
            let error = wrong.parse::<Drill>().unwrap_err();
            assert!(error.contains("broker-outage=20s"), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_figures_are_told() {
        let drilled = Drilled {
            trouble: Trouble::BrokerOutage,
            seconds: 20.0,
            waiting_before: 2,
            waiting_most: 34,
            emptied_after_seconds: 0.75,
            circuits: vec![Way {
                circuit_name: "spellchecker.kafka_producer".to_owned(),
                states: vec!["closed", "open", "half_open", "closed"],
            }],
        };
        assert_eq!(
            drilled.to_text(),
            "drill: broker away for 20.0 s; events waiting for it: 2 before, 34 at most, none 0.8 s after\n       \
             spellchecker.kafka_producer: closed → open → half_open → closed"
        );
    }
}
