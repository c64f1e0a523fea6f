//! The settings of protected calls, layer over layer, and the check of what makes no sense.

use std::time::Duration;

use fusebox::backoff::Backoff;
use thiserror::Error;

use crate::budget::RetryBudget;

/// Settings of protected calls; what is `None` is left to the layer below.
///
/// The layers, each over the one before: [`Settings::standard`], those of
/// [`crate::ResilienceBuilder::settings`], of the circuit, of the method's attribute, of the
/// operation by name. [`Duration::MAX`] switches a timeout off that a lower layer has set.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Time for one attempt; reaching it is a failure of the dependency. Standard: 10 s.
    pub attempt_timeout: Option<Duration>,
    /// Time for a call with all its attempts and waits, for a stream until it is open.
    /// Standard: 30 s.
    pub total_timeout: Option<Duration>,
    /// Most attempts of an operation that may be repeated, the first included. Standard: 3.
    pub max_attempts: Option<u32>,
    /// Waits between attempts. Standard: 50 ms doubling to 2 s, of which chance takes up to all.
    pub backoff: Option<Backoff>,
    /// What retries and hedges are paid from. Standard: one budget of its own for each circuit.
    pub budget: Option<RetryBudget>,
    /// How long the first attempt of a hedged method may take before a second copy is sent; an
    /// estimate of its 95th percentile. Standard: none, no hedging.
    pub hedge_after: Option<Duration>,
    /// Most calls of one operation at once; more are refused. Standard: no bound.
    pub max_concurrent: Option<u32>,
    /// Time from the opening of a stream to its first item. Standard: 30 s.
    pub first_item: Option<Duration>,
    /// Longest silence between two items of a stream. Standard: 30 s.
    pub idle: Option<Duration>,
}

impl Settings {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lowest layer: what holds when nobody says anything.
    pub fn standard() -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        Self {
            attempt_timeout: Some(Duration::from_secs(10)),
            total_timeout: Some(Duration::from_secs(30)),
            max_attempts: Some(3),
            backoff: Some(backoff.with_jitter(1.0)),
            budget: None,
            hedge_after: None,
            max_concurrent: None,
            first_item: Some(Duration::from_secs(30)),
            idle: Some(Duration::from_secs(30)),
        }
    }

    /// The same with another [`Settings::attempt_timeout`].
    #[must_use]
    pub fn with_attempt_timeout(mut self, time: Duration) -> Self {
        self.attempt_timeout = Some(time);
        self
    }

    /// The same with another [`Settings::total_timeout`].
    #[must_use]
    pub fn with_total_timeout(mut self, time: Duration) -> Self {
        self.total_timeout = Some(time);
        self
    }

    /// The same with another [`Settings::max_attempts`].
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// The same with another [`Settings::backoff`].
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// The same with another [`Settings::budget`].
    #[must_use]
    pub fn with_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The same with another [`Settings::hedge_after`].
    #[must_use]
    pub fn with_hedge_after(mut self, time: Duration) -> Self {
        self.hedge_after = Some(time);
        self
    }

    /// The same with another [`Settings::max_concurrent`].
    #[must_use]
    pub fn with_max_concurrent(mut self, calls: u32) -> Self {
        self.max_concurrent = Some(calls);
        self
    }

    /// The same with another [`Settings::first_item`].
    #[must_use]
    pub fn with_first_item(mut self, time: Duration) -> Self {
        self.first_item = Some(time);
        self
    }

    /// The same with another [`Settings::idle`].
    #[must_use]
    pub fn with_idle(mut self, time: Duration) -> Self {
        self.idle = Some(time);
        self
    }

    /// These settings where they say something, else those of `lower`.
    #[must_use]
    pub fn over(&self, lower: &Settings) -> Settings {
        Settings {
            attempt_timeout: self.attempt_timeout.or(lower.attempt_timeout),
            total_timeout: self.total_timeout.or(lower.total_timeout),
            max_attempts: self.max_attempts.or(lower.max_attempts),
            backoff: self.backoff.or(lower.backoff),
            budget: self.budget.as_ref().or(lower.budget.as_ref()).cloned(),
            hedge_after: self.hedge_after.or(lower.hedge_after),
            max_concurrent: self.max_concurrent.or(lower.max_concurrent),
            first_item: self.first_item.or(lower.first_item),
            idle: self.idle.or(lower.idle),
        }
    }

    /// Finds a setting that makes no sense by itself.
    ///
    /// # Errors
    /// Names the setting, its value and what is allowed.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let times = [
            ("attempt_timeout", self.attempt_timeout),
            ("total_timeout", self.total_timeout),
            ("hedge_after", self.hedge_after),
            ("first_item", self.first_item),
            ("idle", self.idle),
        ];
        for (setting, time) in times {
            if time.is_some_and(|time| time.is_zero()) {
                return Err(SettingsError {
                    setting,
                    value: "0s".to_owned(),
                    allowed: "more than zero",
                });
            }
        }
        let counts = [
            ("max_attempts", self.max_attempts, 20),
            ("max_concurrent", self.max_concurrent, u32::MAX),
        ];
        for (setting, count, most) in counts {
            if let Some(count) = count
                && !(1..=most).contains(&count)
            {
                return Err(SettingsError {
                    setting,
                    value: count.to_string(),
                    allowed: if most == 20 { "1 to 20" } else { "1 or more" },
                });
            }
        }
        if let Some(backoff) = self.backoff
            && backoff.min > backoff.max
        {
            return Err(SettingsError {
                setting: "backoff",
                value: format!("{:?} to {:?}", backoff.min, backoff.max),
                allowed: "a least wait that is not longer than the longest",
            });
        }
        Ok(())
    }
}

/// A setting of protected calls makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{setting} is {value}; allowed: {allowed}")]
pub struct SettingsError {
    setting: &'static str,
    value: String,
    allowed: &'static str,
}

impl SettingsError {
    /// The setting's name.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// The value it was given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What it may be.
    pub fn allowed(&self) -> &'static str {
        self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_wins_where_it_speaks() {
        let lower = Settings::standard().with_max_concurrent(7);
        let upper = Settings::new().with_attempt_timeout(Duration::from_secs(1));
        let both = upper.over(&lower);
        assert_eq!(both.attempt_timeout, Some(Duration::from_secs(1)));
        assert_eq!(both.total_timeout, Some(Duration::from_secs(30)));
        assert_eq!(both.max_concurrent, Some(7));
        let stream = upper.with_first_item(Duration::from_secs(2));
        assert_eq!(
            (stream.attempt_timeout, stream.first_item),
            (both.attempt_timeout, Some(Duration::from_secs(2)))
        );
        assert!(Settings::standard().validate().is_ok());
    }

    #[test]
    fn nonsense_is_named() {
        let zero = Settings::new().with_idle(Duration::ZERO).validate();
        assert_eq!(
            zero.unwrap_err().to_string(),
            "idle is 0s; allowed: more than zero"
        );
        let none = Settings::new().with_max_attempts(0).validate().unwrap_err();
        assert_eq!(
            (none.setting(), none.value(), none.allowed()),
            ("max_attempts", "0", "1 to 20")
        );
        assert!(Settings::new().with_max_attempts(21).validate().is_err());
        assert!(Settings::new().with_max_concurrent(0).validate().is_err());
        let odd = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
        assert!(Settings::new().with_backoff(odd).validate().is_err());
        let even = Backoff::new(Duration::from_secs(2), Duration::from_secs(2));
        assert!(Settings::new().with_backoff(even).validate().is_ok());
    }
}
