//! HuleEdu in one binary: assess a folder of essays, keep the platform up, run one service, show its
//! settings, and look after its events.

mod assess;
mod audit;
mod cli;
mod config;
mod gateway;
mod kafka;
mod operate;
mod out;
mod platform;
mod run;
mod services;
mod stop;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One provider for every TLS connection of the process; only a second call could fail.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "main runs once");
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return out::fail(&anyhow::Error::new(error).context("no runtime")),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Assess(args) => assess::run(&args).await,
            Command::Up(args) => up::run(&args).await,
            Command::Run(args) => run::run(&args).await,
            Command::Config(args) => config::run(&args),
            Command::Journal(args) => operate::journal(&args).await,
            Command::Dead(args) => operate::dead(&args).await,
            Command::Blocked(args) => operate::blocked(&args).await,
        }
    });
    // What still blocks a thread (a closing Kafka client, say) is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => out::fail(&error),
    }
}
