//! Settings that every service has: address, database, Kafka, logs, circuits.

use std::{path::PathBuf, time::Duration};

use fusebox::{BreakerConfig, TripRule};

use super::{
    pace::PaceSettings,
    poison::PoisonSettings,
    reader::SettingsReader,
    value::{Secret, SettingValue},
};
use crate::{
    admin::{Home, SocketPath},
    circuits::CircuitFile,
    consumer::chain,
    service::ServiceId,
};

/// What the kit itself needs to run a service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommonSettings {
    /// Whose settings these are.
    pub service: ServiceId,
    /// Address to listen on.
    pub http_host: String,
    /// Port to listen on; 0 lets the system choose.
    pub http_port: u16,
    /// Kafka; `None` for a service without events.
    pub kafka: Option<KafkaSettings>,
    /// Where the service keeps its state; `None` for one that has none.
    pub database: Option<DatabaseSettings>,
    /// Whether circuits judge at all.
    pub circuit_breaker_enabled: bool,
    /// Settings that go over those of the environment, by pattern of circuits' names.
    pub circuit_file: Option<CircuitFile>,
    /// Largest request body in bytes.
    pub max_request_bytes: usize,
    /// Longest wait for work under way when the service stops.
    pub shutdown_timeout: Duration,
    /// Unix socket for operators, when it is not the one beside the store.
    pub admin_socket: Option<String>,
}

/// Where a service keeps its state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DatabaseSettings {
    /// `sqlite:…` or `postgres:…`; it may hold a password.
    pub url: Secret,
    /// Largest number of connections.
    pub max_connections: u32,
}

impl DatabaseSettings {
    fn load(r: &mut SettingsReader<'_>) -> Self {
        Self {
            url: r.required(
                "DATABASE_URL",
                Secret::new(""),
                "store: sqlite:///path/file.db or postgres://user:password@host/name",
            ),
            max_connections: r.get_in(
                "DATABASE_MAX_CONNECTIONS",
                4,
                1..=1000,
                "most database connections at once",
            ),
        }
    }
}

/// How a service publishes and consumes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KafkaSettings {
    /// Brokers, `host:port` with commas.
    pub bootstrap_servers: String,
    /// The circuit of the publisher.
    pub circuit: BreakerConfig,
    /// How many events may wait for Kafka before publishing is refused.
    pub fallback_queue_size: u64,
    /// How many bytes of events may wait.
    pub fallback_queue_bytes: u64,
    /// How fast events may be handed to Kafka.
    pub pace: PaceSettings,
    /// What happens behind an event that Kafka refuses for good.
    pub poison: PoisonSettings,
    /// For a service that publishes without changing state of its own.
    pub journal: Option<JournalSettings>,
    /// First wait before a failed event is tried again; doubles up to `retry_max`.
    pub retry_min: Duration,
    /// Longest wait before a failed event is tried again.
    pub retry_max: Duration,
    /// How long one event is tried before it becomes a dead letter.
    pub give_up_after: Duration,
    /// Whether dead letters are also sent to the topic's `.DLQ`.
    pub dead_letter_topics: bool,
    /// How long applied events are remembered; one that comes again after that is applied again.
    pub inbox_retention: Duration,
}

/// How a service publishes that has no outbox.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JournalSettings {
    /// When an event is safe.
    pub mode: PublishMode,
    /// The folder of the journal; one process at a time uses it.
    pub dir: PathBuf,
    /// How long a caller waits for room before it is refused; `None` refuses at once.
    pub full_wait: Option<Duration>,
    /// Direct: how long Kafka may take before the journal takes the event.
    pub direct_timeout: Duration,
}

/// When an event that goes through a journal is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishMode {
    /// When the journal has it.
    Journal,
    /// When Kafka has it, or the journal while Kafka fails.
    Direct,
    /// When it is in memory: a crash loses it.
    Memory,
}

impl SettingValue for PublishMode {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "journal" => Ok(Self::Journal),
            "direct" => Ok(Self::Direct),
            "memory" => Ok(Self::Memory),
            _ => Err("journal, direct or memory".to_owned()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Journal => "journal",
            Self::Direct => "direct",
            Self::Memory => "memory",
        }
        .to_owned()
    }
}

impl JournalSettings {
    fn load(r: &mut SettingsReader<'_>) -> Self {
        Self {
            mode: r.get(
                "KAFKA_PUBLISH_MODE",
                PublishMode::Journal,
                "journal: an event is safe in the journal; direct: in Kafka, or in the journal while Kafka fails; memory: a crash loses it",
            ),
            dir: PathBuf::from(r.required(
                "KAFKA_JOURNAL_DIR",
                String::new(),
                "folder of the journal of events, on a local disk; one process at a time uses it",
            )),
            full_wait: r.optional(
                "KAFKA_FULL_WAIT_SECONDS",
                "how long a caller waits for room when the journal is full, in seconds; not set: refused at once",
            ),
            direct_timeout: r.get(
                "KAFKA_DIRECT_TIMEOUT_SECONDS",
                Duration::from_secs(1),
                "mode direct: how long Kafka may take before the journal takes the event, in seconds",
            ),
        }
    }
}

