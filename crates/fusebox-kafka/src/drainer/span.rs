//! The spans of a record on its way to Kafka: `event`, with the ids that came with it, and in it the
//! `protected_call` of one try.

use fusebox::CircuitBreaker;
use fusebox_resilient::{CallResult, CallSpan, Ids};
use tracing::{Level, info_span};

use crate::broker::{Attempt, ErrorClass, SendError};
use crate::classify::is_given_up;
use crate::record::Record;

/// Of one try, from the handing over to its report. Dropped before, it tells of an abandoned call:
/// the producer was given up with it. Nothing at all when nobody listens.
#[derive(Debug, Default)]
pub(super) struct TrySpan(Option<Box<CallSpan>>);

impl TrySpan {
    pub(super) fn begin(breaker: &CircuitBreaker, record: &Record, attempt: Attempt) -> Self {
        if !tracing::span_enabled!(Level::INFO) {
            return Self::default();
        }
        Self(Some(Box::new(begin(breaker, record, attempt))))
    }

    /// The producer has it: the call is made.
    pub(super) fn taken(&mut self) {
        if let Some(span) = &mut self.0 {
            span.count_attempt();
        }
    }

    pub(super) fn delivered(self) {
        self.finish(CallResult::Success);
    }

    pub(super) fn failed(self, error: &SendError) {
        // The producer was given up, and nobody knows.
        if is_given_up(&error.code) {
            return;
        }
        self.finish(match error.class {
            // Our own producer did not send it.
            ErrorClass::BackPressure => CallResult::Blocked,
            // A record's or a topic's own fault says nothing about the cluster.
            ErrorClass::Message | ErrorClass::Topic => CallResult::Neutral,
            _ => CallResult::Failure,
        });
    }

    fn finish(self, result: CallResult) {
        if let Some(span) = self.0 {
            span.finish(result);
        }
    }
}

#[cold]
fn begin(breaker: &CircuitBreaker, record: &Record, attempt: Attempt) -> CallSpan {
    let header = |name: &str| {
        let found = record.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    };
    let correlation_id = header("correlation_id");
    let trace = header("traceparent").and_then(trace_of);
    // Ended when the call in it has ended.
    let event = info_span!(
        "event",
        topic = record.topic,
        event_id = %record.event_id,
        attempt = attempt.number,
        maybe_duplicate = attempt.maybe_duplicate,
        correlation_id,
        trace_id = trace.map(|(trace, _)| trace),
        span_id = trace.map(|(_, span)| span),
    );
    let ids = || {
        let mut ids = Ids::new();
        if let Some(id) = correlation_id {
            ids = ids.with_correlation_id(id);
        }
        if let Some((trace, span)) = trace {
            ids = ids.with_trace_id(trace).with_span_id(span);
        }
        ids
    };
    event.in_scope(|| CallSpan::begin(breaker, "publish", ids))
}

/// Trace and span of a W3C `traceparent`, if it looks like one.
fn trace_of(header: &str) -> Option<(&str, &str)> {
    let mut parts = header.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    (trace.len() == 32 && span.len() == 16).then_some((trace, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Here and not with the other tests of spans: in their process somebody listens.
    #[test]
    fn nothing_is_made_when_nobody_listens() {
        let record = Record {
            event_id: uuid::Uuid::nil(),
            topic: "t".into(),
            key: None,
            payload: bytes::Bytes::new(),
            headers: Vec::new(),
        };
        let attempt = Attempt {
            number: 1,
            maybe_duplicate: false,
            admitted_at_ms: 0,
        };
        let breaker = CircuitBreaker::builder("kafka").build().unwrap();
        assert!(TrySpan::begin(&breaker, &record, attempt).0.is_none());
        assert_eq!(size_of::<TrySpan>(), size_of::<usize>());
    }

    #[test]
    fn a_traceparent_is_read_and_anything_else_is_not() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let header = format!("00-{trace}-{span}-01");
        assert_eq!(trace_of(&header), Some((trace, span)));
        for wrong in ["", "00", "00-12-34-01", "no traceparent at all"] {
            assert_eq!(trace_of(wrong), None, "{wrong}");
        }
    }
}
