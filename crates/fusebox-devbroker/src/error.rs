//! What can go wrong with a broker as a whole. What goes wrong with a request is answered to it.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// A broker did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// It would be reachable from other machines, and it asks nobody who they are.
    #[error("{0} is not a loopback address; this broker is for this machine only")]
    NotLoopback(SocketAddr),
    /// A setting cannot be meant.
    #[error("{setting} is {value}; allowed is {allowed}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Another broker has the folder.
    #[error("{} is in use by another broker", .0.display())]
    InUse(PathBuf),
    /// It cannot listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data cannot be read or made.
    #[error("the data cannot be opened")]
    Store(#[from] StoreError),
    /// A topic of the configuration cannot be made.
    #[error("a topic cannot be made")]
    Topic(#[from] TopicError),
    /// No thread or runtime could be had.
    #[error("the broker's threads did not start")]
    Threads(#[source] io::Error),
}

/// A file of the broker cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk.
    #[error("{} cannot be read or written", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a file of ours, or it is damaged.
    #[error("{} is not what it should be: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl StoreError {
    /// For `map_err`.
    pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}

/// A topic was not made or not deleted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TopicError {
    /// There is one.
    #[error("topic {0} exists already")]
    Exists(String),
    /// There is none.
    #[error("there is no topic {0}")]
    Unknown(String),
    /// Kafka would not take the name either.
    #[error("{0:?} is not the name of a topic")]
    Name(String),
    /// Too few or too many.
    #[error("a topic has 1 to 1000 partitions, and a broker 10000 in all; asked for {0}")]
    Partitions(i32),
    /// A setting of topics that is not known, or has no such value.
    #[error("topics have no setting {name}={value}")]
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The list of topics could not be written.
    #[error("the list of topics was not written")]
    Store(#[from] StoreError),
}
