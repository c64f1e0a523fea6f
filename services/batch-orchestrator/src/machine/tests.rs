//! Walks the whole table of the state machine: every state against every trigger.

use huleedu_contracts::{
    events::pipeline::ClientBatchPipelineRequestV1,
    ids::{BatchId, CorrelationId, UserId},
};

use super::*;

const EXPECTED: u32 = 5;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn facts() -> Facts {
    Facts {
        expected: EXPECTED,
        failed_files: 0,
        now: at(100),
    }
}

fn request(correlation: u128) -> PipelineRequest {
    PipelineRequest {
        asked: ClientBatchPipelineRequestV1 {
            batch_id: BatchId::new("batch").unwrap(),
            requested_pipeline: PipelineName::new("cj_assessment").unwrap(),
            client_correlation_id: CorrelationId::from(uuid::Uuid::from_u128(correlation)),
            user_id: UserId::new("teacher").unwrap(),
            is_retry: false,
            retry_reason: None,
            prompt_payload: None,
        },
        asked_at: at(i64::try_from(correlation).unwrap()),
    }
}

fn running(current: Phase, later: &[Phase]) -> BatchState {
    BatchState::Running(Run {
        request: request(1),
        started_at: at(10),
        done: vec![],
        current: CurrentPhase {
            phase: current,
            total: 5,
            started_at: at(10),
        },
        later: later.to_vec(),
    })
}

fn finished(status: PhaseStatus) -> BatchState {
    BatchState::Finished(Finish {
        request: request(1),
        started_at: at(10),
        ended_at: at(20),
        done: vec![],
        skipped: vec![],
        status,
        reason: None,
    })
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Awaiting,
    AwaitingRequested,
    ContentFailed,
    ContentFailedTold,
    Ready,
    ReadyThis,
    ReadyOther,
    RunningThisThenMore,
    RunningThisLast,
    RunningOther,
    Finished,
    FinishedFailed,
}

impl Row {
    const ALL: [Self; 12] = [
        Self::Awaiting,
        Self::AwaitingRequested,
        Self::ContentFailed,
        Self::ContentFailedTold,
        Self::Ready,
        Self::ReadyThis,
        Self::ReadyOther,
        Self::RunningThisThenMore,
        Self::RunningThisLast,
        Self::RunningOther,
        Self::Finished,
        Self::FinishedFailed,
    ];

    fn state(self) -> BatchState {
        match self {
            Self::Awaiting => BatchState::registered(),
            Self::AwaitingRequested => BatchState::AwaitingContent {
                requested: Some(request(1)),
            },
            Self::ContentFailed => BatchState::ContentFailed { requested: None },
            Self::ContentFailedTold => BatchState::ContentFailed {
                requested: Some(request(1)),
            },
            Self::Ready => BatchState::Ready { requested: None },
            Self::ReadyThis => BatchState::Ready {
                requested: Some(request(1)),
            },
            Self::ReadyOther => BatchState::Ready {
                requested: Some(request(2)),
            },
            Self::RunningThisThenMore => running(Phase::Spellcheck, &[Phase::CjAssessment]),
            Self::RunningThisLast => running(Phase::Spellcheck, &[]),
            Self::RunningOther => running(Phase::CjAssessment, &[]),
            Self::Finished => finished(PhaseStatus::CompletedSuccessfully),
            Self::FinishedFailed => finished(PhaseStatus::FailedCritically),
        }
    }
}

/// A column of the table; requests and answers are those of request 1, outcomes of spell-checking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    SomeContent,
    NoContent,
    Requested,
    Resolved,
    ResolvedEmpty,
    Refused,
    PhaseSurvived,
    PhaseFailed,
}

impl Column {
    const ALL: [Self; 8] = [
        Self::SomeContent,
        Self::NoContent,
        Self::Requested,
        Self::Resolved,
        Self::ResolvedEmpty,
        Self::Refused,
        Self::PhaseSurvived,
        Self::PhaseFailed,
    ];

