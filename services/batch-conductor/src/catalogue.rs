//! The pipelines: which phases each one has, what a phase waits for, and in which order they run.
//!
//! The table is data. [`Catalogue::new`] checks it (no duplicates, every dependency exists, no
//! cycle) and fixes each pipeline's order with Kahn's algorithm. Among phases that could run next,
//! the one that stands first in the table goes first, so the order never depends on chance.
//!
//! | pipeline | phases (`→` waits for) |
//! |---|---|
//! | `ai_feedback` | spellcheck → nlp → ai_feedback |
//! | `cj_assessment` | spellcheck → cj_assessment |
//! | `nlp` | spellcheck → nlp |
//! | `comprehensive` | spellcheck → {cj_assessment, nlp}, nlp → ai_feedback |

use huleedu_contracts::status::PhaseName;
use thiserror::Error;

/// One phase of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The phase.
    pub phase: PhaseName,
    /// Phases of the same pipeline that must be complete before.
    pub depends_on: Vec<PhaseName>,
}

/// A pipeline as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// The name clients ask for.
    pub name: &'static str,
    /// Its phases, in any order.
    pub steps: Vec<Step>,
}

/// The checked pipelines, each with its phases in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    pipelines: Vec<(&'static str, Vec<PhaseName>)>,
}

/// A table of pipelines that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// Two pipelines have one name.
    #[error("pipeline {pipeline} is defined twice")]
    TwicePipeline {
        /// The name.
        pipeline: &'static str,
    },
    /// A pipeline has a phase twice.
    #[error("pipeline {pipeline} has phase {phase} twice")]
    TwicePhase {
        /// The pipeline.
        pipeline: &'static str,
        /// The phase.
        phase: PhaseName,
    },
    /// A phase waits for one that the pipeline does not have.
    #[error("in pipeline {pipeline}, {phase} waits for {missing}, which is no part of it")]
    MissingDependency {
        /// The pipeline.
        pipeline: &'static str,
        /// The phase that waits.
        phase: PhaseName,
        /// What it waits for.
        missing: PhaseName,
    },
    /// Phases wait for each other.
    #[error("in pipeline {pipeline}, phases wait for each other: {}", names(.phases))]
    Cycle {
        /// The pipeline.
        pipeline: &'static str,
        /// The phases that can never begin.
        phases: Vec<PhaseName>,
    },
}

impl Catalogue {
    /// The platform's pipelines.
    ///
    /// # Errors
    /// When the built-in table contradicts itself.
    pub fn builtin() -> Result<Self, CatalogueError> {
        use PhaseName::{AiFeedback, CjAssessment, Nlp, Spellcheck};
        let step = |phase, depends_on: &[PhaseName]| Step {
            phase,
            depends_on: depends_on.into(),
        };
        Self::new(&[
            Pipeline {
                name: "ai_feedback",
                steps: vec![
                    step(Spellcheck, &[]),
                    step(Nlp, &[Spellcheck]),
                    step(AiFeedback, &[Nlp]),
                ],
            },
            Pipeline {
                name: "cj_assessment",
                steps: vec![step(Spellcheck, &[]), step(CjAssessment, &[Spellcheck])],
            },
            Pipeline {
                name: "nlp",
                steps: vec![step(Spellcheck, &[]), step(Nlp, &[Spellcheck])],
            },
            Pipeline {
                name: "comprehensive",
                steps: vec![
                    step(Spellcheck, &[]),
                    step(CjAssessment, &[Spellcheck]),
                    step(Nlp, &[Spellcheck]),
                    step(AiFeedback, &[Nlp]),
                ],
            },
        ])
    }

    /// Checks and orders pipelines.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn new(table: &[Pipeline]) -> Result<Self, CatalogueError> {
        let mut pipelines: Vec<(&'static str, Vec<PhaseName>)> = Vec::with_capacity(table.len());
        for pipeline in table {
            if pipelines.iter().any(|(name, _)| *name == pipeline.name) {
                return Err(CatalogueError::TwicePipeline {
                    pipeline: pipeline.name,
                });
            }
            pipelines.push((pipeline.name, order(pipeline)?));
        }
        Ok(Self { pipelines })
    }

    /// The phases of a pipeline in the order in which they run; `None` when there is no such
    /// pipeline.
    pub fn phases(&self, pipeline: &str) -> Option<&[PhaseName]> {
        self.pipelines
            .iter()
            .find(|(name, _)| *name == pipeline)
            .map(|(_, phases)| phases.as_slice())
    }

    /// Every name, in the order of the table.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.pipelines.iter().map(|(name, _)| *name)
    }
}

