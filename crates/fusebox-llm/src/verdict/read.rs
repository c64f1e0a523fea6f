//! Where each provider's format says what went wrong.

use serde_json::Value;

use super::Kind;
use crate::Provider;

/// What a provider said about an error, in one shape for all four.
#[derive(Debug, Default)]
pub(super) struct Signal<'a> {
    /// The status that counts: the one in the body where there is one.
    pub(super) status: u16,
    /// The error's type.
    pub(super) error_type: &'a str,
    /// Its finer codes: quota ids, reasons, limits.
    pub(super) codes: Vec<&'a str>,
    /// Its message.
    pub(super) message: &'a str,
}

/// The error object of a body, wherever the format has it.
pub(super) fn error_of(provider: Provider, body: &Value) -> Option<&Value> {
    if body["error"].is_object() {
        return Some(&body["error"]);
    }
    if matches!(provider, Provider::OpenAi | Provider::OpenRouter) {
        let choice = &body["choices"][0];
        if choice["error"].is_object() {
            return Some(&choice["error"]);
        }
    }
    None
}

pub(super) fn signal(provider: Provider, status: u16, error: &Value) -> Signal<'_> {
    let message = text(&error["message"]);
    match provider {
        Provider::Anthropic => Signal {
            status,
            error_type: text(&error["type"]),
            codes: vec![text(&error["details"]["error_code"])],
            message,
        },
        Provider::OpenAi => Signal {
            status,
            error_type: text(&error["type"]),
            codes: vec![text(&error["code"])],
            message,
        },
        Provider::Google => Signal {
            status: status_in(error, status),
            error_type: text(&error["status"]),
            codes: google_codes(error),
            message,
        },
        Provider::OpenRouter => {
            let metadata = &error["metadata"];
            let mut codes = vec![text(&metadata["limit_source"])];
            if metadata["patterns"].is_array() {
                codes.push("patterns");
            }
            Signal {
                status: status_in(error, status),
                error_type: text(&metadata["error_type"]),
                codes,
                message,
            }
        }
    }
}

/// What is wrong with a successful body that names no error; `None` when nothing is.
pub(super) fn hidden_kind(provider: Provider, body: &Value) -> Option<Kind> {
    match provider {
        Provider::Anthropic => match body["stop_reason"].as_str() {
            Some("refusal") => Some(Kind::Refused),
            _ if !body["content"].is_array() => Some(Kind::Truncated),
            _ => None,
        },
        Provider::OpenAi | Provider::OpenRouter => {
            let choice = &body["choices"][0];
            match choice["finish_reason"].as_str() {
                Some("content_filter") => Some(Kind::Refused),
                Some("error") => Some(Kind::Unavailable),
                _ if choice["message"]["refusal"].is_string() => Some(Kind::Refused),
                _ if !choice["message"].is_object() => Some(Kind::Truncated),
                _ => None,
            }
        }
        Provider::Google => {
            if body["promptFeedback"]["blockReason"].is_string() {
                return Some(Kind::Refused);
            }
            match body["candidates"][0]["finishReason"].as_str() {
                Some(
                    "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
                    | "IMAGE_SAFETY",
                ) => Some(Kind::Refused),
                Some("MALFORMED_FUNCTION_CALL" | "OTHER") | None => Some(Kind::Truncated),
                Some(_) => None,
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn status_in(error: &Value, status: u16) -> u16 {
    error["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok())
        .unwrap_or(status)
}

fn google_codes(error: &Value) -> Vec<&str> {
    let mut codes = Vec::new();
    for detail in error["details"].as_array().into_iter().flatten() {
        codes.extend(detail["reason"].as_str());
        for violation in detail["violations"].as_array().into_iter().flatten() {
            codes.extend(violation["quotaId"].as_str());
        }
    }
    codes
}
