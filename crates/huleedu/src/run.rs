//! `huleedu run`: one service for real deployment, configured by environment.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use huleedu_kit::{
    ServiceInput,
    logging::{self, LogFormat, LogTarget},
    settings::Env,
};

use crate::{cli::RunArgs, services, stop::StopSignal};

/// Runs until it is asked to stop or fails.
pub(crate) async fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let format = if args.log_format == "json" {
        LogFormat::Json
    } else {
        LogFormat::Console
    };
    logging::init(format, &LogTarget::Stderr, &args.log_level)?;
    let mut stop = StopSignal::listen()?;
    let service = services::start(args.service, ServiceInput::new(Env::from_process()))
        .await
        .with_context(|| format!("{} did not start", args.service))?;
    tokio::select! {
        () = stop.recv() => tracing::info!("stopping"),
        result = service.ended() => {
            return Err(anyhow!("{} ended: {}", args.service, result.err().unwrap_or_default()));
        }
    }
    tokio::select! {
        result = service.stop() => result.map_err(|e| anyhow!(e))?,
        () = stop.recv() => tracing::warn!("asked twice: stopping at once; what is safe stays safe"),
    }
    Ok(ExitCode::SUCCESS)
}
