//! The SQL of this service, one room per subject, and how values come out of columns.

pub(crate) mod batches;
pub(crate) mod essays;
pub(crate) mod files;
pub(crate) mod pending;
pub(crate) mod phases;

use std::str::FromStr;

use huleedu_kit::store::StoreError;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::{Row as _, any::AnyRow};

/// A required text column as its type.
fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| corrupt(column, &text))
}

/// An optional text column as its type.
fn parsed_opt<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| corrupt(column, &text)))
        .transpose()
}

/// An optional JSON column as its type.
fn json_opt<T: DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|_| corrupt(column, &text)))
        .transpose()
}

fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp, StoreError> {
    let ms: i64 = row.try_get(column)?;
    Timestamp::from_millisecond(ms).map_err(|_| corrupt(column, &ms.to_string()))
}

fn count(row: &AnyRow, column: &'static str) -> Result<u32, StoreError> {
    let value: i64 = row.try_get(column)?;
    u32::try_from(value).map_err(|_| corrupt(column, &value.to_string()))
}

fn corrupt(column: &str, value: &str) -> StoreError {
    let start: String = value.chars().take(80).collect();
    StoreError::Corrupt(format!("{column} `{start}`"))
}
