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

#[cfg(test)]
mod tests {
    use super::*;

    /// What librdkafka's documentation and measurements against its mock cluster say.
    #[test]
    fn every_row_has_its_class() {
        use ErrorClass::{
            BackPressure, Configuration, Fatal, Message, Retriable, Topic, Unavailable,
        };
        for (number, name, class) in [
            (-166, "_TIMED_OUT_QUEUE", Unavailable),
            (-192, "_MSG_TIMED_OUT", Unavailable),
            (-185, "_TIMED_OUT", Unavailable),
            (-195, "_TRANSPORT", Unavailable),
            (-193, "_RESOLVE", Unavailable),
            (-187, "_ALL_BROKERS_DOWN", Unavailable),
            (-197, "_DESTROY", Unavailable),
            (-152, "_PURGE_QUEUE", Unavailable),
            (-151, "_PURGE_INFLIGHT", Unavailable),
            (7, "REQUEST_TIMED_OUT", Unavailable),
            (13, "NETWORK_EXCEPTION", Unavailable),
            (8, "BROKER_NOT_AVAILABLE", Unavailable),
            (19, "NOT_ENOUGH_REPLICAS", Unavailable),
            (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Unavailable),
            (6, "NOT_LEADER_FOR_PARTITION", Unavailable),
            (5, "LEADER_NOT_AVAILABLE", Unavailable),
            (56, "KAFKA_STORAGE_ERROR", Unavailable),
            (2, "INVALID_MSG", Unavailable),
            (-188, "_UNKNOWN_TOPIC", Topic),
            (-190, "_UNKNOWN_PARTITION", Topic),
            (3, "UNKNOWN_TOPIC_OR_PART", Topic),
            (17, "TOPIC_EXCEPTION", Topic),
            (29, "TOPIC_AUTHORIZATION_FAILED", Topic),
            (31, "CLUSTER_AUTHORIZATION_FAILED", Configuration),
            (58, "SASL_AUTHENTICATION_FAILED", Configuration),
            (33, "UNSUPPORTED_SASL_MECHANISM", Configuration),
            (-169, "_AUTHENTICATION", Configuration),
            (-181, "_SSL", Configuration),
            (10, "MSG_SIZE_TOO_LARGE", Message),
            (4, "INVALID_MSG_SIZE", Message),
            (18, "RECORD_LIST_TOO_LARGE", Message),
            (87, "INVALID_RECORD", Message),
            (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Message),
            (44, "POLICY_VIOLATION", Message),
            (32, "INVALID_TIMESTAMP", Message),
            (-199, "_BAD_MSG", Message),
            (-184, "_QUEUE_FULL", BackPressure),
            (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Fatal),
            (-150, "_FATAL", Fatal),
            (-149, "_INCONSISTENT", Fatal),
            (-148, "_GAPLESS_GUARANTEE", Fatal),
            (59, "UNKNOWN_PRODUCER_ID", Fatal),
            (-172, "_STATE", Fatal),
            (89, "THROTTLING_QUOTA_EXCEEDED", Retriable),
            (47, "INVALID_PRODUCER_EPOCH", Retriable),
            (90, "PRODUCER_FENCED", Retriable),
            (-144, "_FENCED", Retriable),
        ] {
            let row = TABLE.iter().find(|row| row.code as i32 == number);
            let row = row.unwrap_or_else(|| panic!("{name} is missing"));
            let error = send_error(row.code, "text");
            assert_eq!((error.code.as_str(), error.class), (name, class));
            assert!(is_known(name));
        }
        assert_eq!(
            TABLE.len(),
            47,
            "a row without an expectation, or two of one code"
        );
    }

    #[test]
    fn an_unknown_code_is_retriable_and_known_to_be_unknown() {
        let error = send_error(Code::ElectionNotNeeded, "text");
        assert_eq!(error.class, ErrorClass::Retriable);
        assert!(!is_known(&error.code), "{}", error.code);
    }
}
