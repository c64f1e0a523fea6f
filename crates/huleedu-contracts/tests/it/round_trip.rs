//! Any envelope that can be built survives the wire, and what is not an envelope is refused.

use huleedu_contracts::bounds::{Fraction, NonNegative, Score};
use huleedu_contracts::envelope::metadata_keys;
use huleedu_contracts::events::batch::BatchEssaysRegistered;
use huleedu_contracts::events::cj::{AssessmentResultV1, EssayResultV1};
use huleedu_contracts::events::file::{BatchFileAddedV1, EssayValidationFailedV1};
use huleedu_contracts::ids::{
    BatchId, CorrelationId, EssayId, EventId, FileUploadId, LetterGrade, StorageId, UserId,
};
use huleedu_contracts::status::ConfidenceLabel;
use huleedu_contracts::{
    DecodeError, ErrorCode, ErrorDetail, Event, EventEnvelope, EventName, RawEnvelope, headers,
};
use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

fn text_id() -> impl Strategy<Value = String> {
    "[^\\p{Cc}\\s][^\\p{Cc}]{0,80}"
}

fn any_uuid() -> impl Strategy<Value = uuid::Uuid> {
    any::<u128>().prop_map(uuid::Uuid::from_u128)
}

/// Any time of the calendar, to the nanosecond, years before our era left out.
fn timestamp() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_i64..253_402_207_200, 0..1_000_000_000_i32)
        .prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos).unwrap())
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        finite().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |number| number.is_finite())
}

fn storage_id() -> impl Strategy<Value = StorageId> {
    any::<[u8; 16]>().prop_map(StorageId::from_bytes)
}

fn error_code() -> impl Strategy<Value = ErrorCode> {
    prop::sample::select(ErrorCode::ALL)
}

prop_compose! {
    fn error_detail()(
        error_code in error_code(),
        message in any::<String>(),
        correlation_id in any_uuid(),
        timestamp in timestamp(),
        service in any::<String>(),
        operation in any::<String>(),
        details in btree_map(any::<String>(), json(), 0..4),
        trace_id in option::of(any::<String>()),
    ) -> ErrorDetail {
        let mut detail = ErrorDetail::new(
            error_code, message, correlation_id.into(), timestamp, service, operation,
        );
        detail.details = details;
        detail.trace_id = trace_id;
        detail
    }
}

prop_compose! {
    fn refused_file()(
        entity_id in text_id(),
        file_upload_id in text_id(),
        original_file_name in any::<String>(),
        raw_file_storage_id in option::of(storage_id()),
        validation_error_code in error_code(),
        validation_error_detail in error_detail(),
        file_size_bytes in any::<u64>(),
        correlation_id in any_uuid(),
        timestamp in timestamp(),
    ) -> EssayValidationFailedV1 {
        EssayValidationFailedV1 {
            event: EventName::new(),
            entity_id: BatchId::new(entity_id).unwrap(),
            file_upload_id: FileUploadId::new(file_upload_id).unwrap(),
            original_file_name,
            raw_file_storage_id,
            validation_error_code,
            validation_error_detail,
            file_size_bytes,
            correlation_id: correlation_id.into(),
            timestamp,
        }
    }
}

prop_compose! {
    fn essay_result()(
        essay_id in text_id(),
        normalized in 0.0..=1.0_f64,
        grade in "U|[A-F][+-]?|[0-9]",
        confidence in 0.0..=1.0_f64,
        confidence_label in prop::sample::select(ConfidenceLabel::ALL),
        bt_score in finite(),
        rank in 1..=u32::MAX,
        is_anchor in any::<bool>(),
        display_name in option::of(any::<String>()),
    ) -> EssayResultV1 {
        EssayResultV1 {
            essay_id: EssayId::new(essay_id).unwrap(),
            normalized_score: Fraction::new(normalized).unwrap(),
            letter_grade: LetterGrade::new(grade).unwrap(),
            confidence_score: Fraction::new(confidence).unwrap(),
            confidence_label,
            bt_score: Score::new(bt_score).unwrap(),
            rank: rank.try_into().unwrap(),
            is_anchor,
            feedback_uri: None,
            metrics_uri: None,
            display_name,
        }
    }
}

