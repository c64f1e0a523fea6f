//! Bounds on what is asked of a dependency: a bulkhead with a queue, a limit that adapts, a throttle. No runtime.
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
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use fusebox::VirtualClock; // `MonotonicClock` outside of tests
//! use fusebox_limit::{AdaptiveConfig, Limit};
//!
//! let clock = VirtualClock::new();
//! let config = AdaptiveConfig::new().with_bounds(1, 48); // at most half of 96 workers
//! let limit = Limit::adaptive(config, Arc::new(clock.clone()))?;
//! assert_eq!(limit.snapshot().limit, 20);
//!
//! let place = limit.try_enter()?;
//! clock.advance(Duration::from_secs(1));
//! place.overloaded(); // it ran into its time-out
//! assert_eq!(limit.snapshot().limit, 14, "seven tenths");
//!
//! for _ in 0..100 {
//!     let busy: Vec<_> = (0..10).map_while(|_| limit.try_enter().ok()).collect();
//!     busy.into_iter().for_each(|place| place.success());
//! }
//! let grown = limit.snapshot().limit;
//! assert!((15..=21).contains(&grown), "while half of it was in use, and no further");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The throttle
//! [`Throttle`] counts no calls under way but calls turned away. Where many callers share a dependency
//! that says no when it has too much to do, its "no" costs it work as well; the throttle keeps most
//! of what would be turned away at home. It reacts within seconds, not at once: it stands beside a
//! breaker and a limit, not in place of them.
//!
//! | against | what helps |
//! |---|---|
//! | a dependency that hangs or is slow, and the workers it holds | bulkhead, limit that adapts |
//! | a spike of calls of our own | the same |
//! | a dependency that is down | a breaker |
//! | a dependency that turns calls away, and the work that costs it | throttle |
//! | retries that multiply the load | a retry budget (`fusebox-resilient`) |
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
mod throttle;

pub use config::{AdaptiveConfig, LimitConfigError};
pub use error::Full;
pub use limit::{Limit, LimitSnapshot};
pub use place::{Enter, Place, Sample};
pub use throttle::{Pass, Throttle, ThrottleConfig, ThrottleSnapshot, Throttled};
