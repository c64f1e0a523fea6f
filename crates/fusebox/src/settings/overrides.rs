//! Some of a breaker's settings: those that were given.

use std::fmt;
use std::time::Duration;

use super::value::{Allowed, abandoned, duration, number, trip_rule, truth, whole};
use super::{Problem, SettingsError};
use crate::config::{Abandoned, BreakerConfig, ConfigError, Ramp, SlowCall, TripRule, Window};

/// A setting that can be given by name.
pub struct Setting {
    /// Its name in a file; in the environment the same in capitals.
    pub name: &'static str,
    /// What it does, with its unit.
    pub meaning: &'static str,
    set: fn(&mut Overrides, &str) -> Result<(), Allowed>,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

macro_rules! settings {
    ($($name:ident: $type:ty, $parse:path, $meaning:literal;)*) => {
        /// Some of a breaker's settings, as text gives them; `None` leaves a setting as it is.
        ///
        /// The names are the fields' of [`BreakerConfig`]; a window and slow calls have one setting
        /// for each part.
        #[derive(Debug, Clone, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Overrides {
            $(#[doc = $meaning] pub $name: Option<$type>,)*
        }

        /// Every setting that can be given by name, in the order of the guide.
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                name: stringify!($name),
                meaning: $meaning,
                set: |overrides, text| {
                    overrides.$name = Some($parse(text)?);
                    Ok(())
                },
            },)*
        ];

        impl Overrides {
            /// `self`, and where it gives nothing, `under`.
            fn over(&self, under: &Self) -> Self {
                Self { $($name: self.$name.or(under.$name),)* }
            }
        }
    };
}

settings! {
    failure_threshold: u32, whole, "least failures before a trip";
    trip_rule: TripRule, trip_rule, "`rate` or `consecutive`";
    failure_rate: f64, number, "share of failures that opens the circuit, more than 0 and at most 1";
    consecutive_failures: u32, whole, "so many failures in a row open the circuit as well; 0 is none";
    window_calls: u32, whole, "makes the window the last so many calls";
    window_length: Duration, duration, "makes the window the calls of the last so long";
    window_buckets: u32, whole, "steps in which a window of time forgets";
    slow_call_longer_than: Duration, duration, "a call that takes this long is slow; 0 judges no speed";
    slow_call_rate: f64, number, "share of slow calls that opens the circuit, more than 0 and at most 1";
    slow_call_minimum: u32, whole, "least slow calls that open the circuit";
    judge_calls_under_way: bool, truth, "`true` counts a call as slow from the moment it is, `false` when it ends";
    abandoned: Abandoned, abandoned, "a cancelled call is `neutral`, a `failure`, or `slow` if it lasted so long";
    first_break: Duration, duration, "first break after a trip";
    recovery_timeout: Duration, duration, "longest break the breaker chooses by itself";
    break_jitter: f64, number, "share of a break that chance may take away, 0 to 1";
    retry_after_cap: Duration, duration, "longest break a `Retry-After` may impose";
    success_threshold: u32, whole, "probes that must succeed before the circuit closes";
    half_open_lease: Duration, duration, "how long probes may hold all slots of a half-open circuit";
    ramp_length: Duration, duration, "how long traffic takes to come back after the probes; 0 is at once";
    ramp_steps: u32, whole, "steps in which traffic comes back";
}

/// Steps of a window of time when only its length is given.
const BUCKETS: u32 = 20;
/// What judges slow calls when only their length is given.
const SLOW_RATE: f64 = 0.5;
const SLOW_MINIMUM: u32 = 5;
/// Steps in which traffic comes back when only the length is given.
const RAMP_STEPS: u32 = 10;

