//! The phases this platform has services for.

use std::fmt;

use huleedu_contracts::status::PhaseName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A phase that the orchestrator can command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "PhaseName", into = "PhaseName")]
pub enum Phase {
    /// Spell-checking.
    Spellcheck,
    /// Ranking by comparative judgement.
    CjAssessment,
}

/// A phase that this platform has no service for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this platform has no service for phase {0}")]
pub struct NoService(pub PhaseName);

impl Phase {
    /// Every phase, in the order in which they are usually run.
    pub const ALL: [Self; 2] = [Self::Spellcheck, Self::CjAssessment];

    /// Its name on the wire.
    pub const fn name(self) -> PhaseName {
        match self {
            Self::Spellcheck => PhaseName::Spellcheck,
            Self::CjAssessment => PhaseName::CjAssessment,
        }
    }
}

impl From<Phase> for PhaseName {
    fn from(phase: Phase) -> Self {
        phase.name()
    }
}

impl TryFrom<PhaseName> for Phase {
    type Error = NoService;

    fn try_from(name: PhaseName) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.name() == name)
            .ok_or(NoService(name))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name(), f)
    }
}
