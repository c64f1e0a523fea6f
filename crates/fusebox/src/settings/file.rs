//! A TOML file of circuits: a table `[defaults]`, and a table `[circuits."pattern"]` for each
//! pattern.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::circuits::place;
use super::{CircuitSettings, Overrides, Problem, SettingsError};
use crate::registry::Pattern;

type Entry<'t> = (&'t Spanned<Cow<'t, str>>, &'t Spanned<DeValue<'t>>);

/// Reads what `text` gives, without asking whether it makes sense together.
pub(super) fn read(text: &str) -> Result<CircuitSettings, SettingsError> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        problems: Vec::new(),
    };
    for error in &errors {
        let mut problem = Problem::new("", "", "").at(format!("not TOML: {}", error.message()));
        problem.line = error.span().map(|span| reader.line(span.start));
        reader.problems.push(problem);
    }
    // A table that was only half understood would bring up problems that are none.
    SettingsError::of(std::mem::take(&mut reader.problems))?;
    let settings = reader.document(table.get_ref());
    SettingsError::of(reader.problems)?;
    Ok(settings)
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn document(&mut self, document: &'t DeTable<'t>) -> CircuitSettings {
        let mut settings = CircuitSettings::new();
        for entry in document {
            match &**entry.0.get_ref() {
                "defaults" => {
                    settings = settings.with_defaults(self.settings("defaults", entry));
                }
                "circuits" => self.circuits(&mut settings, entry),
                other => self.refuse(
                    Problem::new("", "", "[defaults] and [circuits.\"pattern\"]").at(other),
                    entry.0,
                ),
            }
        }
        settings
    }

    fn circuits(&mut self, settings: &mut CircuitSettings, (key, value): Entry<'t>) {
        let DeValue::Table(circuits) = value.get_ref() else {
            let problem = Problem::new("", shown(value), "tables [circuits.\"pattern\"]");
            return self.refuse(problem.at("circuits"), key);
        };
        for entry in circuits {
            match Pattern::new(entry.0.get_ref()) {
                Ok(pattern) => {
                    let overrides = self.settings(&place(&pattern), entry);
                    settings.put(pattern, overrides);
                }
                Err(error) => {
                    let problem = Problem::new("", error.to_string(), "a pattern of names");
                    self.refuse(problem.at("circuits"), entry.0);
                }
            }
        }
    }

    fn settings(&mut self, place: &str, (key, value): Entry<'t>) -> Overrides {
        let mut overrides = Overrides::new();
        let DeValue::Table(table) = value.get_ref() else {
            let problem = Problem::new("", shown(value), "a table of settings");
            self.refuse(problem.at(place), key);
            return overrides;
        };
        for (name, value) in table {
            let result = match text(value.get_ref()) {
                Some(text) => overrides.set(name.get_ref(), &text),
                None => Err(Problem::new(
                    name.get_ref().to_string(),
                    shown(value),
                    "a number, a text, true or false",
                )),
            };
            if let Err(problem) = result {
                self.refuse(problem.at(place), name);
            }
        }
        overrides
    }

    fn refuse<T>(&mut self, mut problem: Problem, at: &Spanned<T>) {
        problem.line = Some(self.line(at.span().start));
        self.problems.push(problem);
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}

/// A value as text, in the notation that settings are read in.
fn text<'t>(value: &'t DeValue<'t>) -> Option<Cow<'t, str>> {
    match value {
        DeValue::String(text) => Some(Cow::Borrowed(text)),
        DeValue::Integer(number) if number.radix() == 10 => Some(Cow::Borrowed(number.as_str())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| Cow::Owned(number.to_string())),
        DeValue::Float(number) => Some(Cow::Borrowed(number.as_str())),
        DeValue::Boolean(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        _ => None,
    }
}

/// A value for an error message.
fn shown<'t>(value: &'t Spanned<DeValue<'t>>) -> String {
    match text(value.get_ref()) {
        Some(text) => text.into_owned(),
        None => format!("of type {}", value.get_ref().type_str()),
    }
}
