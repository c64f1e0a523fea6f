//! A batch from registration to the end of its pipeline.

use huleedu_contracts::{
    api::orchestrator::EssayCounts,
    status::{
        BatchStatus,
        PhaseName::{CjAssessment, Spellcheck},
        PipelineExecutionStatus,
    },
    topics::Topic,
};
use serde_json::{Value, json};

use crate::support::{Platform, Registered, TEACHER, outcome, prompt, request, text};

#[tokio::test]
async fn a_batch_goes_through_both_phases_and_its_status_tells_the_truth_all_the_way() {
    let platform = Platform::start().await;
    let batch = platform
        .register(
            3,
            json!({
                "essay_ids": ["a", "b", "c"],
                "org_id": "school",
                "assignment_id": "sea",
                "cj_default_llm_model": "judge-1",
                "cj_default_temperature": 0.0,
                "student_prompt_ref": prompt(&text(9, 9)),
            }),
        )
        .await;
    assert_eq!(
        json!(batch.essays),
        json!(["a", "b", "c"]),
        "the client's own names are used"
    );
    let status = platform.status(&batch.id).await;
    assert_eq!(status.status, BatchStatus::AwaitingContentValidation);
    assert_eq!(status.requested_pipeline, None);

    platform.fill(&batch, 3).await;
    let status = platform.status(&batch.id).await;
    assert_eq!(status.status, BatchStatus::ReadyForPipelineExecution);
    let (code, preflight) = platform.preflight(&batch.id, "cj_assessment").await;
    assert_eq!(code, 200, "{preflight}");
    assert_eq!(
        (&preflight["allowed"], &preflight["required_credits"]),
        (&json!(true), &json!(3))
    );

    let asked = request(&batch.id, TEACHER, "cj_assessment");
    platform.say(&asked).await;
    let (command, essays) = platform
        .commanded(Topic::SpellcheckInitiateCommand, &batch.id)
        .await;
    let correlation = json!(asked.client_correlation_id);
    assert_eq!(command["correlation_id"], correlation);
    assert_eq!(command["data"]["language"], "en");
    assert_eq!(ids(&essays), ["a", "b", "c"]);
    assert_eq!(essays[1]["text_storage_id"], json!(text(1, 0)));
    let status = platform.status(&batch.id).await;
    assert_eq!(status.status, BatchStatus::ProcessingPipelines);
    assert_eq!(status.current_phase, Some(Spellcheck));
    assert!(status.processing_started_at.is_some() && status.processing_completed_at.is_none());
    let phases: Vec<_> = status.phases.iter().map(|p| (p.phase, p.status)).collect();
    assert_eq!(
        phases,
        [
            (Spellcheck, PipelineExecutionStatus::DispatchInitiated),
            (CjAssessment, PipelineExecutionStatus::PendingDependencies)
        ]
    );

    // One essay falls out; the others go on with their corrected texts.
    platform
        .say(&outcome(&batch, Spellcheck, &[0, 2], &[1]))
        .await;
    let (command, essays) = platform
        .commanded(Topic::CjAssessmentInitiateCommand, &batch.id)
        .await;
    assert_eq!(command["correlation_id"], correlation);
    assert_eq!(ids(&essays), ["a", "c"]);
    assert_eq!(essays[0]["text_storage_id"], json!(text(0, 1)));
    carries_the_registration(&command);
    let status = platform.status(&batch.id).await;
    assert_eq!(status.current_phase, Some(CjAssessment));
    let spelled = EssayCounts {
        total: 3,
        successful: 2,
        failed: 1,
        ..EssayCounts::default()
    };
    assert_eq!(status.phases[0].essay_counts, spelled);
    assert_eq!(
        status.phases[0].status,
        PipelineExecutionStatus::CompletedWithPartialSuccess
    );
    assert_eq!(
        status.phases[1].essay_counts.pending_dispatch_or_processing,
        2
    );

    platform
        .say(&outcome(&batch, CjAssessment, &[0, 2], &[]))
        .await;
    ended_with_one_failure(&platform, &batch, &correlation).await;
}

/// The command of comparative judgement says all that the registration said.
fn carries_the_registration(command: &Value) {
    let data = &command["data"];
    assert_eq!(data["course_code"], "ENG5");
    assert_eq!(data["language"], "en");
    assert_eq!(data["class_type"], "GUEST");
    assert_eq!(
        (&data["user_id"], &data["org_id"]),
        (&json!(TEACHER), &json!("school"))
    );
    assert_eq!(data["assignment_id"], "sea");
    assert_eq!(data["student_prompt_ref"], prompt(&text(9, 9)));
    assert_eq!(data["llm_config_overrides"]["model_override"], "judge-1");
    assert_eq!(
        data["llm_config_overrides"]["temperature_override"],
        json!(0.0)
    );
}

async fn ended_with_one_failure(platform: &Platform, batch: &Registered, correlation: &Value) {
    let completed = platform
        .event_of(Topic::BatchPipelineCompleted, &batch.id)
        .await;
    let data = &completed["data"];
    assert_eq!(
        data["completed_phases"],
        json!(["spellcheck", "cj_assessment"])
    );
    assert_eq!(data["final_status"], "completed_with_failures");
    assert_eq!(data["successful_essay_count"], 2);
    assert_eq!(data["failed_essay_count"], 1);
    assert_eq!(&data["correlation_id"], correlation);
    let status = platform.status(&batch.id).await;
    assert_eq!(status.status, BatchStatus::CompletedWithFailures);
    assert_eq!(status.current_phase, None);
    assert!(status.processing_completed_at.is_some());
    assert_eq!(
        platform.phase_log(&batch.id).await,
        [
            "spellcheck - dispatch_initiated",
            "cj_assessment - pending_dependencies",
            "spellcheck dispatch_initiated completed_with_partial_success",
            "cj_assessment pending_dependencies dispatch_initiated",
            "cj_assessment dispatch_initiated completed_successfully",
        ]
    );
    let (_, state) = platform
        .get(&format!("/internal/v1/batches/{}/pipeline-state", batch.id))
        .await;
    assert_eq!(state["user_id"], TEACHER);
    assert_eq!(
        state["pipeline_state"]["requested_pipelines"],
        json!(["cj_assessment"])
    );
    assert_eq!(
        state["pipeline_state"]["cj_assessment"]["status"],
        "completed_successfully"
    );
}

