//! Every format is pinned by a file: a full example, the fields that may be absent, and the maps
//! whose keys are free. The files are written by hand, never by the code they test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use huleedu_contracts::api::{
    cj, class_management, conductor, content, file as file_api, gateway, lifecycle, orchestrator,
};
use huleedu_contracts::events::{
    batch, cj as cj_events, class, command, essay, file, nlp, notification, pipeline, spellcheck,
};
use huleedu_contracts::{Event, EventEnvelope, RawEnvelope, Topic, error};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a golden file holds.
#[derive(serde::Deserialize)]
struct Golden {
    example: Value,
    optional: BTreeSet<String>,
    free_form: BTreeSet<String>,
}

/// One step from a JSON value into it.
#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// Compares a type with its golden file.
type Check = fn(&Golden);

/// The event whose format a file pins, and the key its example must have.
struct EventCase {
    topic: Topic,
    file: &'static str,
    check: fn(&Golden) -> String,
}

fn event<T: Event>(file: &'static str) -> EventCase {
    EventCase {
        topic: T::TOPIC,
        file,
        check: |golden| {
            check::<EventEnvelope<T>>(golden);
            let bytes = serde_json::to_vec(&golden.example).unwrap();
            let raw = RawEnvelope::from_json(&bytes).unwrap();
            let envelope: EventEnvelope<T> = raw.decode().unwrap();
            assert_eq!(envelope.event_type, T::TOPIC.as_str());
            let name = &golden.example["data"];
            for field in ["event", "event_name"] {
                if let Some(text) = name.get(field) {
                    assert_eq!(text, T::NAME, "{field}");
                }
            }
            envelope.key()
        },
    }
}

fn events() -> Vec<EventCase> {
    macro_rules! cases {
        ($($module:ident :: $payload:ident),+ $(,)?) => {
            vec![ $( event::<$module::$payload>(stringify!($payload)), )+ ]
        };
    }
    cases![
        batch::BatchEssaysRegistered,
        batch::BatchContentProvisioningCompletedV1,
        batch::BatchEssaysReady,
        batch::BatchValidationErrorsV1,
        batch::ExcessContentProvisionedV1,
        cj_events::ELS_CJAssessmentRequestV1,
        cj_events::CJAssessmentCompletedV1,
        cj_events::CJAssessmentFailedV1,
        cj_events::AssessmentResultV1,
        cj_events::ResourceConsumptionV1,
        class::ClassCreatedV1,
        class::ClassUpdatedV1,
        class::StudentCreatedV1,
        class::StudentUpdatedV1,
        class::EssayStudentAssociationUpdatedV1,
        class::StudentAssociationsConfirmedV1,
        class::ValidationTimeoutProcessedV1,
        command::BatchServiceSpellcheckInitiateCommandDataV1,
        command::BatchServiceCJAssessmentInitiateCommandDataV1,
        command::BatchServiceAIFeedbackInitiateCommandDataV1,
        command::BatchServiceNLPInitiateCommandDataV2,
        command::BatchServiceStudentMatchingInitiateCommandDataV1,
        essay::EssaySlotAssignedV1,
        essay::ELSBatchPhaseOutcomeV1,
        file::EssayContentProvisionedV1,
        file::EssayValidationFailedV1,
        file::BatchFileAddedV1,
        file::BatchFileRemovedV1,
        nlp::BatchNlpProcessingRequestedV2,
        nlp::BatchNlpAnalysisCompletedV1,
        nlp::BatchStudentMatchingRequestedV1,
        nlp::BatchAuthorMatchesSuggestedV1,
        notification::TeacherNotificationRequestedV1,
        pipeline::ClientBatchPipelineRequestV1,
        pipeline::BatchPipelineCompletedV1,
        pipeline::PhaseSkippedV1,
        pipeline::PipelineDeniedV1,
        spellcheck::EssayLifecycleSpellcheckRequestV1,
        spellcheck::SpellcheckPhaseCompletedV1,
        spellcheck::SpellcheckResultV1,
    ]
}

fn bodies() -> Vec<(&'static str, Check)> {
    macro_rules! cases {
        ($($module:ident :: $body:ident),+ $(,)?) => {
            vec![ $( (stringify!($body), check::<$module::$body> as Check), )+ ]
        };
    }
    cases![
        error::ErrorBody,
        orchestrator::RegisterBatchRequest,
        orchestrator::RegisterBatchResponse,
        orchestrator::BatchStatusResponse,
        orchestrator::BatchListResponse,
        orchestrator::PipelineStateResponse,
        orchestrator::PreflightResponse,
        orchestrator::AttachPromptRequest,
        orchestrator::AttachPromptResponse,
        orchestrator::RetryPhaseRequest,
        conductor::DefinePipelineRequest,
        conductor::DefinePipelineResponse,
        conductor::PhaseCompleteRequest,
        conductor::PhaseCompleteResponse,
        lifecycle::EssayStatusResponse,
        lifecycle::EssayTimelineResponse,
        lifecycle::BatchEssaysResponse,
        content::StoreContentResponse,
        file_api::UploadResponse,
        file_api::BatchFilesState,
        class_management::CreateClassRequest,
        class_management::CreateClassResponse,
        class_management::UpdateClassRequest,
        class_management::ClassResponse,
        class_management::ClassListResponse,
        class_management::RosterResponse,
        class_management::CreateStudentRequest,
        class_management::CreateStudentResponse,
        class_management::UpdateStudentRequest,
        class_management::StudentResponse,
        class_management::AssociationsResponse,
        class_management::ConfirmAssociationsRequest,
        class_management::ConfirmAssociationsResponse,
        class_management::StudentNamesResponse,
        cj::BatchResultsResponse,
        gateway::ClientRegisterRequest,
        gateway::PipelineRequest,
        gateway::PipelineResponse,
        gateway::BatchStatusBody,
        gateway::BatchListBody,
        gateway::ValidationStatusBody,
    ]
}