    fn trigger(self) -> Trigger {
        let ended = |successful, failed| Trigger::PhaseEnded {
            phase: Phase::Spellcheck,
            successful,
            failed,
        };
        match self {
            Self::SomeContent => Trigger::ContentProvisioned { provisioned: 4 },
            Self::NoContent => Trigger::ContentProvisioned { provisioned: 0 },
            Self::Requested => Trigger::Requested(request(1)),
            Self::Resolved => Trigger::Resolved {
                request: request(1),
                phases: vec![Phase::Spellcheck, Phase::CjAssessment],
                essays: 4,
            },
            Self::ResolvedEmpty => Trigger::Resolved {
                request: request(1),
                phases: vec![],
                essays: 4,
            },
            Self::Refused => Trigger::Refused {
                request: request(1),
                reason: "no such pipeline".to_owned(),
            },
            Self::PhaseSurvived => ended(3, 1),
            Self::PhaseFailed => ended(0, 4),
        }
    }
}

/// What the table says: the state's name on the wire and the effects by their names.
#[expect(
    clippy::match_same_arms,
    reason = "one arm per cell, in the order of the table"
)]
fn expected(row: Row, column: Column) -> Option<(BatchStatus, &'static [&'static str])> {
    use BatchStatus as S;
    Some(match (row, column) {
        (Row::Awaiting, Column::SomeContent) => (S::ReadyForPipelineExecution, &[]),
        (Row::AwaitingRequested, Column::SomeContent) => {
            (S::ReadyForPipelineExecution, &["resubmit"])
        }
        (Row::Awaiting, Column::NoContent) => (S::ContentIngestionFailed, &[]),
        (Row::AwaitingRequested, Column::NoContent) => (S::ContentIngestionFailed, &["announce"]),
        (Row::Awaiting, Column::Requested) => (S::AwaitingContentValidation, &[]),
        (Row::ContentFailed, Column::Requested) => (S::ContentIngestionFailed, &["announce"]),
        (Row::Ready | Row::ReadyThis, Column::Requested) => {
            (S::ReadyForPipelineExecution, &["resolve"])
        }
        (Row::ReadyThis, Column::Resolved) => (S::ProcessingPipelines, &["dispatch spellcheck"]),
        (Row::ReadyThis, Column::ResolvedEmpty) => (S::CompletedWithFailures, &["announce"]),
        (Row::ReadyThis, Column::Refused) => (S::FailedCritically, &["announce"]),
        (Row::RunningThisThenMore, Column::PhaseSurvived) => {
            (S::ProcessingPipelines, &["dispatch cj_assessment"])
        }
        (Row::RunningThisLast, Column::PhaseSurvived) => (S::CompletedWithFailures, &["announce"]),
        (Row::RunningThisThenMore | Row::RunningThisLast, Column::PhaseFailed) => {
            (S::FailedCritically, &["announce"])
        }
        _ => return None,
    })
}

fn name(effect: &Effect) -> String {
    match effect {
        Effect::Resubmit(_) => "resubmit".to_owned(),
        Effect::Resolve => "resolve".to_owned(),
        Effect::Dispatch(phase) => format!("dispatch {phase}"),
        Effect::Announce(_) => "announce".to_owned(),
    }
}

#[test]
fn every_cell_of_the_table_is_as_written() {
    for row in Row::ALL {
        for column in Column::ALL {
            let result = step(&row.state(), column.trigger(), facts());
            match (result, expected(row, column)) {
                (Ok(step), Some((status, effects))) => {
                    assert_eq!(step.state.status(), status, "{row:?} {column:?}");
                    let names: Vec<_> = step.effects.iter().map(name).collect();
                    assert_eq!(names, effects, "{row:?} {column:?}");
                }
                (Err(_), None) => {}
                (result, expected) => {
                    panic!("{row:?} {column:?}: expected {expected:?}, got {result:?}")
                }
            }
        }
    }
}

/// Rule: whoever asked for a pipeline hears of its end, whatever way it ends, and only once.
#[test]
fn the_end_of_a_requested_pipeline_is_announced_with_its_status() {
    for row in Row::ALL {
        for column in Column::ALL {
            let Ok(step) = step(&row.state(), column.trigger(), facts()) else {
                continue;
            };
            let ends = step.state.status().is_terminal() && step.state.request().is_some();
            let announced: Vec<_> = step
                .effects
                .iter()
                .filter_map(|effect| match effect {
                    Effect::Announce(announcement) => Some(announcement),
                    _ => None,
                })
                .collect();
            assert_eq!(announced.len(), usize::from(ends), "{row:?} {column:?}");
            for announcement in announced {
                assert_eq!(
                    announcement.status,
                    step.state.status(),
                    "{row:?} {column:?}"
                );
                assert_eq!(announcement.successful + announcement.failed, EXPECTED);
            }
        }
    }
}

