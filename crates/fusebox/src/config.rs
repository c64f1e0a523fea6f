//! The settings of one breaker, their defaults, and what is refused at start.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::window::{MOST_CALLS, Totals};

/// The most probes of a half-open period.
pub(crate) const MOST_PROBES: u32 = 100_000;

/// Which failures open a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TripRule {
    /// At least `failure_threshold` failures in the window, and at least `failure_rate` of its calls.
    #[default]
    Rate,
    /// `failure_threshold` failures with no success between them.
    ///
    /// Blind to partial outages, and makes them worse when traffic is high; here for parity with
    /// set-ups that count this way.
    Consecutive,
}

/// The calls over which rates are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Window {
    /// The last so many judged calls (1 to 100 000).
    Count(u32),
    /// The calls of the last `length`, forgotten in steps of `length / buckets`.
    Time {
        /// How far back the window reaches, the current bucket included.
        length: Duration,
        /// Number of steps (1 to 1 000); each must last at least a millisecond.
        buckets: u32,
    },
}

/// When calls count as slow, and how many slow calls open the circuit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowCall {
    /// A call that takes this long or longer is slow. A call still under way counts from this
    /// moment on.
    pub longer_than: Duration,
    /// Share of slow calls among the window's calls that opens the circuit, 0 < rate ≤ 1.
    pub rate: f64,
    /// The least number of slow calls that opens the circuit.
    pub minimum: u32,
}

/// What becomes of a call whose permit is dropped without a result: cancelled, or forgotten.
///
/// A permit dropped by a panic is neutral under every policy: a panic is a fault of the calling
/// program. So is a permit that says so ([`Permit::neutral`](crate::Permit::neutral)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Abandoned {
    /// It says nothing: whoever cancels has reasons of their own.
    #[default]
    Neutral,
    /// It failed. For callers whose only reason to cancel is the dependency.
    Failure,
    /// It was slow, if it had lasted as long as a slow call when it was dropped; else it says
    /// nothing. For callers that cancel what takes too long, by a timeout or a hedge: otherwise a
    /// dependency that hangs is never seen to.
    Slow,
}

/// What a [`CustomRule`] decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// What the window holds, the call that ended included.
    pub totals: Totals,
    /// Failures since the last success.
    pub consecutive_failures: u32,
}

/// A trip rule of one's own, asked after the others whenever a call has failed or was slow.
///
/// It must be quick, and it must not use the breaker it belongs to for calls. A panic in it counts
/// as "no", and as an observer's.
///
/// ```
/// use fusebox::{BreakerConfig, CustomRule};
///
/// // A quarter of at least forty calls, or anything slow at all among the failures.
/// let rule = CustomRule::new(|seen| {
///     let totals = seen.totals;
///     totals.calls >= 40 && totals.failures * 4 >= totals.calls
/// });
/// let config = BreakerConfig::new().with_custom_rule(rule);
/// # assert!(config.validate().is_ok());
/// ```
#[derive(Clone)]
pub struct CustomRule(Arc<dyn Fn(&Evidence) -> bool + Send + Sync>);

impl CustomRule {
    /// Opens the circuit when `trips` answers true.
    pub fn new(trips: impl Fn(&Evidence) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(trips))
    }

    pub(crate) fn trips(&self, evidence: &Evidence) -> bool {
        (self.0)(evidence)
    }
}

impl fmt::Debug for CustomRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomRule")
    }
}

/// Two handles of one rule are equal, two rules never.
impl PartialEq for CustomRule {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// After its probes have succeeded, a circuit may let traffic back in steps.
///
/// In step `k` of `n`, `k` of `n + 1` calls pass; after the last step the circuit is closed. While
/// it lasts the circuit counts as half-open, but calls are judged by the trip rules as in a closed
/// one, and a trip begins a longer break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// How long it takes in all.
    pub length: Duration,
    /// Number of steps (1 to 100); each must last at least a millisecond.
    pub steps: u32,
}

