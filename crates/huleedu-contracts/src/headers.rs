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

/// Dead letter: the consumer group that gave the event up.
pub const DLQ_GROUP: &str = "dlq_group";
/// Dead letter: the topic on which the event came.
pub const DLQ_TOPIC: &str = "dlq_original_topic";
/// Dead letter: the partition on which it came.
pub const DLQ_PARTITION: &str = "dlq_original_partition";
/// Dead letter: its offset there.
pub const DLQ_OFFSET: &str = "dlq_original_offset";
/// Dead letter: when it was sent, in milliseconds since the Unix epoch.
pub const DLQ_TIMESTAMP: &str = "dlq_original_timestamp";
/// Dead letter: its key in hexadecimal digits, where that is no text and so cannot be the key here.
pub const DLQ_KEY_HEX: &str = "dlq_original_key.hex";
/// Dead letter: a word for the cause that does not change, such as `PERMANENT`.
pub const DLQ_ERROR_CODE: &str = "dlq_error_code";
/// Dead letter: the last error in words.
pub const DLQ_ERROR_TEXT: &str = "dlq_error_text";
/// Dead letter: how often the group tried.
pub const DLQ_ATTEMPTS: &str = "dlq_attempts";
/// Dead letter: when it was given up, in milliseconds since the Unix epoch.
pub const DLQ_FAILED_AT: &str = "dlq_failed_at";

/// Kafka: the dead letter this event was before an operator sent it again, `SERVICE/NAME`. Its place
/// in the order of its key is not the old one.
pub const REPLAYED_FROM: &str = "replayed_from";

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
