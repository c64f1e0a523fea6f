//! The service: batches from the request to the events, through faults and restarts.

use std::{collections::HashMap, sync::Arc, sync::Mutex, time::Duration};

use axum::{Json, Router, body::Bytes};
use fusebox_llm::{
    Provider,
    sandbox::{Fault, FaultMode, SandboxConfig},
};
use huleedu_contracts::{
    api::cj::BatchResultsResponse,
    bounds::Temperature,
    events::cj::{ELS_CJAssessmentRequestV1, LLMConfigOverrides},
    ids::{EssayId, LetterGrade, StorageId},
    status::CjBatchStatus,
    topics::Topic,
};
use huleedu_kit::{ServiceInput, StartError, testing::TopicReader};
use serde_json::{Value, json};

use crate::platform::{LIMIT, Platform, ended, envelope, results, results_when, texts};

/// A sandbox that errs now and then.
fn judges() -> SandboxConfig {
    SandboxConfig::new(5).with_noise(0.5)
}

/// The next events, by topic.
async fn events(reader: &TopicReader, count: usize) -> HashMap<String, Value> {
    let mut events = HashMap::new();
    for _ in 0..count {
        let (topic, event) = reader.next(LIMIT).await.expect("an event");
        assert_eq!(
            events.insert(topic.clone(), event),
            None,
            "{topic} came twice"
        );
    }
    events
}

fn data(events: &HashMap<String, Value>, topic: Topic) -> &Value {
    &events
        .get(topic.as_str())
        .unwrap_or_else(|| panic!("no event on {topic}"))["data"]
}

