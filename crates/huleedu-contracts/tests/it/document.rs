//! The design document lists topics, headers and error codes; it must say what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use huleedu_contracts::{ErrorCode, Topic, headers};

use crate::golden;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/design/wire-format.md");
    std::fs::read_to_string(path).unwrap()
}

/// The cells of every table row whose first cell is a word in backticks.
fn rows(document: &str) -> Vec<Vec<String>> {
    document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

fn plain(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn every_topic_stands_in_the_table_once() {
    let document = document();
    let listed: Vec<String> = rows(&document)
        .iter()
        .map(|row| plain(&row[0]).to_owned())
        .filter(|name| name.starts_with("huleedu."))
        .collect();
    let different: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let topics: BTreeSet<&str> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
    assert_eq!(different, topics);
    assert_eq!(listed.len(), different.len(), "a topic is listed twice");
}

#[test]
fn every_topic_has_the_payload_and_the_key_of_its_row() {
    let document = document();
    let rows = rows(&document);
    let row_of = |topic: Topic| {
        let mut found = rows.iter().filter(|row| plain(&row[0]) == topic.as_str());
        found.next().unwrap()
    };
    let topics = golden::topics();
    // In the examples each kind of thing has one id, so the key tells what kind it is.
    let key_of = |wanted: Topic| {
        let (.., key) = topics.iter().find(|entry| entry.0 == wanted).unwrap();
        key.clone()
    };
    let kinds = BTreeMap::from([
        (key_of(Topic::BatchEssaysRegistered), "batch"),
        (key_of(Topic::EssaySpellcheckRequested), "essay"),
        (key_of(Topic::ClassCreated), "class"),
        (key_of(Topic::StudentCreated), "student"),
    ]);
    assert_eq!(kinds.len(), 4);
    for (topic, payload, key) in &topics {
        let row = row_of(*topic);
        assert_eq!(plain(&row[1]), *payload, "{topic}");
        assert_eq!(row[4], kinds[key], "{topic}");
    }
}

#[test]
fn every_error_code_stands_in_the_table_with_its_status() {
    let document = document();
    let mut listed = BTreeSet::new();
    for row in rows(&document) {
        let Ok(status) = row[row.len() - 1].parse::<u16>() else {
            continue;
        };
        for name in row[0].split(", ") {
            let code: ErrorCode = plain(name).parse().unwrap();
            assert_eq!(code.http_status().as_u16(), status, "{name}");
            assert!(listed.insert(code), "{name} is listed twice");
        }
    }
    let all: BTreeSet<ErrorCode> = ErrorCode::ALL.iter().copied().collect();
    assert_eq!(listed, all);
}

#[test]
fn every_header_is_described() {
    let document = document();
    for name in [
        headers::EVENT_ID,
        headers::EVENT_TYPE,
        headers::SOURCE_SERVICE,
        headers::CORRELATION_ID,
        headers::TRACE_ID,
        headers::TRACEPARENT,
        headers::TRACESTATE,
        headers::X_CORRELATION_ID,
        headers::X_USER_ID,
        headers::X_ORG_ID,
        headers::X_TRACE_ID,
        headers::X_SPAN_ID,
    ] {
        let cell = format!("| `{name}` |");
        assert!(document.contains(&cell), "{name}");
    }
}
