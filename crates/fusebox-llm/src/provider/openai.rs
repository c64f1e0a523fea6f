//! The Chat Completions API of `OpenAI`: the judgement is JSON text under a strict schema.

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{WireAnswer, WireRequest, count};
use crate::answer::{self, AnswerError};
use crate::{ApiKey, JudgeRequest, Usage, prompt};

/// Models that think before they answer and take no temperature.
const THINKING: [&str; 4] = ["gpt-5", "o1", "o3", "o4"];

pub(super) fn request(key: &ApiKey, model: &str, request: &JudgeRequest) -> WireRequest {
    let mut body = json!({
        "model": model,
        "messages": messages(request),
        "max_completion_tokens": request.max_tokens,
        "response_format": response_format(),
    });
    if let Some(temperature) = request.temperature
        && !THINKING.iter().any(|family| model.starts_with(family))
    {
        body["temperature"] = temperature.into();
    }
    WireRequest {
        path: ["v1", "chat", "completions"].map(str::to_owned).to_vec(),
        headers: vec![(AUTHORIZATION, key.bearer())],
        body,
    }
}

pub(super) fn answer(body: &Value) -> WireAnswer {
    let choice = &body["choices"][0];
    let usage = &body["usage"];
    WireAnswer {
        judgement: match choice["message"]["content"].as_str() {
            _ if choice["finish_reason"] == "length" => Err(AnswerError::CutShort),
            Some(text) if !text.trim().is_empty() => answer::from_text(text),
            _ => Err(AnswerError::Missing),
        },
        usage: Usage {
            prompt: count(&usage["prompt_tokens"]),
            completion: count(&usage["completion_tokens"]),
        },
    }
}

pub(super) fn messages(request: &JudgeRequest) -> Value {
    json!([
        {"role": "system", "content": request.system},
        {"role": "user", "content": prompt::joined(&request.blocks)},
    ])
}

pub(super) fn response_format() -> Value {
    json!({
        "type": "json_schema",
        "json_schema": {"name": "comparison_result", "strict": true, "schema": answer::schema()},
    })
}
