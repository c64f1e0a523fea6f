//! One request type, four AI providers, a verdict for every answer, and a sandbox that speaks all four formats.
//!
//! A [`JudgeRequest`] asks which of two texts is better. A [`ProviderClient`] puts it to one
//! provider: behind a circuit breaker that is given to it, and behind gates that stay closed while
//! the provider asks for patience or its key is of no use. [`Failover`] tries providers in order.
//! What each answer means – whose fault, wait how long, try again here, try elsewhere – is a
//! [`Verdict`], and the rules that lead to it are data (see [`verdict`]).
//!
//! An answer that cannot be read is an error. It is never turned into a judgement.
//!
//! What this crate must not know: essays, batches, events. It knows two texts and four wire formats.

mod answer;
mod error;
mod failover;
mod gate;
mod key;
pub mod prompt;
mod provider;
mod request;
pub mod sandbox;
pub mod verdict;

pub use answer::{AnswerError, Confidence, Judgement, MAX_JUSTIFICATION_CHARS, Side};
pub use error::{BuildError, JudgeError};
pub use failover::{Failover, FailoverError};
pub use gate::{Gate, Hold};
pub use key::{ApiKey, InvalidKey};
pub use provider::{ClientConfig, JudgeProvider, Provider, ProviderClient, UnknownProvider};
pub use request::{JudgeRequest, Judged, ModelChoice, PromptBlock, Usage};
pub use verdict::{Kind, Scope, Verdict};
