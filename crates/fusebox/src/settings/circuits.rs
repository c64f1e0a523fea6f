//! Which circuit gets which settings.

use super::{Overrides, Problem, SettingsError};
use crate::config::{BreakerConfig, ConfigError};
use crate::registry::{Pattern, PatternError};

/// Settings for all circuits, and for those whose name matches a pattern.
///
/// For one circuit, the settings of the code come first; over them goes what is given for all, over
/// that what the most specific matching pattern gives. Other patterns that match have no say, so that
/// every combination that can come about is known beforehand and checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CircuitSettings {
    defaults: Overrides,
    /// The most specific first.
    circuits: Vec<(Pattern, Overrides)>,
}

impl CircuitSettings {
    /// Nothing is given.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with these for all circuits.
    #[must_use]
    pub fn with_defaults(mut self, overrides: Overrides) -> Self {
        self.defaults = overrides;
        self
    }

    /// The same with these for circuits whose name matches `pattern`, in place of what it had for
    /// the same pattern.
    ///
    /// # Errors
    /// The text is no [`Pattern`].
    pub fn with_circuits(
        mut self,
        pattern: &str,
        overrides: Overrides,
    ) -> Result<Self, PatternError> {
        self.put(Pattern::new(pattern)?, overrides);
        Ok(self)
    }

    /// Reads a file's text.
    ///
    /// ```
    /// use fusebox::CircuitSettings;
    ///
    /// # fn main() -> Result<(), fusebox::SettingsError> {
    /// let settings = CircuitSettings::from_toml(r#"
    ///     [defaults]
    ///     failure_rate = 0.4
    ///
    ///     [circuits."*.content_client"]
    ///     failure_threshold = 10
    ///     window_length = "30s"
    /// "#)?;
    /// assert!(settings.pattern_for("spellchecker.content_client").is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Everything that is wrong: the syntax, names that are unknown, values that are none. Whether
    /// the settings make sense together depends on those of the code, and is found out by
    /// [`check`](Self::check) or by the registry that is to use them.
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        super::file::read(text)
    }

    /// Checks what comes of `base` without a pattern and under each pattern.
    ///
    /// # Errors
    /// Every place that gives a setting that makes no sense.
    pub fn check(&self, base: &BreakerConfig) -> Result<(), SettingsError> {
        let mut problems = Vec::new();
        let of_all = self.defaults.apply(base).err();
        for (pattern, overrides) in &self.circuits {
            // What is wrong with the defaults is told once.
            if let Err(error) = overrides.on_top_of(&self.defaults).apply(base)
                && Some(&error) != of_all.as_ref()
            {
                problems.push(Problem::from(error).at(place(pattern)));
            }
        }
        if let Some(error) = of_all {
            problems.insert(0, Problem::from(error).at("defaults"));
        }
        SettingsError::of(problems)
    }

    /// The settings of the circuit `name`, whose code asks for `base`.
    ///
    /// # Errors
    /// They make no sense together.
    pub fn effective(
        &self,
        name: &str,
        base: &BreakerConfig,
    ) -> Result<BreakerConfig, ConfigError> {
        match self.matching(name) {
            Some((_, overrides)) => overrides.on_top_of(&self.defaults).apply(base),
            None => self.defaults.apply(base),
        }
    }

    /// The pattern whose settings the circuit `name` gets.
    pub fn pattern_for(&self, name: &str) -> Option<&Pattern> {
        self.matching(name).map(|(pattern, _)| pattern)
    }

    /// What is given for all circuits.
    pub fn defaults(&self) -> &Overrides {
        &self.defaults
    }

    /// What is given by pattern, the most specific first.
    pub fn circuits(&self) -> impl Iterator<Item = (&Pattern, &Overrides)> {
        self.circuits
            .iter()
            .map(|(pattern, overrides)| (pattern, overrides))
    }

    /// True when nothing is given.
    pub fn is_empty(&self) -> bool {
        self.defaults.is_empty() && self.circuits.is_empty()
    }

    /// Where a problem with the settings of `name` comes from.
    pub(crate) fn place_for(&self, name: &str) -> String {
        self.pattern_for(name)
            .map_or_else(|| "defaults".to_owned(), place)
    }

    pub(super) fn put(&mut self, pattern: Pattern, overrides: Overrides) {
        match self.circuits.binary_search_by(|(at, _)| at.cmp(&pattern)) {
            Ok(at) => self.circuits[at].1 = overrides,
            Err(at) => self.circuits.insert(at, (pattern, overrides)),
        }
    }

    fn matching(&self, name: &str) -> Option<&(Pattern, Overrides)> {
        self.circuits
            .iter()
            .find(|(pattern, _)| pattern.matches(name))
    }
}

pub(super) fn place(pattern: &Pattern) -> String {
    format!("circuits.{:?}", pattern.as_str())
}
