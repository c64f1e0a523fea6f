//! Typed clients of other services.

mod content;

pub use content::{Content, ContentClient, ContentError, HttpContentClient};
