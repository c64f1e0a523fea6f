//! Ranks essays by comparative judgement through AI providers.
//!
//! The mathematics comes first and is pure: [`pairing`] chooses who meets whom, [`scoring`] turns
//! the answers into one scale, [`decision`] says whether to go on. Essays are indices `0..n`
//! there; the service orders them by a hash of their text, so that the random ids of a run change
//! nothing.

pub mod decision;
pub mod pairing;
pub mod scoring;