/// The settings of one breaker.
///
/// | setting | default |
/// |---|---|
/// | `failure_threshold` | 5 |
/// | `trip_rule` | [`TripRule::Rate`] |
/// | `failure_rate` | 0.5 |
/// | `window` | the last 10 s in 20 buckets |
/// | `consecutive_failures` | none |
/// | `custom_rule` | none |
/// | `slow_call` | none |
/// | `judge_calls_under_way` | true |
/// | `abandoned` | [`Abandoned::Neutral`] |
/// | `first_break` | 1 s |
/// | `recovery_timeout` | 60 s |
/// | `break_jitter` | 0.2 |
/// | `retry_after_cap` | 300 s |
/// | `success_threshold` | 2 |
/// | `half_open_lease` | 30 s |
/// | `ramp` | none |
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BreakerConfig {
    /// The least number of failures before a trip, under either rule; at least 1.
    pub failure_threshold: u32,
    /// Which failures open the circuit.
    pub trip_rule: TripRule,
    /// Share of failures among the window's calls that opens the circuit under
    /// [`TripRule::Rate`]; 0 < rate ≤ 1, resolved to 0.01 %.
    pub failure_rate: f64,
    /// The calls over which rates are computed.
    pub window: Window,
    /// So many failures in a row open the circuit as well, whatever the rate; at least 1. Not
    /// together with [`TripRule::Consecutive`], whose number is `failure_threshold`.
    pub consecutive_failures: Option<u32>,
    /// A rule of one's own that opens the circuit as well.
    pub custom_rule: Option<CustomRule>,
    /// When slow calls open the circuit too; `None` judges no speed.
    pub slow_call: Option<SlowCall>,
    /// Count calls still under way as slow from the moment they are. It costs two atomic operations
    /// a call; without it a dependency that hangs is seen only when calls end.
    pub judge_calls_under_way: bool,
    /// What becomes of a call whose permit is dropped without a result.
    pub abandoned: Abandoned,
    /// The first break after a trip; failed probes double it, up to `recovery_timeout`.
    pub first_break: Duration,
    /// The longest break the breaker chooses by itself; at least a millisecond.
    ///
    /// One below `first_break` shortens that too.
    pub recovery_timeout: Duration,
    /// Share of a break that chance may take away, 0 to 1, so that replicas do not probe in step.
    pub break_jitter: f64,
    /// The longest break a `Retry-After` of the dependency may impose. It may exceed
    /// `recovery_timeout`.
    pub retry_after_cap: Duration,
    /// Probes that must succeed before a half-open circuit closes, and the most that are under way
    /// at once; 1 to 100 000.
    pub success_threshold: u32,
    /// How long the probes of a half-open circuit may hold all its slots. When it has passed since
    /// the last probe was admitted, the circuit opens again and their results are late. Choose it
    /// longer than the call's own timeout.
    pub half_open_lease: Duration,
    /// How traffic comes back after the probes have succeeded; `None` is at once.
    pub ramp: Option<Ramp>,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            trip_rule: TripRule::Rate,
            failure_rate: 0.5,
            window: Window::Time {
                length: Duration::from_secs(10),
                buckets: 20,
            },
            consecutive_failures: None,
            custom_rule: None,
            slow_call: None,
            judge_calls_under_way: true,
            abandoned: Abandoned::Neutral,
            first_break: Duration::from_secs(1),
            recovery_timeout: Duration::from_mins(1),
            break_jitter: 0.2,
            retry_after_cap: Duration::from_mins(5),
            success_threshold: 2,
            half_open_lease: Duration::from_secs(30),
            ramp: None,
        }
    }
}

