//! Integration tests of Class Management, over real HTTP and an embedded broker.

use std::time::Duration;

use fusebox_kafka::mock::EmbeddedBroker;
use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    RunningService, ServiceInput,
    testing::{TopicReader, embedded_broker, http_client, service_env},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(1);

struct Platform {
    broker: EmbeddedBroker,
    service: RunningService,
    _folder: tempfile::TempDir,
}

impl Platform {
    async fn start() -> Self {
        let broker = embedded_broker().expect("librdkafka has one built in");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let env = service_env(
            class_management::SERVICE,
            broker.bootstrap_servers(),
            folder.path(),
        )
        .with("MAX_STUDENTS_PER_CLASS", "3");
        let service = class_management::start(ServiceInput::new(env))
            .await
            .expect("it starts");
        Self {
            broker,
            service,
            _folder: folder,
        }
    }

    /// Asks as a user; the status and the JSON body, or null for an empty one.
    async fn ask(
        &self,
        user: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request =
            http_client().request(method, format!("{}{path}", self.service.base_url()));
        if let Some(user) = user {
            request = request.header("x-user-id", user);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let bytes = response.bytes().await.expect("a body");
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).expect("JSON")
        };
        (status, body)
    }

    async fn get(&self, user: &str, path: &str) -> (StatusCode, Value) {
        self.ask(Some(user), Method::GET, path, None).await
    }

    async fn post(&self, user: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Some(user), Method::POST, path, Some(body)).await
    }

    async fn put(&self, user: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Some(user), Method::PUT, path, Some(body)).await
    }

    async fn class(&self, user: &str, name: &str) -> String {
        let (status, body) = self
            .post(
                user,
                "/v1/classes/",
                json!({ "name": name, "course_codes": ["ENG5"] }),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }

    async fn student(&self, user: &str, name: &str, classes: &[&str]) -> (StatusCode, Value) {
        let name = json!({ "first_name": name, "last_name": "Öberg", "legal_full_name": null });
        self.post(
            user,
            "/v1/classes/students",
            json!({ "person_name": name, "class_ids": classes }),
        )
        .await
    }

    async fn events(&self, topics: &[Topic], count: usize) -> Vec<Value> {
        let reader = TopicReader::new(self.broker.bootstrap_servers(), topics).expect("a reader");
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(reader.next(LIMIT).await.expect("an event").1["data"].clone());
        }
        events
    }
}

fn code(answer: &(StatusCode, Value)) -> (u16, &str) {
    (
        answer.0.as_u16(),
        answer.1["error"]["code"].as_str().unwrap_or_default(),
    )
}

