//! The routes: what they answer, refuse and leave alone.

use huleedu_contracts::{ids::BatchId, status::BatchStatus, topics::Topic};
use serde_json::json;

use crate::support::{Platform, TEACHER, prompt, request, text};

#[tokio::test]
async fn a_registration_is_stored_and_announced() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({ "org_id": "school" })).await;
    assert_eq!(batch.essays.len(), 2);
    assert_ne!(batch.essays[0], batch.essays[1]);
    let event = platform
        .event_of(Topic::BatchEssaysRegistered, &batch.id)
        .await;
    let data = &event["data"];
    assert_eq!(data["expected_essay_count"], 2);
    assert_eq!(data["course_code"], "ENG5");
    assert_eq!(
        (&data["user_id"], &data["org_id"]),
        (&json!(TEACHER), &json!("school"))
    );
    assert_eq!(data["metadata"]["entity_id"], json!(batch.id));
    assert_eq!(event["source_service"], "batch_orchestrator");
}

#[tokio::test]
async fn a_bad_registration_is_refused_and_leaves_nothing() {
    let platform = Platform::start_with(json!({ "MAX_ESSAYS_PER_BATCH": "3" })).await;
    let good = || json!({ "expected_essay_count": 2, "course_code": "SV1", "user_id": "u" });
    let bad = [
        ("expected_essay_count", json!(0), ""),
        ("expected_essay_count", json!(4), "1 to 3"),
        ("essay_ids", json!(["only-one"]), "2 different essays"),
        ("essay_ids", json!(["same", "same"]), "2 different essays"),
        ("course_code", json!("MATH1"), "CourseCode"),
        ("user_id", json!(" "), "UserId"),
        ("cj_default_temperature", json!(2.5), "Temperature"),
        ("class_id", json!("class-1"), "not supported yet"),
    ];
    for (field, value, says) in bad {
        let mut body = good();
        body[field] = value;
        let (status, answer) = platform.post("/v1/batches/register", None, &body).await;
        assert_eq!(status, 400, "{field}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{field}: {message}");
    }
    assert_eq!(platform.published(Topic::BatchEssaysRegistered).await, 0);

    // The name of a slot is taken once.
    let mut body = good();
    body["essay_ids"] = json!(["x", "y"]);
    let (status, _) = platform.post("/v1/batches/register", None, &body).await;
    assert_eq!(status, 202);
    body["essay_ids"] = json!(["z", "y"]);
    let (status, answer) = platform.post("/v1/batches/register", None, &body).await;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(platform.published(Topic::BatchEssaysRegistered).await, 1);
    let (_, list) = platform.get("/internal/v1/batches/user/u").await;
    assert_eq!(
        list["pagination"]["total"], 1,
        "the refused one left no row"
    );
}

