//! The peers' breakers, half of the calls failing as the limit.

use std::error::Error;
use std::time::Duration;

use failsafe::{StateMachine, backoff, failure_policy};
use layered::{Execute, Service, Stack as _};
use seatbelt::breaker::Breaker;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, DefaultClassifier};

use crate::operation;

/// recloser over the last `calls`.
pub fn recloser(calls: usize, half_open: usize, wait: Duration) -> recloser::Recloser {
    recloser::Recloser::custom()
        .error_rate(0.5)
        .closed_len(calls)
        .half_open_len(half_open)
        .open_wait(wait)
        .build()
}

/// failsafe with consecutive failures.
pub type FailsafeConsecutive =
    StateMachine<failure_policy::ConsecutiveFailures<backoff::Constant>, ()>;

/// failsafe, open after `failures` in a row.
pub fn failsafe_consecutive(failures: u32, wait: Duration) -> FailsafeConsecutive {
    let policy = failure_policy::consecutive_failures(failures, backoff::constant(wait));
    failsafe::Config::new().failure_policy(policy).build()
}

/// failsafe with a moving average of successes.
pub type FailsafeRate =
    StateMachine<failure_policy::SuccessRateOverTimeWindow<backoff::Constant>, ()>;

/// failsafe over `window`, from `minimum` calls on.
pub fn failsafe_rate(minimum: u32, window: Duration, wait: Duration) -> FailsafeRate {
    let policy = failure_policy::success_rate_over_time_window(
        0.5,
        minimum,
        window,
        backoff::constant(wait),
    );
    failsafe::Config::new().failure_policy(policy).build()
}

/// circuitbreaker-rs with its default policy.
pub type CircuitBreakerRs<E> =
    circuitbreaker_rs::CircuitBreaker<circuitbreaker_rs::DefaultPolicy, E>;

/// circuitbreaker-rs, judged from `minimum` calls on.
pub fn circuitbreaker_rs<E>(minimum: u64, probes: u32, wait: Duration) -> CircuitBreakerRs<E>
where
    E: Error + Send + Sync + 'static,
{
    CircuitBreakerRs::<E>::builder()
        .failure_threshold(0.5)
        .min_throughput(minimum)
        .cooldown(wait)
        .probe_interval(probes)
        .consecutive_failures(u64::MAX)
        .consecutive_successes(u64::from(probes))
        .build()
}

/// nobreak, open after `failures` in a row.
pub fn nobreak(failures: usize, successes: usize, wait: Duration) -> nobreak::CircuitBreaker {
    nobreak::builder()
        .with_failure_threshold(failures)
        .with_success_threshold(successes)
        .with_open_duration(wait)
        .build()
}

/// tower-resilience's layer over the last `calls`.
///
/// # Panics
/// With zero calls, which it refuses.
pub fn tower_resilience(
    calls: usize,
    half_open: usize,
    wait: Duration,
) -> CircuitBreakerLayer<DefaultClassifier> {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(calls)
        .minimum_number_of_calls(calls)
        .permitted_calls_in_half_open(half_open)
        .wait_duration_in_open(wait)
        .name("bench")
        .build()
        .expect("settings its documentation allows")
}

/// What comes out of the seatbelt service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The breaker refused the call.
    Refused,
    /// The operation succeeded, or not.
    Made(bool),
}

/// A service with seatbelt's breaker over the last 30 s around the operation.
pub fn seatbelt(
    clock: &tick::Clock,
    minimum: u32,
    wait: Duration,
) -> impl Service<bool, Out = Answer> + use<> {
    let context = ResilienceContext::new(clock).name("bench");
    (
        Breaker::layer("bench", &context)
            .recovery_with(|answer: &Answer, _| match answer {
                Answer::Made(false) => RecoveryInfo::retry(),
                _ => RecoveryInfo::never(),
            })
            .rejected_input(|_, _| Answer::Refused)
            .failure_threshold(0.5)
            .min_throughput(minimum)
            .sampling_duration(Duration::from_secs(30))
            .break_duration(wait),
        Execute::new(|fail: bool| async move { Answer::Made(operation(fail).is_ok()) }),
    )
        .into_service()
}
