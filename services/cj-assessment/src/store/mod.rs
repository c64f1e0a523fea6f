//! Jobs, their essays and their comparisons in the database.

mod comparisons;
mod essays;
mod jobs;

pub(crate) use comparisons::{Answer, Comparison, ComparisonState, JudgeCount, WaveKind};
pub(crate) use essays::{Essay, Placed};
pub(crate) use jobs::Job;

use huleedu_kit::store::{Store, StoreError};
use serde::de::DeserializeOwned;

/// The tables of this service. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    store: Store,
}

impl Jobs {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// Reads JSON that this program wrote.
fn json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// An index or a count, which the database keeps as a signed number.
fn unsigned<T: TryFrom<i64>>(what: &str, value: i64) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(format!("{what} is {value}")))
}

fn signed<T: TryInto<i64>>(value: T) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
