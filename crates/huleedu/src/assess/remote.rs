//! `assess --against URL`: the user's side alone, on a platform that runs already.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context as _, anyhow};

use super::{Report, begin, files, finish, note_passed_over, progress::Progress};
use crate::{cli::AssessArgs, gateway::Gateway, out, stop::StopSignal};

/// Sends the essays to the platform, or takes up a batch that is there, and waits for the ranking.
pub(super) async fn run(args: &AssessArgs, url: &str) -> anyhow::Result<ExitCode> {
    let essays = match &args.folder {
        Some(folder) => {
            let found = files::find(folder)?;
            note_passed_over(&found);
            found.essays
        }
        None => Vec::new(),
    };
    let mut stop = StopSignal::listen()?;
    let token = args.token.clone().context("give a token")?;
    let gateway = Gateway::patient(url.trim_end_matches('/').to_owned(), token)?;
    let started = Instant::now();
    let mut progress = Progress::new();
    let work = async {
        let batch = match &args.batch {
            Some(batch) => batch.clone(),
            None => begin(&gateway, &essays, args.course, &mut progress).await?,
        };
        finish(&gateway, &batch, &mut progress).await
    };
    let result = tokio::select! {
        result = tokio::time::timeout(args.timeout, work) => result,
        () = stop.recv() => {
            out::note("stopped; the platform goes on with the batch");
            return Ok(ExitCode::from(130));
        }
    };
    progress.end();
    let body = result.map_err(|_| {
        anyhow!(
            "the batch did not finish within {} s (--timeout); the platform goes on with it",
            args.timeout.as_secs()
        )
    })??;
    let seconds = started.elapsed().as_secs_f64();
    let report = Report::new(body, seconds, Vec::new(), None, None);
    out::line(&report.to_text())?;
    if let Some(path) = &args.json {
        report.write_json(path)?;
    }
    report.ensure_ranked()?;
    Ok(ExitCode::SUCCESS)
}
