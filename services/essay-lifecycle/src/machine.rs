//! The life of an essay: which state follows from which, and for what cause.
//!
//! `P` stands for a phase: spellcheck, nlp, `ai_feedback` or `cj_assessment`.
//!
//! | from | cause | to |
//! |---|---|---|
//! | `uploaded` | content assigned | `ready_for_processing` |
//! | `uploaded` | content rejected | `content_ingestion_failed` |
//! | `ready_for_processing` | spellcheck requested | `awaiting_spellcheck` |
//! | `spellchecked_success` | nlp requested | `awaiting_nlp` |
//! | `spellchecked_success`, `nlp_success` | `ai_feedback` requested | `awaiting_ai_feedback` |
//! | `spellchecked_success`, `nlp_success`, `ai_feedback_success` | `cj_assessment` requested | `awaiting_cj_assessment` |
//! | awaiting P | P started | P in progress |
//! | awaiting P, P in progress | P succeeded | P success |
//! | awaiting P, P in progress | P failed | P failed |
//! | success of any phase | pipeline completed | `all_processing_completed` |
//! | any | critical failure | `essay_critical_failure` |
//!
//! Everything else is refused and changes nothing. A command to repeat a phase would be one more
//! cause, leading from P failed to awaiting P, together with the next run number of that phase.
//!
//! Today's events cause the slots' two steps and everything of spellcheck and `cj_assessment`; the
//! pipeline's end causes nothing, so that an essay's last phase stays visible in its state.

use std::fmt;

use huleedu_contracts::status::{EssayStatus, PhaseName};
use thiserror::Error;

/// A phase that changes the states of essays. Student matching does not, so it is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Spell-checking, essay by essay.
    Spellcheck,
    /// Analysis of the language.
    Nlp,
    /// Feedback by an AI.
    AiFeedback,
    /// Comparative judgement of the whole batch.
    CjAssessment,
}

/// What happened to an essay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A file's text took the slot.
    ContentAssigned,
    /// A file that cannot be assessed used the slot up.
    ContentRejected,
    /// The phase was asked for.
    Requested(Phase),
    /// The phase's service says it has begun.
    Started(Phase),
    /// The phase's service is done.
    Succeeded(Phase),
    /// The phase's service has given up.
    Failed(Phase),
    /// The last phase of the pipeline is over.
    PipelineCompleted,
    /// Nothing more can be done for this essay.
    CriticalFailure,
}

/// A step that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an essay that is {from} does not take {cause}")]
pub struct Refused {
    /// The state, which stands.
    pub from: EssayStatus,
    /// What was to change it.
    pub cause: Cause,
}

