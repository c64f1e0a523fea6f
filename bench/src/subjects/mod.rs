//! The conformance suite's adapters: Fusebox and its peers.

mod peers;
mod seatbelt;
mod tower;

// The adapter the suite's own tests use, so that both put the same questions.
#[path = "../../../crates/fusebox-conformance/tests/it/fusebox_adapter.rs"]
mod fusebox_adapter;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fusebox_adapter::{Face, Fusebox};
use fusebox_conformance::{
    Ability, Breaker, Call, Config, Observer, Refusal, Refused, Settled, Subject, Upstream,
    abandon, hold,
};

/// All subjects, Fusebox first.
pub fn all() -> Vec<Arc<dyn Subject>> {
    vec![
        Fusebox::by(Face::Permits),
        Fusebox::by(Face::Calls),
        peers::recloser(),
        peers::failsafe_consecutive(),
        peers::failsafe_rate(),
        tower::subject(),
        seatbelt::subject(),
        peers::nobreak(),
        peers::circuitbreaker_rs(),
    ]
}

type Made = Result<Arc<dyn Breaker>, Refused>;

/// A peer: its name, what it can do, and how to make one.
struct Peer {
    name: &'static str,
    abilities: &'static [Ability],
    /// Documented number of probes, where it is no setting.
    permitted: Option<usize>,
    make: fn(&Config, Option<Observer>) -> Made,
}

impl Subject for Peer {
    fn name(&self) -> String {
        self.name.into()
    }

    fn abilities(&self) -> &[Ability] {
        self.abilities
    }

    fn make(&self, config: &Config, observer: Option<Observer>) -> Made {
        (self.make)(config, observer)
    }

    fn permitted(&self, config: &Config) -> usize {
        self.permitted.unwrap_or(config.probes as usize)
    }
}

type Protected = Pin<Box<dyn Future<Output = Settled>>>;

/// A breaker that wraps futures, on real or virtual time.
struct Around<P, T> {
    protect: P,
    pass: T,
}

impl<P, T> Around<P, T>
where
    P: Fn(Upstream) -> Protected + Send + Sync + 'static,
    T: Fn(Duration) + Send + Sync + 'static,
{
    fn shared(protect: P, pass: T) -> Arc<dyn Breaker> {
        Arc::new(Self { protect, pass })
    }
}

impl<P, T> Breaker for Around<P, T>
where
    P: Fn(Upstream) -> Protected + Send + Sync,
    T: Fn(Duration) + Send + Sync,
{
    fn start(&self) -> Result<Box<dyn Call>, Refusal> {
        hold(&self.protect)
    }

    fn pass(&self, by: Duration) {
        (self.pass)(by);
    }

    fn abandon_unstarted(&self) {
        abandon(&self.protect);
    }
}

/// For breakers that read the real clock: what a millisecond clock calls `by` has surely passed.
#[expect(
    clippy::disallowed_methods,
    reason = "these peers have no other clock, and no runtime runs here"
)]
fn wait(by: Duration) {
    std::thread::sleep(by + Duration::from_millis(2));
}

const REFUSED: Settled = Settled::Refused(Refusal { retry_after: None });
