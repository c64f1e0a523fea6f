//! `huleedu assess`: a folder of essays in, a ranking out, through the front door of a platform that
//! is started for it.

pub(crate) mod drill;
mod files;
pub(crate) mod folder;
pub(crate) mod progress;
mod remote;
mod report;
#[cfg(test)]
mod tests;

use std::{
    num::NonZeroU32,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use huleedu_contracts::{
    api::gateway::{BatchStatusBody, ClientRegisterRequest, EssayPhaseStatus, PipelineRequest},
    domain::CourseCode,
    ids::{BatchId, PipelineName},
    status::BatchClientStatus,
};
use huleedu_kit::{
    logging::{self, LogFormat, LogTarget},
    settings::Env,
};

use self::{
    files::EssayFile,
    folder::DataDir,
    progress::{Progress, Step},
    report::Report,
};
use crate::{
    audit::{Audit, Ledger},
    cli::AssessArgs,
    gateway::Gateway,
    kafka::Fsync,
    out,
    platform::{Judges, Options, Platform},
    stop::StopSignal,
};

/// How often the batch's status is asked for.
const POLL: Duration = Duration::from_millis(250);
/// How long the audit waits for the last events at the end.
const AUDIT_LIMIT: Duration = Duration::from_secs(20);
/// How long corrections may lag behind the end of the batch.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// Runs the command.
pub(crate) async fn run(args: &AssessArgs) -> anyhow::Result<ExitCode> {
    if let Some(url) = &args.against {
        return remote::run(args, url).await;
    }
    let folder = args.folder.as_deref().context("which folder?")?;
    let found = files::find(folder)?;
    let data = DataDir::open(args.data_dir.as_deref())?;
    logging::init(
        LogFormat::Console,
        &LogTarget::File(&data.log_file()),
        &args.log_level,
    )?;
    let mut stop = StopSignal::listen()?;
    note_passed_over(&found);
    let env = Env::from_process();
    if args.drill.is_some() && env.get("KAFKA_BOOTSTRAP_SERVERS").is_some() {
        bail!("a drill needs the embedded broker; unset KAFKA_BOOTSTRAP_SERVERS");
    }
    out::note("starting nine services …");
    let options = Options {
        env,
        data_dir: data.path().to_owned(),
        host: [127, 0, 0, 1].into(),
        gateway_port: 0,
        seed: args.seed,
        sandbox: args.sandbox,
        fsync: Fsync::default(),
    };
    let started = Instant::now();
    let platform = tokio::select! {
        started = Platform::start(options) => started.map_err(|e| failed(&e, &data))?,
        () = stop.recv() => return Ok(stopped(&data)),
    };
    match platform.judges() {
        Judges::Sandbox(_) => {
            out::note("judges: the sandbox, a heuristic and no AI; set an API key for real ones");
        }
        Judges::Providers(names) => {
            out::note(&format!("judges: {}, with your API keys", names.join(", ")));
        }
    }
    let result = tokio::select! {
        result = work(args, &found.essays, &platform, started) => result,
        failure = platform.failed() => Err(anyhow!(failure)),
        () = stop.recv() => {
            out::note("stopping …");
            tokio::select! { () = platform.stop() => {}, () = stop.recv() => {} }
            return Ok(stopped(&data));
        }
    };
    tokio::select! { () = platform.stop() => {}, () = stop.recv() => {} }
    let report = result.map_err(|e| failed(&e, &data))?;
    out::line(&report.to_text())?;
    if let Some(path) = &args.json {
        report.write_json(path)?;
    }
    let lost = report.events.map_or(0, |events| events.lost);
    if lost > 0 {
        return Err(failed(&anyhow!("{lost} events were lost"), &data));
    }
    report.ensure_ranked().map_err(|e| failed(&e, &data))?;
    Ok(ExitCode::SUCCESS)
}

fn note_passed_over(found: &files::Found) {
    if !found.passed_over.is_empty() {
        out::note(&format!(
            "passed over, not .txt, .docx or .pdf: {}",
            found.passed_over.join(", ")
        ));
    }
}

/// The user's side of an assessment.
async fn work(
    args: &AssessArgs,
    essays: &[EssayFile],
    platform: &Platform,
    started: Instant,
) -> anyhow::Result<Report> {
    let audit = Audit::start(
        &platform.bootstrap(),
        Arc::<Ledger>::clone(platform.ledger()),
    )?;
    let gateway = Gateway::new(platform.gateway_url()?, platform.token("assess", 24)?)?;
    let mut progress = Progress::new();
    let assessed = async {
        let batch = begin(&gateway, essays, args.course, &mut progress).await?;
        finish(&gateway, &batch, &mut progress).await
    };
    let drilled = async {
        match args.drill {
            Some(drill) => Ok(Some(drill.carry_out(platform).await?)),
            None => Ok(None),
        }
    };
    let done = async { tokio::try_join!(assessed, drilled) };
    let body = tokio::time::timeout(args.timeout, done).await.map_err(|_| {
        anyhow!(
            "the batch did not finish within {} s (--timeout)",
            args.timeout.as_secs()
        )
    });
    progress.end();
    let (body, drilled) = body??;
    let seconds = started.elapsed().as_secs_f64();
    let drilled = match drilled {
        Some(drilled) => Some(drilled.with_circuits(platform).await?),
        None => None,
    };
    let circuits = platform
        .services()
        .iter()
        .flat_map(|s| s.breakers().snapshots())
        .collect();
    let events = audit.finish(AUDIT_LIMIT).await;
    let report = Report::new(body, seconds, circuits, Some(events), drilled);
    Ok(report)
}

/// Registers a batch and uploads its files.
async fn begin(
    gateway: &Gateway,
    essays: &[EssayFile],
    course_code: CourseCode,
    progress: &mut Progress,
) -> anyhow::Result<BatchId> {
    let count = u32::try_from(essays.len())
        .ok()
        .and_then(NonZeroU32::new)
        .context("too many files")?;
    let batch = gateway
        .register(&ClientRegisterRequest {
            expected_essay_count: count,
            course_code,
            essay_ids: None,
            student_prompt_ref: None,
            class_id: None,
            cj_default_llm_model: None,
            cj_default_temperature: None,
            assignment_id: None,
        })
        .await?;
    progress.note(&format!("batch: {batch}"));
    let mut uploaded = 0;
    for request in files::requests(essays) {
        let total = essays.len() as u64;
        progress.show(&Step {
            phase: "uploading",
            done: uploaded as u64,
            total,
        });
        let paths: Vec<_> = request.iter().map(|f| f.path.as_path()).collect();
        gateway.upload(&batch, &paths).await?;
        uploaded += request.len();
    }
    Ok(batch)
}

/// Requests the pipeline as soon as every file has been read, unless that was done before, and waits
/// for its end.
async fn finish(
    gateway: &Gateway,
    batch: &BatchId,
    progress: &mut Progress,
) -> anyhow::Result<BatchStatusBody> {
    let taken_in = |body: &BatchStatusBody| body.status != BatchClientStatus::PendingContent;
    let body = wait_until(gateway, batch, progress, taken_in).await?;
    if body.status == BatchClientStatus::Ready {
        gateway
            .request_pipeline(&PipelineRequest {
                batch_id: batch.clone(),
                requested_pipeline: PipelineName::cj_assessment(),
                is_retry: false,
                retry_reason: None,
                prompt_payload: None,
            })
            .await?;
    }
    let done = |body: &BatchStatusBody| {
        matches!(
            body.status,
            BatchClientStatus::CompletedSuccessfully | BatchClientStatus::CompletedWithFailures
        )
    };
    let body = wait_until(gateway, batch, progress, done).await?;
    settled(gateway, batch, body).await
}

/// Waits until the batch is as wanted; a batch that has failed never will be.
async fn wait_until(
    gateway: &Gateway,
    batch: &BatchId,
    progress: &mut Progress,
    wanted: impl Fn(&BatchStatusBody) -> bool,
) -> anyhow::Result<BatchStatusBody> {
    loop {
        let body = gateway.status(batch).await?;
        progress.show(&progress::step(&body.details));
        if wanted(&body) {
            return Ok(body);
        }
        if matches!(
            body.status,
            BatchClientStatus::Failed | BatchClientStatus::Cancelled
        ) {
            bail!("{}", why_failed(&body));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn why_failed(body: &BatchStatusBody) -> String {
    let details = &body.details;
    let mut text = format!("batch {} ended as {}", details.batch_id, body.status);
    if let Some(error) = &details.error {
        text = format!("{text}: {}", error.message);
    }
    for phase in &details.phases {
        if let Some(error) = &phase.error_info {
            text = format!("{text}\n  {}: {}", phase.phase, error.message);
        }
    }
    for file in &details.failed_files {
        text = format!("{text}\n  {}: {}", file.filename, file.message);
    }
    text
}

/// Details such as the number of corrections come by events of their own and may lag a moment.
async fn settled(
    gateway: &Gateway,
    batch: &BatchId,
    mut body: BatchStatusBody,
) -> anyhow::Result<BatchStatusBody> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let complete = |body: &BatchStatusBody| {
        body.details.unavailable.is_empty()
            && body.details.essays.iter().all(|essay| {
                let done = |status| status == Some(EssayPhaseStatus::Completed);
                (!done(essay.spellcheck_status) || essay.spellcheck_correction_count.is_some())
                    && (!done(essay.cj_assessment_status) || essay.cj_rank.is_some())
            })
    };
    while !complete(&body) && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
        body = gateway.status(batch).await?;
    }
    Ok(body)
}

fn failed(error: &anyhow::Error, data: &DataDir) -> anyhow::Error {
    data.keep_for_inspection();
    let place = format!(
        "the log is {}, the stores are beside it",
        data.log_file().display()
    );
    anyhow!("{error:#}\n{place}")
}

fn stopped(data: &DataDir) -> ExitCode {
    if data.is_temporary() {
        out::note("stopped; nothing is kept");
    } else {
        out::note(&format!(
            "stopped; the stores are in {}",
            data.path().display()
        ));
    }
    ExitCode::from(130)
}
