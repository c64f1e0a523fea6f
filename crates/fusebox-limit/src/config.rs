//! The settings of a limit, and the check of what makes no sense.

use std::fmt::Debug;
use std::time::Duration;

use thiserror::Error;

/// Most places, and most waiting calls, a limit can be given.
pub(crate) const MOST: u32 = 1_000_000;

/// How a limit adapts. The defaults suit calls from one service to another.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AdaptiveConfig {
    /// The least limit. Default: 1. It should stay above zero calls per second of what a
    /// recovering dependency needs to show that it has recovered; 1 does.
    pub min: u32,
    /// The greatest limit. Default: 100. Choose at most half of the workers or connections the
    /// caller has: then a dependency that hangs cannot take them all, whatever the limit has
    /// learnt before.
    pub max: u32,
    /// The limit at the start. Default: 20.
    pub initial: u32,
    /// By how much the limit grows in one round of successful calls. Default: 2.
    pub growth: f64,
    /// What is left of the limit after a sign of overload. Default: 0.7.
    pub backoff: f64,
    /// A call that takes longer is a sign of overload however it ends, being abandoned included.
    /// Default: none, only time-outs that are reported count.
    ///
    /// Needed where calls are cut off from outside, such as by a deadline, and no timeout inside
    /// the limit reports it. Choose a time far out in the tail of healthy calls.
    pub overload_after: Option<Duration>,
    /// Most calls that wait for a place. Default: 0, refuse at once.
    pub max_waiting: u32,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self {
            min: 1,
            max: 100,
            initial: 20,
            growth: 2.0,
            backoff: 0.7,
            overload_after: None,
            max_waiting: 0,
        }
    }
}

impl AdaptiveConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with another least and greatest limit; the initial one is brought between them.
    #[must_use]
    pub fn with_bounds(mut self, min: u32, max: u32) -> Self {
        self.min = min;
        self.max = max;
        // Not `clamp`, which panics on bounds that `validate` is still to refuse.
        self.initial = self.initial.min(max).max(min);
        self
    }

    /// The same with another limit at the start.
    #[must_use]
    pub fn with_initial(mut self, initial: u32) -> Self {
        self.initial = initial;
        self
    }

    /// The same with another [`AdaptiveConfig::growth`].
    #[must_use]
    pub fn with_growth(mut self, growth: f64) -> Self {
        self.growth = growth;
        self
    }

    /// The same with another [`AdaptiveConfig::backoff`].
    #[must_use]
    pub fn with_backoff(mut self, backoff: f64) -> Self {
        self.backoff = backoff;
        self
    }

    /// The same with another [`AdaptiveConfig::overload_after`].
    #[must_use]
    pub fn with_overload_after(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.overload_after = time.into();
        self
    }

    /// The same with another [`AdaptiveConfig::max_waiting`].
    #[must_use]
    pub fn with_max_waiting(mut self, calls: u32) -> Self {
        self.max_waiting = calls;
        self
    }

    /// Checks that every setting makes sense, alone and together with the others.
    ///
    /// # Errors
    /// The first setting that does not, with its value and what is allowed.
    pub fn validate(&self) -> Result<(), LimitConfigError> {
        check((1..=MOST).contains(&self.min), "min", &self.min, PLACES)?;
        check(
            (self.min..=MOST).contains(&self.max),
            "max",
            &self.max,
            "min to 1000000",
        )?;
        check(
            (self.min..=self.max).contains(&self.initial),
            "initial",
            &self.initial,
            "min to max",
        )?;
        check(
            self.growth > 0.0 && self.growth <= 100.0,
            "growth",
            &self.growth,
            "more than 0 and at most 100",
        )?;
        check(
            (0.1..1.0).contains(&self.backoff),
            "backoff",
            &self.backoff,
            "0.1 to less than 1",
        )?;
        check(
            self.overload_after.is_none_or(|time| !time.is_zero()),
            "overload_after",
            &self.overload_after,
            "none, or more than zero",
        )?;
        check(
            self.max_waiting <= MOST,
            "max_waiting",
            &self.max_waiting,
            "0 to 1000000",
        )
    }
}

pub(crate) const PLACES: &str = "1 to 1000000";

pub(crate) fn check(
    holds: bool,
    setting: &'static str,
    value: &dyn Debug,
    allowed: &'static str,
) -> Result<(), LimitConfigError> {
    if holds {
        Ok(())
    } else {
        Err(LimitConfigError {
            setting,
            value: format!("{value:?}"),
            allowed,
        })
    }
}

/// A setting of a limit was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting} is {value}; allowed is {allowed}")]
pub struct LimitConfigError {
    setting: &'static str,
    value: String,
    allowed: &'static str,
}

impl LimitConfigError {
    /// The setting's name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_nonsense_is_named() {
        let ok = AdaptiveConfig::new;
        assert_eq!(ok().validate(), Ok(()));
        assert_eq!(ok().with_bounds(30, 50).initial, 30);
        for (config, setting) in [
            (ok().with_bounds(0, 5), "min"),
            (ok().with_bounds(6, 5), "max"),
            (ok().with_bounds(1, MOST + 1), "max"),
            (ok().with_initial(0), "initial"),
            (ok().with_initial(101), "initial"),
            (ok().with_growth(0.0), "growth"),
            (ok().with_growth(f64::NAN), "growth"),
            (ok().with_backoff(1.0), "backoff"),
            (ok().with_backoff(f64::NAN), "backoff"),
            (ok().with_overload_after(Duration::ZERO), "overload_after"),
            (ok().with_max_waiting(MOST + 1), "max_waiting"),
        ] {
            assert_eq!(config.validate().unwrap_err().setting(), setting);
        }
        let error = ok().with_bounds(6, 5).validate().unwrap_err();
        assert_eq!(error.to_string(), "max is 5; allowed is min to 1000000");
        assert_eq!((error.value(), error.allowed()), ("5", "min to 1000000"));
    }
}
