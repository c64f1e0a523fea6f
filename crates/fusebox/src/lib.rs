//! Circuit breaker, registry, classification, events and clock: the resilience core, free of I/O and of any runtime.
//!
//! A [`CircuitBreaker`] watches the calls to one dependency. While calls go well it is *closed* and
//! lets them pass. When too many fail it *opens*: calls are refused at once with a typed
//! [`NotPermitted`]. After a break it is *half-open*: a few probes may pass, and their results close
//! it or open it again.
//!
//! ```
//! use fusebox::{BreakerConfig, CallError, Classify, Outcome, Registry, State};
//!
//! #[derive(Debug)]
//! enum StoreError { Down, NotFound }
//!
//! impl Classify for StoreError {
//!     fn outcome(&self) -> Outcome {
//!         match self {
//!             StoreError::Down => Outcome::Failure,
//!             StoreError::NotFound => Outcome::Neutral, // the caller's fault says nothing about the store
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new("essay_lifecycle");
//! let breaker = registry.register("content_client", BreakerConfig::default())?;
//! for _ in 0..5 {
//!     let answer: Result<(), CallError<StoreError>> = breaker.call_sync(|| Err(StoreError::Down));
//!     assert!(answer.is_err());
//! }
//! assert_eq!(breaker.state(), State::Open);
//! # Ok(())
//! # }
//! ```
//!
//! Time, and nothing else from the outside world, comes in through [`Clock`]; tests drive it by
//! hand with [`VirtualClock`]. No task and no timer runs here (but a [`TickerClock`]'s thread, if one is
//! asked for): whoever looks at a breaker sees the
//! state that follows from its history and the present time.

pub mod backoff;
mod breaker;
mod clock;
mod config;
mod engine;
mod error;
mod event;
mod outcome;
mod registry;
mod settings;
mod snapshot;
mod state;
mod sync;
mod window;

pub use breaker::{BorrowedPermit, CircuitBreaker, CircuitBreakerBuilder, Permit, Token};
pub use clock::{Clock, CoarseClock, MonotonicClock, TickerClock, TimeSource, VirtualClock};
pub use config::{
    Abandoned, BreakerConfig, ConfigError, CustomRule, Evidence, Ramp, SlowCall, TripRule, Window,
};
pub use error::{CallError, NotPermitted};
pub use event::{Cause, Event, EventKind};
pub use outcome::{Classify, Outcome};
pub use registry::{Pattern, PatternError, Registry, RegistryBuilder, RegistryError};
pub use settings::{CircuitSettings, Overrides, Problem, SETTINGS, Setting, SettingsError};
pub use snapshot::{CallCounts, RecoveryAttempts, Snapshot, TimeInState, Transitions};
pub use state::{ManualMode, Mode, ModeChange, State};
pub use window::Totals;

/// The guide's examples are compiled and run with the documentation's.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/choose-a-rule.md")]
    mod choose_a_rule {}
    #[doc = include_str!("../../../docs/guide/coming-from.md")]
    mod coming_from {}
    #[doc = include_str!("../../../docs/guide/change-circuits-while-running.md")]
    mod change_circuits_while_running {}
}
