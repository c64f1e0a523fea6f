//! Reads settings one by one, remembers what was read, and collects what is wrong.

use std::{fmt, ops::RangeInclusive};

use thiserror::Error;

use super::{env::Env, value::SettingValue};
use crate::service::ServiceId;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nothing was set.
    Default,
    /// This variable.
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// One effective setting, as `huleedu config` shows it.
#[derive(Debug, Clone)]
pub struct SettingRow {
    /// The plain variable name.
    pub name: &'static str,
    /// The value; secrets are hidden.
    pub value: String,
    /// Where it came from.
    pub source: Source,
    /// What it does, with its unit.
    pub meaning: &'static str,
}

/// Every setting that was refused at start.
#[derive(Debug, Error)]
#[error("{}", .problems.join("; "))]
pub struct SettingsError {
    problems: Vec<String>,
}

/// Reads the settings of one service.
#[derive(Debug)]
pub struct SettingsReader<'a> {
    env: &'a Env,
    service: ServiceId,
    rows: Vec<SettingRow>,
    problems: Vec<String>,
}

impl<'a> SettingsReader<'a> {
    /// A reader of `env` for `service`.
    pub fn new(service: ServiceId, env: &'a Env) -> Self {
        Self {
            env,
            service,
            rows: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The service that is being configured.
    pub fn service(&self) -> ServiceId {
        self.service
    }

    /// The value of `name`, or `default`. A bad value is noted and the default returned, so that
    /// reading goes on and [`finish`](Self::finish) can report everything at once.
    pub fn get<T: SettingValue>(
        &mut self,
        name: &'static str,
        default: T,
        meaning: &'static str,
    ) -> T {
        self.read(name, meaning, |_| Ok(()))
            .unwrap_or_else(|source| {
                self.note(name, default.show(), source, meaning);
                default
            })
    }

    /// Like [`get`](Self::get) with bounds, both included.
    pub fn get_in<T: SettingValue + PartialOrd>(
        &mut self,
        name: &'static str,
        default: T,
        range: RangeInclusive<T>,
        meaning: &'static str,
    ) -> T {
        let check = |value: &T| within(&range, value);
        self.read(name, meaning, check).unwrap_or_else(|source| {
            self.note(name, default.show(), source, meaning);
            default
        })
    }

    /// A setting that may be absent.
    pub fn optional<T: SettingValue>(
        &mut self,
        name: &'static str,
        meaning: &'static str,
    ) -> Option<T> {
        let value = self.read(name, meaning, |_| Ok(()));
        self.or_not_set(name, value, meaning)
    }

    /// Like [`optional`](Self::optional) with bounds, both included.
    pub fn optional_in<T: SettingValue + PartialOrd>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
        meaning: &'static str,
    ) -> Option<T> {
        let value = self.read(name, meaning, |value| within(&range, value));
        self.or_not_set(name, value, meaning)
    }

    fn or_not_set<T>(
        &mut self,
        name: &'static str,
        value: Result<T, Source>,
        meaning: &'static str,
    ) -> Option<T> {
        value
            .map_err(|source| self.note(name, "(not set)".to_owned(), source, meaning))
            .ok()
    }

    /// A setting without which the service cannot start. `fallback` keeps reading going; it is
    /// never used, because [`finish`](Self::finish) fails.
    pub fn required<T: SettingValue>(
        &mut self,
        name: &'static str,
        fallback: T,
        meaning: &'static str,
    ) -> T {
        self.read(name, meaning, |_| Ok(()))
            .unwrap_or_else(|source| {
                if source == Source::Default {
                    self.problems.push(format!(
                        "{name} is not set; set {name} or {}{name}: {meaning}",
                        self.service.env_prefix()
                    ));
                    self.note(name, "(required)".to_owned(), source, meaning);
                }
                fallback
            })
    }

    /// Notes a problem that concerns several settings together.
    pub fn refuse(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// The rows read, or everything that was refused.
    ///
    /// # Errors
    /// When any value was bad or a required one is missing.
    pub fn finish(self) -> Result<Vec<SettingRow>, SettingsError> {
        if self.problems.is_empty() {
            Ok(self.rows)
        } else {
            Err(SettingsError {
                problems: self.problems,
            })
        }
    }

    /// What was read and what is wrong, for showing both.
    pub fn report(self) -> (Vec<SettingRow>, Vec<String>) {
        (self.rows, self.problems)
    }

    /// The parsed value, or the source to report beside the default.
    fn read<T: SettingValue>(
        &mut self,
        name: &'static str,
        meaning: &'static str,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Result<T, Source> {
        let prefixed = format!("{}{name}", self.service.env_prefix());
        let (variable, text) = match (self.env.get(&prefixed), self.env.get(name)) {
            (Some(text), _) => (prefixed, text),
            (None, Some(text)) => (name.to_owned(), text),
            (None, None) => return Err(Source::Default),
        };
        let source = Source::Environment(variable);
        match T::parse(text.trim()).and_then(|value| check(&value).map(|()| value)) {
            Ok(value) => {
                self.note(name, value.show(), source, meaning);
                Ok(value)
            }
            Err(allowed) => {
                let Source::Environment(variable) = &source else {
                    return Err(source);
                };
                let shown = if is_secret(name) { "***" } else { text.trim() };
                self.problems
                    .push(format!("{variable} is `{shown}`; allowed: {allowed}"));
                Err(source)
            }
        }
    }

    fn note(&mut self, name: &'static str, value: String, source: Source, meaning: &'static str) {
        self.rows.push(SettingRow {
            name,
            value,
            source,
            meaning,
        });
    }
}

/// Names whose values must not appear in an error either.
fn is_secret(name: &str) -> bool {
    ["SECRET", "API_KEY", "PASSWORD", "DATABASE_URL"]
        .iter()
        .any(|part| name.contains(part))
}

fn within<T: SettingValue + PartialOrd>(
    range: &RangeInclusive<T>,
    value: &T,
) -> Result<(), String> {
    if range.contains(value) {
        return Ok(());
    }
    let (start, end) = (range.start().show(), range.end().show());
    Err(format!("from {start} to {end}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Secret;

    fn read<T>(
        env: &Env,
        f: impl FnOnce(&mut SettingsReader<'_>) -> T,
    ) -> (T, Result<Vec<SettingRow>, SettingsError>) {
        let mut reader = SettingsReader::new(ServiceId::Spellchecker, env);
        let value = f(&mut reader);
        (value, reader.finish())
    }

    #[test]
    fn the_prefixed_name_wins_over_the_plain_one() {
        let env = Env::empty()
            .with("HTTP_TIMEOUT", "9")
            .with("SPELLCHECKER_SERVICE_HTTP_TIMEOUT", "3.5");
        let (value, rows) = read(&env, |r| {
            r.get("HTTP_TIMEOUT", Duration::from_secs(1), "seconds")
        });
        assert_eq!(value, Duration::from_millis(3500));
        assert_eq!(
            rows.unwrap()[0].source,
            Source::Environment("SPELLCHECKER_SERVICE_HTTP_TIMEOUT".to_owned())
        );
    }

    #[test]
    fn every_bad_value_is_named_with_what_is_allowed() {
        let env = Env::empty()
            .with("A_PORT", "70000")
            .with("B_SWITCH", "perhaps");
        let (_, rows) = read(&env, |r| {
            r.get("A_PORT", 1u16, "port");
            r.get("B_SWITCH", true, "switch")
        });
        let text = rows.unwrap_err().to_string();
        assert!(
            text.contains("A_PORT is `70000`; allowed: a whole number from 0 to 65535"),
            "{text}"
        );
        assert!(text.contains("B_SWITCH is `perhaps`"), "{text}");
    }

    #[test]
    fn bounds_hold_at_the_bound_and_refuse_beyond_it() {
        for (text, ok) in [("1", true), ("10", true), ("0", false), ("11", false)] {
            let env = Env::empty().with("N", text);
            let (_, rows) = read(&env, |r| r.get_in("N", 5u32, 1..=10, "n"));
            assert_eq!(rows.is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn secrets_never_show() {
        let env = Env::empty().with("JWT_SECRET", "hunter2");
        let (secret, rows) = read(&env, |r| r.get("JWT_SECRET", Secret::new("x"), "key"));
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?} {:?}", rows.unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_missing_required_setting_stops_the_start() {
        let (_, rows) = read(&Env::empty(), |r| {
            r.required("DATABASE_URL", String::new(), "where")
        });
        assert!(
            rows.unwrap_err()
                .to_string()
                .contains("SPELLCHECKER_SERVICE_DATABASE_URL")
        );
    }
}