prop_compose! {
    fn ranking()(
        batch_id in text_id(),
        job in any::<String>(),
        model in any::<String>(),
        essay_results in vec(essay_result(), 0..5),
        assessment_metadata in btree_map(any::<String>(), json(), 0..4),
        timestamp in timestamp(),
    ) -> AssessmentResultV1 {
        let batch_id = BatchId::new(batch_id).unwrap();
        AssessmentResultV1 {
            event_name: EventName::new(),
            entity_id: Some(batch_id.clone()),
            entity_type: None,
            parent_id: None,
            timestamp,
            batch_id,
            cj_assessment_job_id: job,
            assignment_id: None,
            assessment_method: "cj_assessment".to_owned(),
            model_used: model,
            model_provider: "sandbox".to_owned(),
            model_version: None,
            essay_results,
            assessment_metadata,
            assessed_at: timestamp,
        }
    }
}

fn envelope<T: Event + std::fmt::Debug + 'static>(
    data: impl Strategy<Value = T>,
) -> impl Strategy<Value = EventEnvelope<T>> {
    (
        any_uuid(),
        timestamp(),
        any::<String>(),
        any_uuid(),
        option::of(any::<String>()),
        data,
        option::of(btree_map(any::<String>(), json(), 0..4)),
    )
        .prop_map(|(id, at, source, correlation, uri, data, metadata)| {
            let mut envelope = EventEnvelope::new(source, correlation.into(), at, data)
                .with_event_id(EventId::from(id));
            envelope.data_schema_uri = uri;
            envelope.metadata = metadata;
            envelope
        })
}

fn survives<T: Event + PartialEq + std::fmt::Debug>(
    envelope: &EventEnvelope<T>,
) -> Result<(), TestCaseError> {
    let bytes = envelope.to_json().unwrap();
    let at_once = EventEnvelope::<T>::from_json(&bytes).unwrap();
    prop_assert_eq!(&at_once, envelope);
    let in_two_steps = RawEnvelope::from_json(&bytes)
        .unwrap()
        .decode::<T>()
        .unwrap();
    prop_assert_eq!(&in_two_steps, envelope);
    prop_assert_eq!(in_two_steps.key(), envelope.key());
    Ok(())
}

proptest! {
    #[test]
    fn an_envelope_with_an_error_survives_the_wire(envelope in envelope(refused_file())) {
        survives(&envelope)?;
    }

    #[test]
    fn an_envelope_with_numbers_survives_the_wire(envelope in envelope(ranking())) {
        survives(&envelope)?;
    }

    #[test]
    fn a_raw_envelope_is_passed_on_byte_for_byte_in_its_payload(
        envelope in envelope(refused_file()),
    ) {
        let raw = RawEnvelope::from_json(&envelope.to_json().unwrap()).unwrap();
        let again = EventEnvelope::<EssayValidationFailedV1>::from_json(&raw.to_json().unwrap());
        prop_assert_eq!(again.unwrap(), envelope);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(RawEnvelope::from_json(&bytes).is_err());
    }

    #[test]
    fn ids_accept_exactly_what_they_can_give_back(text in any::<String>()) {
        if let Ok(id) = BatchId::new(text.as_str()) {
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<BatchId>(&json).unwrap(), id);
        } else {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert!(serde_json::from_str::<BatchId>(&json).is_err());
        }
    }

    #[test]
    fn bounded_numbers_hold_their_bounds(number in any::<f64>()) {
        prop_assert_eq!(Fraction::new(number).is_ok(), (0.0..=1.0).contains(&number));
        let allowed = number.is_finite() && number >= 0.0;
        prop_assert_eq!(NonNegative::new(number).is_ok(), allowed);
        prop_assert!((0.0..=1.0).contains(&Fraction::clamped(number).get()));
    }
}

