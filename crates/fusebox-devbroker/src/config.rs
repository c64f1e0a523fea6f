//! How a broker is started.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::error::StartError;

/// When what was written is made to survive a loss of power.
///
/// Whatever the policy, a killed process loses nothing: what was written is the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FsyncPolicy {
    /// At the end only.
    Never,
    /// Every second, and at the end. The default.
    #[default]
    EverySecond,
    /// Before a producer gets its answer.
    Always,
}

/// A topic that is there from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions, from 1 to 1000.
    pub partitions: i32,
}

impl NewTopic {
    /// A topic with so many partitions.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
        }
    }
}

/// Settings of a broker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DevBrokerConfig {
    /// Where it listens: a loopback address. Default `127.0.0.1`, any free port.
    pub listen: SocketAddr,
    /// Where it keeps its data. Without one it is a temporary folder that goes with the broker.
    pub data_dir: Option<PathBuf>,
    /// Topics that are made at the start, unless they are there. Default none.
    pub topics: Vec<NewTopic>,
    /// Whether asking for a topic makes it. Default yes.
    pub auto_create_topics: bool,
    /// Partitions of a topic for which no number was given. Default 3.
    pub default_partitions: i32,
    /// Bytes a partition keeps at least, unless its topic has a setting. Default 1 GiB.
    pub retention_bytes: Option<u64>,
    /// How long records are kept, unless their topic has a setting. Default 7 days.
    pub retention: Option<Duration>,
    /// How often old segments are looked for. Default 10 s.
    pub retention_check: Duration,
    /// Size at which a segment is closed. Default 16 MiB.
    pub segment_bytes: u64,
    /// Longest batch of records. Default 1 MiB, as Kafka has it.
    pub max_batch_bytes: usize,
    /// When the disk is told to keep what was written. Default every second.
    pub fsync: FsyncPolicy,
    /// How long the first member of a group waits for others. Default 100 ms, at most 10 s.
    pub group_initial_rebalance_delay: Duration,
}

impl DevBrokerConfig {
    /// The defaults, with data that goes with the broker.
    pub fn temporary() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: None,
            topics: Vec::new(),
            auto_create_topics: true,
            default_partitions: 3,
            retention_bytes: Some(1 << 30),
            retention: Some(Duration::from_hours(7 * 24)),
            retention_check: Duration::from_secs(10),
            segment_bytes: 16 << 20,
            max_batch_bytes: 1 << 20,
            fsync: FsyncPolicy::default(),
            group_initial_rebalance_delay: Duration::from_millis(100),
        }
    }

    /// The defaults, with data that stays in this folder.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: Some(data_dir.into()),
            ..Self::temporary()
        }
    }

    /// The same with these topics from the start.
    #[must_use]
    pub fn with_topics<N: Into<String>>(
        mut self,
        topics: impl IntoIterator<Item = (N, i32)>,
    ) -> Self {
        self.topics.extend(
            topics
                .into_iter()
                .map(|(name, partitions)| NewTopic::new(name, partitions)),
        );
        self
    }

    /// Refuses what cannot be meant.
    pub(crate) fn validate(&self) -> Result<(), StartError> {
        if !self.listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(self.listen));
        }
        let delay = self.group_initial_rebalance_delay;
        let rules = [
            (
                (1..=1000).contains(&self.default_partitions),
                "default_partitions",
                self.default_partitions.to_string(),
                "1 to 1000",
            ),
            (
                self.segment_bytes >= 1024,
                "segment_bytes",
                self.segment_bytes.to_string(),
                "at least 1024",
            ),
            (
                (1024..=32 << 20).contains(&self.max_batch_bytes),
                "max_batch_bytes",
                self.max_batch_bytes.to_string(),
                "1024 to 33554432",
            ),
            (
                !self.retention_check.is_zero(),
                "retention_check",
                format!("{:?}", self.retention_check),
                "more than 0",
            ),
            (
                delay <= Duration::from_secs(10),
                "group_initial_rebalance_delay",
                format!("{delay:?}"),
                "at most 10 s",
            ),
        ];
        for (holds, setting, value, allowed) in rules {
            if !holds {
                return Err(StartError::Setting {
                    setting,
                    value,
                    allowed,
                });
            }
        }
        Ok(())
    }
}
