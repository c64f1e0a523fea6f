//! A behaviour suite for circuit breakers of any make.
//!
//! Breakers agree on three states and on little else. What they do when a probe never returns, when
//! a result comes late, when a thousand callers arrive at the end of a break, shows only in
//! production. Each check here asks one such question: the rows A to G of the behaviour matrix, and
//! the failures users have reported in public threads ([`NOT_ASKED`] lists those that concern no
//! breaker, and why).
//!
//! To ask a breaker, write a [`Subject`] for it: how to make one, how to start a call, how to let
//! time pass. A breaker that wraps futures needs no more than [`hold`]. Then:
//!
//! ```
//! use std::sync::Arc;
//! use fusebox_conformance::{Subject, Verdict, run, table};
//!
//! fn compare(subjects: &[Arc<dyn Subject>]) -> String {
//!     let reports: Vec<_> = subjects.iter().map(run).collect();
//!     for report in &reports {
//!         for (check, verdict) in &report.rows {
//!             if let Verdict::Wrong(observed) = verdict {
//!                 eprintln!("{}: {}: {observed}", report.subject, check.id);
//!             }
//!         }
//!     }
//!     table(&reports)
//! }
//! # assert!(compare(&[]).contains("| check |"));
//! ```
//!
//! The suite has no dependencies and reads no clock: time passes by [`Breaker::pass`], which an
//! adapter answers with a virtual clock or by waiting. It sees a breaker from outside only, by who
//! is admitted; what it expects is told at each check. An expectation that an author has decided
//! against on purpose is still reported as wrong: the observed text says what happens instead.

mod check;
mod hold;
mod matrix;
mod moves;
mod report;
mod subject;
mod threads;

pub use check::{Check, NOT_ASKED, checks, run};
pub use hold::{Fault, Settled, Upstream, abandon, hold, unwind_with};
pub use report::{Report, Verdict, table};
pub use subject::{
    Ability, Breaker, Call, Config, Ending, Observer, Phase, Refusal, Refused, Slow, Subject,
    Totals, Transition, Window,
};
