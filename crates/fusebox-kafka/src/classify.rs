//! Kafka's error codes as data: whose fault each one is, and whether the record may have arrived.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::broker::{ErrorClass, SendError};

use ErrorClass::{BackPressure, Configuration, Fatal, Message, Retriable, Topic, Unavailable};
use Persisted::{No, Possibly};

/// Whether Kafka may have a record whose delivery ended with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persisted {
    /// It was never sent, or refused before it was appended.
    No,
    /// Nobody knows.
    Possibly,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) code: Code,
    pub(crate) name: &'static str,
    pub(crate) class: ErrorClass,
    pub(crate) persisted: Persisted,
}

const fn row(code: Code, name: &'static str, class: ErrorClass, persisted: Persisted) -> Row {
    Row {
        code,
        name,
        class,
        persisted,
    }
}

/// Every code with a known meaning for a producer. What is missing is [`ErrorClass::Retriable`] and
/// possibly persisted.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    // Never sent, or outcome unknown: the cluster is not there.
    row(Code::TimedOutQueue, "_TIMED_OUT_QUEUE", Unavailable, No),
    row(Code::MessageTimedOut, "_MSG_TIMED_OUT", Unavailable, Possibly),
    row(Code::OperationTimedOut, "_TIMED_OUT", Unavailable, Possibly),
    row(Code::BrokerTransportFailure, "_TRANSPORT", Unavailable, Possibly),
    row(Code::Resolve, "_RESOLVE", Unavailable, No),
    row(Code::AllBrokersDown, "_ALL_BROKERS_DOWN", Unavailable, No),
    row(Code::BrokerDestroy, "_DESTROY", Unavailable, Possibly),
    row(Code::PurgeQueue, "_PURGE_QUEUE", Unavailable, No),
    row(Code::PurgeInflight, "_PURGE_INFLIGHT", Unavailable, Possibly),
    // Retried inside the library; seen only when its retries end.
    row(Code::RequestTimedOut, "REQUEST_TIMED_OUT", Unavailable, Possibly),
    row(Code::NetworkException, "NETWORK_EXCEPTION", Unavailable, Possibly),
    row(Code::BrokerNotAvailable, "BROKER_NOT_AVAILABLE", Unavailable, Possibly),
    row(Code::NotEnoughReplicas, "NOT_ENOUGH_REPLICAS", Unavailable, Possibly),
    row(Code::NotEnoughReplicasAfterAppend, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Unavailable, Possibly),
    row(Code::NotLeaderForPartition, "NOT_LEADER_FOR_PARTITION", Unavailable, Possibly),
    row(Code::LeaderNotAvailable, "LEADER_NOT_AVAILABLE", Unavailable, Possibly),
    row(Code::KafkaStorageError, "KAFKA_STORAGE_ERROR", Unavailable, Possibly),
    row(Code::InvalidMessage, "INVALID_MSG", Unavailable, Possibly),
    // One topic.
    row(Code::UnknownTopic, "_UNKNOWN_TOPIC", Topic, No),
    row(Code::UnknownPartition, "_UNKNOWN_PARTITION", Topic, No),
    row(Code::UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PART", Topic, No),
    row(Code::InvalidTopic, "TOPIC_EXCEPTION", Topic, No),
    row(Code::TopicAuthorizationFailed, "TOPIC_AUTHORIZATION_FAILED", Topic, No),
    // Settings and credentials.
    row(Code::ClusterAuthorizationFailed, "CLUSTER_AUTHORIZATION_FAILED", Configuration, No),
    row(Code::SaslAuthenticationFailed, "SASL_AUTHENTICATION_FAILED", Configuration, No),
    row(Code::UnsupportedSASLMechanism, "UNSUPPORTED_SASL_MECHANISM", Configuration, No),
    row(Code::Authentication, "_AUTHENTICATION", Configuration, No),
    row(Code::SSL, "_SSL", Configuration, No),
    // One record.
    row(Code::MessageSizeTooLarge, "MSG_SIZE_TOO_LARGE", Message, No),
    row(Code::InvalidMessageSize, "INVALID_MSG_SIZE", Message, No),
    row(Code::MessageBatchTooLarge, "RECORD_LIST_TOO_LARGE", Message, No),
    row(Code::InvalidRecord, "INVALID_RECORD", Message, No),
    row(Code::UnsupportedForMessageFormat, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Message, No),
    row(Code::PolicyViolation, "POLICY_VIOLATION", Message, No),
    row(Code::InvalidTimestamp, "INVALID_TIMESTAMP", Message, No),
    row(Code::BadMessage, "_BAD_MSG", Message, No),
    // Our own queue.
    row(Code::QueueFull, "_QUEUE_FULL", BackPressure, No),
    // The producer is finished.
    row(Code::OutOfOrderSequenceNumber, "OUT_OF_ORDER_SEQUENCE_NUMBER", Fatal, Possibly),
    row(Code::Fatal, "_FATAL", Fatal, Possibly),
    row(Code::Inconsistent, "_INCONSISTENT", Fatal, Possibly),
    row(Code::GaplessGuarantee, "_GAPLESS_GUARANTEE", Fatal, Possibly),
    row(Code::UnknownProducerId, "UNKNOWN_PRODUCER_ID", Fatal, Possibly),
    row(Code::State, "_STATE", Fatal, Possibly),
    // Later, without blame.
    row(Code::ThrottlingQuotaExceeded, "THROTTLING_QUOTA_EXCEEDED", Retriable, No),
    row(Code::InvalidProducerEpoch, "INVALID_PRODUCER_EPOCH", Retriable, Possibly),
    row(Code::ProducerFenced, "PRODUCER_FENCED", Retriable, Possibly),
    row(Code::Fenced, "_FENCED", Retriable, Possibly),
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
            class: Retriable,
            code: format!("{code:?}"),
            text: text.into(),
        },
    }
}