fn added() -> EventEnvelope<BatchFileAddedV1> {
    let correlation_id = CorrelationId::random();
    let data = BatchFileAddedV1 {
        event: EventName::new(),
        batch_id: "b".parse().unwrap(),
        file_upload_id: "f".parse().unwrap(),
        filename: "a.txt".to_owned(),
        user_id: UserId::new("u").unwrap(),
        correlation_id,
        timestamp: Timestamp::UNIX_EPOCH,
    };
    EventEnvelope::new("file", correlation_id, Timestamp::UNIX_EPOCH, data)
}

#[test]
fn headers_repeat_the_outside_of_the_envelope() {
    let plain = added();
    let names: Vec<&str> = plain.headers().iter().map(|header| header.0).collect();
    let expected = [
        "event_id",
        "event_type",
        "source_service",
        "trace_id",
        "correlation_id",
    ];
    assert_eq!(names, expected);

    let traced = plain.with_metadata(metadata_keys::TRACEPARENT, "00-aa-bb-01");
    let headers: std::collections::BTreeMap<_, _> = traced.headers().into_iter().collect();
    assert_eq!(headers[headers::TRACEPARENT], "00-aa-bb-01");
    assert_eq!(headers[headers::EVENT_ID], traced.event_id.to_string());
    assert_eq!(
        headers[headers::TRACE_ID],
        traced.correlation_id.to_string()
    );
    assert_eq!(
        headers[headers::EVENT_TYPE],
        "huleedu.file.batch.file.added.v1"
    );
}

#[test]
fn times_are_written_in_utc_and_read_with_any_offset() {
    let bytes = added().to_json().unwrap();
    let mut value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["event_timestamp"], "1970-01-01T00:00:00Z");
    value["event_timestamp"] = "1970-01-01T02:00:00.5+02:00".into();
    let envelope = RawEnvelope::from_json(value.to_string().as_bytes()).unwrap();
    assert_eq!(
        envelope.event_timestamp,
        Timestamp::from_millisecond(500).unwrap()
    );
    value["event_timestamp"] = "yesterday".into();
    assert!(RawEnvelope::from_json(value.to_string().as_bytes()).is_err());
}

#[test]
fn an_envelope_of_another_version_is_refused_by_number() {
    let mut envelope = added();
    envelope.schema_version = 2;
    let error = RawEnvelope::from_json(&envelope.to_json().unwrap()).unwrap_err();
    assert!(
        matches!(error, DecodeError::Version { version: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_message_on_the_wrong_topic_is_not_taken_for_another() {
    let bytes = added().to_json().unwrap();
    let raw = RawEnvelope::from_json(&bytes).unwrap();
    // The removal of a file has the very same fields; only the name tells them apart.
    let error = raw
        .decode::<huleedu_contracts::events::file::BatchFileRemovedV1>()
        .unwrap_err();
    assert!(matches!(error, DecodeError::Payload { .. }), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("batch.file.added"), "{source}");

    let raw = RawEnvelope::from_json(&bytes).unwrap();
    assert!(raw.decode::<BatchEssaysRegistered>().is_err());
}

#[test]
fn bytes_that_were_not_stored_have_a_word_of_their_own() {
    let golden = include_str!("../golden/events/EssayValidationFailedV1.json");
    let mut value: Value = serde_json::from_str(golden).unwrap();
    value = value["example"]["data"].take();
    value["raw_file_storage_id"] = "STORAGE_FAILED".into();
    let event: EssayValidationFailedV1 = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(event.raw_file_storage_id, None);
    assert_eq!(serde_json::to_value(event).unwrap(), value);
    value["raw_file_storage_id"] = "something else".into();
    assert!(serde_json::from_value::<EssayValidationFailedV1>(value).is_err());
}
