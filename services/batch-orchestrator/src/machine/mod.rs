//! The life of a batch as a pure state machine: state and trigger in, new state and effects out.
//!
//! No clock, no database, no network: the time comes in with [`Facts`], and what is to be done
//! comes out as [`Effect`]s, which the caller carries out in the transaction that stores the new
//! state.
//!
//! | state | content in (some) | content in (none) | requested | resolved | resolved, nothing left | refused | phase ended, some survive | phase ended, none survive |
//! |---|---|---|---|---|---|---|---|---|
//! | awaiting content | ready; *resubmit* when requested | content failed; *announce* when requested | the same, request kept | – | – | – | – | – |
//! | … with a request | as above | as above | – | – | – | – | – | – |
//! | content failed | – | – | the same, *announce* | – | – | – | – | – |
//! | … with a request | – | – | – | – | – | – | – | – |
//! | ready | – | – | ready with the request; *resolve* | – | – | – | – | – |
//! | … with this request | – | – | *resolve* | running; *dispatch* first | finished; *announce* | finished, failed; *announce* | – | – |
//! | … with another request | – | – | – | – | – | – | – | – |
//! | running, this phase | – | – | – | – | – | – | running; *dispatch* next, or finished; *announce* | finished, failed; *announce* |
//! | running, another phase | – | – | – | – | – | – | – | – |
//! | finished | – | – | – | – | – | – | – | – |
//!
//! `–` means [`Ignored`]: nothing changes, and the reason says why. A duplicate, an event that
//! comes late and a second request all end there.
//!
//! Every way that a requested pipeline can end passes *announce*: none ends in silence.

mod phase;
mod state;
mod tally;

use huleedu_contracts::{
    ids::PipelineName,
    status::{BatchStatus, PhaseStatus},
};
use jiff::Timestamp;
use thiserror::Error;

pub use phase::Phase;
pub use state::{BatchState, CurrentPhase, Finish, PhaseRecord, PipelineRequest, Reason, Run};
pub use tally::{Tally, tally};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Every slot is filled or failed.
    ContentProvisioned {
        /// How many are filled.
        provisioned: u32,
    },
    /// The owner asks for a pipeline.
    Requested(PipelineRequest),
    /// The conductor has said which phases are to run.
    Resolved {
        /// The request it was asked for.
        request: PipelineRequest,
        /// The phases in order; none when everything was done before.
        phases: Vec<Phase>,
        /// Essays that can enter the first phase.
        essays: u32,
    },
    /// The conductor has refused the pipeline.
    Refused {
        /// The request it was asked for.
        request: PipelineRequest,
        /// Its words.
        reason: String,
    },
    /// A phase is over for every essay that entered it.
    PhaseEnded {
        /// The phase.
        phase: Phase,
        /// Essays that can go on.
        successful: u32,
        /// Essays that cannot.
        failed: u32,
    },
}

/// What is to be done together with storing the new state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Put the remembered request back into the stream of requests.
    Resubmit(PipelineRequest),
    /// Ask the conductor, then come back with its answer.
    Resolve,
    /// Publish the command of this phase for every essay that can enter it.
    Dispatch(Phase),
    /// Publish that the pipeline is over.
    Announce(Announcement),
}

/// How a requested pipeline ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// The request.
    pub request: PipelineRequest,
    /// Phases that were completed, in order.
    pub completed: Vec<Phase>,
    /// How the batch stands now.
    pub status: BatchStatus,
    /// When the pipeline began; the request, when it never did.
    pub started_at: Timestamp,
    /// Essays that came out of the last phase.
    pub successful: u32,
    /// Expected essays that did not.
    pub failed: u32,
}

/// What the rules need to know beside state and trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Files that were expected.
    pub expected: u32,
    /// Files that are known to have failed.
    pub failed_files: u32,
    /// The time.
    pub now: Timestamp,
}

/// The result of a trigger that counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The new state.
    pub state: BatchState,
    /// What is to be done, in order.
    pub effects: Vec<Effect>,
}

