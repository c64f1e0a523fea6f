//! One request type, four AI providers, a verdict for every answer, and a sandbox that speaks all four formats.
//!
//! A [`JudgeRequest`] asks which of two texts is better. A [`ProviderClient`] puts it to one
//! provider: behind a circuit breaker that is given to it, and behind gates that stay closed while
//! the provider asks for patience or its key is of no use. [`Failover`] tries providers in order.
//! What each answer means – whose fault, wait how long, try again here, try elsewhere – is a
//! [`Verdict`], and the rules that lead to it are data (see [`verdict`]).
//!
//! ```
//! use std::sync::Arc;
//! use fusebox::CircuitBreaker;
//! use fusebox_llm::sandbox::{Fault, FaultMode, Sandbox, SandboxConfig};
//! use fusebox_llm::{
//!     ApiKey, ClientConfig, Failover, JudgeProvider, JudgeRequest, Provider, ProviderClient, prompt,
//! };
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The sandbox stands in for the providers: no key, no money. Here Anthropic is overloaded.
//! let overloaded = FaultMode::Status { status: 529, retry_after_seconds: Some(30) };
//! let config = SandboxConfig::new(7).with_fault(Fault::of(Provider::Anthropic, overloaded));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}", listener.local_addr()?);
//! let stop = CancellationToken::new();
//! tokio::spawn(Sandbox::serve(listener, config, stop.clone()));
//!
//! let mut providers: Vec<Arc<dyn JudgeProvider>> = Vec::new();
//! for provider in [Provider::Anthropic, Provider::OpenAi] {
//!     let circuit = CircuitBreaker::builder(format!("{provider}_provider")).build()?;
//!     // In production without the base URL, and with the key from the environment.
//!     let config = ClientConfig::new(provider, ApiKey::new("none")?)
//!         .with_base_url(format!("{url}/{provider}"));
//!     providers.push(Arc::new(ProviderClient::new(config, circuit)?));
//! }
//! let judge = Failover::new(providers);
//!
//! let context = prompt::Context { assignment: Some("Phones in school?"), ..Default::default() };
//! let texts = prompt::comparison(context, "Phones distract, because …", "phone bad", b"salt");
//! let judged = judge.judge(&JudgeRequest::new(prompt::system(None), texts)).await?;
//! assert_eq!(judged.provider, Provider::OpenAi);
//! assert_eq!(judged.passed_over, [Provider::Anthropic], "never silently");
//! assert!(judged.sandbox, "and no answer of the sandbox passes for one of a model");
//! # stop.cancel();
//! # Ok(())
//! # }
//! ```
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
