//! The ways in which the sandbox can be told to fail.

use serde::{Deserialize, Serialize};

use crate::Provider;

/// A fault of one provider, or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The provider's name; missing means every provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What goes wrong.
    #[serde(flatten)]
    pub mode: FaultMode,
    /// How many requests it strikes; missing means until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultMode {
    /// An error in the provider's own format.
    Status {
        /// The HTTP status, from 400 to 599.
        status: u16,
        /// What it asks us to wait, in seconds, in the way the provider says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u32>,
    },
    /// A success whose body is an error in the provider's own format.
    ErrorInSuccess,
    /// A success whose body is no JSON.
    Garbage,
    /// A success whose judgement names no essay.
    UnknownWinner,
    /// No answer, until the client goes away or the sandbox ends.
    Hang,
    /// A right answer that comes late.
    Latency {
        /// How late, in milliseconds.
        latency_ms: u32,
    },
}

impl Fault {
    /// A fault of `provider` that lasts until it is cleared.
    #[must_use]
    pub fn of(provider: Provider, mode: FaultMode) -> Self {
        Self {
            provider: Some(provider.as_str().to_owned()),
            mode,
            times: None,
        }
    }

    /// The same fault for so many requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn strikes(&self, provider: Provider) -> bool {
        self.times != Some(0)
            && self
                .provider
                .as_deref()
                .is_none_or(|name| name == provider.as_str())
    }
}

/// The faults that are set, oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

/// More faults than this are not kept.
const MAX_FAULTS: usize = 64;

/// Why a fault was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FaultRefused {
    #[error("{0}")]
    Provider(#[from] crate::UnknownProvider),
    #[error("status {0} is not from 400 to 599")]
    Status(u16),
    #[error("there are {MAX_FAULTS} faults already; clear some")]
    TooMany,
}

impl Faults {
    pub(super) fn set(&mut self, fault: Fault) -> Result<(), FaultRefused> {
        if let Some(name) = &fault.provider {
            name.parse::<Provider>()?;
        }
        if let FaultMode::Status { status, .. } = fault.mode
            && !(400..=599).contains(&status)
        {
            return Err(FaultRefused::Status(status));
        }
        if self.0.len() >= MAX_FAULTS {
            return Err(FaultRefused::TooMany);
        }
        self.0.push(fault);
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn all(&self) -> &[Fault] {
        &self.0
    }

    /// The fault that strikes the next request of `provider`, if any; the oldest first.
    pub(super) fn take(&mut self, provider: Provider) -> Option<FaultMode> {
        let fault = self.0.iter_mut().find(|fault| fault.strikes(provider))?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        let mode = fault.mode.clone();
        self.0.retain(|fault| fault.times != Some(0));
        Some(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_was_told() {
        let mut faults = Faults::default();
        faults
            .set(Fault::of(Provider::OpenAi, FaultMode::Garbage).times(2))
            .unwrap();
        faults
            .set(Fault {
                provider: None,
                mode: FaultMode::Hang,
                times: None,
            })
            .unwrap();
        assert_eq!(faults.take(Provider::Google), Some(FaultMode::Hang));
        assert_eq!(faults.take(Provider::OpenAi), Some(FaultMode::Garbage));
        assert_eq!(faults.take(Provider::OpenAi), Some(FaultMode::Garbage));
        assert_eq!(faults.take(Provider::OpenAi), Some(FaultMode::Hang));
        faults.clear();
        assert_eq!(faults.take(Provider::OpenAi), None);
    }

    #[test]
    fn a_fault_is_read_from_json() {
        let read = |text: &str| serde_json::from_str::<Fault>(text);
        let fault = read(
            r#"{"provider":"openai","mode":"status","status":429,"retry_after_seconds":3,"times":5}"#,
        );
        let mode = FaultMode::Status {
            status: 429,
            retry_after_seconds: Some(3),
        };
        assert_eq!(fault.unwrap(), Fault::of(Provider::OpenAi, mode).times(5));
        assert_eq!(read(r#"{"mode":"hang"}"#).unwrap().provider, None);
        assert!(read(r#"{"mode":"explode"}"#).is_err());
    }

    #[test]
    fn a_fault_that_cannot_be_is_refused() {
        let mut faults = Faults::default();
        let status = |status| FaultMode::Status {
            status,
            retry_after_seconds: None,
        };
        assert!(
            faults
                .set(Fault::of(Provider::OpenAi, status(200)))
                .is_err()
        );
        let unknown = Fault {
            provider: Some("acme".into()),
            mode: FaultMode::Hang,
            times: None,
        };
        assert!(faults.set(unknown).is_err());
    }
}