impl BreakerConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the least number of failures before a trip.
    #[must_use]
    pub fn with_failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// Sets which failures open the circuit.
    #[must_use]
    pub fn with_trip_rule(mut self, rule: TripRule) -> Self {
        self.trip_rule = rule;
        self
    }

    /// Sets the share of failures that opens the circuit.
    #[must_use]
    pub fn with_failure_rate(mut self, rate: f64) -> Self {
        self.failure_rate = rate;
        self
    }

    /// Sets the calls over which rates are computed.
    #[must_use]
    pub fn with_window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Sets how many failures in a row open the circuit as well.
    #[must_use]
    pub fn with_consecutive_failures(mut self, failures: impl Into<Option<u32>>) -> Self {
        self.consecutive_failures = failures.into();
        self
    }

    /// Sets a rule of one's own that opens the circuit as well.
    #[must_use]
    pub fn with_custom_rule(mut self, rule: impl Into<Option<CustomRule>>) -> Self {
        self.custom_rule = rule.into();
        self
    }

    /// Sets whether calls still under way count as slow from the moment they are.
    #[must_use]
    pub fn with_judge_calls_under_way(mut self, judge: bool) -> Self {
        self.judge_calls_under_way = judge;
        self
    }

    /// Sets what becomes of a call whose permit is dropped without a result.
    #[must_use]
    pub fn with_abandoned(mut self, policy: Abandoned) -> Self {
        self.abandoned = policy;
        self
    }

    /// Sets how traffic comes back after the probes have succeeded.
    #[must_use]
    pub fn with_ramp(mut self, ramp: impl Into<Option<Ramp>>) -> Self {
        self.ramp = ramp.into();
        self
    }

    /// Sets when slow calls open the circuit.
    #[must_use]
    pub fn with_slow_call(mut self, slow: impl Into<Option<SlowCall>>) -> Self {
        self.slow_call = slow.into();
        self
    }

    /// Sets the first break after a trip.
    #[must_use]
    pub fn with_first_break(mut self, length: Duration) -> Self {
        self.first_break = length;
        self
    }

    /// Sets the longest break the breaker chooses by itself.
    #[must_use]
    pub fn with_recovery_timeout(mut self, length: Duration) -> Self {
        self.recovery_timeout = length;
        self
    }

    /// Sets the share of a break that chance may take away.
    #[must_use]
    pub fn with_break_jitter(mut self, share: f64) -> Self {
        self.break_jitter = share;
        self
    }

    /// Sets the longest break a `Retry-After` may impose.
    #[must_use]
    pub fn with_retry_after_cap(mut self, cap: Duration) -> Self {
        self.retry_after_cap = cap;
        self
    }

    /// Sets how many probes must succeed before the circuit closes.
    #[must_use]
    pub fn with_success_threshold(mut self, successes: u32) -> Self {
        self.success_threshold = successes;
        self
    }

    /// Sets how long probes may hold all slots of a half-open circuit.
    #[must_use]
    pub fn with_half_open_lease(mut self, lease: Duration) -> Self {
        self.half_open_lease = lease;
        self
    }

    /// Checks that every setting makes sense, alone and together with the others.
    ///
    /// # Errors
    /// The first setting that does not, with its value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check(
            self.failure_threshold >= 1,
            "failure_threshold",
            &self.failure_threshold,
            SOME,
        )?;
        check(
            is_share(self.failure_rate),
            "failure_rate",
            &self.failure_rate,
            SHARE,
        )?;
        check(
            (1..=MOST_PROBES).contains(&self.success_threshold),
            "success_threshold",
            &self.success_threshold,
            "1 to 100000",
        )?;
        check(
            (0.0..=1.0).contains(&self.break_jitter),
            "break_jitter",
            &self.break_jitter,
            "0 to 1",
        )?;
        for (setting, value) in [
            ("first_break", self.first_break),
            ("recovery_timeout", self.recovery_timeout),
            ("retry_after_cap", self.retry_after_cap),
            ("half_open_lease", self.half_open_lease),
        ] {
            check(
                (MILLISECOND..=LONGEST).contains(&value),
                setting,
                &value,
                "a millisecond to 366 days",
            )?;
        }
        self.validate_additions()?;
        match self.window {
            Window::Count(calls) => {
                check(
                    (1..=MOST_CALLS).contains(&calls),
                    "window",
                    &calls,
                    "1 to 100000 calls",
                )?;
                check(
                    self.trip_rule != TripRule::Rate || self.failure_threshold <= calls,
                    "failure_threshold",
                    &self.failure_threshold,
                    "at most the calls in the window, or the circuit could never open",
                )?;
            }
            Window::Time { length, buckets } => {
                check(
                    (1..=1_000).contains(&buckets),
                    "window",
                    &buckets,
                    "1 to 1000 buckets",
                )?;
                check(
                    length >= MILLISECOND.saturating_mul(buckets),
                    "window",
                    &length,
                    "at least a millisecond for each bucket",
                )?;
            }
        }
        if let Some(slow) = &self.slow_call {
            check(is_share(slow.rate), "slow_call.rate", &slow.rate, SHARE)?;
            check(slow.minimum >= 1, "slow_call.minimum", &slow.minimum, SOME)?;
            check(
                slow.longer_than > Duration::ZERO,
                "slow_call.longer_than",
                &slow.longer_than,
                "more than zero",
            )?;
            if let Window::Count(calls) = self.window {
                check(
                    slow.minimum <= calls,
                    "slow_call.minimum",
                    &slow.minimum,
                    "at most the calls in the window, or slow calls could never open the circuit",
                )?;
            }
        }
        Ok(())
    }

    /// What is off by default.
    fn validate_additions(&self) -> Result<(), ConfigError> {
        if let Some(failures) = self.consecutive_failures {
            check(failures >= 1, "consecutive_failures", &failures, SOME)?;
            check(
                self.trip_rule != TripRule::Consecutive,
                "consecutive_failures",
                &failures,
                "none under the consecutive rule, whose number is failure_threshold",
            )?;
        }
        check(
            self.abandoned != Abandoned::Slow || self.slow_call.is_some(),
            "abandoned",
            &self.abandoned,
            "slow only together with slow_call, which says what slow is",
        )?;
        if let Some(ramp) = self.ramp {
            check(
                (1..=100).contains(&ramp.steps),
                "ramp.steps",
                &ramp.steps,
                "1 to 100",
            )?;
            check(
                (MILLISECOND.saturating_mul(ramp.steps)..=LONGEST).contains(&ramp.length),
                "ramp.length",
                &ramp.length,
                "at least a millisecond for each step, at most 366 days",
            )?;
        }
        Ok(())
    }
}