/// The state after `cause`.
///
/// # Errors
/// When the table has no such step.
pub fn next(from: EssayStatus, cause: Cause) -> Result<EssayStatus, Refused> {
    let allowed = match cause {
        Cause::ContentAssigned | Cause::ContentRejected => from == EssayStatus::Uploaded,
        Cause::Requested(phase) => phase.entrances().contains(&from),
        Cause::Started(phase) => from == phase.awaiting(),
        Cause::Succeeded(phase) | Cause::Failed(phase) => {
            from == phase.awaiting() || from == phase.in_progress()
        }
        Cause::PipelineCompleted => Phase::ALL.iter().any(|phase| from == phase.success()),
        Cause::CriticalFailure => true,
    };
    if allowed {
        Ok(cause.leads_to())
    } else {
        Err(Refused { from, cause })
    }
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 4] = [
        Self::Spellcheck,
        Self::Nlp,
        Self::AiFeedback,
        Self::CjAssessment,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> PhaseName {
        match self {
            Self::Spellcheck => PhaseName::Spellcheck,
            Self::Nlp => PhaseName::Nlp,
            Self::AiFeedback => PhaseName::AiFeedback,
            Self::CjAssessment => PhaseName::CjAssessment,
        }
    }

    /// The state of an essay for which it was asked.
    pub const fn awaiting(self) -> EssayStatus {
        match self {
            Self::Spellcheck => EssayStatus::AwaitingSpellcheck,
            Self::Nlp => EssayStatus::AwaitingNlp,
            Self::AiFeedback => EssayStatus::AwaitingAiFeedback,
            Self::CjAssessment => EssayStatus::AwaitingCjAssessment,
        }
    }

    /// The state of an essay that is being worked on.
    pub const fn in_progress(self) -> EssayStatus {
        match self {
            Self::Spellcheck => EssayStatus::SpellcheckingInProgress,
            Self::Nlp => EssayStatus::NlpInProgress,
            Self::AiFeedback => EssayStatus::AiFeedbackInProgress,
            Self::CjAssessment => EssayStatus::CjAssessmentInProgress,
        }
    }

    /// The state of an essay that came out well.
    pub const fn success(self) -> EssayStatus {
        match self {
            Self::Spellcheck => EssayStatus::SpellcheckedSuccess,
            Self::Nlp => EssayStatus::NlpSuccess,
            Self::AiFeedback => EssayStatus::AiFeedbackSuccess,
            Self::CjAssessment => EssayStatus::CjAssessmentSuccess,
        }
    }

    /// The state of an essay that failed in it.
    pub const fn failure(self) -> EssayStatus {
        match self {
            Self::Spellcheck => EssayStatus::SpellcheckFailed,
            Self::Nlp => EssayStatus::NlpFailed,
            Self::AiFeedback => EssayStatus::AiFeedbackFailed,
            Self::CjAssessment => EssayStatus::CjAssessmentFailed,
        }
    }

    /// The states from which an essay may enter it.
    pub const fn entrances(self) -> &'static [EssayStatus] {
        match self {
            Self::Spellcheck => &[EssayStatus::ReadyForProcessing],
            Self::Nlp => &[EssayStatus::SpellcheckedSuccess],
            Self::AiFeedback => &[EssayStatus::SpellcheckedSuccess, EssayStatus::NlpSuccess],
            Self::CjAssessment => &[
                EssayStatus::SpellcheckedSuccess,
                EssayStatus::NlpSuccess,
                EssayStatus::AiFeedbackSuccess,
            ],
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name(), f)
    }
}

