//! The command line of `journal`, `dead` and `blocked`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use huleedu_kit::{ServiceId, admin::DeadKind};

/// Where to look.
#[derive(Debug, Args)]
pub(crate) struct WhereArgs {
    /// Data directory of `huleedu up` or `assess`: every store and journal in it
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// One service: of the data directory, or else the one that `huleedu run SERVICE` would be here,
    /// by its environment
    #[arg(long, value_name = "SERVICE", global = true)]
    pub(crate) service: Option<ServiceId>,
    /// A journal directory on its own
    #[arg(long, value_name = "DIR", global = true, conflicts_with_all = ["data_dir", "service"])]
    pub(crate) journal: Option<PathBuf>,
    /// The answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

const PLACES: &str = "\
Where: --data-dir DIR is the directory of `huleedu up --data-dir DIR`; --service SERVICE without it takes \
DATABASE_URL (the gateway: KAFKA_JOURNAL_DIR) and ADMIN_SOCKET from the environment, as `huleedu run` does; \
--journal DIR is a journal directory alone. While a process owns the store it is asked through its admin socket; otherwise the store is opened \
directly. Nothing is changed unless the command says so.";

/// Arguments of `journal`.
#[derive(Debug, Args)]
#[command(after_help = PLACES)]
pub(crate) struct JournalArgs {
    #[command(flatten)]
    pub(crate) place: WhereArgs,
    #[command(subcommand)]
    pub(crate) command: JournalCommand,
}

/// What to do with events that wait.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// How much waits for Kafka, for how long, and who owns it
    #[command(after_help = "\
Columns: limit is where publishing is refused (503 at the edge); held up are events that Kafka refused and that \
keep those behind them (`huleedu blocked list`); refused are dead letters that Kafka did not \
take, given up are received events that could not be applied (`huleedu dead list`).\n\n\
Examples:\n  \
  huleedu journal stats --data-dir ./data\n  \
  huleedu journal stats --service spellchecker          with its DATABASE_URL in the environment\n  \
  huleedu journal stats --data-dir ./data --json | jq '.[] | select(.waiting > 0)'")]
    Stats,
    /// The events that wait, in the order in which they will be sent
    #[command(after_help = "\
Examples:\n  \
  huleedu journal list --data-dir ./data --limit 10\n  \
  huleedu journal list --data-dir ./data --topic huleedu.file.batch.file.added.v1 --key BATCH")]
    List(ListArgs),
    /// One event with its headers and payload
    #[command(after_help = "\
Examples:\n  \
  huleedu journal show file/17 --data-dir ./data\n  \
  huleedu journal show file/17 --data-dir ./data --json | jq .payload.text -r | jq .")]
    Show {
        /// PLACE/POSITION as in `list`; the position alone where there is one place
        id: String,
    },
    /// Read everything and say what is damaged, and where; exit code 1 when anything is
    #[command(after_help = "\
Reads the files themselves, also beside a running process. A database is checked by SQLite's own \
integrity check and row by row; a journal byte by byte against its checksums.\n\n\
Example:\n  huleedu journal verify --data-dir ./data")]
    Verify,
    /// Write the events that wait, one JSON object a line
    #[command(after_help = "\
Nothing is removed: an export is for looking, and for the day on which nothing else works.\n\n\
Examples:\n  \
  huleedu journal export --data-dir ./data --output waiting.jsonl\n  \
  huleedu journal export --data-dir ./data --dead > dead.jsonl")]
    Export {
        /// A new file [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The dead letters instead
        #[arg(long)]
        dead: bool,
    },
    /// Send what waits to Kafka, from a store or journal whose process is gone
    #[command(after_help = "\
A running service drains by itself; this is for a directory whose service will not come back soon. Order and \
event ids are kept. Ctrl-C stops at any moment: what was acknowledged is settled, the rest still waits.\n\n\
A service that runs is found out, also one on another machine with the same PostgreSQL: the outbox has a lease \
that one process holds. One that was killed there may still have it for 15 s; the command waits that long. A \
service that is started meanwhile sends nothing before the command has ended.\n\n\
Where KAFKA_POISON_POLICY in this environment says block, an event that Kafka refuses for good keeps those \
behind it, as in the service; the command names it and ends.\n\n\
Exit code: 0 when nothing waits any more, 1 when something is left (Kafka took nothing for --patience, or it is \
behind a refused event), 130 after Ctrl-C.\n\n\
Example:\n  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 huleedu journal drain --data-dir ./data")]
    Drain {
        /// Kafka brokers, host:port, separated by commas
        #[arg(long, value_name = "SERVERS", env = "KAFKA_BOOTSTRAP_SERVERS")]
        kafka: String,
        /// Give up when Kafka took nothing for this many seconds
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = crate::cli::seconds)]
        patience: Duration,
    },
}

/// Which events to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// At most so many per place; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    /// Of this topic alone
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// Of this key alone
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