#[test]
fn every_event_is_what_its_file_says() {
    for case in events() {
        let golden = load(&folder("events"), case.file);
        let key = (case.check)(&golden);
        let expected = golden.example["metadata"]["partition_key"].as_str();
        assert_eq!(Some(key.as_str()), expected, "{}", case.file);
    }
}

#[test]
fn every_topic_has_one_event() {
    let tested: Vec<Topic> = events().into_iter().map(|case| case.topic).collect();
    let different: BTreeSet<Topic> = tested.iter().copied().collect();
    assert_eq!(tested.len(), different.len(), "two events on one topic");
    let all: BTreeSet<Topic> = Topic::ALL.iter().copied().collect();
    assert_eq!(different, all);
}

#[test]
fn every_http_body_is_what_its_file_says() {
    for (file, check) in bodies() {
        check(&load(&folder("http"), file));
    }
}

#[test]
fn every_file_is_tested() {
    let events: BTreeSet<String> = events().iter().map(|case| case.file.to_owned()).collect();
    let bodies: BTreeSet<String> = bodies().iter().map(|case| case.0.to_owned()).collect();
    assert_eq!(files(&folder("events")), events);
    assert_eq!(files(&folder("http")), bodies);
}

/// Each topic with the name of its payload and the key of its example.
pub(crate) fn topics() -> Vec<(Topic, &'static str, String)> {
    let folder = folder("events");
    events()
        .into_iter()
        .map(|case| {
            let key = (case.check)(&load(&folder, case.file));
            (case.topic, case.file, key)
        })
        .collect()
}

/// Reads the example and writes it again; adds a field everywhere; takes each field away.
fn check<T: Serialize + DeserializeOwned>(golden: &Golden) {
    let what = std::any::type_name::<T>();
    let read = |value: &Value| -> Result<Value, String> {
        let text = value.to_string();
        let typed: T = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        serde_json::to_value(typed).map_err(|error| error.to_string())
    };
    let example = &golden.example;
    assert_eq!(read(example).as_ref(), Ok(example), "{what}: round trip");

    let mut objects = Vec::new();
    let mut fields = Vec::new();
    walk(example, &mut Vec::new(), golden, &mut objects, &mut fields);
    for path in objects {
        let mut extended = example.clone();
        object_at(&mut extended, &path)
            .insert("a_field_of_tomorrow".to_owned(), serde_json::json!([1]));
        let name = name_of(&path);
        assert_eq!(
            read(&extended).as_ref(),
            Ok(example),
            "{what}: more in {name:?}"
        );
    }

    let mut seen = BTreeSet::new();
    let mut minimal = Vec::new();
    for path in fields {
        let name = name_of(&path);
        let Some((Step::Key(key), parent)) = path.split_last() else {
            panic!("{what}: {name} is no field");
        };
        let mut without = example.clone();
        object_at(&mut without, parent).remove(key);
        let result = read(&without);
        if let Ok(mut written) = result.clone() {
            let written = object_at(&mut written, parent).contains_key(key);
            assert!(written, "{what}: {name} is not written when it is absent");
            minimal.push(path.clone());
        }
        let optional = golden.optional.contains(&name);
        assert_eq!(
            result.is_ok(),
            optional,
            "{what}: without {name}: {result:?}"
        );
        seen.insert(name);
    }
    // Longest paths first, so that no path leads through a field that is gone.
    let mut least = example.clone();
    for path in minimal.iter().rev() {
        if let Some((Step::Key(key), parent)) = path.split_last() {
            object_at(&mut least, parent).remove(key);
        }
    }
    let written = read(&least).unwrap_or_else(|error| panic!("{what}: least form: {error}"));
    assert_eq!(read(&written).as_ref(), Ok(&written), "{what}: least form");

    let unknown: Vec<&String> = golden.optional.difference(&seen).collect();
    assert!(
        unknown.is_empty(),
        "{what}: optional but not there: {unknown:?}"
    );
}

fn walk(
    value: &Value,
    path: &mut Vec<Step>,
    golden: &Golden,
    objects: &mut Vec<Vec<Step>>,
    fields: &mut Vec<Vec<Step>>,
) {
    match value {
        Value::Object(map) if !golden.free_form.contains(&name_of(path)) => {
            objects.push(path.clone());
            for (key, inner) in map {
                path.push(Step::Key(key.clone()));
                fields.push(path.clone());
                walk(inner, path, golden, objects, fields);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                path.push(Step::Index(index));
                walk(inner, path, golden, objects, fields);
                path.pop();
            }
        }
        _ => {}
    }
}

fn name_of(path: &[Step]) -> String {
    let mut name = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(key);
            }
            Step::Index(_) => name.push_str("[]"),
        }
    }
    name
}

fn object_at<'v>(value: &'v mut Value, path: &[Step]) -> &'v mut serde_json::Map<String, Value> {
    let mut here = value;
    for step in path {
        here = match step {
            Step::Key(key) => &mut here[key.as_str()],
            Step::Index(index) => &mut here[*index],
        };
    }
    here.as_object_mut().unwrap()
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(kind)
}

fn load(folder: &Path, name: &str) -> Golden {
    let path = folder.join(format!("{name}.json"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}
