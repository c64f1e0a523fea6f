//! The HTTP server that every service has: errors, extractors, context, metrics, limits, health.

mod error;
mod extract;
mod listener;
mod server;

pub use error::{ApiError, ApiResult};
pub use extract::{ApiJson, ApiPath, ApiQuery, Caller, USER_HEADER};
pub(crate) use listener::CuttableListener;
pub use server::{Health, standard_routes, with_middleware};
