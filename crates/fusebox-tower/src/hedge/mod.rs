//! Hedging as a layer: a second copy of a call that takes unusually long; the first good answer counts.
//!
//! Only what may be sent again is hedged ([`crate::Replay`]), at most one copy, and each is paid
//! from a budget: that of the retries, so that both together stay within what the dependency can
//! bear. A copy that cannot be paid for is not sent. When one of the two fails in a way that may go
//! better elsewhere, the other's answer counts, whatever it is. The loser is dropped, which is
//! neutral for the circuit below.
//!
//! For calls that cost money, such as those of AI providers, leave this layer out: both copies are
//! billed.
//!
//! `tower::hedge` derives the delay from a histogram of latencies, has no budget and no look at the
//! answers; here the delay is a setting, an estimate of the 95th percentile.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::HedgeLayer;
pub use service::Hedge;
