//! Structured logs: console text for people, JSON for machines, to stderr or to a file.

use std::{fs::File, path::Path, sync::Mutex};

use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Console,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Debug)]
pub enum LogTarget<'a> {
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(&'a Path),
}

/// Logging could not be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// The filter is not one.
    #[error(
        "LOG_LEVEL is `{given}`; allowed: a level such as info, or targets such as info,fusebox=debug"
    )]
    BadFilter {
        /// What was given.
        given: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The file cannot be written.
    #[error("the log file {path} cannot be opened")]
    File {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else did it before.
    #[error("logging was set up already")]
    Twice,
}

/// Sets up logging for the whole process; `filter` is a level (`info`) or targets
/// (`info,fusebox=debug`).
///
/// # Errors
/// When the filter is bad, the file cannot be opened or logging was set up before.
pub fn init(format: LogFormat, target: &LogTarget<'_>, filter: &str) -> Result<(), LoggingError> {
    let env_filter = EnvFilter::try_new(filter).map_err(|source| LoggingError::BadFilter {
        given: filter.to_owned(),
        source,
    })?;
    let layer = match (format, target) {
        (LogFormat::Console, LogTarget::Stderr) => {
            fmt::layer().with_writer(std::io::stderr).boxed()
        }
        (LogFormat::Json, LogTarget::Stderr) => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr)
            .boxed(),
        (LogFormat::Console, LogTarget::File(path)) => fmt::layer()
            .with_ansi(false)
            .with_writer(Mutex::new(open(path)?))
            .boxed(),
        (LogFormat::Json, LogTarget::File(path)) => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(Mutex::new(open(path)?))
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(env_filter))
        .try_init()
        .map_err(|_| LoggingError::Twice)
}

fn open(path: &Path) -> Result<File, LoggingError> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| LoggingError::File {
            path: path.display().to_string(),
            source,
        })
}
