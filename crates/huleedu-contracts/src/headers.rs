//! Names of the headers that Kafka records and HTTP requests carry.

/// Kafka: the event's id; with [`EVENT_TYPE`] it lets a consumer drop a duplicate unread.
pub const EVENT_ID: &str = "event_id";
/// Kafka: the event's type, which is the name of its topic.
pub const EVENT_TYPE: &str = "event_type";
/// Kafka: the service that published the event.
pub const SOURCE_SERVICE: &str = "source_service";
/// Kafka: the correlation id.
pub const CORRELATION_ID: &str = "correlation_id";
/// Kafka: the correlation id once more, under the name that older readers look for. It is *not*
/// the id of a W3C trace: that one is in [`TRACEPARENT`].
pub const TRACE_ID: &str = "trace_id";
/// Kafka and HTTP: the W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Kafka and HTTP: the vendor part of the W3C trace context.
pub const TRACESTATE: &str = "tracestate";

/// HTTP: the correlation id, in requests and answers.
pub const X_CORRELATION_ID: &str = "x-correlation-id";
/// HTTP: the user on whose behalf a service calls another; set by the gateway alone.
pub const X_USER_ID: &str = "x-user-id";
/// HTTP: the organisation of that user.
pub const X_ORG_ID: &str = "x-org-id";
/// HTTP: in answers, the W3C trace id that an operator can look up.
pub const X_TRACE_ID: &str = "x-trace-id";
/// HTTP: in answers, the W3C span id.
pub const X_SPAN_ID: &str = "x-span-id";
