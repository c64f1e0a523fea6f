//! A phase over a batch: commanded, dispatched, come out essay by essay, told once.
//!
//! A run is known by batch, phase and number, so a command that comes twice, under whichever event
//! id, finds its run and does nothing. Essays that the command names and that cannot enter (not of
//! this batch, or in a state from which the phase does not start) are members that have failed from
//! the beginning: they are in the outcome, and nothing waits for them.
//!
//! The run ends inside the transaction in which its last member comes out. The batch's row is held
//! there, and the end is noted in the run's own row in the same transaction: so there is one
//! outcome, whoever comes last.
//!
//! Language analysis and feedback are further commands and results in these two files; their
//! states are in [`crate::machine`] already.

mod command;
mod outcome;
mod results;

pub(crate) use command::{request_judgement, request_spellcheck};
pub(crate) use results::{
    add_findings, judgement_completed, judgement_failed, spellcheck_completed,
};
