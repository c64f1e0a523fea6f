//! The platform's Kafka: the one that is configured, or the embedded broker with its data beside the
//! stores.

use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;
use fusebox_devbroker::{DevBroker, DevBrokerConfig, FsyncPolicy};
use huleedu_contracts::topics::{DEFAULT_PARTITIONS, Topic};
use huleedu_kit::settings::Env;

/// The folder of the embedded broker in the platform's.
const FOLDER: &str = "kafka";

/// When the embedded broker tells the disk to keep what it has acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fsync {
    /// Every second: a killed process loses nothing, a loss of power the last second.
    #[default]
    EverySecond,
    /// Before each answer: a loss of power loses nothing either, and everything is slower.
    Always,
}

/// A Kafka to run on.
#[derive(Debug)]
pub(crate) enum Kafka {
    /// Somebody else's.
    Configured(String),
    /// Ours, in this process.
    Embedded(DevBroker),
}

impl Kafka {
    /// Uses `KAFKA_BOOTSTRAP_SERVERS`; without it, starts a broker with its data under `data_dir`.
    pub(crate) async fn start(env: &Env, data_dir: &Path, fsync: Fsync) -> anyhow::Result<Self> {
        if let Some(servers) = env.get("KAFKA_BOOTSTRAP_SERVERS") {
            return Ok(Self::Configured(servers.to_owned()));
        }
        let partitions = i32::try_from(DEFAULT_PARTITIONS).context("too many partitions")?;
        let topics = Topic::ALL.iter().map(|topic| (topic.as_str(), partitions));
        let mut config = DevBrokerConfig::in_dir(data_dir.join(FOLDER)).with_topics(topics);
        config.default_partitions = partitions;
        config.fsync = match fsync {
            Fsync::EverySecond => FsyncPolicy::EverySecond,
            Fsync::Always => FsyncPolicy::Always,
        };
        // It checks what is on the disk before it listens.
        let broker = tokio::task::spawn_blocking(|| DevBroker::start(config))
            .await
            .context("the embedded broker panicked")?
            .context("the embedded broker did not start")?;
        let found = broker.recovery();
        if found.damaged_bytes > 0 {
            tracing::warn!(
                bytes = found.damaged_bytes,
                "damaged records were put aside"
            );
        }
        Ok(Self::Embedded(broker))
    }

    /// Its address.
    pub(crate) fn bootstrap_servers(&self) -> String {
        match self {
            Self::Configured(servers) => servers.clone(),
            Self::Embedded(broker) => broker.bootstrap_servers(),
        }
    }

    /// The embedded broker, if it is that.
    pub(crate) fn embedded(&self) -> Option<&DevBroker> {
        match self {
            Self::Configured(_) => None,
            Self::Embedded(broker) => Some(broker),
        }
    }

    /// Stops the embedded broker, with everything on the disk.
    pub(crate) async fn stop(self) {
        let Self::Embedded(broker) = self else { return };
        let stopped = tokio::task::spawn_blocking(|| broker.shutdown()).await;
        match stopped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the embedded broker did not stop in order"),
            Err(error) => tracing::warn!(%error, "the embedded broker panicked"),
        }
    }
}
