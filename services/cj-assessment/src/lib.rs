//! Ranks essays by comparative judgement through AI providers.
