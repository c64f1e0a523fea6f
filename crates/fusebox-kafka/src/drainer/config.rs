//! The drainer's numbers.

use std::collections::HashMap;
use std::time::Duration;

use super::blocks::PoisonPolicy;
use super::pace::PaceLimit;

/// Limits and intervals of a drainer; start from the default and change fields.
///
/// A limit of zero is read as one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DrainerConfig {
    /// Most records that left the backlog's head and are not settled yet. Default 1,000.
    pub max_records: usize,
    /// Most bytes of such records; one record may always go. Default 8 MiB.
    pub max_bytes: usize,
    /// Largest record, framing included; a larger one is buried without being sent. Default 1,000,000
    /// bytes, which is what Kafka takes by default.
    pub max_record_bytes: usize,
    /// Records read from the backlog at once. Default 256.
    pub page: usize,
    /// How often the backlog is looked at without being told to. Default 1 s.
    pub poll_every: Duration,
    /// How often it is looked at from its start, for records that became visible late. Default 5 s.
    pub rescan_every: Duration,
    /// How long delivered records wait to be settled together. Default 10 ms.
    pub settle_every: Duration,
    /// Time without a delivery, with something under way, that counts as a stall. Default 2 s.
    pub stall_after: Duration,
    /// During a stall, time between two failures for the circuit. Default 500 ms.
    pub stall_every: Duration,
    /// Time a half-open probe may take. Default 2 s.
    pub probe_timeout: Duration,
    /// First wait after a failure that is tried again (backlog, topic, record). Default 100 ms; it
    /// doubles.
    pub retry_min: Duration,
    /// Longest such wait. Default 5 s.
    pub retry_max: Duration,
    /// First pause of a topic at fault. Default 1 s; it doubles.
    pub topic_pause_min: Duration,
    /// Longest pause of a topic at fault. Default 30 s.
    pub topic_pause_max: Duration,
    /// Tries alone after which an error nobody knows ends in a dead letter. Default 10.
    pub unknown_error_tries: u32,
    /// Time for the reports of what is under way at shutdown. Default 5 s.
    pub shutdown_timeout: Duration,
    /// Most that is handed over in a second, always. Default: no bound but the window.
    pub pace: PaceLimit,
    /// Most that is handed over in a second while a backlog is made up for: after an outage, after the
    /// start, after trouble. Then it begins with 1,000 records and 4 MiB in a second, grows while Kafka
    /// acknowledges in time, and is halved when it does not, but never below its beginning. Default: no
    /// other bound than that.
    pub recovery_pace: PaceLimit,
    /// What happens behind an event that Kafka refuses for good. Default: skip.
    pub poison: PoisonPolicy,
    /// The same for single topics.
    pub poison_by_topic: HashMap<String, PoisonPolicy>,
}

impl DrainerConfig {
    pub(super) fn poison_of(&self, topic: &str) -> PoisonPolicy {
        *self.poison_by_topic.get(topic).unwrap_or(&self.poison)
    }
}

impl Default for DrainerConfig {
    fn default() -> Self {
        Self {
            max_records: 1_000,
            max_bytes: 8 * 1024 * 1024,
            max_record_bytes: 1_000_000,
            page: 256,
            poll_every: Duration::from_secs(1),
            rescan_every: Duration::from_secs(5),
            settle_every: Duration::from_millis(10),
            stall_after: Duration::from_secs(2),
            stall_every: Duration::from_millis(500),
            probe_timeout: Duration::from_secs(2),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            topic_pause_min: Duration::from_secs(1),
            topic_pause_max: Duration::from_secs(30),
            unknown_error_tries: 10,
            shutdown_timeout: Duration::from_secs(5),
            pace: PaceLimit::default(),
            recovery_pace: PaceLimit::default(),
            poison: PoisonPolicy::Skip,
            poison_by_topic: HashMap::new(),
        }
    }
}