/// Arguments of `dead`.
#[derive(Debug, Args)]
#[command(after_help = PLACES)]
pub(crate) struct DeadArgs {
    #[command(flatten)]
    pub(crate) place: WhereArgs,
    #[command(subcommand)]
    pub(crate) command: DeadCommand,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// The dead letters: events that Kafka refused (sent-N) or that were given up here (received-N)
    #[command(after_help = "\
Examples:\n  \
  huleedu dead list --data-dir ./data\n  \
  huleedu dead list --data-dir ./data --kind received --code PANICKED\n  \
  huleedu dead list --data-dir ./data --json | jq 'group_by(.code) | map({code: .[0].code, n: length})'")]
    List {
        #[command(flatten)]
        filter: DeadFilter,
        /// At most so many per place; 0 is all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// One dead letter: cause, origin, headers and payload
    #[command(
        after_help = "Example:\n  huleedu dead show spellchecker/received-3 --data-dir ./data"
    )]
    Show {
        /// PLACE/NAME as in `list`; the name alone where there is one place
        id: String,
    },
    /// Send dead letters to their topics again, after the cause is gone
    #[command(after_help = "\
The old order is NOT restored: a requeued event goes behind everything that waits, and later events of its \
key have been applied long ago. Event id, key and bytes stay, so whoever has applied it leaves it; a service \
that has not applies it now. Look first with `huleedu dead show`; requeueing what fails for the same cause \
makes the same dead letter again.\n\n\
Examples:\n  \
  huleedu dead requeue spellchecker/received-3 --data-dir ./data\n  \
  huleedu dead requeue --all --code RETRIES_EXHAUSTED --data-dir ./data --yes")]
    Requeue {
        #[command(flatten)]
        which: WhichDead,
        /// Also received ones that were sent longer ago than services remember what they have applied
        /// (`INBOX_RETENTION_SECONDS`): who has applied such an event applies it again
        #[arg(long)]
        old: bool,
    },
    /// Remove dead letters for good
    #[command(after_help = "\
What was received and has a copy in the topic's .DLQ stays there; the row here, and with it the way back by \
`requeue`, is gone. Export first if in doubt: `huleedu journal export --dead`.\n\n\
Examples:\n  \
  huleedu dead discard file/sent-17 --data-dir ./data\n  \
  huleedu dead discard --all --code UNREADABLE --data-dir ./data --yes")]
    Discard(WhichDead),
}

/// Arguments of `blocked`.
#[derive(Debug, Args)]
#[command(after_help = PLACES)]
pub(crate) struct BlockedArgs {
    #[command(flatten)]
    pub(crate) place: WhereArgs,
    #[command(subcommand)]
    pub(crate) command: BlockedCommand,
}

/// What to do with lanes that a refused event holds up.
#[derive(Debug, Subcommand)]
pub(crate) enum BlockedCommand {
    /// The events that Kafka refused and that hold up those behind them, and for how long
    #[command(after_help = "\
Only where KAFKA_POISON_POLICY or KAFKA_POISON_POLICY_BY_TOPIC says block-key or block-topic; under skip a refused \
event is a dead letter at once. Columns: key is the one that is held up, (all) when the whole topic is; held up is \
for how long this process does it (after a restart the event is tried again, and held again if it is refused); \
behind is how many wait for it.\n\n\
Nothing is lost and nothing is out of order while it lasts, and nothing of that key arrives.\n\n\
Examples:\n  \
huleedu blocked list --data-dir ./data\n  \
huleedu blocked list --data-dir ./data --json | jq '.[] | select(.behind > 100)'")]
    List,
    /// Send them again, in their place, after the cause is gone
    #[command(after_help = "\
The order is kept: the event goes first, then those behind it. If Kafka refuses it again, all is as before. Repair \
the cause first: raise the limit of topic or broker, change the policy that refused.\n\n\
Exit code: 0 when Kafka has it, 1 when it was refused again or nothing has come of it in 10 s.\n\n\
Example:\n  huleedu blocked retry file/17 --data-dir ./data")]
    Retry {
        /// PLACE/POSITION as in `list`; the position alone where there is one place
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Make them dead letters and let those behind them go on
    #[command(after_help = "\
The order is NOT kept for this event: those behind it are sent without it, so readers of its key miss one step. It \
is kept as a dead letter; `huleedu dead requeue` sends it later, behind all the others. Look first with \
`huleedu journal show PLACE/POSITION`.\n\n\
Example:\n  huleedu blocked bury file/17 --data-dir ./data")]
    Bury {
        /// PLACE/POSITION as in `list`; the position alone where there is one place
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeadFilter {
    /// sent: Kafka refused it; received: it was given up here
    #[arg(long, value_name = "KIND", value_enum)]
    pub(crate) kind: Option<Kind>,
    /// Of this topic alone
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// With this code alone, for example PERMANENT
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
}

/// Dead letters to change.
#[derive(Debug, Args)]
pub(crate) struct WhichDead {
    /// PLACE/NAME as in `list`; the name alone where there is one place
    #[arg(required_unless_present = "all")]
    pub(crate) ids: Vec<String>,
    /// All that the filters take
    #[arg(long, conflicts_with = "ids", requires = "yes")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filter: DeadFilter,
    /// Needed with --all: I have looked at `huleedu dead list` with the same filters
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Where a dead letter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Kafka refused it
    Sent,
    /// It was given up here
    Received,
}

impl From<Kind> for DeadKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Sent => Self::Sent,
            Kind::Received => Self::Received,
        }
    }
}
