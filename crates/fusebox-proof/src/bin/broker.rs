//! The development broker as a process of its own, to be frozen and killed by the proofs.
//!
//! The program `devbroker` is the same library with more switches; this one is built with the proofs.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use clap::Parser;
use fusebox_devbroker::{ApiKey, DevBroker, DevBrokerConfig, Effect, Fault, When};

#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one, which is printed.
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    data_dir: PathBuf,
    /// Append and then close the connection instead of answering every N-th request to produce.
    #[arg(long)]
    drop_ack_every: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut config = DevBrokerConfig::in_dir(arguments.data_dir);
    config.listen = arguments.listen;
    config.auto_create_topics = false;
    let broker = DevBroker::start(config)?;
    if let Some(n) = arguments.drop_ack_every {
        let fault = Fault::new(ApiKey::Produce, Effect::DropAnswer).when(When::Every(n));
        broker.faults().set(fault);
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", broker.bootstrap_servers())?;
    out.flush()?;
    // Until it is killed.
    loop {
        thread::park();
    }
}
