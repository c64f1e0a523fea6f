//! The four wire formats from the other side: reading requests, writing answers and errors.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::MARK_FIELD;
use crate::{Judgement, Provider};

/// What the sandbox reads from a request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: String,
    /// The user's message.
    pub(super) prompt: String,
}

/// Whether the request carries a key where this provider expects it, and the version it demands.
pub(super) fn authorised(provider: Provider, headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match provider {
        Provider::Anthropic => {
            header("x-api-key").is_some_and(|key| !key.is_empty())
                && header("anthropic-version").is_some()
        }
        Provider::Google => header("x-goog-api-key").is_some_and(|key| !key.is_empty()),
        Provider::OpenAi | Provider::OpenRouter => header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
            .is_some_and(|key| !key.is_empty()),
    }
}

/// Reads a request. `None` when it has not the shape of the provider's format, or does not ask for
/// the structured answer that the sandbox gives.
pub(super) fn read(provider: Provider, body: &Value, model_in_path: Option<&str>) -> Option<Asked> {
    let (model, prompt) = match provider {
        Provider::Anthropic => {
            body["max_tokens"].as_u64()?;
            body["tool_choice"]["name"].as_str()?;
            let message = body["messages"].as_array()?.last()?;
            (
                body["model"].as_str()?,
                texts(message["content"].as_array()?)?,
            )
        }
        Provider::Google => {
            let settings = &body["generationConfig"];
            settings["responseJsonSchema"].as_object()?;
            let content = body["contents"].as_array()?.last()?;
            (model_in_path?, texts(content["parts"].as_array()?)?)
        }
        Provider::OpenAi | Provider::OpenRouter => {
            body["response_format"]["json_schema"]["schema"].as_object()?;
            let message = body["messages"].as_array()?.last()?;
            (
                body["model"].as_str()?,
                message["content"].as_str()?.to_owned(),
            )
        }
    };
    (!model.is_empty()).then(|| Asked {
        model: model.to_owned(),
        prompt,
    })
}

/// A judgement as its JSON object.
pub(super) fn judgement(judgement: &Judgement) -> Value {
    json!({
        "winner": judgement.winner.as_str(),
        "justification": judgement.justification,
        "confidence": judgement.confidence.get(),
    })
}

/// Writes a judgement as the provider would, marked as the sandbox's.
pub(super) fn answer(provider: Provider, asked: &Asked, judgement: &Value) -> Value {
    let text = judgement.to_string();
    // Tokens are not counted here; about four letters make one.
    let (prompt_tokens, answer_tokens) = (asked.prompt.len() / 4, text.len() / 4);
    let mut body = match provider {
        Provider::Anthropic => json!({
            "id": "msg_sandbox",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": [{
                "type": "tool_use",
                "id": "toolu_sandbox",
                "name": "comparison_result",
                "input": judgement,
            }],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": prompt_tokens, "output_tokens": answer_tokens},
        }),
        Provider::Google => json!({
            "candidates": [{
                "index": 0,
                "content": {"role": "model", "parts": [{"text": text}]},
                "finishReason": "STOP",
            }],
            "modelVersion": asked.model,
            "usageMetadata": {
                "promptTokenCount": prompt_tokens,
                "candidatesTokenCount": answer_tokens,
                "totalTokenCount": prompt_tokens + answer_tokens,
            },
        }),
        Provider::OpenAi | Provider::OpenRouter => json!({
            "id": "chatcmpl-sandbox",
            "object": "chat.completion",
            "model": asked.model,
            "system_fingerprint": "fusebox-sandbox",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": answer_tokens,
                "total_tokens": prompt_tokens + answer_tokens,
            },
        }),
    };
    body[MARK_FIELD] = true.into();
    body
}

/// Writes an error as the provider would; the wait goes where the provider puts it.
pub(super) fn error(
    provider: Provider,
    status: u16,
    message: &str,
    retry_after_seconds: Option<u32>,
) -> (Value, Option<u32>) {
    let error = match provider {
        Provider::Anthropic => json!({"type": "error", "error": {
            "type": anthropic_type(status), "message": message,
        }}),
        Provider::OpenAi => json!({"error": {
            "message": message, "type": openai_type(status), "param": null,
            "code": openai_code(status),
        }}),
        Provider::Google => {
            let mut details = Vec::new();
            if let Some(seconds) = retry_after_seconds {
                details.push(json!({
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": format!("{seconds}s"),
                }));
            }
            json!({"error": {
                "code": status, "message": message, "status": google_status(status),
                "details": details,
            }})
        }
        Provider::OpenRouter => json!({"error": {
            "code": status, "message": message,
            "metadata": {"error_type": openrouter_type(status)},
        }}),
    };
    // Google says how long to wait in the body only.
    let header = retry_after_seconds.filter(|_| provider != Provider::Google);
    (error, header)
}

/// A status that servers send although no list has it.
pub(super) fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn texts(parts: &[Value]) -> Option<String> {
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part["text"].as_str()).collect();
    Some(texts?.join("\n\n"))
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 | 503 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

fn openai_type(status: u16) -> &'static str {
    match status {
        402 => "insufficient_quota",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

fn openai_code(status: u16) -> Option<&'static str> {
    match status {
        401 => Some("invalid_api_key"),
        402 => Some("insufficient_quota"),
        404 => Some("model_not_found"),
        429 => Some("rate_limit_exceeded"),
        _ => None,
    }
}

fn google_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

fn openrouter_type(status: u16) -> &'static str {
    match status {
        401 => "authentication",
        402 => "payment_required",
        403 => "permission_denied",
        404 => "not_found",
        408 | 504 | 524 => "timeout",
        413 => "payload_too_large",
        429 => "rate_limit_exceeded",
        502 => "provider_unavailable",
        503 | 529 => "provider_overloaded",
        400..=499 => "invalid_request",
        _ => "server",
    }
}
