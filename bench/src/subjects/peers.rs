//! Adapters of recloser, failsafe, nobreak and circuitbreaker-rs.

use std::sync::Arc;

use fusebox_conformance::{Ability, Breaker, Config, Fault, Settled, Subject, Window};

use super::{Around, Peer, REFUSED, wait};
use crate::peers;

fn calls(config: &Config) -> usize {
    match config.window {
        Window::Count(calls) => calls as usize,
        Window::Time(_) => config.minimum as usize,
    }
}

pub(super) fn recloser() -> Arc<dyn Subject> {
    fn make(config: &Config) -> Arc<dyn Breaker> {
        let breaker = recloser::AsyncRecloser::from(peers::recloser(
            calls(config),
            config.probes as usize,
            config.first_break,
        ));
        Around::shared(
            move |upstream| {
                let call = breaker.call_with(|fault: &Fault| !fault.is_neutral(), upstream);
                Box::pin(async move {
                    match call.await {
                        Err(recloser::Error::Rejected) => REFUSED,
                        Ok(()) | Err(recloser::Error::Inner(_)) => Settled::Made,
                    }
                })
            },
            wait,
        )
    }
    Arc::new(Peer {
        name: "recloser 1.4",
        abilities: &[
            Ability::Rate,
            Ability::CountWindow,
            Ability::ExactTrip,
            Ability::Classifier,
        ],
        permitted: None,
        make: |config, _| Ok(make(config)),
    })
}

fn around_failsafe<P>(machine: failsafe::StateMachine<P, ()>) -> Arc<dyn Breaker>
where
    P: failsafe::FailurePolicy + Send + Sync + 'static,
{
    use failsafe::futures::CircuitBreaker as _;
    Around::shared(
        move |upstream| {
            let call = machine.call_with(|fault: &Fault| !fault.is_neutral(), upstream);
            Box::pin(async move {
                match call.await {
                    Err(failsafe::Error::Rejected) => REFUSED,
                    Ok(()) | Err(failsafe::Error::Inner(_)) => Settled::Made,
                }
            })
        },
        wait,
    )
}

pub(super) fn failsafe_consecutive() -> Arc<dyn Subject> {
    Arc::new(Peer {
        name: "failsafe 1.3, consecutive",
        abilities: &[Ability::ExactTrip, Ability::Classifier],
        permitted: None,
        make: |config, _| {
            Ok(around_failsafe(peers::failsafe_consecutive(
                config.minimum,
                config.first_break,
            )))
        },
    })
}

pub(super) fn failsafe_rate() -> Arc<dyn Subject> {
    Arc::new(Peer {
        name: "failsafe 1.3, rate",
        abilities: &[Ability::Rate, Ability::TimeWindow, Ability::Classifier],
        permitted: None,
        make: |config, _| {
            let length = match config.window {
                Window::Time(length) => length,
                Window::Count(_) => std::time::Duration::from_secs(1),
            };
            Ok(around_failsafe(peers::failsafe_rate(
                config.minimum,
                length,
                config.first_break,
            )))
        },
    })
}

pub(super) fn nobreak() -> Arc<dyn Subject> {
    fn make(config: &Config) -> Arc<dyn Breaker> {
        let breaker = Arc::new(peers::nobreak(
            config.minimum as usize,
            config.probes as usize,
            config.first_break,
        ));
        Around::shared(
            move |upstream| {
                let breaker = Arc::clone(&breaker);
                Box::pin(async move {
                    match breaker.call_async(|| upstream).await {
                        Err(nobreak::CircuitError::Open) => REFUSED,
                        Ok(()) | Err(_) => Settled::Made,
                    }
                })
            },
            wait,
        )
    }
    Arc::new(Peer {
        name: "nobreak 0.1",
        abilities: &[Ability::ExactTrip],
        permitted: None,
        make: |config, _| Ok(make(config)),
    })
}

/// Its rate has no window: it counts since the circuit closed. It is asked as if that were one of
/// the last calls.
pub(super) fn circuitbreaker_rs() -> Arc<dyn Subject> {
    fn make(config: &Config) -> Arc<dyn Breaker> {
        let breaker = peers::circuitbreaker_rs::<Fault>(
            u64::from(config.minimum),
            config.probes,
            config.first_break,
        );
        Around::shared(
            move |upstream| {
                let breaker = breaker.clone();
                Box::pin(async move {
                    match breaker.call_async(|| upstream).await {
                        Err(circuitbreaker_rs::BreakerError::Open) => REFUSED,
                        Ok(()) | Err(_) => Settled::Made,
                    }
                })
            },
            wait,
        )
    }
    Arc::new(Peer {
        name: "circuitbreaker-rs 0.1",
        abilities: &[Ability::Rate, Ability::CountWindow, Ability::ExactTrip],
        permitted: None,
        make: |config, _| Ok(make(config)),
    })
}
