//! Providers in order: the next one is asked when a verdict says that it may do better.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::verdict::Kind;
use crate::{JudgeError, JudgeProvider, JudgeRequest, Judged, Provider};

/// An ordered list of providers that stands for one judge.
#[derive(Debug, Clone)]
pub struct Failover {
    providers: Arc<[Arc<dyn JudgeProvider>]>,
}

/// No provider gave a judgement.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailoverError {
    /// What each provider that was asked said, in order; empty when none is configured.
    pub attempts: Vec<JudgeError>,
    /// The shortest time after which some provider may answer; `None` when nobody said.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for FailoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no provider gave a judgement in {} attempts",
            self.attempts.len()
        )
    }
}

/// Its source is the last attempt.
impl std::error::Error for FailoverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.attempts.last().map(|error| error as _)
    }
}

impl Failover {
    /// A judge that asks `providers` in this order.
    #[must_use]
    pub fn new(providers: Vec<Arc<dyn JudgeProvider>>) -> Self {
        Self {
            providers: providers.into(),
        }
    }

    /// The providers, in order.
    pub fn providers(&self) -> impl Iterator<Item = Provider> + '_ {
        self.providers.iter().map(|provider| provider.provider())
    }

    /// Asks each provider in turn until one answers.
    ///
    /// A model's answer that is no judgement is asked for once more at the same provider. Other
    /// errors are not tried again here: the caller parks the comparison for
    /// [`FailoverError::retry_after`]. A request that every provider would refuse stops at once.
    ///
    /// # Errors
    /// Fails when no provider answered, with what each of them said.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the request under way; nothing else is lost.
    pub async fn judge(&self, request: &JudgeRequest) -> Result<Judged, FailoverError> {
        let mut attempts = Vec::new();
        let mut passed_over: Vec<&Arc<dyn JudgeProvider>> = Vec::new();
        for provider in self.providers.iter() {
            let mut result = provider.judge(request).await;
            if matches!(&result, Err(error) if error.kind() == Kind::InvalidOutput) {
                attempts.extend(result.err());
                result = provider.judge(request).await;
            }
            match result {
                Ok(mut judged) => {
                    judged.passed_over = passed_over
                        .iter()
                        .map(|provider| provider.provider())
                        .collect();
                    for provider in passed_over {
                        provider.passed_over();
                    }
                    return Ok(judged);
                }
                Err(error) => {
                    let go_on = error.verdict.fail_over;
                    tracing::debug!(
                        provider = error.provider.as_str(),
                        kind = error.kind().as_str(),
                        status = error.status,
                        sent = error.sent,
                        go_on,
                        call = %error.context,
                        "a provider gave no judgement"
                    );
                    attempts.push(error);
                    if !go_on {
                        break;
                    }
                    passed_over.push(provider);
                }
            }
        }
        Err(FailoverError::new(attempts))
    }
}

impl FailoverError {
    fn new(attempts: Vec<JudgeError>) -> Self {
        let retry_after = attempts
            .iter()
            .filter(|error| error.verdict.may_pass_later())
            .filter_map(|error| error.verdict.wait)
            .min();
        Self {
            attempts,
            retry_after,
        }
    }

    /// Whether asking again later can help: false when every attempt failed for what was asked.
    ///
    /// Without any provider it is true: one may be configured later.
    #[must_use]
    pub fn may_pass_later(&self) -> bool {
        self.attempts.is_empty()
            || self
                .attempts
                .iter()
                .any(|error| error.verdict.may_pass_later())
    }

    /// Whether no request left for any provider: circuits and gates held all of them back.
    #[must_use]
    pub fn held_back(&self) -> bool {
        self.attempts.iter().all(|error| !error.sent)
    }
}