const SHARE: &str = "more than 0 and at most 1";
const SOME: &str = "at least 1";
const MILLISECOND: Duration = Duration::from_millis(1);
/// What never ends would wedge a circuit: a lease without end keeps hung probes in their slots.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting} is {value}; allowed is {allowed}")]
pub struct ConfigError {
    setting: &'static str,
    value: String,
    allowed: &'static str,
}

impl ConfigError {
    pub(crate) fn new(
        setting: &'static str,
        value: &dyn fmt::Debug,
        allowed: &'static str,
    ) -> Self {
        Self {
            setting,
            value: format!("{value:?}"),
            allowed,
        }
    }

    /// The setting's name: a field of [`BreakerConfig`], or `name`.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// The refused value.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What would be allowed.
    pub fn allowed(&self) -> &'static str {
        self.allowed
    }
}

fn check(
    holds: bool,
    setting: &'static str,
    value: &dyn fmt::Debug,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::new(setting, value, allowed))
    }
}

/// A rate that does not round down to nothing at the resolution of the rules.
fn is_share(rate: f64) -> bool {
    rate <= 1.0 && basis_points(rate) >= 1
}

/// `share` as a whole number of hundredths of a percent, so that rules compare exactly.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=10000 and rounded before; NaN becomes 0"
)]
pub(crate) fn basis_points(share: f64) -> u64 {
    (crate::backoff::unit(share) * 10_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &BreakerConfig) -> &'static str {
        config.validate().expect_err("must be refused").setting()
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = BreakerConfig::new();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.failure_threshold, 5);
        assert_eq!(config.success_threshold, 2);
        assert_eq!(config.recovery_timeout, Duration::from_mins(1));
        assert_eq!(config.first_break, Duration::from_secs(1));
        assert_eq!(config.trip_rule, TripRule::Rate);
    }

    #[test]
    fn the_longest_time_is_366_days() {
        let year = Duration::from_hours(8_784);
        let lease = |time| BreakerConfig::new().with_half_open_lease(time).validate();
        assert_eq!(lease(year), Ok(()));
        assert!(lease(year + Duration::from_nanos(1)).is_err());
    }

    #[test]
    fn a_rule_of_ones_own_equals_its_handles_and_no_other() {
        let rule = CustomRule::new(|_| true);
        let config = BreakerConfig::new().with_custom_rule(rule.clone());
        assert_eq!(config, config.clone());
        assert_eq!(Some(rule), config.custom_rule);
        let other = BreakerConfig::new().with_custom_rule(CustomRule::new(|_| true));
        assert_ne!(config, other);
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        let ok = BreakerConfig::new;
        assert_eq!(
            refused(&ok().with_failure_threshold(0)),
            "failure_threshold"
        );
        for rate in [0.0, -1.0, 1.01, f64::NAN, 0.000_01] {
            assert_eq!(refused(&ok().with_failure_rate(rate)), "failure_rate");
        }
        assert_eq!(
            refused(&ok().with_success_threshold(0)),
            "success_threshold"
        );
        assert_eq!(refused(&ok().with_break_jitter(1.5)), "break_jitter");
        assert_eq!(refused(&ok().with_break_jitter(f64::NAN)), "break_jitter");
        assert_eq!(
            refused(&ok().with_first_break(Duration::ZERO)),
            "first_break"
        );
        assert_eq!(
            refused(&ok().with_recovery_timeout(Duration::ZERO)),
            "recovery_timeout"
        );
        assert_eq!(
            refused(&ok().with_retry_after_cap(Duration::ZERO)),
            "retry_after_cap"
        );
        assert_eq!(
            refused(&ok().with_half_open_lease(Duration::ZERO)),
            "half_open_lease"
        );
        assert!(ok().with_half_open_lease(LONGEST).validate().is_ok());
        assert_eq!(
            refused(&ok().with_half_open_lease(LONGEST + MILLISECOND)),
            "half_open_lease"
        );
        assert_eq!(
            refused(&ok().with_recovery_timeout(Duration::MAX)),
            "recovery_timeout"
        );
        assert_eq!(refused(&ok().with_window(Window::Count(0))), "window");
        assert_eq!(refused(&ok().with_window(Window::Count(100_001))), "window");
        let ten_ms = Duration::from_millis(10);
        for (length, buckets) in [(ten_ms, 0), (ten_ms, 11), (Duration::from_secs(9), 1_001)] {
            assert_eq!(
                refused(&ok().with_window(Window::Time { length, buckets })),
                "window"
            );
        }
    }

    #[test]
    fn a_threshold_the_window_cannot_hold_is_refused_not_capped() {
        let config = BreakerConfig::new().with_window(Window::Count(4));
        assert_eq!(refused(&config), "failure_threshold");
        assert_eq!(config.clone().with_failure_threshold(4).validate(), Ok(()));
        assert_eq!(
            config.with_trip_rule(TripRule::Consecutive).validate(),
            Ok(())
        );

        let slow = SlowCall {
            longer_than: Duration::from_secs(1),
            rate: 0.5,
            minimum: 11,
        };
        let config = BreakerConfig::new()
            .with_window(Window::Count(10))
            .with_slow_call(slow);
        assert_eq!(refused(&config), "slow_call.minimum");
        let bad = |slow| refused(&BreakerConfig::new().with_slow_call(slow));
        assert_eq!(bad(SlowCall { minimum: 0, ..slow }), "slow_call.minimum");
        assert_eq!(bad(SlowCall { rate: 0.0, ..slow }), "slow_call.rate");
        assert_eq!(
            bad(SlowCall {
                longer_than: Duration::ZERO,
                ..slow
            }),
            "slow_call.longer_than"
        );
    }

    #[test]
    fn what_has_no_meaning_together_is_refused() {
        let ok = BreakerConfig::new;
        assert_eq!(
            refused(&ok().with_consecutive_failures(0)),
            "consecutive_failures"
        );
        let twice = ok()
            .with_consecutive_failures(3)
            .with_trip_rule(TripRule::Consecutive);
        assert_eq!(refused(&twice), "consecutive_failures");
        assert_eq!(refused(&ok().with_abandoned(Abandoned::Slow)), "abandoned");
        let ramp = |millis, steps| Ramp {
            length: Duration::from_millis(millis),
            steps,
        };
        for steps in [0, 101] {
            assert_eq!(refused(&ok().with_ramp(ramp(1_000, steps))), "ramp.steps");
        }
        assert_eq!(refused(&ok().with_ramp(ramp(9, 10))), "ramp.length");
        assert_eq!(ok().with_ramp(ramp(10, 10)).validate(), Ok(()));
        assert_eq!(
            refused(&ok().with_success_threshold(100_001)),
            "success_threshold"
        );
    }

    #[test]
    fn a_refusal_says_name_value_and_what_is_allowed() {
        let error = BreakerConfig::new()
            .with_failure_rate(1.5)
            .validate()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failure_rate is 1.5; allowed is more than 0 and at most 1"
        );
        assert_eq!(
            (error.value(), error.allowed()),
            ("1.5", "more than 0 and at most 1")
        );
    }
}
