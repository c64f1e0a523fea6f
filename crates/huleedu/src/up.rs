//! `huleedu up`: the platform, until it is asked to stop.

use std::process::ExitCode;

use anyhow::bail;
use huleedu_kit::{
    ServiceId,
    logging::{self, LogFormat, LogTarget},
    settings::Env,
};

use crate::{
    assess::folder::DataDir,
    cli::UpArgs,
    out,
    platform::{Judges, Options, Platform},
    stop::StopSignal,
};

/// Starts it, prints the addresses, waits.
pub(crate) async fn run(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let data = DataDir::open(args.data_dir.as_deref())?;
    logging::init(
        LogFormat::Console,
        &LogTarget::File(&data.log_file()),
        &args.log_level,
    )?;
    let mut stop = StopSignal::listen()?;
    let options = Options {
        env: Env::from_process(),
        data_dir: data.path().to_owned(),
        host: args.host,
        gateway_port: args.port,
        seed: args.seed,
        sandbox: args.sandbox,
        fsync: args.broker_fsync,
    };
    out::note("starting nine services …");
    let platform = tokio::select! {
        started = Platform::start(options) => started.inspect_err(|_| data.keep_for_inspection())?,
        () = stop.recv() => return Ok(ExitCode::from(130)),
    };
    print_addresses(&platform, &data)?;
    let failure = tokio::select! {
        () = stop.recv() => None,
        failure = platform.failed() => Some(failure),
    };
    out::note("stopping …");
    tokio::select! {
        () = platform.stop() => {}
        () = stop.recv() => out::note("asked twice: stopping at once; what is safe stays safe"),
    }
    if let Some(failure) = failure {
        data.keep_for_inspection();
        bail!("{failure}; see {}", data.log_file().display());
    }
    Ok(ExitCode::SUCCESS)
}

fn print_addresses(platform: &Platform, data: &DataDir) -> anyhow::Result<()> {
    let gateway = platform.gateway_url()?;
    let rows: Vec<_> = platform
        .services()
        .iter()
        .map(|s| {
            let url = s.base_url();
            vec![
                s.service().to_string(),
                format!("{url}/healthz"),
                format!("{url}/metrics"),
                s.service().summary().to_owned(),
            ]
        })
        .collect();
    out::line(&out::table(
        &["service", "health", "metrics", "does"],
        &rows,
    ))?;
    let broker = match platform.broker() {
        Some(broker) => format!(
            "embedded, on this machine only: {}",
            broker.data_dir().display()
        ),
        None => "as configured".to_owned(),
    };
    out::line(&format!("\nKafka:    {} ({broker})", platform.bootstrap()))?;
    match platform.judges() {
        Judges::Sandbox(url) => out::line(&format!(
            "judges:   sandbox at {url}: a heuristic, no AI; its rankings only show that the platform works"
        ))?,
        Judges::Providers(names) => out::line(&format!(
            "judges:   {} (your API keys; calls cost money)",
            names.join(", ")
        ))?,
    }
    out::line(&format!(
        "data:     {}{}",
        data.path().display(),
        if data.is_temporary() {
            " (removed at the end)"
        } else {
            ""
        }
    ))?;
    out::line(&format!("log:      {}", data.log_file().display()))?;
    out::line(&format!(
        "events:   huleedu journal stats --data-dir {0}, huleedu dead list --data-dir {0}",
        data.path().display()
    ))?;
    out::line(&format!("\ngateway:  {gateway}"))?;
    out::line(&format!("token:    {}", platform.token("teacher", 24)?))?;
    out::line(&format!(
        "\ntry:      curl -H \"Authorization: Bearer $TOKEN\" {gateway}/v1/batches\n          \
         huleedu assess samples/essays --against {gateway} --token $TOKEN"
    ))?;
    debug_assert_eq!(platform.services().len(), ServiceId::ALL.len());
    out::line("Ctrl-C stops.")
}
