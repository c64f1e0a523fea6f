//! Adapter of tower-resilience's circuit breaker.

use std::future::poll_fn;
use std::sync::{Arc, LazyLock};

use ::tower::{ServiceExt, service_fn};
use fusebox_conformance::{
    Ability, Config, Fault, Observer, Phase, Refused, Settled, Subject, Transition, Upstream,
    Window,
};
use tokio::runtime::{Builder, Runtime};
use tower_resilience_circuitbreaker::{
    CircuitBreakerError, CircuitBreakerLayer, CircuitState, SlidingWindowType,
};

use super::{Around, Made, Peer, REFUSED, wait};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a thread and a timer can be had")
});

pub(super) fn subject() -> Arc<dyn Subject> {
    Arc::new(Peer {
        name: "tower-resilience 0.14",
        abilities: &[
            Ability::Rate,
            Ability::CountWindow,
            Ability::TimeWindow,
            Ability::ExactTrip,
            Ability::Minimum,
            Ability::Classifier,
            Ability::Events,
        ],
        permitted: None,
        make,
    })
}

fn make(config: &Config, observer: Option<Observer>) -> Made {
    let mut builder = CircuitBreakerLayer::builder()
        .failure_rate_threshold(config.failure_rate)
        .minimum_number_of_calls(config.minimum as usize)
        .permitted_calls_in_half_open(config.probes as usize)
        .wait_duration_in_open(config.first_break)
        .name("subject");
    builder = match config.window {
        Window::Count(calls) => builder.sliding_window_size(calls as usize),
        Window::Time(length) => builder
            .sliding_window_type(SlidingWindowType::TimeBased)
            .sliding_window_size(config.minimum as usize)
            .sliding_window_duration(length),
    };
    if let Some(observer) = observer {
        builder = builder.on_state_transition(move |from, to| {
            observer(&Transition {
                from: phase(from),
                to: phase(to),
                totals: None,
            });
        });
    }
    let layer = builder
        .failure_classifier(|result: &Result<(), Fault>| match result {
            Ok(()) => false,
            Err(fault) => !fault.is_neutral(),
        })
        .build()
        .map_err(|error| Refused(error.to_string()))?;
    let service = layer.layer_fn(service_fn(|upstream: Upstream| upstream));
    Ok(Around::shared(
        move |upstream| {
            let service = service.clone();
            let mut call = Box::pin(async move {
                match service.oneshot(upstream).await {
                    Err(CircuitBreakerError::OpenCircuit) => REFUSED,
                    Ok(()) | Err(CircuitBreakerError::Inner(_)) => Settled::Made,
                }
            });
            // It sleeps on tokio's timer while its lock is taken.
            Box::pin(poll_fn(move |context| {
                let _inside = RUNTIME.enter();
                call.as_mut().poll(context)
            }))
        },
        wait,
    ))
}

fn phase(state: CircuitState) -> Phase {
    match state {
        CircuitState::Closed => Phase::Closed,
        CircuitState::Open => Phase::Open,
        CircuitState::HalfOpen => Phase::HalfOpen,
    }
}
