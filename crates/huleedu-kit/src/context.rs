//! Correlation id and trace of the work under way.
//!
//! Both enter with an HTTP request (`X-Correlation-ID`, `traceparent`) or an event, are carried as
//! a task-local value through everything that the work awaits, and leave again in every event it
//! publishes and every request it sends. The trace follows W3C Trace Context, version 00.

use std::{fmt, future::Future};

use fusebox_http::HttpError;
use fusebox_resilient::{Context, Ids};
use huleedu_contracts::ids::CorrelationId;

tokio::task_local! {
    static CURRENT: CallContext;
}

/// Header that carries the correlation id between services and clients.
pub const CORRELATION_HEADER: &str = "x-correlation-id";
/// W3C header that carries the trace.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// What identifies one piece of work across services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallContext {
    /// Follows the user's request through every service and event.
    pub correlation_id: CorrelationId,
    /// Trace and the current span in it.
    pub trace: TraceContext,
}

impl CallContext {
    /// The context of the running task, or a fresh one outside of any.
    pub fn current() -> Self {
        CURRENT.try_with(|c| *c).unwrap_or_else(|_| Self::fresh())
    }

    /// The ids of the running task as protected calls want them; none outside of any.
    pub fn ids() -> Ids {
        CURRENT
            .try_with(|context| {
                Ids::new()
                    .with_correlation_id(context.correlation_id.to_string())
                    .with_trace_id(context.trace.trace_id())
                    .with_span_id(context.trace.span_id())
            })
            .unwrap_or_default()
    }

    /// New ids for work that nobody else started.
    pub fn fresh() -> Self {
        Self {
            correlation_id: CorrelationId::random(),
            trace: TraceContext::fresh(),
        }
    }

    /// A context for work that arrived with these headers; what is missing is made up.
    pub fn from_parts(correlation_id: Option<CorrelationId>, traceparent: Option<&str>) -> Self {
        let trace = traceparent
            .and_then(TraceContext::parse)
            .map_or_else(TraceContext::fresh, TraceContext::child);
        Self {
            correlation_id: correlation_id.unwrap_or_else(CorrelationId::random),
            trace,
        }
    }

    /// Runs `work` under this context.
    ///
    /// # Cancel safety
    /// As cancel safe as `work`.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// The context of the protected call that `error` comes from, if it comes from one.
pub(crate) fn call_of<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Context> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(call) = error.downcast_ref::<HttpError>() {
            return call.context();
        }
        next = error.source();
    }
    None
}

/// Trace id and span id in the form of W3C Trace Context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// A new sampled trace.
    pub fn fresh() -> Self {
        Self {
            trace_id: rand::random::<u128>().max(1),
            span_id: new_span_id(),
            flags: 1,
        }
    }

    /// The same trace with a new span.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span_id: new_span_id(),
            ..self
        }
    }

    /// Reads a `traceparent` header; `None` when it is not valid.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sizes = [version.len(), trace.len(), span.len(), flags.len()];
        // Only a version newer than 00 may carry more fields.
        if sizes != [2, 32, 16, 2] || version == "ff" || (version == "00" && parts.next().is_some())
        {
            return None;
        }
        let lower_hex = |s: &str| {
            s.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if ![version, trace, span, flags].into_iter().all(lower_hex) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok()?;
        let span_id = u64::from_str_radix(span, 16).ok()?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            flags,
        })
    }

    /// The trace id: 32 hex digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span id: 16 hex digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }
}

/// Zero means "none" on the wire.
fn new_span_id() -> u64 {
    rand::random::<u64>().max(1)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_survives() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::parse(text).unwrap();
        assert_eq!(trace.to_string(), text);
        assert_eq!(trace.child().trace_id(), trace.trace_id());
        assert_ne!(trace.child().span_id(), trace.span_id());
    }

    #[test]
    fn nonsense_is_no_trace() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn the_context_follows_the_task() {
        let context = CallContext::fresh();
        assert_eq!(
            context.scope(async { CallContext::current() }).await,
            context
        );
        assert_ne!(CallContext::current(), context);
    }
}
