//! The command line.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use huleedu_contracts::{domain::CourseCode, ids::BatchId};
use huleedu_kit::ServiceId;

use crate::{
    assess::drill::Drill,
    kafka::Fsync,
    operate::args::{BlockedArgs, DeadArgs, JournalArgs},
};

/// Assess batches of essays: spell-check them and rank them by comparative judgement.
#[derive(Debug, Parser)]
#[command(
    name = "huleedu",
    version,
    after_help = "Examples:\n  \
        huleedu assess samples/essays                 sixteen essays in, a ranking out\n  \
        huleedu assess ~/essays --json result.json    the result for machines\n  \
        huleedu up --data-dir ./data                  the platform, until Ctrl-C\n  \
        huleedu assess ~/essays --against URL         … and essays sent to it\n  \
        huleedu run spellchecker                      one service, configured by environment\n  \
        huleedu config cj-assessment                  its settings, with values and meaning\n  \
        huleedu journal stats --data-dir ./data       what waits for Kafka\n  \
        huleedu dead list --data-dir ./data           what was given up, and why\n  \
        huleedu blocked list --data-dir ./data        what holds up others, and since when"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Assess a folder of essays and print the ranking
    Assess(AssessArgs),
    /// Start the whole platform on this machine and keep it up
    Up(UpArgs),
    /// Run one service, configured by environment variables
    Run(RunArgs),
    /// Show every setting of one service, or of all, with value, source and meaning
    Config(ConfigArgs),
    /// Events that wait for Kafka: how much, which, are they sound; export and drain them
    Journal(JournalArgs),
    /// Dead letters: list, show, requeue, discard
    Dead(DeadArgs),
    /// Events that Kafka refused and that hold up those behind them: list, retry, bury
    Blocked(BlockedArgs),
}

/// Arguments of `assess`.
#[derive(Debug, Args)]
#[command(after_help = "\
Starts the nine services, an embedded Kafka-protocol broker and SQLite stores on loopback ports of the \
system's choice, sends the essays through the API Gateway, shows progress and prints the ranking, one \
line per circuit and one for events. A file that cannot be used fails alone, with its reason.\n\n\
Judges: the AI providers whose API keys are in the environment (ANTHROPIC_API_KEY, OPENAI_API_KEY, \
GOOGLE_API_KEY, OPENROUTER_API_KEY); without any, a local sandbox with a stated heuristic. Any setting \
of `huleedu config` can be given as an environment variable, for example CIRCUIT_BREAKER_ENABLED=false.\n\n\
With --against, nothing is started: the essays go to a platform that `huleedu up` keeps up, with the \
address and the token that it prints. When that platform goes away in the middle and is started again on \
the same data directory, the batch goes on; --batch takes it up again, at a new address if need be.\n\n\
Exit code: 0 when the batch completed, 1 when it did not, 130 after Ctrl-C.")]
pub(crate) struct AssessArgs {
    /// Folder with .txt, .docx and .pdf files
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) folder: Option<PathBuf>,
    /// Send the essays to the platform at this address of its gateway
    #[arg(long, value_name = "URL", requires = "token", conflicts_with_all = ["seed", "data_dir", "sandbox", "drill"])]
    pub(crate) against: Option<String>,
    /// Token for --against
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HULEEDU_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// Wait for this batch of the platform instead of sending essays
    #[arg(long, value_name = "ID", requires = "against")]
    pub(crate) batch: Option<BatchId>,
    /// Let the embedded broker fail in the middle of the batch, and tell how that went:
    /// broker-outage=TIME (away) or broker-freeze=TIME (hangs), such as broker-outage=20s
    #[arg(long, value_name = "DRILL")]
    pub(crate) drill: Option<Drill>,
    /// Write the whole result to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Make pairing and the sandbox's judgement repeatable
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Keep the stores and the log here [default: a temporary folder, removed afterwards]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Course of the batch; decides the language: ENG5, ENG6, ENG7, SV1, SV2, SV3
    #[arg(long, value_name = "CODE", default_value = "ENG5", value_parser = course)]
    pub(crate) course: CourseCode,
    /// Judge by the sandbox even when API keys are set
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// Give up when the batch is not finished after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// What goes into the log file: a level, or targets such as info,fusebox=debug
    #[arg(long, value_name = "FILTER", env = "LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

/// Arguments of `up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the address of the gateway, of every service's /healthz and /metrics, and a token to call the \
gateway with. With KAFKA_BOOTSTRAP_SERVERS set, that Kafka is used instead of the embedded broker.")]
pub(crate) struct UpArgs {
    /// Keep the stores and the log here [default: a temporary folder, removed afterwards]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Port of the gateway [default: any free one]
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Make pairing and the sandbox's judgement repeatable
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Judge by the sandbox even when API keys are set
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// When the embedded broker's disk must have what was acknowledged; matters for a loss of power
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "every-second|always"
    )]
    pub(crate) broker_fsync: Fsync,
    /// What goes into the log file: a level, or targets such as info,fusebox=debug
    #[arg(long, value_name = "FILTER", env = "LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Settings come from environment variables; a name with the service's prefix wins over the plain one. \
At least KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL (the gateway: KAFKA_JOURNAL_DIR and JWT_SECRET) must be set. \
See `huleedu config SERVICE`. \
LOG_FORMAT=json writes one JSON object a line. SIGINT and SIGTERM stop the service in order.")]
pub(crate) struct RunArgs {
    /// Which service: api-gateway, batch-orchestrator, batch-conductor, essay-lifecycle,
    /// spellchecker, cj-assessment, content, file, class-management
    pub(crate) service: ServiceId,
    /// console for people, json for machines
    #[arg(long, env = "LOG_FORMAT", default_value = "console", value_parser = ["console", "json"])]
    pub(crate) log_format: String,
    /// A level, or targets such as info,fusebox=debug
    #[arg(long, value_name = "FILTER", env = "LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Which service [default: all nine]
    pub(crate) service: Option<ServiceId>,
    /// As a Markdown table, as in docs/configuration.md
    #[arg(long)]
    pub(crate) markdown: bool,
}

fn course(text: &str) -> Result<CourseCode, String> {
    text.trim()
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| "choose one of ENG5, ENG6, ENG7, SV1, SV2, SV3".to_owned())
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("a whole number of seconds, at least 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_course_is_read_in_any_case_and_refused_by_name() {
        assert_eq!(course("sv2").unwrap().to_string(), "SV2");
        assert!(course("MATH1").unwrap_err().contains("ENG5"));
    }

    #[test]
    fn a_time_limit_of_nothing_is_refused() {
        assert!(seconds("0").is_err() && seconds("-1").is_err() && seconds("1").is_ok());
    }
}