/// Whether Kafka may have the record whose delivery ended with this code.
pub(crate) fn may_be_persisted(name: &str) -> bool {
    let row = TABLE.iter().find(|row| row.name == name);
    row.is_none_or(|row| row.persisted == Possibly)
}

/// Whether the table knows the code. Only an unknown one may end in a dead letter for lasting.
pub(crate) fn is_known(name: &str) -> bool {
    TABLE.iter().any(|row| row.name == name)
}

/// Whether the producer has no room.
pub(crate) fn is_full(name: &str) -> bool {
    name == "_QUEUE_FULL"
}

/// Whether a producer that is finished with this code ended because a record was refused, so that
/// nothing behind it overtakes it.
pub(crate) fn ended_by_refusal(name: &str) -> bool {
    name == "_GAPLESS_GUARANTEE"
}

/// Whether the record was given back because its producer has ended or was given up.
pub(crate) fn is_given_up(name: &str) -> bool {
    matches!(name, "_PURGE_QUEUE" | "_PURGE_INFLIGHT" | "_DESTROY")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What librdkafka's documentation and measurements against its mock cluster say.
    #[test]
    fn every_row_has_its_class() {
        for (number, name, class, persisted) in [
            (-166, "_TIMED_OUT_QUEUE", Unavailable, No),
            (-192, "_MSG_TIMED_OUT", Unavailable, Possibly),
            (-185, "_TIMED_OUT", Unavailable, Possibly),
            (-195, "_TRANSPORT", Unavailable, Possibly),
            (-193, "_RESOLVE", Unavailable, No),
            (-187, "_ALL_BROKERS_DOWN", Unavailable, No),
            (-197, "_DESTROY", Unavailable, Possibly),
            (-152, "_PURGE_QUEUE", Unavailable, No),
            (-151, "_PURGE_INFLIGHT", Unavailable, Possibly),
            (7, "REQUEST_TIMED_OUT", Unavailable, Possibly),
            (13, "NETWORK_EXCEPTION", Unavailable, Possibly),
            (8, "BROKER_NOT_AVAILABLE", Unavailable, Possibly),
            (19, "NOT_ENOUGH_REPLICAS", Unavailable, Possibly),
            (
                20,
                "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
                Unavailable,
                Possibly,
            ),
            (6, "NOT_LEADER_FOR_PARTITION", Unavailable, Possibly),
            (5, "LEADER_NOT_AVAILABLE", Unavailable, Possibly),
            (56, "KAFKA_STORAGE_ERROR", Unavailable, Possibly),
            (2, "INVALID_MSG", Unavailable, Possibly),
            (-188, "_UNKNOWN_TOPIC", Topic, No),
            (-190, "_UNKNOWN_PARTITION", Topic, No),
            (3, "UNKNOWN_TOPIC_OR_PART", Topic, No),
            (17, "TOPIC_EXCEPTION", Topic, No),
            (29, "TOPIC_AUTHORIZATION_FAILED", Topic, No),
            (31, "CLUSTER_AUTHORIZATION_FAILED", Configuration, No),
            (58, "SASL_AUTHENTICATION_FAILED", Configuration, No),
            (33, "UNSUPPORTED_SASL_MECHANISM", Configuration, No),
            (-169, "_AUTHENTICATION", Configuration, No),
            (-181, "_SSL", Configuration, No),
            (10, "MSG_SIZE_TOO_LARGE", Message, No),
            (4, "INVALID_MSG_SIZE", Message, No),
            (18, "RECORD_LIST_TOO_LARGE", Message, No),
            (87, "INVALID_RECORD", Message, No),
            (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Message, No),
            (44, "POLICY_VIOLATION", Message, No),
            (32, "INVALID_TIMESTAMP", Message, No),
            (-199, "_BAD_MSG", Message, No),
            (-184, "_QUEUE_FULL", BackPressure, No),
            (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Fatal, Possibly),
            (-150, "_FATAL", Fatal, Possibly),
            (-149, "_INCONSISTENT", Fatal, Possibly),
            (-148, "_GAPLESS_GUARANTEE", Fatal, Possibly),
            (59, "UNKNOWN_PRODUCER_ID", Fatal, Possibly),
            (-172, "_STATE", Fatal, Possibly),
            (89, "THROTTLING_QUOTA_EXCEEDED", Retriable, No),
            (47, "INVALID_PRODUCER_EPOCH", Retriable, Possibly),
            (90, "PRODUCER_FENCED", Retriable, Possibly),
            (-144, "_FENCED", Retriable, Possibly),
        ] {
            let row = TABLE.iter().find(|row| row.code as i32 == number);
            let row = row.unwrap_or_else(|| panic!("{name} is missing"));
            let error = send_error(row.code, "text");
            assert_eq!((error.code.as_str(), error.class), (name, class));
            assert_eq!(row.persisted, persisted, "{name}");
            assert_eq!(error.may_be_persisted(), persisted == Possibly, "{name}");
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
        assert_eq!(error.class, Retriable);
        assert!(!is_known(&error.code), "{}", error.code);
        assert!(error.may_be_persisted());
    }
}
