//! Kafka's error codes as data: whose fault each one is.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::broker::{ErrorClass, SendError};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) code: Code,
    pub(crate) name: &'static str,
    pub(crate) class: ErrorClass,
}

const fn row(code: Code, name: &'static str, class: ErrorClass) -> Row {
    Row { code, name, class }
}

/// Every code with a known meaning for a producer. What is missing is [`ErrorClass::Retriable`].
pub(crate) const TABLE: &[Row] = &[
    // Never sent, or outcome unknown: the cluster is not there.
    row(
        Code::TimedOutQueue,
        "_TIMED_OUT_QUEUE",
        ErrorClass::Unavailable,
    ),
    row(
        Code::MessageTimedOut,
        "_MSG_TIMED_OUT",
        ErrorClass::Unavailable,
    ),
    row(
        Code::OperationTimedOut,
        "_TIMED_OUT",
        ErrorClass::Unavailable,
    ),
    row(
        Code::BrokerTransportFailure,
        "_TRANSPORT",
        ErrorClass::Unavailable,
    ),
    row(Code::Resolve, "_RESOLVE", ErrorClass::Unavailable),
    row(
        Code::AllBrokersDown,
        "_ALL_BROKERS_DOWN",
        ErrorClass::Unavailable,
    ),
    row(Code::BrokerDestroy, "_DESTROY", ErrorClass::Unavailable),
    row(Code::PurgeQueue, "_PURGE_QUEUE", ErrorClass::Unavailable),
    row(
        Code::PurgeInflight,
        "_PURGE_INFLIGHT",
        ErrorClass::Unavailable,
    ),
    // Retried inside the library; seen only when its retries end.
    row(
        Code::RequestTimedOut,
        "REQUEST_TIMED_OUT",
        ErrorClass::Unavailable,
    ),
    row(
        Code::NetworkException,
        "NETWORK_EXCEPTION",
        ErrorClass::Unavailable,
    ),
    row(
        Code::BrokerNotAvailable,
        "BROKER_NOT_AVAILABLE",
        ErrorClass::Unavailable,
    ),
    row(
        Code::NotEnoughReplicas,
        "NOT_ENOUGH_REPLICAS",
        ErrorClass::Unavailable,
    ),
    row(
        Code::NotEnoughReplicasAfterAppend,
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        ErrorClass::Unavailable,
    ),
    row(
        Code::NotLeaderForPartition,
        "NOT_LEADER_FOR_PARTITION",
        ErrorClass::Unavailable,
    ),
    row(
        Code::LeaderNotAvailable,
        "LEADER_NOT_AVAILABLE",
        ErrorClass::Unavailable,
    ),
    row(
        Code::KafkaStorageError,
        "KAFKA_STORAGE_ERROR",
        ErrorClass::Unavailable,
    ),
    row(Code::InvalidMessage, "INVALID_MSG", ErrorClass::Unavailable),
    // One topic.
    row(Code::UnknownTopic, "_UNKNOWN_TOPIC", ErrorClass::Topic),
    row(
        Code::UnknownPartition,
        "_UNKNOWN_PARTITION",
        ErrorClass::Topic,
    ),
    row(
        Code::UnknownTopicOrPartition,
        "UNKNOWN_TOPIC_OR_PART",
        ErrorClass::Topic,
    ),
    row(Code::InvalidTopic, "TOPIC_EXCEPTION", ErrorClass::Topic),
    row(
        Code::TopicAuthorizationFailed,
        "TOPIC_AUTHORIZATION_FAILED",
        ErrorClass::Topic,
    ),
    // Settings and credentials.
    row(
        Code::ClusterAuthorizationFailed,
        "CLUSTER_AUTHORIZATION_FAILED",
        ErrorClass::Configuration,
    ),
    row(
        Code::SaslAuthenticationFailed,
        "SASL_AUTHENTICATION_FAILED",
        ErrorClass::Configuration,
    ),
    row(
        Code::UnsupportedSASLMechanism,
        "UNSUPPORTED_SASL_MECHANISM",
        ErrorClass::Configuration,
    ),
    row(
        Code::Authentication,
        "_AUTHENTICATION",
        ErrorClass::Configuration,
    ),
    row(Code::SSL, "_SSL", ErrorClass::Configuration),
    // One record.
    row(
        Code::MessageSizeTooLarge,
        "MSG_SIZE_TOO_LARGE",
        ErrorClass::Message,
    ),
    row(
        Code::InvalidMessageSize,
        "INVALID_MSG_SIZE",
        ErrorClass::Message,
    ),
    row(
        Code::MessageBatchTooLarge,
        "RECORD_LIST_TOO_LARGE",
        ErrorClass::Message,
    ),
    row(Code::InvalidRecord, "INVALID_RECORD", ErrorClass::Message),
    row(
        Code::UnsupportedForMessageFormat,
        "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        ErrorClass::Message,
    ),
    row(
        Code::PolicyViolation,
        "POLICY_VIOLATION",
        ErrorClass::Message,
    ),
    row(
        Code::InvalidTimestamp,
        "INVALID_TIMESTAMP",
        ErrorClass::Message,
    ),
    row(Code::BadMessage, "_BAD_MSG", ErrorClass::Message),
    // Our own queue.
    row(Code::QueueFull, "_QUEUE_FULL", ErrorClass::BackPressure),
    // The producer is finished.
    row(
        Code::OutOfOrderSequenceNumber,
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        ErrorClass::Fatal,
    ),
    row(Code::Fatal, "_FATAL", ErrorClass::Fatal),
    row(Code::Inconsistent, "_INCONSISTENT", ErrorClass::Fatal),
    row(
        Code::GaplessGuarantee,
        "_GAPLESS_GUARANTEE",
        ErrorClass::Fatal,
    ),
    row(
        Code::UnknownProducerId,
        "UNKNOWN_PRODUCER_ID",
        ErrorClass::Fatal,
    ),
    row(Code::State, "_STATE", ErrorClass::Fatal),
    // Later, without blame.
    row(
        Code::ThrottlingQuotaExceeded,
        "THROTTLING_QUOTA_EXCEEDED",
        ErrorClass::Retriable,
    ),
    row(
        Code::InvalidProducerEpoch,
        "INVALID_PRODUCER_EPOCH",
        ErrorClass::Retriable,
    ),
    row(
        Code::ProducerFenced,
        "PRODUCER_FENCED",
        ErrorClass::Retriable,
    ),
    row(Code::Fenced, "_FENCED", ErrorClass::Retriable),
];

/// Makes the error of a code, with the words the library gave.
pub(crate) fn send_error(code: Code, text: impl Into<String>) -> SendError {
    match TABLE.iter().find(|row| row.code == code) {
        Some(row) => SendError {
            class: row.class,
            code: row.name.to_owned(),
            text: text.into(),
        },
        None => SendError {
            class: ErrorClass::Retriable,
            code: format!("{code:?}"),
            text: text.into(),
        },
    }
}

/// Whether the table knows the code. Only an unknown one may end in a dead letter for lasting.
pub(crate) fn is_known(name: &str) -> bool {
    TABLE.iter().any(|row| row.name == name)
}

/// Whether a new producer may help against the code when it comes again.
pub(crate) fn asks_for_new_producer(name: &str) -> bool {
    matches!(
        name,
        "INVALID_PRODUCER_EPOCH" | "PRODUCER_FENCED" | "_FENCED"
    )
}