/// Why a trigger changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Ignored {
    /// Content was settled before.
    #[error("the content of the batch was settled before")]
    ContentSettled,
    /// A pipeline was asked for before.
    #[error("pipeline {0} was asked for before")]
    AlreadyRequested(PipelineName),
    /// A pipeline runs.
    #[error("pipeline {0} is running")]
    PipelineRuns(PipelineName),
    /// The pipeline is over.
    #[error("pipeline {0} is over")]
    PipelineOver(PipelineName),
    /// No such request waits for an answer.
    #[error("no such request waits for an answer")]
    NotAsked,
    /// The phase is not the one that runs.
    #[error("phase {0} is not running")]
    PhaseNotRunning(Phase),
}

/// Applies `trigger` to `state`.
///
/// # Errors
/// [`Ignored`] when it changes nothing; see the table of this module.
pub fn step(state: &BatchState, trigger: Trigger, facts: Facts) -> Result<Step, Ignored> {
    match trigger {
        Trigger::ContentProvisioned { provisioned } => content_settled(state, provisioned, facts),
        Trigger::Requested(request) => requested(state, request, facts),
        Trigger::Resolved {
            request,
            phases,
            essays,
        } => {
            asked(state, &request)?;
            Ok(begin(request, &phases, essays, facts))
        }
        Trigger::Refused { request, reason } => {
            asked(state, &request)?;
            let run = Begun {
                request,
                started_at: facts.now,
                done: vec![],
                skipped: vec![],
            };
            Ok(run.finish(0, Some(Reason::Refused(reason)), facts))
        }
        Trigger::PhaseEnded {
            phase,
            successful,
            failed,
        } => match state {
            BatchState::Running(run) if run.current.phase == phase => {
                Ok(phase_ended(run.clone(), successful, failed, facts))
            }
            _ => Err(Ignored::PhaseNotRunning(phase)),
        },
    }
}

fn content_settled(state: &BatchState, provisioned: u32, facts: Facts) -> Result<Step, Ignored> {
    let BatchState::AwaitingContent { requested } = state else {
        return Err(Ignored::ContentSettled);
    };
    let requested = requested.clone();
    if provisioned == 0 {
        let effects = requested
            .iter()
            .map(|r| no_content(r.clone(), facts))
            .collect();
        return Ok(Step {
            state: BatchState::ContentFailed { requested },
            effects,
        });
    }
    let effects = requested.iter().cloned().map(Effect::Resubmit).collect();
    Ok(Step {
        state: BatchState::Ready { requested },
        effects,
    })
}

fn requested(state: &BatchState, request: PipelineRequest, facts: Facts) -> Result<Step, Ignored> {
    match state {
        BatchState::AwaitingContent { requested: None } => {
            let state = BatchState::AwaitingContent {
                requested: Some(request),
            };
            Ok(Step {
                state,
                effects: vec![],
            })
        }
        BatchState::ContentFailed { requested: None } => {
            let effects = vec![no_content(request.clone(), facts)];
            Ok(Step {
                state: BatchState::ContentFailed {
                    requested: Some(request),
                },
                effects,
            })
        }
        BatchState::Ready { requested: None } => {
            let state = BatchState::Ready {
                requested: Some(request),
            };
            Ok(Step {
                state,
                effects: vec![Effect::Resolve],
            })
        }
        BatchState::Ready {
            requested: Some(kept),
        } if kept.is_same(&request) => Ok(Step {
            state: state.clone(),
            effects: vec![Effect::Resolve],
        }),
        BatchState::AwaitingContent {
            requested: Some(kept),
        }
        | BatchState::ContentFailed {
            requested: Some(kept),
        }
        | BatchState::Ready {
            requested: Some(kept),
        } => Err(Ignored::AlreadyRequested(kept.pipeline().clone())),
        BatchState::Running(run) => Err(Ignored::PipelineRuns(run.request.pipeline().clone())),
        BatchState::Finished(end) => Err(Ignored::PipelineOver(end.request.pipeline().clone())),
    }
}

