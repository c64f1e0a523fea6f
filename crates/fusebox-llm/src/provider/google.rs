//! Google's Gemini Developer API: the judgement is JSON text under a schema.

use reqwest::header::HeaderName;
use serde_json::{Value, json};

use super::{WireAnswer, WireRequest, count};
use crate::answer::{self, AnswerError};
use crate::{ApiKey, JudgeRequest, Usage};

pub(super) fn request(key: &ApiKey, model: &str, request: &JudgeRequest) -> WireRequest {
    let parts: Vec<Value> = request
        .blocks
        .iter()
        .map(|block| json!({"text": block.text}))
        .collect();
    let mut settings = json!({
        "maxOutputTokens": request.max_tokens,
        "candidateCount": 1,
        "responseMimeType": "application/json",
        "responseJsonSchema": answer::schema(),
    });
    if let Some(temperature) = request.temperature {
        settings["temperature"] = temperature.into();
    }
    WireRequest {
        path: vec![
            "v1beta".into(),
            "models".into(),
            format!("{model}:generateContent"),
        ],
        headers: vec![(HeaderName::from_static("x-goog-api-key"), key.plain())],
        body: json!({
            "systemInstruction": {"parts": [{"text": request.system}]},
            "contents": [{"role": "user", "parts": parts}],
            "generationConfig": settings,
        }),
    }
}

pub(super) fn answer(body: &Value) -> WireAnswer {
    let candidate = &body["candidates"][0];
    let usage = &body["usageMetadata"];
    // Parts that are marked as thoughts are no part of the answer.
    let text: String = candidate["content"]["parts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|part| part["thought"] != true)
        .filter_map(|part| part["text"].as_str())
        .collect();
    WireAnswer {
        judgement: match candidate["finishReason"].as_str() {
            Some("MAX_TOKENS") => Err(AnswerError::CutShort),
            _ if text.trim().is_empty() => Err(AnswerError::Missing),
            _ => answer::from_text(&text),
        },
        usage: Usage {
            prompt: count(&usage["promptTokenCount"]),
            completion: count(&usage["candidatesTokenCount"]) + count(&usage["thoughtsTokenCount"]),
        },
    }
}
