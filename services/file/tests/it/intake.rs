//! What becomes of accepted files: text and event, or reason and event, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use huleedu_contracts::topics::Topic;
use huleedu_kit::testing::{eventually, http_client};
use serde_json::Value;

use crate::platform::{
    LIMIT, Platform, batch_state, essay, events, form, rows, settled, upload_as,
};

const OUTCOMES: [Topic; 2] = [Topic::EssayContentProvisioned, Topic::EssayValidationFailed];

fn fixture(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(path).expect("the fixture exists")
}

#[tokio::test]
async fn good_files_are_provisioned_and_bad_ones_fail_alone_with_their_reason() {
    let platform = Platform::new().await;
    let service = platform.start().await;
    let (docx, locked, scan) = (
        fixture("plain.docx"),
        fixture("password.pdf"),
        fixture("scanned.pdf"),
    );
    let (text, huge) = (essay(1), vec![b'x'; 100_001]);
    let files: Vec<(&str, &[u8])> = vec![
        ("Åsa Öberg.txt", &text),
        ("学校 essay.docx", &docx),
        ("locked.pdf", &locked),
        ("scan.pdf", &scan),
        ("empty.txt", b""),
        ("short.txt", b"Too short."),
        ("binary.txt", b"\0\x01\x02\x03"),
        ("picture.docx", b"\x89PNG\r\n\x1a\n"),
        ("huge.txt", &huge),
    ];
    let (status, _, body) = upload_as(&service, Some("teacher"), form("batch-1", &files)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!(body["batch_id"], "batch-1");
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let accepted = body["files"].as_array().expect("the files");
    assert_eq!(
        accepted
            .iter()
            .map(|file| file["filename"].as_str().expect("a name"))
            .collect::<Vec<_>>(),
        names
    );

    let reasons = outcomes(&platform, files.len(), &text).await;
    let expected: BTreeMap<String, Option<String>> = [
        ("Åsa Öberg.txt", None),
        ("学校 essay.docx", None),
        ("locked.pdf", Some("ENCRYPTED_FILE_UNSUPPORTED")),
        ("scan.pdf", Some("EMPTY_CONTENT")),
        ("empty.txt", Some("EMPTY_CONTENT")),
        ("short.txt", Some("CONTENT_TOO_SHORT")),
        ("binary.txt", Some("TEXT_EXTRACTION_FAILED")),
        ("picture.docx", Some("UNSUPPORTED_FILE_TYPE")),
        ("huge.txt", Some("PAYLOAD_TOO_LARGE")),
    ]
    .into_iter()
    .map(|(name, code)| (name.to_owned(), code.map(str::to_owned)))
    .collect();
    assert_eq!(reasons, expected);

    let added = events(&platform.reader(&[Topic::BatchFileAdded]), files.len()).await;
    let added: BTreeSet<&str> = added
        .iter()
        .filter_map(|(_, data)| data["filename"].as_str())
        .collect();
    assert_eq!(added, names.iter().copied().collect());
    let state = settled(&service, "batch-1").await;
    assert_eq!(state["lock_status"]["is_locked"], false);
    let short = state["files"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|file| file["filename"] == "short.txt");
    assert_eq!(
        short.and_then(|file| file["error_message"].as_str()),
        Some("the text has 10 characters, at least 50 are needed")
    );
    let left = "SELECT COUNT(*) FROM file_uploads WHERE raw_bytes IS NOT NULL";
    assert_eq!(
        rows(&service, left).await,
        0,
        "settled files do not keep their bytes here"
    );
    service.stop().await.expect("an orderly end");
}

/// Reads the outcomes of a batch and holds each against what is stored; the reason per file.
async fn outcomes(
    platform: &Platform,
    count: usize,
    text: &[u8],
) -> BTreeMap<String, Option<String>> {
    let reader = platform.reader(&OUTCOMES);
    let mut reasons = BTreeMap::new();
    for (topic, data) in events(&reader, count).await {
        assert_eq!(data["entity_id"], "batch-1");
        let name = data["original_file_name"]
            .as_str()
            .expect("a name")
            .to_owned();
        if topic == Topic::EssayContentProvisioned.as_str() {
            let id = data["text_storage_id"].as_str().expect("an id");
            let stored = platform.content.text(id);
            let raw = platform
                .content
                .bytes(data["raw_file_storage_id"].as_str().expect("an id"));
            assert_eq!(data["file_size_bytes"], raw.len());
            assert_eq!(data["content_md5_hash"].as_str().map(str::len), Some(32));
            if name == "Åsa Öberg.txt" {
                assert_eq!((raw.as_ref(), stored.as_bytes()), (text, text));
            } else {
                assert!(
                    stored.starts_with("En dag i maj gick vi ut i skogen"),
                    "{stored}"
                );
            }
            reasons.insert(name, None);
        } else {
            let code = data["validation_error_code"]
                .as_str()
                .expect("a code")
                .to_owned();
            assert_eq!(data["validation_error_detail"]["error_code"], code.as_str());
            assert_eq!(data["validation_error_detail"]["service"], "file");
            let is_stored = data["raw_file_storage_id"] != "STORAGE_FAILED";
            assert_eq!(
                is_stored,
                name != "huge.txt" && name != "empty.txt",
                "{name}"
            );
            reasons.insert(name, Some(code));
        }
    }
    reasons
}

#[tokio::test]
async fn every_sample_essay_passes_through_the_real_content_service() {
    let platform = Platform::new().await;
    let (service, content) = platform.start_with_content().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/essays");
    let samples: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("samples are part of the project")
        .map(|entry| {
            let entry = entry.expect("listable");
            let name = entry.file_name().into_string().expect("names are Unicode");
            (name, std::fs::read(entry.path()).expect("readable"))
        })
        .collect();
    let files: Vec<(&str, &[u8])> = samples
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let (status, ..) = upload_as(&service, Some("teacher"), form("batch-1", &files)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    for (topic, data) in events(&platform.reader(&OUTCOMES), files.len()).await {
        assert_eq!(topic, Topic::EssayContentProvisioned.as_str(), "{data}");
        let id = data["text_storage_id"].as_str().expect("an id");
        let response = http_client()
            .get(format!("{}/v1/content/{id}", content.base_url()))
            .send()
            .await
            .expect("an answer");
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        let words = response
            .text()
            .await
            .expect("text")
            .split_whitespace()
            .count();
        assert!((100..=500).contains(&words), "{words} words: {data}");
    }
    service.stop().await.expect("an orderly end");
    content.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn an_outage_of_content_delays_files_and_fails_none() {
    let platform = Platform::new().await;
    let service = platform.start().await;
    platform.content.set_down(true);
    let texts: Vec<Vec<u8>> = (0..6).map(essay).collect();
    let files: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|text| ("same name.txt", text.as_slice()))
        .collect();
    let (status, ..) = upload_as(&service, Some("teacher"), form("batch-1", &files)).await;
    assert_eq!(
        status,
        StatusCode::ACCEPTED,
        "uploads do not need the Content Service"
    );
    let circuit = "file.content_client";
    eventually("the circuit opens", LIMIT, || async {
        let snapshots = service.breakers().snapshots();
        let snapshot = snapshots
            .iter()
            .find(|snapshot| *snapshot.circuit_name == *circuit)?;
        (snapshot.state.to_string() == "open").then_some(())
    })
    .await
    .expect("failures open the circuit");
    let (_, state) = batch_state(&service, "batch-1").await;
    let waiting = state["files"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|file| file["status"] == "received");
    assert_eq!(waiting.count(), 6, "{state}");
    platform.content.set_down(false);
    let outcomes = events(&platform.reader(&OUTCOMES), 6).await;
    assert!(
        outcomes
            .iter()
            .all(|(topic, _)| topic == Topic::EssayContentProvisioned.as_str()),
        "{outcomes:?}"
    );
    assert_eq!(ids(&outcomes).len(), 6);
    service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn a_crash_after_the_answer_loses_no_file_and_doubles_none() {
    let platform = Platform::new().await;
    let service = platform.start().await;
    platform.content.set_down(true);
    let texts: Vec<Vec<u8>> = (0..5).map(essay).collect();
    let mut files: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|text| ("a.txt", text.as_slice()))
        .collect();
    files.push(("empty.txt", b"   "));
    let (status, _, body) = upload_as(&service, Some("teacher"), form("batch-1", &files)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let accepted: BTreeSet<String> = body["files"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|file| file["file_upload_id"].as_str().map(str::to_owned))
        .collect();
    // Killed again and again while the Content Service comes and goes.
    service.kill().await;
    for _ in 0..3 {
        let service = platform.start().await;
        platform.content.set_down(false);
        let requests = platform.content.requests();
        eventually("some work is done", LIMIT, || async {
            let open = rows(
                &service,
                "SELECT COUNT(*) FROM file_uploads WHERE status = 'received'",
            )
            .await;
            (open == 0 || platform.content.requests() > requests + 1).then_some(())
        })
        .await
        .expect("the worker takes files up again");
        service.kill().await;
        platform.content.set_down(true);
    }
    platform.content.set_down(false);
    let service = platform.start().await;
    settled(&service, "batch-1").await;
    eventually("every event is sent", LIMIT, || async {
        let waiting = rows(
            &service,
            "SELECT COUNT(*) FROM outbox WHERE settled_at IS NULL",
        )
        .await;
        (waiting == 0).then_some(())
    })
    .await
    .expect("the outbox drains");
    let written = "SELECT COUNT(*) FROM outbox WHERE topic LIKE 'huleedu.file.essay.%'";
    assert_eq!(
        rows(&service, written).await,
        6,
        "one outcome per file, whatever happened"
    );
    let outcomes = events(&platform.reader(&OUTCOMES), 6).await;
    assert_eq!(ids(&outcomes), accepted);
    service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn files_are_added_to_a_batch_that_has_some() {
    let platform = Platform::new().await;
    let service = platform.start().await;
    let (status, ..) = upload_as(
        &service,
        Some("teacher"),
        form("batch-1", &[("a.txt", &essay(1))]),
    )
    .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let more = form(
        "ignored: the route names the batch",
        &[("b.txt", essay(2).as_slice())],
    );
    let response = http_client()
        .post(format!(
            "{}/v1/files/batch/batch-1/files",
            service.base_url()
        ))
        .header("x-user-id", "teacher")
        .multipart(more)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let state = settled(&service, "batch-1").await;
    let names: Vec<&Value> = state["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| &file["filename"])
        .collect();
    assert_eq!(names, ["a.txt", "b.txt"]);
    service.stop().await.expect("an orderly end");
}

fn ids(outcomes: &[(String, Value)]) -> BTreeSet<String> {
    outcomes
        .iter()
        .filter_map(|(_, data)| data["file_upload_id"].as_str().map(str::to_owned))
        .collect()
}
