//! The adapter of Fusebox: by its permits and by its `call`, on virtual time.
//!
//! Also compiled into the comparison with other breakers, so that both ask the same.

use std::sync::Arc;
use std::time::Duration;

use fusebox::{
    Abandoned, BreakerConfig, CallError, CircuitBreaker, Classify, EventKind, NotPermitted,
    Outcome, Permit, SlowCall, State, VirtualClock,
};
use fusebox_conformance::{
    Ability, Breaker, Call, Config, Ending, Fault, Observer, Phase, Refusal, Refused, Settled,
    Subject, Totals, Transition, Upstream, Window, abandon, hold, unwind_with,
};

const ABILITIES: [Ability; 15] = [
    Ability::Rate,
    Ability::CountWindow,
    Ability::TimeWindow,
    Ability::ExactTrip,
    Ability::Minimum,
    Ability::Neutral,
    Ability::SlowInFlight,
    Ability::AbandonedSlow,
    Ability::Events,
    Ability::EventTotals,
    Ability::Reconfigure,
    Ability::RetryAfter,
    Ability::Hint,
    Ability::Jitter,
    Ability::Escalation,
];

/// Which of its two faces is asked.
#[derive(Clone, Copy)]
pub(crate) enum Face {
    Permits,
    Calls,
}

pub(crate) struct Fusebox(Face, Vec<Ability>);

impl Fusebox {
    pub(crate) fn by(face: Face) -> Arc<dyn Subject> {
        let mut abilities = ABILITIES.to_vec();
        if matches!(face, Face::Calls) {
            abilities.push(Ability::Classifier);
        }
        Arc::new(Self(face, abilities))
    }
}

impl Subject for Fusebox {
    fn name(&self) -> String {
        match self.0 {
            Face::Permits => "Fusebox, permits".into(),
            Face::Calls => "Fusebox, call".into(),
        }
    }

    fn abilities(&self) -> &[Ability] {
        &self.1
    }

    fn make(
        &self,
        config: &Config,
        observer: Option<Observer>,
    ) -> Result<Arc<dyn Breaker>, Refused> {
        let clock = VirtualClock::new();
        let breaker = CircuitBreaker::builder("subject")
            .config(settings(config))
            .clock(Arc::new(clock.clone()))
            .build()
            .map_err(|error| Refused(error.to_string()))?;
        if let Some(observer) = observer {
            breaker.on_event(move |event| {
                if let EventKind::Transition {
                    from, to, totals, ..
                } = &event.kind
                {
                    observer(&Transition {
                        from: phase(*from),
                        to: phase(*to),
                        totals: Some(Totals {
                            calls: totals.calls,
                            failures: totals.failures,
                        }),
                    });
                }
            });
        }
        Ok(Arc::new(Made {
            breaker,
            clock,
            face: self.0,
        }))
    }
}

fn settings(config: &Config) -> BreakerConfig {
    BreakerConfig::new()
        .with_window(match config.window {
            Window::Count(calls) => fusebox::Window::Count(calls),
            Window::Time(length) => fusebox::Window::Time {
                length,
                buckets: 10,
            },
        })
        .with_failure_threshold(config.minimum)
        .with_failure_rate(config.failure_rate)
        .with_success_threshold(config.probes)
        .with_first_break(config.first_break)
        .with_recovery_timeout(config.longest_break)
        .with_break_jitter(config.jitter)
        .with_half_open_lease(config.lease)
        // What lasts too long and is cancelled then was slow; a policy, and not the default.
        .with_abandoned(if config.slow.is_some() {
            Abandoned::Slow
        } else {
            Abandoned::Neutral
        })
        .with_slow_call(config.slow.map(|slow| SlowCall {
            longer_than: slow.longer_than,
            rate: slow.rate,
            minimum: slow.minimum,
        }))
}

fn phase(state: State) -> Phase {
    match state {
        State::Closed => Phase::Closed,
        State::Open => Phase::Open,
        State::HalfOpen => Phase::HalfOpen,
    }
}

fn refusal(refused: &NotPermitted) -> Refusal {
    Refusal {
        retry_after: refused.retry_after(),
    }
}

struct Made {
    breaker: CircuitBreaker,
    clock: VirtualClock,
    face: Face,
}

/// The suite's fault, as Fusebox judges errors.
struct Judged(Fault);

impl Classify for Judged {
    fn outcome(&self) -> Outcome {
        if self.0.is_neutral() {
            Outcome::Neutral
        } else {
            Outcome::Failure
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }
}

impl Breaker for Made {
    fn start(&self) -> Result<Box<dyn Call>, Refusal> {
        match self.face {
            Face::Permits => match self.breaker.try_acquire() {
                Ok(permit) => Ok(Box::new(ByPermit(permit))),
                Err(refused) => Err(refusal(&refused)),
            },
            Face::Calls => hold(|upstream| protect(self.breaker.clone(), upstream)),
        }
    }

    fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn abandon_unstarted(&self) {
        match self.face {
            Face::Permits => drop(self.breaker.try_acquire()),
            Face::Calls => abandon(|upstream| protect(self.breaker.clone(), upstream)),
        }
    }

    fn reconfigure(&self, config: &Config) -> Result<(), Refused> {
        self.breaker
            .set_config(settings(config))
            .map_err(|error| Refused(error.to_string()))
    }
}

async fn protect(breaker: CircuitBreaker, upstream: Upstream) -> Settled {
    let call = || async { upstream.await.map_err(Judged) };
    match breaker.call(call).await {
        Err(CallError::NotPermitted(refused)) => Settled::Refused(refusal(&refused)),
        Ok(()) | Err(CallError::Inner(_)) => Settled::Made,
    }
}

struct ByPermit(Permit);

impl Call for ByPermit {
    fn end(self: Box<Self>, ending: Ending) {
        match ending {
            Ending::Success => self.0.success(),
            Ending::Failure => self.0.failure(),
            Ending::FailureAskingFor(time) => self.0.record_with_hint(Outcome::Failure, Some(time)),
            Ending::Neutral => self.0.neutral(),
            _ => unwind_with(self.0),
        }
    }
}
