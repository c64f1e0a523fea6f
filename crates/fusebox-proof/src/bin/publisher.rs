//! A publisher to be killed: as many lanes as it is told, each publishing one event after the other,
//! until the process dies.
//!
//! It prints `ask LANE NUMBER` before it publishes an event, and `safe LANE NUMBER` after it was told
//! that the event is safe; `ready` before the first, and `sent` whenever Kafka has acknowledged one.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use fusebox_proof::history::EventName;
use fusebox_proof::publishing::{Options, Publishing, WINDOW, publish};
use tokio::task::JoinSet;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    /// The journal's folder.
    #[arg(long)]
    journal: PathBuf,
    /// The number of each lane's first event, separated by commas. Without lanes nothing is published,
    /// and the process ends when nothing waits any more.
    #[arg(long, value_delimiter = ',')]
    next: Vec<u32>,
    /// What is broken on purpose.
    #[arg(long)]
    flaw: Option<Flaw>,
}

/// A control: what the test must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Flaw {
    /// The journal does not hear of deliveries while this process lives.
    NeverSettles,
    /// Tries do not say that they may be repetitions.
    NeverMarks,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut options = Options::new(&arguments.bootstrap);
    // A circuit that notices within the life of this process.
    options.publisher.drainer.stall_after = Duration::from_millis(200);
    options.publisher.drainer.stall_every = Duration::from_millis(50);
    options.publisher.drainer.max_records = WINDOW;
    match arguments.flaw {
        Some(Flaw::NeverSettles) => {
            options.publisher.drainer.settle_every = Duration::from_hours(1);
            options.publisher.drainer.max_records = usize::MAX / 2;
        }
        Some(Flaw::NeverMarks) => options.marks_repetitions = false,
        None => {}
    }
    options.journal.segment_bytes = 256 << 10;
    options.journal.dead_segment_bytes = 256 << 10;
    options.journal.max_record_bytes = 64 << 10;
    let publishing = Publishing::start(&arguments.journal, options)?;
    say("ready")?;
    if arguments.next.is_empty() {
        let journal = publishing.bus.journal().context("there is a journal")?;
        while journal.stats().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        publishing.stop().await;
        return Ok(());
    }
    // Who cannot be told any more is about to kill this process, or gone.
    let tell = |_: &_| drop(say("sent"));
    publishing.bus.drainer().on_delivered(tell);
    let mut lanes = JoinSet::new();
    for (lane, first) in (0..).zip(arguments.next) {
        let (bus, topic) = (publishing.bus.clone(), arguments.topic.clone());
        lanes.spawn(async move {
            for number in first.. {
                say(&format!("ask {lane} {number}"))?;
                publish(&bus, &topic, EventName { lane, number }).await?;
                say(&format!("safe {lane} {number}"))?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

/// A line in one write, so that a death cuts none in two that matters: the reader drops what has no end.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}