/// Whether `request` is the one that waits for the conductor's answer.
fn asked(state: &BatchState, request: &PipelineRequest) -> Result<(), Ignored> {
    match state {
        BatchState::Ready {
            requested: Some(kept),
        } if kept.is_same(request) => Ok(()),
        _ => Err(Ignored::NotAsked),
    }
}

fn begin(request: PipelineRequest, phases: &[Phase], essays: u32, facts: Facts) -> Step {
    let started_at = facts.now;
    let Some((&first, later)) = phases.split_first() else {
        let run = Begun {
            request,
            started_at,
            done: vec![],
            skipped: vec![],
        };
        return run.finish(essays, None, facts);
    };
    let current = CurrentPhase {
        phase: first,
        total: essays,
        started_at,
    };
    let run = Run {
        request,
        started_at,
        done: vec![],
        current,
        later: later.to_vec(),
    };
    Step {
        state: BatchState::Running(run),
        effects: vec![Effect::Dispatch(first)],
    }
}

fn phase_ended(run: Run, successful: u32, failed: u32, facts: Facts) -> Step {
    let Run {
        request,
        started_at,
        mut done,
        current,
        later,
    } = run;
    done.push(PhaseRecord {
        phase: current.phase,
        status: PhaseStatus::of(successful as usize, failed as usize),
        successful,
        failed,
        started_at: current.started_at,
        ended_at: facts.now,
    });
    if successful == 0 {
        let run = Begun {
            request,
            started_at,
            done,
            skipped: later,
        };
        return run.finish(0, Some(Reason::PhaseFailed(current.phase)), facts);
    }
    let Some((&next, later)) = later.split_first() else {
        let run = Begun {
            request,
            started_at,
            done,
            skipped: vec![],
        };
        return run.finish(successful, None, facts);
    };
    let current = CurrentPhase {
        phase: next,
        total: successful,
        started_at: facts.now,
    };
    let run = Run {
        request,
        started_at,
        done,
        current,
        later: later.to_vec(),
    };
    Step {
        state: BatchState::Running(run),
        effects: vec![Effect::Dispatch(next)],
    }
}

/// A pipeline that is about to end.
struct Begun {
    request: PipelineRequest,
    started_at: Timestamp,
    done: Vec<PhaseRecord>,
    skipped: Vec<Phase>,
}

impl Begun {
    /// Ends it: with a reason it has failed, otherwise what became of the expected essays decides.
    fn finish(self, successful: u32, reason: Option<Reason>, facts: Facts) -> Step {
        let failed = facts
            .expected
            .saturating_sub(successful)
            .max(facts.failed_files);
        let status = match reason {
            Some(_) => PhaseStatus::FailedCritically,
            None => PhaseStatus::of(successful as usize, failed as usize),
        };
        let survived = |record: &&PhaseRecord| record.status.has_survivors();
        let announcement = Announcement {
            request: self.request.clone(),
            completed: self
                .done
                .iter()
                .filter(survived)
                .map(|record| record.phase)
                .collect(),
            status: status.into(),
            started_at: self.started_at,
            successful,
            failed,
        };
        let state = BatchState::Finished(Finish {
            request: self.request,
            started_at: self.started_at,
            ended_at: facts.now,
            done: self.done,
            skipped: self.skipped,
            status,
            reason,
        });
        Step {
            state,
            effects: vec![Effect::Announce(announcement)],
        }
    }
}

/// Tells whoever asked that there is nothing to run on.
fn no_content(request: PipelineRequest, facts: Facts) -> Effect {
    Effect::Announce(Announcement {
        started_at: request.asked_at,
        request,
        completed: vec![],
        status: BatchStatus::ContentIngestionFailed,
        successful: 0,
        failed: facts.expected,
    })
}

#[cfg(test)]
mod tests;