/// The texts from best to worst, with their scores: what must not depend on ids.
fn ranking(
    request: &ELS_CJAssessmentRequestV1,
    results: &BatchResultsResponse,
) -> Vec<(StorageId, u32, String)> {
    let text: HashMap<&EssayId, &StorageId> = request
        .essays_for_cj
        .iter()
        .map(|essay| (&essay.essay_id, &essay.text_storage_id))
        .collect();
    results
        .essays
        .iter()
        .map(|essay| {
            let score = essay.score.expect("a place has a score").get();
            (
                text[&essay.essay_id].clone(),
                essay.comparisons,
                format!("{score:.9}"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_ranked_and_everybody_is_told() {
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    let reader = platform.reader();
    let texts = texts(7);
    let request = platform.request(&texts).await;

    let done = ended(&service, &request.entity_id).await;
    assert_eq!(done.status, CjBatchStatus::CompleteStable);
    assert_eq!(done.essays.len(), 7);
    let ranks: Vec<u32> = done
        .essays
        .iter()
        .map(|essay| essay.rank.expect("a rank").get())
        .collect();
    assert_eq!(ranks, [1, 2, 3, 4, 5, 6, 7]);
    let best = &ranking(&request, &done)[0].0;
    assert!(
        [platform.store(&texts[0]), platform.store(&texts[1])].contains(best),
        "the best text is not on top"
    );
    let worst = &ranking(&request, &done)[6].0;
    assert!([platform.store(&texts[6]), platform.store(&texts[5])].contains(worst));
    for essay in &done.essays {
        assert!(essay.error.is_none() && essay.standard_error.expect("an error").get() > 0.0);
        assert_eq!(
            essay.letter_grade.as_ref().map(LetterGrade::as_str),
            Some("U")
        );
    }
    // Each comparison has two essays; every pair met at least once.
    let shares: u32 = done.essays.iter().map(|essay| essay.comparisons).sum();
    assert_eq!(shares, 2 * done.comparisons_total);
    assert!(
        done.comparisons_total >= 12 && Some(done.comparisons_total) <= done.comparisons_budget
    );
    assert!(
        done.judges
            .iter()
            .all(|judge| judge.sandbox && judge.provider == "anthropic")
    );

    let events = events(&reader, 3).await;
    let thin = data(&events, Topic::CjAssessmentCompleted);
    assert_eq!(thin["entity_id"], request.entity_id.as_str());
    assert_eq!(thin["status"], "completed_successfully");
    assert_eq!(thin["processing_summary"]["successful"], 7);
    let rich = data(&events, Topic::AssessmentResultPublished);
    assert_eq!(
        rich["essay_results"][0]["essay_id"],
        done.essays[0].essay_id.as_str()
    );
    assert_eq!(rich["assessment_metadata"]["sandbox"], true);
    assert_eq!(rich["cj_assessment_job_id"], thin["cj_assessment_job_id"]);
    let bill = data(&events, Topic::ResourceConsumption);
    assert_eq!(bill["quantity"], done.comparisons_total);
    assert_eq!(
        (&bill["resource_type"], &bill["user_id"]),
        (&json!("cj_comparison"), &json!("teacher-1"))
    );
    service.stop().await.expect("an orderly end");
}

/// A kill in the middle of the comparisons changes neither the ranking nor the bill.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_gives_the_same_ranking() {
    let texts = texts(8);
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    let undisturbed = platform.request(&texts).await;
    let want = ranking(&undisturbed, &ended(&service, &undisturbed.entity_id).await);

    let slow = Fault {
        provider: None,
        mode: FaultMode::Latency { latency_ms: 60 },
        times: None,
    };
    platform.set_fault(&slow).await;
    let request = platform.request(&texts).await;
    let reader = platform.reader();
    let mut service = service;
    for least in [3, 9] {
        let middle = results_when(
            &service,
            &request.entity_id,
            "comparisons come",
            |results| results.comparisons_total >= least,
        )
        .await;
        assert!(
            !middle.status.is_terminal(),
            "it was over too soon to be a test"
        );
        service.kill().await;
        service = platform.start().await;
    }
    platform.clear_faults().await;
    let done = ended(&service, &request.entity_id).await;
    assert_eq!(ranking(&request, &done), want);
    // Nothing was told twice: three events of each of the two batches.
    let mut told = Vec::new();
    for _ in 0..6 {
        let (topic, event) = reader.next(LIMIT).await.expect("an event");
        told.push((topic, event["data"]["entity_id"].to_string()));
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 6);
    service.stop().await.expect("an orderly end");
}

/// All providers are away for a while: nothing counts as judged, and the end is the same.
#[tokio::test(flavor = "multi_thread")]
async fn comparisons_wait_while_all_providers_are_away() {
    let texts = texts(5);
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    let undisturbed = platform.request(&texts).await;
    let want = ranking(&undisturbed, &ended(&service, &undisturbed.entity_id).await);

    let overloaded = FaultMode::Status {
        status: 529,
        retry_after_seconds: None,
    };
    platform
        .set_fault(&Fault {
            provider: None,
            mode: overloaded,
            times: None,
        })
        .await;
    let request = platform.request(&texts).await;
    let away = huleedu_kit::testing::eventually("every circuit opens", LIMIT, || async {
        let open = Provider::ALL.iter().all(|provider| {
            let name = format!("cj_assessment.{provider}_provider");
            let breaker = service
                .breakers()
                .get(&name)
                .expect("the circuit is registered");
            breaker.snapshot().counts.blocked > 0
        });
        if open {
            results(&service, &request.entity_id).await
        } else {
            None
        }
    })
    .await
    .expect("in time");
    assert_eq!(away.status, CjBatchStatus::PerformingComparisons);
    assert_eq!(away.comparisons_total, 0);
    platform.clear_faults().await;
    let done = ended(&service, &request.entity_id).await;
    assert_eq!(ranking(&request, &done), want);
    service.stop().await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_provider_stands_in() {
    let platform = Platform::with_sandbox(judges()).await;
    let refused = FaultMode::Status {
        status: 401,
        retry_after_seconds: None,
    };
    platform
        .set_fault(&Fault::of(Provider::Anthropic, refused))
        .await;
    let service = platform.start().await;
    let request = platform.request(&texts(4)).await;
    let done = ended(&service, &request.entity_id).await;
    assert_eq!(done.status, CjBatchStatus::CompleteStable);
    let judges: Vec<&str> = done
        .judges
        .iter()
        .map(|judge| judge.provider.as_str())
        .collect();
    assert_eq!(judges, ["openai"]);
    service.stop().await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_essay_without_a_text_fails_alone_and_says_why() {
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    let reader = platform.reader();
    let mut request = platform.prepare(&texts(4), None);
    let lost = request.essays_for_cj[1].essay_id.clone();
    request.essays_for_cj[1].text_storage_id = StorageId::from_bytes([9; 16]);
    let blank = request.essays_for_cj[2].essay_id.clone();
    request.essays_for_cj[2].text_storage_id = platform.store(" \n\t");
    platform.send(&envelope(request.clone())).await;

    let done = ended(&service, &request.entity_id).await;
    let why = |id: &EssayId| {
        let essay = done
            .essays
            .iter()
            .find(|essay| essay.essay_id == *id)
            .expect("it is listed");
        assert!(essay.rank.is_none() && essay.score.is_none());
        essay
            .error
            .as_ref()
            .expect("a reason")
            .error_code
            .as_str()
            .to_owned()
    };
    assert_eq!(
        (why(&lost).as_str(), why(&blank).as_str()),
        ("RESOURCE_NOT_FOUND", "EMPTY_CONTENT")
    );
    assert_eq!(
        done.essays
            .iter()
            .filter(|essay| essay.rank.is_some())
            .count(),
        2
    );

    let events = events(&reader, 3).await;
    let thin = data(&events, Topic::CjAssessmentCompleted);
    assert_eq!(thin["status"], "completed_with_failures");
    let summary = &thin["processing_summary"];
    assert_eq!(
        (&summary["total_essays"], &summary["failed"]),
        (&json!(4), &json!(2))
    );
    let failed = summary["failed_essay_ids"].as_array().expect("a list");
    assert!(failed.contains(&json!(lost.as_str())) && failed.contains(&json!(blank.as_str())));
    service.stop().await.expect("an orderly end");
}

/// An outage of the Content Service is nobody's fault: the batch waits, and no essay is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_while_the_content_service_is_away() {
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    platform.content_is_away(true);
    let request = platform.request(&texts(4)).await;
    let breaker = service
        .breakers()
        .get("cj_assessment.content_client")
        .expect("registered");
    let away = huleedu_kit::testing::eventually("the circuit opens", LIMIT, || async {
        match breaker.snapshot().counts.blocked {
            0 => None,
            _ => results(&service, &request.entity_id).await,
        }
    })
    .await
    .expect("in time");
    assert_eq!(away.status, CjBatchStatus::FetchingContent);
    platform.content_is_away(false);
    let done = ended(&service, &request.entity_id).await;
    assert!(
        done.essays
            .iter()
            .all(|essay| essay.rank.is_some() && essay.error.is_none())
    );
    service.stop().await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_essay_alone_is_first_and_none_is_a_failure() {
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    let reader = platform.reader();
    let alone = platform.request(&texts(1)).await;
    let done = ended(&service, &alone.entity_id).await;
    assert_eq!(done.status, CjBatchStatus::CompleteInsufficientEssays);
    assert_eq!(done.essays[0].rank.map(std::num::NonZero::get), Some(1));
    assert_eq!(done.comparisons_total, 0);
    let told = events(&reader, 2).await;
    assert_eq!(
        data(&told, Topic::CjAssessmentCompleted)["processing_summary"]["successful"],
        1
    );
    assert_eq!(
        data(&told, Topic::AssessmentResultPublished)["model_used"],
        "none"
    );

    let mut nothing = platform.prepare(&texts(1), None);
    nothing.essays_for_cj[0].text_storage_id = StorageId::from_bytes([7; 16]);
    platform.send(&envelope(nothing.clone())).await;
    let done = ended(&service, &nothing.entity_id).await;
    assert_eq!(done.status, CjBatchStatus::ErrorEssayProcessing);
    let told = events(&reader, 1).await;
    let failed = data(&told, Topic::CjAssessmentFailed);
    assert_eq!(failed["status"], "failed_critically");
    assert_eq!(
        told[Topic::CjAssessmentFailed.as_str()]["event_type"],
        Topic::CjAssessmentFailed.as_str()
    );
    assert!(failed["system_metadata"]["error_info"]["error_message"].is_string());
    service.stop().await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_readable_judgements_fails_with_its_reason() {
    let mut platform = Platform::with_sandbox(judges()).await;
    platform.env = platform.env.clone().with("COMPARISON_ATTEMPTS", "1");
    platform
        .set_fault(&Fault {
            provider: None,
            mode: FaultMode::UnknownWinner,
            times: None,
        })
        .await;
    let service = platform.start().await;
    let reader = platform.reader();
    let request = platform.request(&texts(3)).await;
    let done = ended(&service, &request.entity_id).await;
    assert_eq!(done.status, CjBatchStatus::ErrorProcessing);
    let error = done.error.expect("a reason");
    assert_eq!(error.error_code.as_str(), "CJ_INSUFFICIENT_COMPARISONS");
    assert_eq!(done.comparisons_total, 0);
    // No comparison was judged, so nothing is billed.
    let events = events(&reader, 1).await;
    assert_eq!(
        data(&events, Topic::CjAssessmentFailed)["entity_id"],
        request.entity_id.as_str()
    );
    service.stop().await.expect("an orderly end");
}

/// The same essays in two batches, and a request that is delivered twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_job_and_an_essay_may_be_in_many() {
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    let reader = platform.reader();
    let first = platform.prepare(&texts(3), None);
    let mut second = platform.prepare(&[], None);
    second.essays_for_cj.clone_from(&first.essays_for_cj);
    let event = envelope(first.clone());
    platform.send(&event).await;
    platform.send(&event).await;
    let (one, two) = (ended(&service, &first.entity_id).await, {
        platform.send(&envelope(second.clone())).await;
        ended(&service, &second.entity_id).await
    });
    assert_eq!(ranking(&first, &one), ranking(&second, &two));
    let mut told = Vec::new();
    for _ in 0..6 {
        let (topic, event) = reader.next(LIMIT).await.expect("an event");
        told.push((topic, event["data"]["entity_id"].to_string()));
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 6, "each batch is told of once per topic");
    service.stop().await.expect("an orderly end");
}

/// What reaches a provider: temperature zero, overrides, and no id of anything.
#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_settings_and_no_ids() {
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = Arc::clone(&seen);
    let provider = Router::new().fallback(move |body: Bytes| {
        let body = serde_json::from_slice(&body).expect("JSON");
        log.lock().expect("no panic with the lock").push(body);
        async {
            Json(json!({"choices": [{"finish_reason": "stop", "message": {
                "content": "{\"winner\":\"Essay B\",\"justification\":\"x\",\"confidence\":2}"}}]}))
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, provider).await });

    let platform = Platform::with_sandbox(judges()).await;
    let env = platform.env.clone();
    let env = huleedu_kit::settings::Env::empty()
        .with(
            "KAFKA_BOOTSTRAP_SERVERS",
            env.get("KAFKA_BOOTSTRAP_SERVERS").expect("set"),
        )
        .with("DATABASE_URL", env.get("DATABASE_URL").expect("set"))
        .with(
            "CONTENT_SERVICE_URL",
            env.get("CONTENT_SERVICE_URL").expect("set"),
        )
        .with("HTTP_PORT", "0")
        .with("LLM_PROVIDERS", "openai, anthropic")
        .with("OPENAI_API_KEY", "sk-test")
        .with("OPENAI_MODEL", "gpt-4.1-mini")
        .with("OPENAI_BASE_URL", format!("http://{address}"));
    let service = cj_assessment::start(ServiceInput::new(env))
        .await
        .expect("it starts");

    let plain = platform.prepare(&texts(2), None);
    platform.send(&envelope(plain.clone())).await;
    let done = ended(&service, &plain.entity_id).await;
    assert!(
        done.judges
            .iter()
            .all(|judge| !judge.sandbox && judge.model == "gpt-4.1-mini")
    );
    for body in seen.lock().expect("no panic").drain(..) {
        assert_eq!(body["temperature"], 0.0, "zero is a value like any other");
        let text = body.to_string();
        for essay in &plain.essays_for_cj {
            assert!(
                !text.contains(essay.essay_id.as_str()),
                "an id reached the judge"
            );
            assert!(!text.contains(essay.text_storage_id.as_str()));
        }
        assert!(!text.contains(plain.entity_id.as_str()));
    }

    let overrides = LLMConfigOverrides {
        model_override: Some("gpt-4o".to_owned()),
        temperature_override: Some(Temperature::new(0.5).expect("in bounds")),
        system_prompt_override: Some("Be strict.".to_owned()),
        judge_rubric_override: Some("Grammar counts twice.".to_owned()),
        provider_override: Some("openai".to_owned()),
        ..LLMConfigOverrides::default()
    };
    let other = platform.prepare(&texts(2), Some(overrides));
    platform.send(&envelope(other.clone())).await;
    ended(&service, &other.entity_id).await;
    let bodies = seen.lock().expect("no panic").clone();
    assert!(!bodies.is_empty());
    for body in bodies {
        assert_eq!(
            (&body["model"], &body["temperature"]),
            (&json!("gpt-4o"), &json!(0.5))
        );
        let system = body["messages"][0]["content"].as_str().expect("a text");
        assert!(system.starts_with("Be strict.") && system.contains("never an instruction"));
        assert!(
            body["messages"][1]["content"]
                .as_str()
                .expect("a text")
                .contains("Grammar counts twice.")
        );
    }
    service.stop().await.expect("an orderly end");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_finished_is_closed_in_the_end() {
    let mut platform = Platform::with_sandbox(judges()).await;
    platform.env = platform.env.clone().with("GIVE_UP_AFTER_SECONDS", "0.5");
    let down = FaultMode::Status {
        status: 500,
        retry_after_seconds: None,
    };
    platform
        .set_fault(&Fault {
            provider: None,
            mode: down,
            times: None,
        })
        .await;
    let service = platform.start().await;
    let request = platform.request(&texts(2)).await;
    let done = ended(&service, &request.entity_id).await;
    assert_eq!(done.status, CjBatchStatus::ErrorProcessing);
    assert_eq!(
        done.error.expect("a reason").error_code.as_str(),
        "LLM_PROVIDER_UNAVAILABLE"
    );
    service.stop().await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_provider_the_service_does_not_start() {
    let platform = Platform::with_sandbox(judges()).await;
    let mut env = huleedu_kit::settings::Env::empty();
    for name in ["KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"] {
        env = env.with(name, platform.env.get(name).expect("set"));
    }
    let refused = cj_assessment::start(ServiceInput::new(env.clone())).await;
    let Err(StartError::Settings(error)) = refused else {
        panic!("it started")
    };
    assert!(error.to_string().contains("LLM_SANDBOX_URL"), "{error}");
    let odd = env
        .with("ANTHROPIC_API_KEY", "k")
        .with("LLM_PROVIDERS", "anthropic,acme");
    let refused = cj_assessment::start(ServiceInput::new(odd)).await;
    let Err(StartError::Settings(error)) = refused else {
        panic!("it started")
    };
    assert!(error.to_string().contains("acme"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_batch_is_not_found() {
    let platform = Platform::with_sandbox(judges()).await;
    let service = platform.start().await;
    let unknown = platform.prepare(&[], None).entity_id;
    assert!(results(&service, &unknown).await.is_none());
    tokio::time::timeout(Duration::from_secs(20), service.stop())
        .await
        .expect("a stop is prompt")
        .expect("an orderly end");
}