#[tokio::test]
async fn a_batch_that_does_not_exist_is_404_everywhere() {
    let platform = Platform::start().await;
    let nobody = BatchId::random();
    let reads = [
        format!("/v1/batches/{nobody}/status"),
        format!("/internal/v1/batches/{nobody}/pipeline-state"),
    ];
    for path in reads {
        let (status, answer) = platform.get(&path).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (404, &json!("RESOURCE_NOT_FOUND"))
        );
    }
    assert_eq!(platform.preflight(&nobody, "cj_assessment").await.0, 404);
    assert_eq!(
        platform
            .attach_prompt(&nobody, TEACHER, &text(0, 9))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_users_batches_are_listed_newest_first_in_parts_and_by_status() {
    let platform = Platform::start().await;
    let mut batches = vec![];
    for _ in 0..3 {
        batches.push(platform.register(1, json!({})).await);
    }
    platform
        .register(1, json!({ "user_id": "somebody-else" }))
        .await;
    platform.fill(&batches[1], 1).await;
    let list = async |query: &str| {
        let (status, body) = platform
            .get(&format!("/internal/v1/batches/user/{TEACHER}{query}"))
            .await;
        assert_eq!(status, 200, "{body}");
        let all = body["batches"].as_array().unwrap();
        let ids: Vec<_> = all.iter().map(|b| b["batch_id"].clone()).collect();
        (ids, body["pagination"].clone())
    };
    let id = |i: usize| json!(batches[i].id);
    let (all, pagination) = list("").await;
    assert_eq!(pagination, json!({ "limit": 20, "offset": 0, "total": 3 }));
    assert_eq!(all.len(), 3);
    let (part, pagination) = list("?limit=2&offset=2").await;
    assert_eq!(
        (part.as_slice(), &pagination["total"]),
        (&all[2..], &json!(3))
    );
    for status in ["ready", "ready_for_pipeline_execution"] {
        assert_eq!(
            list(&format!("?status={status}")).await.0,
            [id(1)],
            "{status}"
        );
    }
    assert_eq!(list("?status=pending_content").await.0.len(), 2);
    for bad in ["?status=lost", "?limit=0", "?limit=101", "?offset=-1"] {
        let path = format!("/internal/v1/batches/user/{TEACHER}{bad}");
        assert_eq!(platform.get(&path).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn the_preflight_says_what_stands_in_the_way() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;
    let refused = async |pipeline: &str, status: u16, says: &str| {
        let (code, body) = platform.preflight(&batch.id, pipeline).await;
        assert_eq!(code, status, "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    };
    refused("cj_assessment", 409, "not complete yet").await;
    for pipeline in ["spelling", "nlp", "comprehensive"] {
        refused(pipeline, 400, "choose one of: cj_assessment").await;
    }
    let path = format!(
        "/internal/v1/batches/{}/pipelines/cj_assessment/preflight",
        batch.id
    );
    assert_eq!(
        platform.post(&path, Some("stranger"), &json!({})).await.0,
        403
    );
    assert_eq!(platform.post(&path, None, &json!({})).await.0, 401);

    platform.fill(&batch, 2).await;
    let (code, body) = platform.preflight(&batch.id, "cj_assessment").await;
    assert_eq!(
        (code, &body["required_credits"]),
        (200, &json!(1)),
        "{body}"
    );
    assert_eq!(body["available_credits"], json!(null));

    platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    platform
        .reaches(&batch.id, BatchStatus::ProcessingPipelines)
        .await;
    refused("cj_assessment", 409, "is running").await;
}

#[tokio::test]
async fn a_prompt_is_attached_by_the_owner_until_a_pipeline_runs() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;
    let stored = text(7, 7);
    assert_eq!(
        platform
            .attach_prompt(&batch.id, "stranger", &stored)
            .await
            .0,
        403
    );
    let (status, body) = platform.attach_prompt(&batch.id, TEACHER, &stored).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["student_prompt_ref"], prompt(&stored));
    let shown = platform.status(&batch.id).await.student_prompt_ref;
    assert_eq!(json!(shown), prompt(&stored));

    platform.fill(&batch, 2).await;
    platform
        .say(&request(&batch.id, TEACHER, "cj_assessment"))
        .await;
    platform
        .reaches(&batch.id, BatchStatus::ProcessingPipelines)
        .await;
    let (status, body) = platform
        .attach_prompt(&batch.id, TEACHER, &text(8, 8))
        .await;
    assert_eq!(status, 409, "{body}");
    let shown = platform.status(&batch.id).await.student_prompt_ref;
    assert_eq!(json!(shown), prompt(&stored));
}

#[tokio::test]
async fn a_prompt_that_cannot_be_checked_is_not_attached() {
    let platform = Platform::start().await;
    let batch = platform.register(2, json!({})).await;
    platform.content.answers(404);
    let (status, body) = platform
        .attach_prompt(&batch.id, TEACHER, &text(7, 7))
        .await;
    assert_eq!(status, 400, "{body}");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("does not exist")
    );

    platform.content.answers(500);
    for _ in 0..3 {
        let (status, body) = platform
            .attach_prompt(&batch.id, TEACHER, &text(7, 7))
            .await;
        assert_eq!(status, 502, "{body}");
    }
    // The third fault of the Content Service has opened its circuit.
    let (status, body) = platform
        .attach_prompt(&batch.id, TEACHER, &text(7, 7))
        .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &json!("CIRCUIT_BREAKER_OPEN")),
        "{body}"
    );
    assert_eq!(
        body["error"]["details"]["circuit"],
        "batch_orchestrator.content_client"
    );
    assert_eq!(platform.status(&batch.id).await.student_prompt_ref, None);
}
