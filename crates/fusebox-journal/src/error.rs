//! The errors of the journal: what failed, whose fault it is, and whether to try again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::Position;

/// A journal that could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process owns the directory.
    #[error("the journal {dir} is in use by {owner}")]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// What the owner wrote about itself.
        owner: String,
    },
    /// The files were written by a newer, incompatible version.
    #[error("{file} has version {found}, this program reads version {known}")]
    Version {
        /// The file.
        file: PathBuf,
        /// Its major version.
        found: u16,
        /// The major version that is known.
        known: u16,
    },
    /// There is nothing to inspect.
    #[error("there is no journal in {dir}")]
    NoJournal {
        /// The directory.
        dir: PathBuf,
    },
    /// A setting is out of bounds.
    #[error("{name} is {value}, allowed is {allowed}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The disk failed.
    #[error("could not {what} {path}")]
    Io {
        /// What was tried: a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A record that was not accepted.
///
/// It is not safe, but after an I/O error it may have reached the disk all the same: append it again
/// with the same id.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A quota of the journal is reached; wait for room or refuse the event.
    #[error("the journal is full")]
    Full,
    /// More is waiting to be written than may be kept in memory: the disk does not keep up.
    #[error("the disk does not keep up")]
    Busy,
    /// The disk has no room for another segment; appending works again when it has.
    #[error("the disk is full")]
    NoSpace,
    /// The record is larger than a record may be.
    #[error("the record takes {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes it would take.
        size: u64,
        /// Bytes it may take.
        limit: u64,
    },
    /// The label is longer than 255 bytes.
    #[error("the label is longer than 255 bytes")]
    Label,
    /// After an error of the disk the acknowledged records could not be read back; the journal only
    /// reads until it is opened anew.
    #[error("the journal is read-only after a disk error")]
    ReadOnly,
    /// The journal is closing.
    #[error("the journal is closed")]
    Closed,
    /// Write or sync failed; the next append begins a new segment. The record may be kept all the same, and
    /// whoever asks for what is not durable yet may have had it: append it again with the same id.
    #[error("the record could not be made durable")]
    Io(#[source] Arc<io::Error>),
}

impl AppendError {
    /// Whether the same append may succeed later without anyone changing the record.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Full | Self::Busy | Self::NoSpace | Self::Io(_) => true,
            Self::TooLarge { .. } | Self::Label | Self::ReadOnly | Self::Closed => false,
        }
    }
}

/// A read, a settling or an operation on dead letters that failed. All may be tried again.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk failed.
    #[error("could not {what}")]
    Io {
        /// What was tried: a verb and its object.
        what: &'static str,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// There is no such record, or it has been settled.
    #[error("there is no record at position {0}")]
    NotFound(Position),
    /// The record, or its dead letter, could not be appended.
    #[error("could not append {what}")]
    Append {
        /// What: the dead letter, the requeued record.
        what: &'static str,
        /// The cause.
        #[source]
        source: AppendError,
    },
    /// The journal is closing.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what,
            source: Arc::new(source),
        }
    }
}
