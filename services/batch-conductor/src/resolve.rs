//! From a requested pipeline and a batch's history to the phases that are still to run. Pure.
//!
//! | pipeline | phases left | answer |
//! |---|---|---|
//! | unknown | | [`Refusal::UnknownPipeline`] |
//! | known | one has no service on this platform | [`Refusal::NoService`] |
//! | known | one reads the prompt, there is none, and it is required | [`Refusal::PromptMissing`] |
//! | known | otherwise, also when none is left | [`Resolution`] |

use huleedu_contracts::status::{PhaseName, PhaseStatus};
use thiserror::Error;

use crate::catalogue::Catalogue;

/// Phases whose services exist on this platform.
pub const AVAILABLE: &[PhaseName] = &[PhaseName::Spellcheck, PhaseName::CjAssessment];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// How phases last ended for the batch; a phase that never ended is not listed.
    pub history: &'a [(PhaseName, PhaseStatus)],
    /// Whether the batch has the assignment as the students got it.
    pub prompt_attached: bool,
    /// Whether phases that read the prompt are refused without one.
    pub require_prompt: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Phases to run, in order; empty when everything was done before.
    pub to_run: Vec<PhaseName>,
    /// Phases left out because they were completed before, in order.
    pub skipped: Vec<PhaseName>,
}

/// Why a pipeline cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such pipeline.
    #[error("pipeline {asked:?} does not exist; choose one of: {}", .known.join(", "))]
    UnknownPipeline {
        /// What was asked for.
        asked: String,
        /// What exists.
        known: Vec<&'static str>,
    },
    /// A phase cannot be run here.
    #[error("pipeline {pipeline:?} needs {phase}, and this platform has no service for it")]
    NoService {
        /// The pipeline.
        pipeline: String,
        /// The phase.
        phase: PhaseName,
    },
    /// The prompt is missing.
    #[error("{phase} needs the student prompt, and the batch has none (REQUIRE_PROMPT is on)")]
    PromptMissing {
        /// The phase.
        phase: PhaseName,
    },
}

/// Answers the question.
///
/// A phase counts as done when it was completed for at least one essay, with or without failures;
/// one that failed is run again.
///
/// # Errors
/// See the table of this module.
pub fn resolve(catalogue: &Catalogue, question: Question<'_>) -> Result<Resolution, Refusal> {
    let pipeline = question.pipeline;
    let phases = catalogue
        .phases(pipeline)
        .ok_or_else(|| Refusal::UnknownPipeline {
            asked: pipeline.to_owned(),
            known: catalogue.names().collect(),
        })?;
    let done = |phase: &PhaseName| {
        question
            .history
            .iter()
            .any(|(name, status)| name == phase && status.has_survivors())
    };
    let (skipped, to_run): (Vec<_>, Vec<_>) = phases.iter().copied().partition(done);
    if let Some(&phase) = to_run.iter().find(|phase| !AVAILABLE.contains(phase)) {
        return Err(Refusal::NoService {
            pipeline: pipeline.to_owned(),
            phase,
        });
    }
    if question.require_prompt
        && !question.prompt_attached
        && let Some(&phase) = to_run.iter().find(|phase| reads_prompt(**phase))
    {
        return Err(Refusal::PromptMissing { phase });
    }
    Ok(Resolution { to_run, skipped })
}

/// Whether a phase works with the assignment as the students got it.
const fn reads_prompt(phase: PhaseName) -> bool {
    matches!(
        phase,
        PhaseName::CjAssessment | PhaseName::Nlp | PhaseName::AiFeedback
    )
}

#[cfg(test)]
mod tests {
    use PhaseName::{AiFeedback, CjAssessment, Nlp, Spellcheck};
    use PhaseStatus::{CompletedSuccessfully, CompletedWithFailures, FailedCritically};

    use super::*;

    fn ask(pipeline: &str, history: &[(PhaseName, PhaseStatus)]) -> Result<Resolution, Refusal> {
        let catalogue = Catalogue::builtin().unwrap();
        let question = Question {
            pipeline,
            history,
            prompt_attached: false,
            require_prompt: false,
        };
        resolve(&catalogue, question)
    }

    /// Every ending of both phases, so that none is judged by accident: failures of some essays
    /// complete a phase, failure of all does not, and a missing record is not a completion.
    #[test]
    fn every_history_of_the_ranking_pipeline_has_its_answer() {
        let endings = [
            (None, false),
            (Some(CompletedSuccessfully), true),
            (Some(CompletedWithFailures), true),
            (Some(FailedCritically), false),
        ];
        for (spelling, spelled) in endings {
            for (judging, judged) in endings {
                let history: Vec<_> = [(Spellcheck, spelling), (CjAssessment, judging)]
                    .into_iter()
                    .filter_map(|(phase, status)| Some((phase, status?)))
                    .collect();
                let (mut to_run, mut skipped) = (vec![], vec![]);
                for (phase, done) in [(Spellcheck, spelled), (CjAssessment, judged)] {
                    if done {
                        skipped.push(phase);
                    } else {
                        to_run.push(phase);
                    }
                }
                assert_eq!(
                    ask("cj_assessment", &history),
                    Ok(Resolution { to_run, skipped }),
                    "{history:?}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_pipeline_is_refused_with_the_known_names() {
        let text = ask("spelling", &[]).unwrap_err().to_string();
        for name in [
            "\"spelling\"",
            "ai_feedback",
            "cj_assessment",
            "nlp",
            "comprehensive",
        ] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn phases_without_a_service_are_refused_unless_done_elsewhere() {
        for (pipeline, phase) in [("nlp", Nlp), ("ai_feedback", Nlp), ("comprehensive", Nlp)] {
            let refusal = Refusal::NoService {
                pipeline: pipeline.to_owned(),
                phase,
            };
            assert_eq!(ask(pipeline, &[]), Err(refusal));
        }
        let done = [(Nlp, CompletedSuccessfully)];
        assert_eq!(ask("nlp", &done).unwrap().to_run, [Spellcheck]);
        let refusal = ask("ai_feedback", &done).unwrap_err();
        assert!(matches!(
            refusal,
            Refusal::NoService {
                phase: AiFeedback,
                ..
            }
        ));
    }

    #[test]
    fn the_prompt_is_asked_for_only_when_required_and_read() {
        let catalogue = Catalogue::builtin().unwrap();
        for (require_prompt, prompt_attached, refused) in [
            (false, false, false),
            (false, true, false),
            (true, true, false),
            (true, false, true),
        ] {
            let ask = |history| {
                let pipeline = "cj_assessment";
                resolve(
                    &catalogue,
                    Question {
                        pipeline,
                        history,
                        prompt_attached,
                        require_prompt,
                    },
                )
            };
            assert_eq!(
                ask(&[]).is_err(),
                refused,
                "{require_prompt} {prompt_attached}"
            );
            // Nothing left that reads it.
            assert!(ask(&[(CjAssessment, CompletedSuccessfully)]).is_ok());
        }
    }
}
