//! What comes out for essays that can be corrected and for those that never can.

use huleedu_contracts::{
    ErrorCode,
    ids::StorageId,
    status::{EssayStatus, ProcessingStage, ProcessingStatus},
};
use sqlx::Row as _;

use crate::platform::Platform;

#[tokio::test]
async fn an_essay_is_corrected_stored_and_told() {
    let platform = Platform::start().await;
    let text = "I like it alot \u{1f642} becouse the remarkabel Tindra likes it alot.";
    let original = platform.put(text.as_bytes()).await;
    let request = platform.request(&original, "en");
    platform.send(&request).await;

    let (thin, rich) = platform.answer().await;
    let corrected = thin.corrected_text_storage_id.expect("a corrected text");
    assert_eq!(
        platform.text(&corrected).await,
        "I like it a lot \u{1f642} because the remarkable Tindra likes it a lot."
    );
    assert_eq!(thin.entity_id, request.data.entity_id);
    assert_eq!(thin.correlation_id, request.correlation_id);
    assert_eq!(
        (thin.status, thin.error_code),
        (ProcessingStatus::Completed, None)
    );
    assert_eq!(rich.status, EssayStatus::SpellcheckedSuccess);
    assert_eq!(rich.original_text_storage_id, original);
    assert_eq!(
        rich.system_metadata.processing_stage,
        Some(ProcessingStage::Completed)
    );
    let metrics = rich.correction_metrics;
    assert_eq!(rich.corrections_made, 4);
    assert_eq!(metrics.total_corrections, 4);
    assert_eq!(metrics.l2_dictionary_corrections, 3);
    assert_eq!(metrics.spellchecker_corrections, 1);
    assert_eq!(metrics.word_count, 11);
    assert!((metrics.correction_density.get() - 400.0 / 11.0).abs() < 1e-9);

    let row = sqlx::query("SELECT status, corrections FROM spellcheck_jobs")
        .fetch_one(platform.service().store().pool())
        .await
        .expect("one row");
    assert_eq!(row.get::<String, _>("status"), "completed");
    let records: Vec<serde_json::Value> =
        serde_json::from_str(&row.get::<String, _>("corrections")).expect("a list");
    let chars: Vec<char> = text.chars().collect();
    assert_eq!(records.len(), 4);
    for record in &records {
        let place = |name: &str| {
            usize::try_from(record[name].as_u64().expect("a number")).expect("a small one")
        };
        let word: String = chars[place("start")..=place("end")].iter().collect();
        assert_eq!(record["original_word"], word);
    }
    assert_eq!(records[2]["rule"], "dictionary");
    platform.stop().await;
}

#[tokio::test]
async fn swedish_essays_are_corrected_too() {
    let platform = Platform::start().await;
    let original = platform
        .put("Ungdommar på ön tyker att skolan är vicktig.".as_bytes())
        .await;
    platform.send(&platform.request(&original, "sv-SE")).await;
    let (thin, _) = platform.answer().await;
    let corrected = thin.corrected_text_storage_id.expect("a corrected text");
    assert_eq!(
        platform.text(&corrected).await,
        "Ungdomar på ön tycker att skolan är viktig."
    );
    platform.stop().await;
}

#[tokio::test]
async fn an_essay_that_can_never_be_corrected_fails_with_its_reason() {
    let platform = Platform::start().await;
    let english = platform.put(b"All is well.").await;
    let binary = platform.put(&[0xff, 0xfe, 0x00, 0xd8]).await;
    let huge = platform.put("word ".repeat(20_001).as_bytes()).await;
    let missing = StorageId::from_bytes([7; 16]);
    for (number, (text, language, code)) in (1..).zip([
        (&english, "tlh", ErrorCode::ValidationError),
        (&missing, "en", ErrorCode::ResourceNotFound),
        (&binary, "en", ErrorCode::ParsingError),
        (&huge, "en", ErrorCode::ContentTooLong),
    ]) {
        let request = platform.request(text, language);
        platform.send(&request).await;
        let answers = platform.answers(number).await;
        let (thin, rich) = answers
            .iter()
            .find(|(thin, _)| thin.entity_id == request.data.entity_id)
            .expect("an answer for this essay");
        assert_eq!(
            (thin.status, thin.error_code),
            (ProcessingStatus::Failed, Some(code))
        );
        assert_eq!(thin.corrected_text_storage_id, None);
        assert_eq!(rich.status, EssayStatus::SpellcheckFailed);
        assert_eq!(rich.corrections_made, 0);
        assert_eq!(
            rich.system_metadata.processing_stage,
            Some(ProcessingStage::Failed)
        );
        assert_eq!(rich.system_metadata.error_info["error_code"], code.as_str());
        assert!(rich.system_metadata.error_info["message"].is_string());
    }
    // None of them was the dependency's fault, and none is left over.
    let circuit = platform
        .service()
        .breakers()
        .get("spellchecker.content_client")
        .expect("the circuit");
    assert_eq!(circuit.state(), fusebox::State::Closed);
    assert_eq!(platform.count("SELECT COUNT(*) FROM dead_events").await, 0);
    platform.stop().await;
}

#[tokio::test]
async fn a_request_delivered_twice_is_answered_once_also_after_a_crash() {
    let mut platform = Platform::start().await;
    let text = platform.put(b"Becouse of it.").await;
    let first = platform.request(&text, "en");
    platform.send(&first).await;
    platform.send(&first).await;
    platform.settled(1).await;
    platform.crash_and_restart_service().await;
    platform.send(&first).await;
    // The same partition keeps its order: when the next request of this essay is settled, the
    // repeated one has been handled.
    let mut second = platform.request(&text, "en");
    second.data.entity_id = first.data.entity_id.clone();
    platform.send(&second).await;
    platform.settled(2).await;
    assert_eq!(
        platform.count("SELECT COUNT(*) FROM spellcheck_jobs").await,
        2
    );
    assert_eq!(platform.count("SELECT COUNT(*) FROM outbox").await, 4);
    platform.stop().await;
}
