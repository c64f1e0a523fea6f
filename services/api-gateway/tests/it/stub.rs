//! One server that plays every downstream service, and a gateway in front of it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse as _, Response},
};
use huleedu_kit::{
    RunningService, ServiceId, ServiceInput,
    settings::Secret,
    testing::{http_client, service_env},
};
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes";
pub(crate) const BATCH: &str = "b1";

/// What the stub was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Default)]
pub(crate) struct Behind {
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// Status that every answer has instead of its own; 0 for its own.
    pub(crate) forced: AtomicU16,
}

impl Behind {
    pub(crate) fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

/// The gateway with everything behind it.
pub(crate) struct Platform {
    pub(crate) behind: Arc<Behind>,
    pub(crate) gateway: RunningService,
    pub(crate) http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further settings.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let behind = Arc::new(Behind::default());
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&behind));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let folder = tempfile::tempdir().unwrap();
        let mut env = service_env(ServiceId::ApiGateway, "127.0.0.1:1", folder.path())
            .with("JWT_SECRET", SECRET)
            .with("MAX_REQUEST_BYTES", "4096");
        for name in [
            "BATCH_ORCHESTRATOR_URL",
            "ESSAY_LIFECYCLE_URL",
            "CJ_ASSESSMENT_URL",
            "FILE_SERVICE_URL",
            "CLASS_MANAGEMENT_URL",
        ] {
            env = env.with(name, &url);
        }
        for (name, value) in settings {
            env = env.with(*name, *value);
        }
        let gateway = api_gateway::start(ServiceInput::new(env)).await.unwrap();
        Self {
            behind,
            gateway,
            http: http_client(),
            _folder: folder,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.base_url())
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        user: &str,
    ) -> reqwest::RequestBuilder {
        self.http
            .request(method, self.url(path))
            .bearer_auth(token(user))
    }
}

pub(crate) fn token(user: &str) -> String {
    let valid = std::time::Duration::from_mins(1);
    api_gateway::token::mint(&Secret::new(SECRET), &user.parse().unwrap(), None, valid).unwrap()
}

const NOW: &str = "2026-11-22T10:00:00Z";

async fn answer(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().to_string();
    behind.asked.lock().unwrap().push(Asked {
        method: parts.method.clone(),
        path: path.clone(),
        headers: parts.headers.clone(),
        body,
    });
    let forced = behind.forced.load(Ordering::SeqCst);
    if forced != 0 {
        return StatusCode::from_u16(forced).unwrap().into_response();
    }
    let json = |status: u16, value: Value| {
        (StatusCode::from_u16(status).unwrap(), axum::Json(value)).into_response()
    };
    match (parts.method.as_str(), path.as_str()) {
        ("POST", "/v1/batches/register") => json(
            202,
            json!({
            "batch_id": BATCH, "correlation_id": "7f3f6a3e-3c3b-4d5e-9a53-0a2b3c4d5e6f", "status": "registered" }),
        ),
        ("GET", "/v1/batches/b1/status") if parts.headers.contains_key("x-user-id") => {
            json(200, batch())
        }
        ("GET", "/v1/batches/b1/status") => json(200, essays()),
        ("GET", "/v1/batches/b3/status") if parts.headers.contains_key("x-user-id") => {
            let mut other = batch();
            other["batch_id"] = json!("b3");
            json(200, other)
        }
        ("GET", "/internal/v1/batches/b1/results") => json(200, ranking()),
        ("GET", p) if p.starts_with("/internal/v1/batches/user/teacher?") => json(
            200,
            json!({
            "batches": [batch()], "pagination": { "limit": 20, "offset": 0, "total": 1 } }),
        ),
        ("POST", "/internal/v1/batches/b1/pipelines/cj_assessment/preflight") => {
            json(200, json!({}))
        }
        ("POST", "/internal/v1/batches/b2/pipelines/cj_assessment/preflight") => {
            json(409, json!({ "error": "busy" }))
        }
        ("POST", "/v1/files/batch") => json(202, json!({ "message": "taken" })),
        (_, p) if p.starts_with("/v1/classes") => json(201, json!({ "path": p })),
        _ => json(404, json!({ "error": "no such thing" })),
    }
}

fn batch() -> Value {
    let phase = |name: &str, status: &str| {
        json!({
        "phase": name, "status": status, "started_at": NOW, "completed_at": null, "error_info": null,
        "essay_counts": { "total": 2, "pending_dispatch_or_processing": 0, "successful": 2, "failed": 0 } })
    };
    json!({
        "batch_id": BATCH, "user_id": "teacher", "status": "completed_with_failures",
        "requested_pipeline": "cj_assessment", "current_phase": null,
        "phases": [phase("spellcheck", "completed_successfully"), phase("cj_assessment", "completed_successfully")],
        "expected_essay_count": 3, "course_code": "ENG5", "class_id": null, "assignment_id": null,
        "student_prompt_ref": null, "error": null, "created_at": NOW, "updated_at": NOW,
        "processing_started_at": NOW, "processing_completed_at": NOW })
}

fn essays() -> Value {
    let essay = |id: &str, name: &str| {
        json!({
        "essay_id": id, "filename": name, "file_upload_id": format!("u-{id}"),
        "current_status": "cj_assessment_success", "text_storage_id": null, "corrections": 3,
        "spellcheck_metrics": null, "corrected_text_storage_id": null, "error": null, "updated_at": NOW })
    };
    json!({
        "batch_id": BATCH, "total_essays": 2, "status_breakdown": { "cj_assessment_success": 2 },
        "completion_percentage": 100.0, "essays": [essay("e1", "a.txt"), essay("e2", "b.txt")],
        "failed_files": [{ "file_upload_id": "u3", "filename": "c.txt", "error_code": "EMPTY_CONTENT", "message": "the file holds no text" }] })
}

fn ranking() -> Value {
    let essay = |id: &str, rank: u32, score: f64| {
        json!({
        "essay_id": id, "rank": rank, "score": score, "standard_error": 0.5, "comparisons": 4,
        "normalized_score": 0.5, "letter_grade": "U", "confidence_score": 0.5, "confidence_label": "MID", "error": null })
    };
    json!({
        "batch_id": BATCH, "status": "COMPLETE_STABLE", "essays": [essay("e1", 2, -0.7), essay("e2", 1, 0.7)],
        "judges": [{ "provider": "anthropic", "model": "m", "comparisons": 4, "sandbox": true }],
        "comparisons_total": 4, "comparisons_budget": 120, "error": null, "updated_at": NOW })
}
