//! Who listens to what: in the contract, in the code that subscribes, and in the code that handles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use huleedu_contracts::topics::Topic;
use huleedu_kit::ServiceId;

use crate::run::root;

/// Readers that the contract names and that are not written yet: batches of classes, language analysis
/// and feedback.
const NOT_YET: [(Topic, ServiceId); 8] = [
    (Topic::BatchEssaysReady, ServiceId::BatchOrchestrator),
    (Topic::AiFeedbackInitiateCommand, ServiceId::EssayLifecycle),
    (Topic::NlpInitiateCommand, ServiceId::EssayLifecycle),
    (Topic::BatchNlpAnalysisCompleted, ServiceId::EssayLifecycle),
    (
        Topic::StudentMatchingInitiateCommand,
        ServiceId::EssayLifecycle,
    ),
    (
        Topic::BatchAuthorMatchesSuggested,
        ServiceId::ClassManagement,
    ),
    (
        Topic::StudentAssociationsConfirmed,
        ServiceId::BatchOrchestrator,
    ),
    (
        Topic::StudentAssociationsConfirmed,
        ServiceId::EssayLifecycle,
    ),
];

/// How the contract calls them.
const NAMES: [(&str, ServiceId); 9] = [
    ("API Gateway", ServiceId::ApiGateway),
    ("Batch Orchestrator", ServiceId::BatchOrchestrator),
    ("Batch Conductor", ServiceId::BatchConductor),
    ("Essay Lifecycle", ServiceId::EssayLifecycle),
    ("Spell Checker", ServiceId::Spellchecker),
    ("CJ Assessment", ServiceId::CjAssessment),
    ("Content Service", ServiceId::Content),
    ("File Service", ServiceId::File),
    ("Class Management", ServiceId::ClassManagement),
];

/// The names of variants in the contract's source, with the topics they are.
fn variants() -> BTreeMap<String, Topic> {
    let name = |topic: &Topic| (format!("{topic:?}"), *topic);
    Topic::ALL.iter().map(name).collect()
}

/// Topics that are named in a source, each followed by one of these.
fn named(source: &str, behind: &[&str]) -> BTreeSet<Topic> {
    let variants = variants();
    let mut found = BTreeSet::new();
    for piece in source.split("Topic::").skip(1) {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric());
        let (name, rest) = piece.split_at(end.unwrap_or(piece.len()));
        if behind
            .iter()
            .any(|sign| rest.trim_start().starts_with(sign))
        {
            found.extend(variants.get(name));
        }
    }
    found
}

fn sources(path: &Path) -> String {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.map(|e| sources(&e.unwrap().path())).collect();
    }
    fs::read_to_string(path).unwrap_or_default()
}

fn subscribed(service: ServiceId) -> BTreeSet<Topic> {
    let lib = root().join(format!("services/{}/src/lib.rs", service.slug()));
    named(&sources(&lib), &[",", "]"])
}

/// C11: the Essay Lifecycle had rules for a failed ranking and for spell-check results and listened to
/// neither topic, so a failed ranking held up its batch for ever. (That a failed ranking ends its phase
/// is in the tests of essay-lifecycle.)
#[test]
fn a_service_listens_to_what_it_handles_and_handles_what_it_listens_to() {
    let mut listeners = 0;
    for service in ServiceId::ALL {
        let subscribed = subscribed(service);
        let room = root().join(format!("services/{}/src/handler", service.slug()));
        let handler = sources(&room.with_extension("rs")) + &sources(&room);
        let rules = named(&handler, &["=>", "|"]);
        // One that listens to a single topic need not ask which it is.
        let single = rules.is_empty() && subscribed.len() == 1 && !handler.is_empty();
        assert!(
            rules == subscribed || single,
            "{service}: {rules:?} {subscribed:?}"
        );
        listeners += usize::from(!subscribed.is_empty());
    }
    assert_eq!(listeners, 5);
}

#[test]
fn whoever_the_contract_names_as_reader_listens() {
    let source = root().join("crates/huleedu-contracts/src/topics.rs");
    let source = fs::read_to_string(source).unwrap();
    let variants = variants();
    let (mut doc, mut seen, mut missing) = (String::new(), 0, BTreeSet::new());
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc += text;
            continue;
        }
        let name = line.split_once(" = \"").map(|(name, _)| name);
        if let Some(topic) = name.and_then(|name| variants.get(name)) {
            let readers = doc.rsplit_once('→').map_or("", |(_, readers)| readers);
            assert!(!readers.is_empty(), "{topic}: the contract names no reader");
            for (reader, service) in NAMES {
                if readers.contains(reader) && !subscribed(service).contains(topic) {
                    missing.insert((*topic, service));
                }
            }
            seen += 1;
        }
        doc.clear();
    }
    assert_eq!(seen, Topic::ALL.len());
    assert_eq!(missing, NOT_YET.into_iter().collect());
}