impl KafkaSettings {
    fn load(r: &mut SettingsReader<'_>) -> Self {
        Self {
            bootstrap_servers: r.required(
                "KAFKA_BOOTSTRAP_SERVERS",
                String::new(),
                "Kafka brokers, host:port, separated by commas",
            ),
            circuit: circuit_config(r, CircuitDefaults::KAFKA),
            fallback_queue_size: r.get_in(
                "KAFKA_FALLBACK_QUEUE_SIZE",
                1000,
                1..=100_000_000,
                "events that may wait for Kafka; beyond it publishing is refused",
            ),
            fallback_queue_bytes: r.get_in(
                "KAFKA_FALLBACK_QUEUE_BYTES",
                256 * 1024 * 1024,
                8 * 1024 * 1024..=1 << 40,
                "bytes of events that may wait for Kafka; beyond it publishing is refused",
            ),
            pace: PaceSettings::load(r),
            poison: PoisonSettings::load(r),
            journal: r
                .service()
                .publishes_without_state()
                .then(|| JournalSettings::load(r)),
            retry_min: r.get(
                "EVENT_RETRY_MIN_SECONDS",
                Duration::from_millis(100),
                "first wait before a failed event is tried again, in seconds",
            ),
            retry_max: r.get(
                "EVENT_RETRY_MAX_SECONDS",
                Duration::from_secs(10),
                "longest wait before a failed event is tried again, in seconds",
            ),
            give_up_after: r.get(
                "EVENT_GIVE_UP_SECONDS",
                Duration::from_hours(24),
                "how long one event is tried before it becomes a dead letter, in seconds; its partition waits",
            ),
            dead_letter_topics: r.get(
                "DEAD_LETTER_TOPICS",
                true,
                "also send dead letters to the topic's name with .DLQ; false keeps them in the store alone",
            ),
            inbox_retention: r.get_in(
                "INBOX_RETENTION_SECONDS",
                Duration::from_hours(30 * 24),
                Duration::from_hours(1)..=Duration::from_hours(3650 * 24),
                "how long applied events are remembered, in seconds; one that comes again later is applied \
                 again, so keep it above Kafka's retention of the topics",
            ),
        }
    }
}

impl CommonSettings {
    /// Reads them.
    pub fn load(r: &mut SettingsReader<'_>) -> Self {
        let service = r.service();
        let port = service.default_port();
        Self {
            service,
            http_host: r.get("HTTP_HOST", "127.0.0.1".to_owned(), "address to listen on"),
            http_port: r.get("HTTP_PORT", port, "port to listen on; 0 = any free one"),
            database: (!r.service().publishes_without_state())
                .then(|| DatabaseSettings::load(r)),
            circuit_breaker_enabled: r.get(
                "CIRCUIT_BREAKER_ENABLED",
                true,
                "false wires every protected call as a plain call",
            ),
            circuit_file: circuit_file(r),
            kafka: r.service().uses_kafka().then(|| KafkaSettings::load(r)),
            max_request_bytes: r.get_in(
                "MAX_REQUEST_BYTES",
                64 * 1024 * 1024,
                1024..=1024 * 1024 * 1024,
                "largest request body in bytes; beyond it 413",
            ),
            shutdown_timeout: r.get(
                "SHUTDOWN_TIMEOUT_SECONDS",
                Duration::from_secs(10),
                "longest wait for work under way at stop, in seconds",
            ),
            admin_socket: r.optional(
                "ADMIN_SOCKET",
                "Unix socket for `huleedu journal`, `dead` and `blocked`, or off; else it is beside the SQLite \
                 file or in the journal",
            ),
        }
    }

    /// What the service keeps, of which one process is the owner.
    pub fn home(&self) -> Option<Home<'_>> {
        let database = self.database.as_ref();
        let journal = self.kafka.as_ref().and_then(|kafka| kafka.journal.as_ref());
        database
            .map(|database| Home::Database(self.service, database.url.expose()))
            .or_else(|| journal.map(|journal| Home::Journal(&journal.dir)))
    }

    /// Where the owner is found; `None` where nothing shows whether there is one.
    pub fn admin_place(&self) -> Option<SocketPath> {
        SocketPath::of(self.admin_socket.as_deref(), self.home()?)
    }
}

