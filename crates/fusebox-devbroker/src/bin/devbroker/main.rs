//! The broker as a program, for clients in other languages and for trying things out.

mod control;

use std::{
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use fusebox_devbroker::{
    ApiKey, DevBroker, DevBrokerConfig, Effect, Fault, FsyncPolicy, NewTopic, When,
};
use tokio::sync::mpsc;

use crate::control::{Control, HELP};

/// A small durable broker that speaks the Kafka protocol: for laptops and tests, on this machine only.
#[derive(Debug, Parser)]
#[command(
    name = "devbroker",
    version,
    after_help = format!(
        "Prints its address as the first line of standard output, and stops in order at Ctrl-C or SIGTERM. \
         A broker that was killed is started again on the same folder; what it had acknowledged is there.\n\n\
         Commands, one a line on standard input:\n{HELP}"
    )
)]
struct Arguments {
    /// Where to listen: a loopback address. Port 0 takes a free one; the address is printed.
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: SocketAddr,
    /// Where to keep the data. Without it the data goes when the broker does.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// A topic to make, as NAME or NAME:PARTITIONS. May be given several times.
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Partitions of a topic for which no number is given.
    #[arg(long, default_value_t = 3)]
    partitions: i32,
    /// Do not make topics that are only asked for.
    #[arg(long)]
    no_auto_create: bool,
    /// Bytes that a partition keeps at least.
    #[arg(long, value_name = "BYTES")]
    retention_bytes: Option<u64>,
    /// Hours that records are kept.
    #[arg(long, value_name = "HOURS")]
    retention_hours: Option<u32>,
    /// When the disk must have what was written. A killed broker loses nothing that it acknowledged,
    /// whatever is chosen; this is about losing power.
    #[arg(long, value_enum, default_value_t = Fsync::EverySecond)]
    fsync: Fsync,
    /// Close the connection instead of answering every N-th request to produce, after appending.
    #[arg(long, value_name = "N")]
    drop_ack_every: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fsync {
    /// At the end.
    Never,
    /// Every second.
    EverySecond,
    /// Before each answer.
    Always,
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let stop = runtime.block_on(async { stop_signal() })?;
    let drop_ack_every = arguments.drop_ack_every;
    let broker = DevBroker::start(config(arguments)?).context("the broker did not start")?;
    if let Some(n) = drop_ack_every {
        let fault = Fault::new(ApiKey::Produce, Effect::DropAnswer).when(When::Every(n));
        broker.faults().set(fault);
    }
    say(&format!("{}\n", broker.bootstrap_servers())).context("cannot say the address")?;
    runtime.block_on(obey_until(stop, &broker));
    broker.shutdown().context("not everything is on the disk")
}

fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Carries out the commands on standard input until `stop`. Its end is the end of the commands only.
async fn obey_until(stop: impl Future<Output = ()>, broker: &DevBroker) {
    let (sender, mut lines) = mpsc::channel(16);
    // A read of standard input cannot be cancelled; the thread ends with the process.
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut control = Control::default();
    tokio::pin!(stop);
    loop {
        let next = control.next();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut stop => break,
            () = due => control.take_back(broker),
            Some(line) = lines.recv() => {
                if let Err(error) = say(&control.obey(&line, broker)) {
                    tracing::warn!(%error, "nobody hears the answer to a command");
                }
            }
        }
    }
}

fn config(arguments: Arguments) -> anyhow::Result<DevBrokerConfig> {
    let mut config = match arguments.data_dir {
        Some(folder) => DevBrokerConfig::in_dir(folder),
        None => DevBrokerConfig::temporary(),
    };
    config.listen = arguments.listen;
    config.default_partitions = arguments.partitions;
    config.auto_create_topics = !arguments.no_auto_create;
    config.retention_bytes = arguments.retention_bytes.or(config.retention_bytes);
    let hours = |hours| Duration::from_hours(u64::from(hours));
    config.retention = arguments.retention_hours.map(hours).or(config.retention);
    config.fsync = match arguments.fsync {
        Fsync::Never => FsyncPolicy::Never,
        Fsync::EverySecond => FsyncPolicy::EverySecond,
        Fsync::Always => FsyncPolicy::Always,
    };
    for topic in arguments.topics {
        config.topics.push(match topic.split_once(':') {
            Some((name, partitions)) => {
                let number = partitions
                    .parse()
                    .with_context(|| format!("{topic} is not NAME:PARTITIONS"))?;
                NewTopic::new(name, number)
            }
            None => NewTopic::new(topic, arguments.partitions),
        });
    }
    Ok(config)
}

/// Ready when the program is asked to stop. Must be called inside a runtime.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
