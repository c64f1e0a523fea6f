//! OpenRouter: the format of `OpenAI` with a part about routing.

use reqwest::header::AUTHORIZATION;
use serde_json::json;

use super::{WireRequest, openai};
use crate::{ApiKey, JudgeRequest};

pub(super) fn request(key: &ApiKey, model: &str, request: &JudgeRequest) -> WireRequest {
    let mut body = json!({
        "model": model,
        "messages": openai::messages(request),
        "max_tokens": request.max_tokens,
        "response_format": openai::response_format(),
        // Without this an upstream that knows no schemas is used and the schema silently dropped.
        "provider": {"require_parameters": true},
    });
    if let Some(temperature) = request.temperature {
        body["temperature"] = temperature.into();
    }
    WireRequest {
        path: ["v1", "chat", "completions"].map(str::to_owned).to_vec(),
        headers: vec![(AUTHORIZATION, key.bearer())],
        body,
    }
}