#[tokio::test]
async fn a_class_is_made_changed_listed_and_deleted() {
    let platform = Platform::start().await;
    let id = platform.class("teacher", "NA23A").await;
    let path = format!("/v1/classes/{id}");
    let (status, class) = platform.get("teacher", &path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        class,
        json!({ "id": id, "name": "NA23A", "course_code": "ENG5", "student_count": 0, "students": [] })
    );
    let (status, class) = platform
        .put("teacher", &path, json!({ "course_codes": ["SV2"] }))
        .await;
    assert_eq!(
        (status, &class["name"], &class["course_code"]),
        (StatusCode::OK, &"NA23A".into(), &"SV2".into())
    );
    // The same again changes nothing, so nothing is published.
    platform
        .put(
            "teacher",
            &path,
            json!({ "course_codes": ["SV2"], "name": "NA23A" }),
        )
        .await;
    platform
        .put("teacher", &path, json!({ "name": "NA23B" }))
        .await;
    let created = platform.events(&[Topic::ClassCreated], 1).await;
    assert_eq!(created[0]["class_designation"], "NA23A");
    assert_eq!(created[0]["course_codes"], json!(["ENG5"]));
    assert_eq!(created[0]["user_id"], "teacher");
    let updated = platform.events(&[Topic::ClassUpdated], 2).await;
    assert_eq!(
        (
            &updated[0]["course_codes"],
            &updated[0]["class_designation"]
        ),
        (&json!(["SV2"]), &Value::Null)
    );
    assert_eq!(
        (
            &updated[1]["course_codes"],
            &updated[1]["class_designation"]
        ),
        (&Value::Null, &"NA23B".into())
    );
    let (status, _) = platform
        .ask(Some("teacher"), Method::DELETE, &path, None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        code(&platform.get("teacher", &path).await),
        (404, "CLASS_NOT_FOUND")
    );
    platform.service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn lists_are_paged_newest_first_and_hold_only_ones_own() {
    let platform = Platform::start().await;
    for number in 0..5 {
        platform.class("teacher", &format!("class {number}")).await;
    }
    platform.class("other", "not mine").await;
    let (status, page) = platform
        .get("teacher", "/v1/classes/?limit=2&offset=1")
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        page["pagination"],
        json!({ "limit": 2, "offset": 1, "returned": 2 })
    );
    let names: Vec<&Value> = page["classes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["class 3", "class 2"]);
    let (_, page) = platform.get("teacher", "/v1/classes").await;
    assert_eq!(
        page["pagination"],
        json!({ "limit": 20, "offset": 0, "returned": 5 })
    );
    for bad in ["limit=0", "limit=101", "limit=-1", "limit=x", "offset=-1"] {
        let answer = platform
            .get("teacher", &format!("/v1/classes/?{bad}"))
            .await;
        assert_eq!(code(&answer), (400, "VALIDATION_ERROR"), "{bad}");
    }
    platform.service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn students_join_and_leave_classes() {
    let platform = Platform::start().await;
    let (a, b) = (
        platform.class("teacher", "A").await,
        platform.class("teacher", "B").await,
    );
    let (status, body) = platform.student("teacher", "Åsa", &[&a, &a]).await;
    assert_eq!(
        (status, &body["full_name"]),
        (StatusCode::CREATED, &"Åsa Öberg".into())
    );
    let path = format!(
        "/v1/classes/students/{}",
        body["id"].as_str().expect("an id")
    );
    let change =
        json!({ "email": "asa@school.example", "add_class_ids": [b], "remove_class_ids": [a] });
    let (status, student) = platform.put("teacher", &path, change.clone()).await;
    assert_eq!(
        (status, &student["class_ids"]),
        (StatusCode::OK, &json!([b])),
        "{student}"
    );
    let (_, again) = platform.put("teacher", &path, change).await;
    assert_eq!(again, student, "the same change twice is one change");
    let (_, class) = platform.get("teacher", &format!("/v1/classes/{b}")).await;
    assert_eq!(
        (&class["student_count"], &class["students"][0]),
        (&1.into(), &student)
    );
    let roster = platform
        .ask(None, Method::GET, &format!("/v1/classes/{b}/roster"), None)
        .await;
    assert_eq!(roster.1["students"][0]["full_legal_name"], "Åsa Öberg");
    assert_eq!(roster.1["students"][0]["email"], "asa@school.example");
    let created = platform.events(&[Topic::StudentCreated], 1).await;
    assert_eq!(
        (&created[0]["first_name"], &created[0]["class_ids"]),
        (&"Åsa".into(), &json!([a]))
    );
    let updated = platform.events(&[Topic::StudentUpdated], 1).await;
    assert_eq!(updated[0]["add_class_ids"], json!([b]));
    assert_eq!(updated[0]["remove_class_ids"], json!([a]));
    assert_eq!(updated[0]["first_name"], Value::Null);
    let (status, _) = platform
        .ask(Some("teacher"), Method::DELETE, &path, None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, class) = platform.get("teacher", &format!("/v1/classes/{b}")).await;
    assert_eq!(class["students"], json!([]));
    assert_eq!(
        code(&platform.get("teacher", &path).await),
        (404, "STUDENT_NOT_FOUND")
    );
    platform.service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn what_is_anothers_cannot_be_seen_or_changed() {
    let platform = Platform::start().await;
    let class = platform.class("teacher", "mine").await;
    let (_, student) = platform.student("teacher", "Maja", &[&class]).await;
    let student = format!(
        "/v1/classes/students/{}",
        student["id"].as_str().expect("an id")
    );
    let path = format!("/v1/classes/{class}");
    for path in [&path, &student] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let body = (method == Method::PUT).then(|| json!({}));
            let answer = platform
                .ask(Some("other"), method.clone(), path, body.clone())
                .await;
            assert_eq!(
                code(&answer),
                (403, "AUTHORIZATION_ERROR"),
                "{method} {path}"
            );
            let answer = platform.ask(None, method.clone(), path, body).await;
            assert_eq!(
                code(&answer),
                (401, "AUTHENTICATION_ERROR"),
                "{method} {path}"
            );
        }
    }
    let intruder = platform.student("other", "Eve", &[&class]).await;
    assert_eq!(code(&intruder), (403, "AUTHORIZATION_ERROR"));
    let (_, seen) = platform.get("teacher", &path).await;
    assert_eq!(
        seen["student_count"], 1,
        "a refused student is entered nowhere"
    );
    platform.service.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn bad_requests_are_refused_with_their_reason() {
    let platform = Platform::start().await;
    let class = platform.class("teacher", "A").await;
    for (body, expected) in [
        (
            json!({ "name": "", "course_codes": ["ENG5"] }),
            (400, "VALIDATION_ERROR"),
        ),
        (
            json!({ "name": "x".repeat(101), "course_codes": ["ENG5"] }),
            (400, "VALIDATION_ERROR"),
        ),
        (
            json!({ "name": "A", "course_codes": [] }),
            (400, "COURSE_VALIDATION_ERROR"),
        ),
        (
            json!({ "name": "A", "course_codes": ["MATH"] }),
            (400, "COURSE_VALIDATION_ERROR"),
        ),
        (
            json!({ "name": "A", "course_codes": ["ENG5", "SV1"] }),
            (409, "MULTIPLE_COURSE_ERROR"),
        ),
        (
            json!({ "course_codes": ["ENG5"] }),
            (400, "VALIDATION_ERROR"),
        ),
    ] {
        assert_eq!(
            code(&platform.post("teacher", "/v1/classes/", body.clone()).await),
            expected,
            "{body}"
        );
    }
    assert_eq!(
        code(&platform.get("teacher", "/v1/classes/7").await),
        (400, "VALIDATION_ERROR")
    );
    let unknown = "/v1/classes/0d6ec3cb-df8b-5805-9dc3-3d0db66985a6";
    assert_eq!(
        code(&platform.get("teacher", unknown).await),
        (404, "CLASS_NOT_FOUND")
    );
    let name = json!({ "first_name": "A", "last_name": "B", "legal_full_name": null });
    let body = json!({ "person_name": name, "email": "nobody" });
    let answer = platform.post("teacher", "/v1/classes/students", body).await;
    assert_eq!(code(&answer), (400, "VALIDATION_ERROR"));
    assert_eq!(
        code(&platform.student("teacher", "A", &["7"]).await),
        (400, "VALIDATION_ERROR")
    );
    for number in 0..3 {
        assert_eq!(
            platform
                .student("teacher", &format!("S{number}"), &[&class])
                .await
                .0,
            StatusCode::CREATED
        );
    }
    assert_eq!(
        code(&platform.student("teacher", "S4", &[&class]).await),
        (409, "CONFLICT")
    );
    platform.service.stop().await.expect("an orderly end");
}
