//! Bodies of HTTP requests and responses that two services share.
//!
//! An optional value that is absent is written as `null` and may be left out by the sender.
//! Failures have one body everywhere: [`ErrorBody`](crate::error::ErrorBody).

pub mod cj;
pub mod class_management;
pub mod conductor;
pub mod content;
pub mod file;
pub mod gateway;
pub mod lifecycle;
pub mod orchestrator;

use serde::{Deserialize, Serialize};

/// Which part of a list an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    /// The greatest number of entries asked for.
    pub limit: u32,
    /// How many entries come before the first one.
    pub offset: u32,
    /// All entries there are.
    pub total: u64,
}
