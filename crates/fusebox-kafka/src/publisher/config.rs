//! The publisher's settings.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::drainer::DrainerConfig;

/// When an event is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// When it is in the journal; it goes to Kafka from there. What one should take.
    JournalFirst,
    /// When Kafka has it, or the journal while Kafka fails. For disks whose syncs are slow.
    Direct,
    /// When it is in this process's memory: lost when the process dies. Only for events that may be.
    Memory,
    /// When Kafka has it; otherwise the caller hears of it. What a plain producer does.
    Bare,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JournalFirst => "journal",
            Self::Direct => "direct",
            Self::Memory => "memory",
            Self::Bare => "bare",
        })
    }
}

/// What happens to an event for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The caller gets an error at once.
    Refuse,
    /// The caller waits for room, at most so long, and gets the error then. Who waits is served in the
    /// order of coming, and nobody overtakes.
    Wait(Duration),
}

/// The time of day. Only for what is told to others: no decision depends on it.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    /// A clock that is read with `now`.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Milliseconds since the Unix epoch; 0 before it.
    pub(crate) fn now_ms(&self) -> i64 {
        let since = (self.0)().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Default for WallClock {
    /// The machine's.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&self.now_ms()).finish()
    }
}

/// Limits and waits of a publisher; start from the default and change fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublisherConfig {
    /// What happens when there is no room. Default: wait up to 2 s.
    pub when_full: WhenFull,
    /// The drainer behind it. Default: a window of 10,000 records and 16 MiB, pages of 1,024, settled
    /// every 50 ms, which bounds what a crash sends twice.
    pub drainer: DrainerConfig,
    /// Direct: how long Kafka may take for an event before all that it has not acknowledged is
    /// written to the journal. Default 1 s.
    pub direct_timeout: Duration,
    /// Direct and memory: most events that are neither in Kafka nor in the journal. Default 10,000.
    pub memory_records: usize,
    /// Direct and memory: most bytes of such events; one may always be. Default 16 MiB.
    pub memory_bytes: usize,
    /// Bare: how long Kafka may take for an event. Default 30 s.
    pub bare_timeout: Duration,
    /// The time of day. Default: the machine's.
    pub clock: WallClock,
}

impl Default for PublisherConfig {
    fn default() -> Self {
        let drainer = DrainerConfig {
            max_records: 10_000,
            max_bytes: 16 << 20,
            page: 1024,
            settle_every: Duration::from_millis(50),
            ..DrainerConfig::default()
        };
        Self {
            when_full: WhenFull::Wait(Duration::from_secs(2)),
            drainer,
            direct_timeout: Duration::from_secs(1),
            memory_records: 10_000,
            memory_bytes: 16 << 20,
            bare_timeout: Duration::from_secs(30),
            clock: WallClock::default(),
        }
    }
}
