//! Settings of circuits as an operator writes them: some of a breaker's, for all circuits or for
//! those whose name matches a pattern, from text.
//!
//! [`Overrides`] are the settings that are given; what is not given stays as the code has it.
//! [`CircuitSettings`] say which circuit gets which, and a [`crate::Registry`] puts them in force.
//! Every setting is text here, so that a variable of the environment, a line of a TOML file (feature
//! `toml`) and a form on a page mean the same and are refused with the same words.

mod circuits;
#[cfg(feature = "toml")]
mod file;
mod overrides;
mod value;

pub use circuits::CircuitSettings;
pub use overrides::{Overrides, SETTINGS, Setting};

use std::fmt;

use thiserror::Error;

/// Everything that is wrong with settings of circuits, at once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    pub(crate) fn of(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self { problems })
        }
    }

    pub(crate) fn one(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }

    /// The problems, in the order they were found; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// One thing that is wrong: where, which setting, its value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where it was found, such as `circuits."*.kafka_producer"` or a variable's name; empty for a
    /// setting on its own.
    pub place: String,
    /// The setting; empty when the place itself is at fault.
    pub setting: String,
    /// Its value as written; empty when no value is at fault.
    pub value: String,
    /// What is allowed; empty for a file that is no TOML, of which the place tells.
    pub allowed: String,
    /// Line of the file, from 1.
    pub line: Option<usize>,
}

impl Problem {
    pub(crate) fn new(
        setting: impl Into<String>,
        value: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            place: String::new(),
            setting: setting.into(),
            value: value.into(),
            allowed: allowed.into(),
            line: None,
        }
    }

    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }
}

impl From<crate::ConfigError> for Problem {
    fn from(error: crate::ConfigError) -> Self {
        Self::new(error.setting(), error.value(), error.allowed())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        let dot = if self.place.is_empty() || self.setting.is_empty() {
            ""
        } else {
            "."
        };
        write!(f, "{}{dot}{}", self.place, self.setting)?;
        if !self.value.is_empty() {
            write!(f, " is {}", self.value)?;
        }
        if !self.allowed.is_empty() {
            write!(f, "; allowed is {}", self.allowed)?;
        }
        Ok(())
    }
}