impl Overrides {
    /// Nothing is given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the setting `name` the value that `text` says.
    ///
    /// # Errors
    /// There is no such setting, or `text` is no value of it. Whether the value makes sense is
    /// found out by [`apply`](Self::apply), because that depends on the others.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
            let allowed = format!("a setting of circuits: {}", known.join(", "));
            return Err(Problem::new(name, "", allowed));
        };
        (setting.set)(self, text).map_err(|allowed| Problem::new(name, text, allowed))
    }

    /// Reads every setting that `variable` knows as `{prefix}{NAME}`, such as
    /// `HTTP_CIRCUIT_BREAKER_FAILURE_THRESHOLD` for the prefix `HTTP_CIRCUIT_BREAKER_`.
    ///
    /// A variable that is empty counts as not set. Of several prefixes the first that is set wins.
    ///
    /// # Errors
    /// Every variable that is no value of its setting, by its whole name.
    pub fn from_variables<V: AsRef<str>>(
        prefixes: &[&str],
        variable: impl Fn(&str) -> Option<V>,
    ) -> Result<Self, SettingsError> {
        let mut overrides = Self::new();
        let mut problems = Vec::new();
        for setting in SETTINGS {
            let name = setting.name.to_ascii_uppercase();
            let found = prefixes.iter().find_map(|prefix| {
                let full = format!("{prefix}{name}");
                let value = variable(&full)?;
                (!value.as_ref().trim().is_empty()).then_some((full, value))
            });
            if let Some((full, value)) = found
                && let Err(allowed) = (setting.set)(&mut overrides, value.as_ref())
            {
                problems.push(Problem::new(full, value.as_ref(), allowed));
            }
        }
        SettingsError::of(problems)?;
        Ok(overrides)
    }

    /// True when nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `base` with what is given in place of what it has; checked as a whole.
    ///
    /// # Errors
    /// The first setting that makes no sense, alone or together with the others.
    pub fn apply(&self, base: &BreakerConfig) -> Result<BreakerConfig, ConfigError> {
        let mut config = base.clone();
        macro_rules! put {
            ($($name:ident)*) => { $(if let Some(value) = self.$name { config.$name = value; })* };
        }
        put! {
            failure_threshold trip_rule failure_rate first_break recovery_timeout break_jitter
            retry_after_cap success_threshold half_open_lease judge_calls_under_way abandoned
        }
        if let Some(failures) = self.consecutive_failures {
            config.consecutive_failures = (failures > 0).then_some(failures);
        }
        config.window = self.window(base.window)?;
        config.slow_call = self.slow_call(base.slow_call)?;
        config.ramp = self.ramp(base.ramp)?;
        config.validate()?;
        Ok(config)
    }

    /// `self` where it gives something, else what `under` gives.
    ///
    /// A window of calls hides all of a window of time beneath it, and the other way round.
    pub(super) fn on_top_of(&self, under: &Self) -> Self {
        let mut all = self.over(under);
        if self.window_calls.is_some() {
            (all.window_length, all.window_buckets) = (self.window_length, self.window_buckets);
        } else if self.window_length.is_some() {
            all.window_calls = None;
        }
        all
    }

    fn window(&self, base: Window) -> Result<Window, ConfigError> {
        let (length, buckets) = (self.window_length, self.window_buckets);
        if let Some(calls) = self.window_calls {
            return if length.is_none() && buckets.is_none() {
                Ok(Window::Count(calls))
            } else {
                Err(ConfigError::new(
                    "window_calls",
                    &calls,
                    "either a window of calls, or one of time with window_length and window_buckets",
                ))
            };
        }
        match (base, length, buckets) {
            (base, None, None) => Ok(base),
            (Window::Time { length: old, .. }, length, Some(buckets)) => Ok(Window::Time {
                length: length.unwrap_or(old),
                buckets,
            }),
            (Window::Time { buckets, .. }, Some(length), None) => {
                Ok(Window::Time { length, buckets })
            }
            (Window::Count(_), Some(length), buckets) => Ok(Window::Time {
                length,
                buckets: buckets.unwrap_or(BUCKETS),
            }),
            (Window::Count(_), None, Some(buckets)) => Err(ConfigError::new(
                "window_buckets",
                &buckets,
                "only with a window of time: give window_length as well",
            )),
        }
    }

    fn slow_call(&self, base: Option<SlowCall>) -> Result<Option<SlowCall>, ConfigError> {
        let longer_than = match (self.slow_call_longer_than, base) {
            (Some(Duration::ZERO), _) => {
                return Ok(None);
            }
            (Some(length), _) => length,
            (None, Some(slow)) => slow.longer_than,
            (None, None) => {
                const NEEDS: Allowed = "only with slow_call_longer_than";
                return match (self.slow_call_rate, self.slow_call_minimum) {
                    (Some(rate), _) => Err(ConfigError::new("slow_call_rate", &rate, NEEDS)),
                    (None, Some(least)) => {
                        Err(ConfigError::new("slow_call_minimum", &least, NEEDS))
                    }
                    (None, None) => Ok(None),
                };
            }
        };
        Ok(Some(SlowCall {
            longer_than,
            rate: self
                .slow_call_rate
                .or(base.map(|slow| slow.rate))
                .unwrap_or(SLOW_RATE),
            minimum: self
                .slow_call_minimum
                .or(base.map(|slow| slow.minimum))
                .unwrap_or(SLOW_MINIMUM),
        }))
    }

    fn ramp(&self, base: Option<Ramp>) -> Result<Option<Ramp>, ConfigError> {
        let length = match (self.ramp_length, base) {
            (Some(Duration::ZERO), _) => return Ok(None),
            (Some(length), _) => length,
            (None, Some(ramp)) => ramp.length,
            (None, None) => {
                return match self.ramp_steps {
                    None => Ok(None),
                    Some(steps) => Err(ConfigError::new(
                        "ramp_steps",
                        &steps,
                        "only with ramp_length",
                    )),
                };
            }
        };
        let steps = self
            .ramp_steps
            .or(base.map(|ramp| ramp.steps))
            .unwrap_or(RAMP_STEPS);
        Ok(Some(Ramp { length, steps }))
    }
}