/// Used to end in silence: no event, and the batch stayed as it was.
#[tokio::test]
async fn a_failed_phase_ends_the_pipeline_aloud() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;
    platform.fill(&batch, 2).await;
    platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    platform
        .event_of(Topic::SpellcheckInitiateCommand, &batch.id)
        .await;
    platform
        .say(&outcome(&batch, Spellcheck, &[], &[0, 1]))
        .await;

    let completed = platform
        .event_of(Topic::BatchPipelineCompleted, &batch.id)
        .await;
    assert_eq!(completed["data"]["final_status"], "failed_critically");
    assert_eq!(completed["data"]["completed_phases"], json!([]));
    assert_eq!(completed["data"]["failed_essay_count"], 2);
    let status = platform.status(&batch.id).await;
    assert_eq!(status.status, BatchStatus::FailedCritically);
    assert!(status.error.unwrap().message.contains("spellcheck"));
    assert_eq!(
        status.phases[1].status,
        PipelineExecutionStatus::SkippedDueToDependencyFailure
    );
    assert_eq!(
        platform.published(Topic::CjAssessmentInitiateCommand).await,
        0
    );
}

#[tokio::test]
async fn repeated_and_misplaced_outcomes_change_nothing() {
    let platform = Platform::start().await;
    let batch = platform.register(1, json!({})).await;
    platform.fill(&batch, 1).await;
    // A failure, because the conductor would believe a success and leave the phase out.
    let early = platform
        .say(&outcome(&batch, CjAssessment, &[], &[0]))
        .await;
    platform.applied(early).await;
    assert_eq!(
        platform.status(&batch.id).await.status,
        BatchStatus::ReadyForPipelineExecution
    );

    platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    platform
        .reaches(&batch.id, BatchStatus::ProcessingPipelines)
        .await;
    let ended = outcome(&batch, Spellcheck, &[0], &[]);
    platform.say(&ended).await;
    // The same outcome under another event id, now of a phase that is over.
    let again = platform.say(&ended).await;
    platform.applied(again).await;
    assert_eq!(
        platform.published(Topic::CjAssessmentInitiateCommand).await,
        1
    );
    assert_eq!(
        platform.status(&batch.id).await.current_phase,
        Some(CjAssessment)
    );

    // A second request and a second hand-over of content meet a running pipeline.
    let second = platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    platform.applied(second).await;
    platform.fill(&batch, 1).await;
    assert_eq!(
        platform.published(Topic::SpellcheckInitiateCommand).await,
        1
    );

    platform
        .say(&outcome(&batch, CjAssessment, &[0], &[]))
        .await;
    platform
        .reaches(&batch.id, BatchStatus::CompletedSuccessfully)
        .await;
    let late = platform
        .say(&outcome(&batch, CjAssessment, &[], &[0]))
        .await;
    platform.applied(late).await;
    assert_eq!(
        platform.status(&batch.id).await.status,
        BatchStatus::CompletedSuccessfully
    );
    assert_eq!(platform.published(Topic::BatchPipelineCompleted).await, 1);
}

/// The owner used to be taken from the request itself.
#[tokio::test]
async fn a_stranger_cannot_start_a_pipeline() {
    let platform = Platform::start().await;
    let batch = platform.register(1, json!({})).await;
    platform.fill(&batch, 1).await;
    platform
        .say(&request(&batch.id, "stranger", "cj_assessment"))
        .await;
    // Same key, so same partition: when this one is through, the stranger's was judged.
    platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    platform
        .reaches(&batch.id, BatchStatus::ProcessingPipelines)
        .await;
    let query = sqlx::query("SELECT reason FROM dead_events");
    let rows = query
        .fetch_all(platform.orchestrator.store().pool())
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let reason: String = sqlx::Row::get(&rows[0], 0);
    assert!(reason.contains("owner"), "{reason}");
}

#[tokio::test]
async fn everything_done_before_completes_at_once() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;
    platform.fill(&batch, 2).await;
    // The conductor hears of phases that this orchestrator never ran, as after a lost database.
    for phase in [Spellcheck, CjAssessment] {
        let event = platform.say(&outcome(&batch, phase, &[0, 1], &[])).await;
        platform.conductor_applied(event).await;
    }
    platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    let completed = platform
        .event_of(Topic::BatchPipelineCompleted, &batch.id)
        .await;
    assert_eq!(completed["data"]["final_status"], "completed_successfully");
    assert_eq!(completed["data"]["successful_essay_count"], 2);
    assert_eq!(
        platform.published(Topic::SpellcheckInitiateCommand).await,
        0
    );
    assert_eq!(
        platform.status(&batch.id).await.status,
        BatchStatus::CompletedSuccessfully
    );
}

fn ids(essays: &[Value]) -> Vec<&str> {
    essays
        .iter()
        .map(|essay| essay["essay_id"].as_str().unwrap())
        .collect()
}