impl Cause {
    /// The state it leads to; there is only one for each cause.
    pub const fn leads_to(self) -> EssayStatus {
        match self {
            Self::ContentAssigned => EssayStatus::ReadyForProcessing,
            Self::ContentRejected => EssayStatus::ContentIngestionFailed,
            Self::Requested(phase) => phase.awaiting(),
            Self::Started(phase) => phase.in_progress(),
            Self::Succeeded(phase) => phase.success(),
            Self::Failed(phase) => phase.failure(),
            Self::PipelineCompleted => EssayStatus::AllProcessingCompleted,
            Self::CriticalFailure => EssayStatus::EssayCriticalFailure,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContentAssigned => f.write_str("content assigned"),
            Self::ContentRejected => f.write_str("content rejected"),
            Self::Requested(phase) => write!(f, "{phase} requested"),
            Self::Started(phase) => write!(f, "{phase} started"),
            Self::Succeeded(phase) => write!(f, "{phase} succeeded"),
            Self::Failed(phase) => write!(f, "{phase} failed"),
            Self::PipelineCompleted => f.write_str("pipeline completed"),
            Self::CriticalFailure => f.write_str("critical failure"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of the module's documentation, written out with the words of the wire.
    const TABLE: &[(&str, &str, &str)] = &[
        ("uploaded", "content assigned", "ready_for_processing"),
        ("uploaded", "content rejected", "content_ingestion_failed"),
        (
            "ready_for_processing",
            "spellcheck requested",
            "awaiting_spellcheck",
        ),
        (
            "awaiting_spellcheck",
            "spellcheck started",
            "spellchecking_in_progress",
        ),
        (
            "awaiting_spellcheck",
            "spellcheck succeeded",
            "spellchecked_success",
        ),
        (
            "awaiting_spellcheck",
            "spellcheck failed",
            "spellcheck_failed",
        ),
        (
            "spellchecking_in_progress",
            "spellcheck succeeded",
            "spellchecked_success",
        ),
        (
            "spellchecking_in_progress",
            "spellcheck failed",
            "spellcheck_failed",
        ),
        ("spellchecked_success", "nlp requested", "awaiting_nlp"),
        ("awaiting_nlp", "nlp started", "nlp_processing_in_progress"),
        ("awaiting_nlp", "nlp succeeded", "nlp_success"),
        ("awaiting_nlp", "nlp failed", "nlp_failed"),
        ("nlp_processing_in_progress", "nlp succeeded", "nlp_success"),
        ("nlp_processing_in_progress", "nlp failed", "nlp_failed"),
        (
            "spellchecked_success",
            "ai_feedback requested",
            "awaiting_ai_feedback",
        ),
        (
            "nlp_success",
            "ai_feedback requested",
            "awaiting_ai_feedback",
        ),
        (
            "awaiting_ai_feedback",
            "ai_feedback started",
            "ai_feedback_processing_in_progress",
        ),
        (
            "awaiting_ai_feedback",
            "ai_feedback succeeded",
            "ai_feedback_success",
        ),
        (
            "awaiting_ai_feedback",
            "ai_feedback failed",
            "ai_feedback_failed",
        ),
        (
            "ai_feedback_processing_in_progress",
            "ai_feedback succeeded",
            "ai_feedback_success",
        ),
        (
            "ai_feedback_processing_in_progress",
            "ai_feedback failed",
            "ai_feedback_failed",
        ),
        (
            "spellchecked_success",
            "cj_assessment requested",
            "awaiting_cj_assessment",
        ),
        (
            "nlp_success",
            "cj_assessment requested",
            "awaiting_cj_assessment",
        ),
        (
            "ai_feedback_success",
            "cj_assessment requested",
            "awaiting_cj_assessment",
        ),
        (
            "awaiting_cj_assessment",
            "cj_assessment started",
            "cj_assessment_processing_in_progress",
        ),
        (
            "awaiting_cj_assessment",
            "cj_assessment succeeded",
            "cj_assessment_success",
        ),
        (
            "awaiting_cj_assessment",
            "cj_assessment failed",
            "cj_assessment_failed",
        ),
        (
            "cj_assessment_processing_in_progress",
            "cj_assessment succeeded",
            "cj_assessment_success",
        ),
        (
            "cj_assessment_processing_in_progress",
            "cj_assessment failed",
            "cj_assessment_failed",
        ),
        (
            "spellchecked_success",
            "pipeline completed",
            "all_processing_completed",
        ),
        (
            "nlp_success",
            "pipeline completed",
            "all_processing_completed",
        ),
        (
            "ai_feedback_success",
            "pipeline completed",
            "all_processing_completed",
        ),
        (
            "cj_assessment_success",
            "pipeline completed",
            "all_processing_completed",
        ),
    ];

    fn causes() -> Vec<Cause> {
        let mut all = vec![
            Cause::ContentAssigned,
            Cause::ContentRejected,
            Cause::PipelineCompleted,
            Cause::CriticalFailure,
        ];
        for phase in Phase::ALL {
            all.extend([
                Cause::Requested(phase),
                Cause::Started(phase),
                Cause::Succeeded(phase),
                Cause::Failed(phase),
            ]);
        }
        all
    }

    #[test]
    fn every_state_takes_the_causes_of_the_table_and_no_others() {
        let mut steps = 0;
        for &from in EssayStatus::ALL {
            for cause in causes() {
                let text = cause.to_string();
                let row = TABLE
                    .iter()
                    .find(|row| row.0 == from.as_str() && row.1 == text);
                let expected = if cause == Cause::CriticalFailure {
                    Ok(EssayStatus::EssayCriticalFailure)
                } else if let Some(row) = row {
                    steps += 1;
                    Ok(row.2.parse().unwrap())
                } else {
                    Err(Refused { from, cause })
                };
                assert_eq!(next(from, cause), expected, "{from} + {cause}");
            }
        }
        assert_eq!(steps, TABLE.len(), "every row of the table was met");
    }

    #[test]
    fn causes_have_different_names() {
        let names: BTreeSet<String> = causes().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), causes().len());
    }

    #[test]
    fn a_refusal_names_the_state_and_the_cause() {
        let refused = next(EssayStatus::Uploaded, Cause::Requested(Phase::CjAssessment));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "an essay that is uploaded does not take cj_assessment requested"
        );
    }
}
