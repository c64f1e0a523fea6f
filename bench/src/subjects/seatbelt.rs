//! Adapter of seatbelt, on its own virtual clock.

use std::sync::Arc;
use std::time::Duration;

use fusebox_conformance::{Ability, Breaker, Config, Fault, Settled, Subject, Upstream, Window};
use layered::{Execute, Service as _, Stack as _};
use seatbelt::breaker::{Breaker as Layer, HalfOpenMode};
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::ClockControl;

use super::{Around, Peer, REFUSED};

pub(super) fn subject() -> Arc<dyn Subject> {
    Arc::new(Peer {
        name: "seatbelt 0.11",
        abilities: &[
            Ability::Rate,
            Ability::TimeWindow,
            Ability::ExactTrip,
            Ability::Classifier,
            Ability::AbandonedSlow,
        ],
        // Its quick mode; the other one lets a growing share through, not a number.
        permitted: Some(1),
        make: |config, _| Ok(make(config)),
    })
}

#[derive(Debug)]
enum Outcome {
    Refused,
    Answered(Result<(), Fault>),
}

fn make(config: &Config) -> Arc<dyn Breaker> {
    let control = ClockControl::new();
    let context = ResilienceContext::new(control.to_clock()).name("subject");
    let length = match config.window {
        Window::Time(length) => length,
        Window::Count(_) => Duration::from_secs(30),
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a share needs no more digits"
    )]
    let rate = config.failure_rate as f32;
    let service = Arc::new(
        (
            Layer::layer("subject", &context)
                .recovery_with(|outcome: &Outcome, _| match outcome {
                    Outcome::Answered(Err(fault)) if !fault.is_neutral() => RecoveryInfo::retry(),
                    _ => RecoveryInfo::never(),
                })
                .rejected_input(|_, _| Outcome::Refused)
                .failure_threshold(rate)
                .min_throughput(config.minimum)
                .sampling_duration(length)
                .break_duration(config.first_break)
                .half_open_mode(HalfOpenMode::quick()),
            Execute::new(|upstream: Upstream| async move { Outcome::Answered(upstream.await) }),
        )
            .into_service(),
    );
    Around::shared(
        move |upstream| {
            let service = Arc::clone(&service);
            Box::pin(async move {
                match service.execute(upstream).await {
                    Outcome::Refused => REFUSED,
                    Outcome::Answered(_) => Settled::Made,
                }
            })
        },
        move |by| control.advance(by),
    )
}