/// Reads the file of circuit settings, if there is to be one.
fn circuit_file(r: &mut SettingsReader<'_>) -> Option<CircuitFile> {
    const PATH: &str = "CIRCUIT_BREAKER_CONFIG_FILE";
    let path = r.optional::<String>(
        PATH,
        "TOML file of settings by pattern of circuits' names; goes over the environment, and a change \
         of it holds without a restart",
    );
    let every = r.get(
        "CIRCUIT_BREAKER_CONFIG_POLL_SECONDS",
        Duration::from_secs(2),
        "how often that file is looked at, in seconds",
    );
    match CircuitFile::open(path?, every) {
        Ok(file) => Some(file),
        Err(error) => {
            r.refuse(format!("{PATH}: {}", chain(&error)));
            None
        }
    }
}

/// The variables and defaults of one kind of circuit.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CircuitDefaults {
    names: [&'static str; 4],
    meanings: [&'static str; 4],
    failures: u32,
    recovery: Duration,
    successes: u32,
    rule: TripRule,
}

macro_rules! circuit {
    ($prefix:literal, $of:literal, $failures:literal, $recovery:literal, $successes:literal, $rule:ident) => {
        Self {
            names: [
                concat!($prefix, "_CIRCUIT_BREAKER_FAILURE_THRESHOLD"),
                concat!($prefix, "_CIRCUIT_BREAKER_RECOVERY_TIMEOUT"),
                concat!($prefix, "_CIRCUIT_BREAKER_SUCCESS_THRESHOLD"),
                concat!($prefix, "_CIRCUIT_BREAKER_TRIP_RULE"),
            ],
            meanings: [
                concat!("least failures before the circuit of ", $of, " opens"),
                concat!("longest break of the circuit of ", $of, ", in seconds"),
                concat!(
                    "probes that must succeed before the circuit of ",
                    $of,
                    " closes"
                ),
                concat!(
                    "rate (also half of the last 10 s must fail) or consecutive: ",
                    $of
                ),
            ],
            failures: $failures,
            recovery: Duration::from_secs($recovery),
            successes: $successes,
            rule: TripRule::$rule,
        }
    };
}

impl CircuitDefaults {
    /// Batch Orchestrator to Batch Conductor.
    pub const BCS: Self = circuit!("BCS", "Batch Conductor calls", 5, 60, 2, Rate);
    /// Publishing to Kafka. It judges progress, not calls: no share of successes from before an
    /// outage may delay its opening, so the rule is consecutive.
    pub const KAFKA: Self = circuit!("KAFKA", "Kafka publishing", 10, 30, 3, Consecutive);
    /// Calls of the Content Service.
    pub const CONTENT: Self = circuit!("CONTENT", "Content Service calls", 3, 30, 2, Rate);
    /// Calls of other services over HTTP.
    pub const HTTP: Self = circuit!("HTTP", "calls of other services", 5, 60, 2, Rate);
    /// Any AI provider: what holds where a provider's own settings say nothing.
    pub const API: Self = circuit!("API", "AI providers", 3, 120, 2, Rate);
    /// Anthropic.
    pub const ANTHROPIC: Self = circuit!("ANTHROPIC", "Anthropic calls", 3, 120, 2, Rate);
    /// OpenAI.
    pub const OPENAI: Self = circuit!("OPENAI", "OpenAI calls", 3, 120, 2, Rate);
    /// Google.
    pub const GOOGLE: Self = circuit!("GOOGLE", "Google calls", 3, 120, 2, Rate);
    /// OpenRouter.
    pub const OPENROUTER: Self = circuit!("OPENROUTER", "OpenRouter calls", 3, 120, 2, Rate);
}

impl CircuitDefaults {
    /// The same variables, with the values of `config` where they are not set.
    #[must_use]
    pub fn based_on(self, config: &BreakerConfig) -> Self {
        Self {
            failures: config.failure_threshold,
            recovery: config.recovery_timeout,
            successes: config.success_threshold,
            rule: config.trip_rule,
            ..self
        }
    }
}

/// Reads the settings of one circuit.
pub fn circuit_config(r: &mut SettingsReader<'_>, of: CircuitDefaults) -> BreakerConfig {
    let [failures, recovery, successes, rule] = of.names;
    let failures = r.get_in(failures, of.failures, 1..=1_000_000, of.meanings[0]);
    let recovery = r.get(recovery, of.recovery, of.meanings[1]);
    let successes = r.get_in(successes, of.successes, 1..=10_000, of.meanings[2]);
    let rule = r.get(rule, of.rule, of.meanings[3]);
    let config = BreakerConfig::default()
        .with_failure_threshold(failures)
        .with_recovery_timeout(recovery)
        .with_success_threshold(successes)
        .with_trip_rule(rule);
    // The first break may not be longer than the longest one.
    let config = if config.first_break > recovery {
        config.with_first_break(recovery)
    } else {
        config
    };
    if let Err(error) = config.validate() {
        r.refuse(format!("{}: {error}", of.names[0]));
    }
    config
}
