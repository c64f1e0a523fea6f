//! Bounds on calls under way at once: a bulkhead with a bounded queue, and a limit that adapts. No runtime.
//!
//! A dependency that becomes slow does its harm through the calls that wait for it: they hold the
//! caller's workers, memory and connections until nothing is left for the rest. A bound on the
//! calls under way keeps that harm in one compartment, a *bulkhead*, and needs no verdict on the
//! dependency's health to do so.
//!
//! ```
//! use fusebox_limit::Limit;
//!
//! let limit = Limit::bulkhead(2, 0)?; // two at once, nobody waits
//! let first = limit.try_enter()?;
//! let second = limit.try_enter()?;
//! assert_eq!(limit.try_enter().unwrap_err().limit(), 2);
//! drop(first); // however a call ends, its place is given back
//! assert!(limit.try_enter().is_ok());
//! # drop(second);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The limit that adapts
//! [`Limit::adaptive`] finds the bound by itself: additive increase, multiplicative decrease
//! (AIMD). Every call that succeeds while at least half of the limit is in use lets it grow a
//! little, by about [`AdaptiveConfig::growth`] for each round of calls; a call that ran out of time
//! cuts it to [`AdaptiveConfig::backoff`] of itself, once for each round.
//!
//! Why not a gradient on latency (Vegas and its kin)? They take the shortest round trip as the
//! measure of an idle dependency. Where service times scatter, as they do behind any real
//! endpoint, the shortest is far below the mean even in perfect health, and such a limit refuses
//! calls that nothing stood against. Time-outs cannot be mistaken like that, and latency can still
//! be given a say by a bound in plain words: [`AdaptiveConfig::overload_after`].
//!
//! Three traps on the way, each held shut by a test:
//! - A limit of 1 must be able to grow: the call that ends counts as still in use when the question
//!   is whether the limit was used.
//! - An error reply that came in time is no sign of load, and does not shrink the limit. A
//!   dependency that fails one call in three still serves the other two.
//! - A hundred calls that time out together are one event, not a hundred: calls admitted before
//!   the last cut do not cut again.
//!
//! # Waiting
//! [`Limit::enter`] queues when all places are taken, first come first served, and the queue is
//! bounded. No timer runs here: how long to wait is for the caller to say, by dropping the future.

mod aimd;
mod config;
mod error;
mod limit;
mod place;
mod queue;

pub use config::{AdaptiveConfig, LimitConfigError};
pub use error::Full;
pub use limit::{Limit, LimitSnapshot};
pub use place::{Enter, Place, Sample};