#[test]
fn final_states_never_change() {
    for row in [Row::ContentFailedTold, Row::Finished, Row::FinishedFailed] {
        assert!(row.state().status().is_terminal());
        for column in Column::ALL {
            assert!(
                step(&row.state(), column.trigger(), facts()).is_err(),
                "{row:?} {column:?}"
            );
        }
    }
}

#[test]
fn a_pipeline_runs_its_phases_one_after_the_other_with_the_survivors() {
    let go = |state: &BatchState, trigger, now| {
        step(
            state,
            trigger,
            Facts {
                now: at(now),
                ..facts()
            },
        )
        .unwrap()
    };
    let state = BatchState::Ready {
        requested: Some(request(1)),
    };
    let state = go(&state, Column::Resolved.trigger(), 200).state;
    let after = go(&state, Column::PhaseSurvived.trigger(), 210);
    let BatchState::Running(run) = &after.state else {
        panic!("{after:?}")
    };
    assert_eq!(run.current.phase, Phase::CjAssessment);
    assert_eq!((run.current.total, run.current.started_at), (3, at(210)));
    assert_eq!((run.done[0].successful, run.done[0].failed), (3, 1));
    assert_eq!(
        (run.done[0].started_at, run.done[0].ended_at),
        (at(200), at(210))
    );

    let trigger = Trigger::PhaseEnded {
        phase: Phase::CjAssessment,
        successful: 3,
        failed: 0,
    };
    let end = go(&after.state, trigger, 260);
    let [Effect::Announce(announcement)] = end.effects.as_slice() else {
        panic!("{end:?}")
    };
    assert_eq!(announcement.completed, Phase::ALL);
    assert_eq!(announcement.started_at, at(200));
    // One file never came in, one essay fell out in spell-checking.
    assert_eq!((announcement.successful, announcement.failed), (3, 2));
    assert_eq!(announcement.status, BatchStatus::CompletedWithFailures);
}

#[test]
fn a_failed_phase_skips_the_rest_and_says_which_it_was() {
    let end = step(
        &Row::RunningThisThenMore.state(),
        Column::PhaseFailed.trigger(),
        facts(),
    );
    let BatchState::Finished(finish) = end.unwrap().state else {
        panic!("must be finished")
    };
    assert_eq!(finish.skipped, [Phase::CjAssessment]);
    assert_eq!(finish.reason, Some(Reason::PhaseFailed(Phase::Spellcheck)));
    assert_eq!(finish.done[0].status, PhaseStatus::FailedCritically);
}

/// Only a batch of which every expected file has a result ends without failures.
#[test]
fn the_final_status_weighs_files_and_essays() {
    let end = |successful, failed, failed_files| {
        let trigger = Trigger::PhaseEnded {
            phase: Phase::Spellcheck,
            successful,
            failed,
        };
        let facts = Facts {
            failed_files,
            ..facts()
        };
        step(&Row::RunningThisLast.state(), trigger, facts)
            .unwrap()
            .state
            .status()
    };
    assert_eq!(end(5, 0, 0), BatchStatus::CompletedSuccessfully);
    assert_eq!(end(5, 0, 1), BatchStatus::CompletedWithFailures);
    assert_eq!(end(4, 0, 0), BatchStatus::CompletedWithFailures);
    assert_eq!(end(4, 1, 0), BatchStatus::CompletedWithFailures);
    assert_eq!(end(0, 5, 0), BatchStatus::FailedCritically);
}

#[test]
fn an_outcome_without_a_pipeline_says_which_phase_does_not_run() {
    let ignored = step(
        &Row::RunningOther.state(),
        Column::PhaseSurvived.trigger(),
        facts(),
    );
    assert_eq!(ignored, Err(Ignored::PhaseNotRunning(Phase::Spellcheck)));
}

/// The states are stored as JSON: one written today must be read by the program of tomorrow.
#[test]
fn every_state_survives_storage() {
    for row in Row::ALL {
        let state = row.state();
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(
            serde_json::from_str::<BatchState>(&text).unwrap(),
            state,
            "{text}"
        );
    }
    let text = r#"{"is":"awaiting_content","requested":null}"#;
    assert_eq!(
        serde_json::from_str::<BatchState>(text).unwrap(),
        BatchState::registered()
    );
}
