//! A service dies in the middle of a batch: the batch completes after its restart, with the same
//! ranking, and nothing is lost.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use huleedu_kit::{ServiceId, settings::Env};

use super::*;
use crate::audit::Ledger;

const LIMIT: Duration = Duration::from_mins(3);

fn samples() -> Vec<EssayFile> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/essays");
    files::find(&root).unwrap().essays
}

fn options(folder: &DataDir) -> Options {
    Options {
        // Quicker second tries than in production; nothing else differs.
        env: Env::empty().with("EVENT_RETRY_MAX_SECONDS", "0.5"),
        data_dir: folder.path().to_owned(),
        host: [127, 0, 0, 1].into(),
        gateway_port: 0,
        seed: 7,
        sandbox: true,
        fsync: Fsync::default(),
    }
}

/// Assesses the samples, killing `victim` when `when` first holds of the status.
async fn assess_with_a_crash(
    victim: Option<ServiceId>,
    when: impl Fn(&BatchStatusBody) -> bool,
) -> (BTreeMap<String, u32>, crate::audit::EventCounts) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = DataDir::open(None).unwrap();
    let mut platform = Platform::start(options(&folder)).await.unwrap();
    let audit = Audit::start(
        &platform.bootstrap(),
        Arc::<Ledger>::clone(platform.ledger()),
    )
    .unwrap();
    let gateway = Gateway::new(
        platform.gateway_url().unwrap(),
        platform.token("t", 1).unwrap(),
    )
    .unwrap();
    let essays = samples();
    let work = tokio::spawn({
        let (gateway, essays) = (gateway.clone(), essays.clone());
        async move {
            let mut progress = Progress::silent();
            let batch = begin(&gateway, &essays, CourseCode::Eng5, &mut progress).await?;
            BATCH
                .lock()
                .await
                .insert(gateway.url().to_owned(), batch.clone());
            finish(&gateway, &batch, &mut progress).await
        }
    });
    if let Some(victim) = victim {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the moment for the crash never came"
            );
            let batch = BATCH.lock().await.get(gateway.url()).cloned();
            if let Some(batch) = batch
                && let Ok(body) = gateway.status(&batch).await
                && when(&body)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        platform.crash_and_restart(victim).await.unwrap();
    }
    let body = tokio::time::timeout(LIMIT, work)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let counts = audit.finish(AUDIT_LIMIT).await;
    platform.stop().await;
    assert!(
        body.details.essays.iter().all(|e| e.cj_rank.is_some()),
        "{victim:?} died; not ranked: {:#?}",
        body.details
    );
    let ranking = body
        .details
        .essays
        .into_iter()
        .map(|e| (e.filename.unwrap(), e.cj_rank.unwrap().get()))
        .collect();
    (ranking, counts)
}

/// Batch by gateway, for looking at a batch while another task works on it.
static BATCH: tokio::sync::Mutex<BTreeMap<String, BatchId>> =
    tokio::sync::Mutex::const_new(BTreeMap::new());

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_completes_with_the_same_ranking_whichever_service_dies_in_the_middle() {
    let (undisturbed, counts) = assess_with_a_crash(None, |_| false).await;
    assert_eq!(undisturbed.len(), samples().len());
    assert_eq!((counts.lost, counts.waiting), (0, 0));
    let comparing = |body: &BatchStatusBody| body.details.comparisons_total.unwrap_or(0) >= 10;
    let spelling = |body: &BatchStatusBody| {
        body.details
            .essays
            .iter()
            .any(|e| e.spellcheck_status == Some(EssayPhaseStatus::Completed))
    };
    let reading = |body: &BatchStatusBody| body.details.essays.iter().any(|e| e.filename.is_some());
    for (victim, (ranking, counts)) in [
        (
            ServiceId::CjAssessment,
            assess_with_a_crash(Some(ServiceId::CjAssessment), comparing).await,
        ),
        (
            ServiceId::Spellchecker,
            assess_with_a_crash(Some(ServiceId::Spellchecker), spelling).await,
        ),
        (
            ServiceId::EssayLifecycle,
            assess_with_a_crash(Some(ServiceId::EssayLifecycle), spelling).await,
        ),
        (
            ServiceId::BatchOrchestrator,
            assess_with_a_crash(Some(ServiceId::BatchOrchestrator), spelling).await,
        ),
        (
            ServiceId::File,
            assess_with_a_crash(Some(ServiceId::File), reading).await,
        ),
    ] {
        assert_eq!(ranking, undisturbed, "{victim} died");
        assert_eq!(counts.lost, 0, "{victim} died");
    }
}