/// Kahn's algorithm: again and again takes the first phase whose dependencies are all taken.
fn order(pipeline: &Pipeline) -> Result<Vec<PhaseName>, CatalogueError> {
    let name = pipeline.name;
    for (at, step) in pipeline.steps.iter().enumerate() {
        if pipeline
            .steps
            .iter()
            .skip(at + 1)
            .any(|other| other.phase == step.phase)
        {
            return Err(CatalogueError::TwicePhase {
                pipeline: name,
                phase: step.phase,
            });
        }
        for &missing in &step.depends_on {
            if !pipeline.steps.iter().any(|other| other.phase == missing) {
                let phase = step.phase;
                return Err(CatalogueError::MissingDependency {
                    pipeline: name,
                    phase,
                    missing,
                });
            }
        }
    }
    let mut ordered = Vec::with_capacity(pipeline.steps.len());
    let mut waiting: Vec<&Step> = pipeline.steps.iter().collect();
    while !waiting.is_empty() {
        let ready = |step: &&Step| step.depends_on.iter().all(|phase| ordered.contains(phase));
        let Some(next) = waiting.iter().position(ready) else {
            let phases = waiting.iter().map(|step| step.phase).collect();
            return Err(CatalogueError::Cycle {
                pipeline: name,
                phases,
            });
        };
        ordered.push(waiting.remove(next).phase);
    }
    Ok(ordered)
}

fn names(phases: &[PhaseName]) -> String {
    phases
        .iter()
        .map(|phase| phase.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use huleedu_contracts::status::PhaseName::{AiFeedback, CjAssessment, Nlp, Spellcheck};
    use proptest::prelude::*;

    use super::*;

    fn pipeline(steps: &[(PhaseName, &[PhaseName])]) -> Pipeline {
        let steps = steps
            .iter()
            .map(|(phase, depends_on)| Step {
                phase: *phase,
                depends_on: depends_on.to_vec(),
            })
            .collect();
        Pipeline {
            name: "test",
            steps,
        }
    }

    #[test]
    fn the_platforms_pipelines_run_in_the_documented_order() {
        let catalogue = Catalogue::builtin().unwrap();
        let expected: [(&str, &[PhaseName]); 4] = [
            ("ai_feedback", &[Spellcheck, Nlp, AiFeedback]),
            ("cj_assessment", &[Spellcheck, CjAssessment]),
            ("nlp", &[Spellcheck, Nlp]),
            (
                "comprehensive",
                &[Spellcheck, CjAssessment, Nlp, AiFeedback],
            ),
        ];
        assert_eq!(
            catalogue.names().collect::<Vec<_>>(),
            expected.map(|(name, _)| name)
        );
        for (name, phases) in expected {
            assert_eq!(catalogue.phases(name), Some(phases), "{name}");
        }
        assert_eq!(catalogue.phases("spelling"), None);
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let check = |steps: &[(PhaseName, &[PhaseName])]| Catalogue::new(&[pipeline(steps)]);
        assert_eq!(
            check(&[(Spellcheck, &[]), (Spellcheck, &[])]),
            Err(CatalogueError::TwicePhase {
                pipeline: "test",
                phase: Spellcheck
            })
        );
        assert_eq!(
            check(&[(Nlp, &[Spellcheck])]),
            Err(CatalogueError::MissingDependency {
                pipeline: "test",
                phase: Nlp,
                missing: Spellcheck,
            })
        );
        assert_eq!(
            check(&[
                (Spellcheck, &[]),
                (Nlp, &[AiFeedback]),
                (AiFeedback, &[Nlp])
            ]),
            Err(CatalogueError::Cycle {
                pipeline: "test",
                phases: vec![Nlp, AiFeedback]
            })
        );
        assert!(matches!(
            check(&[(Spellcheck, &[Spellcheck])]),
            Err(CatalogueError::Cycle { .. })
        ));
        let twice = [pipeline(&[]), pipeline(&[])];
        assert_eq!(
            Catalogue::new(&twice),
            Err(CatalogueError::TwicePipeline { pipeline: "test" })
        );
    }

    proptest! {
        /// Whatever the graph: either every phase stands behind all it waits for, or there is a
        /// cycle, and then no phase of the reported rest could begin.
        #[test]
        fn an_order_respects_every_dependency(edges in proptest::collection::vec((0usize..5, 0usize..5), 0..12)) {
            let all = PhaseName::ALL;
            let steps: Vec<Step> = (0..5)
                .map(|to| Step {
                    phase: all[to],
                    depends_on: edges.iter().filter(|e| e.1 == to).map(|e| all[e.0]).collect(),
                })
                .collect();
            let table = Pipeline { name: "test", steps };
            match order(&table) {
                Ok(ordered) => {
                    prop_assert_eq!(ordered.len(), 5);
                    let place = |phase| ordered.iter().position(|p| *p == phase);
                    for step in &table.steps {
                        for before in &step.depends_on {
                            prop_assert!(place(*before) < place(step.phase));
                        }
                    }
                }
                Err(CatalogueError::Cycle { phases, .. }) => {
                    for step in table.steps.iter().filter(|step| phases.contains(&step.phase)) {
                        prop_assert!(step.depends_on.iter().any(|phase| phases.contains(phase)));
                    }
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
