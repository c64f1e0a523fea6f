//! Anthropic's Messages API: the judgement is the input of a tool that the model is made to use.

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::{WireAnswer, WireRequest, count};
use crate::answer::{self, AnswerError};
use crate::{ApiKey, JudgeRequest, Usage};

const TOOL: &str = "comparison_result";

pub(super) fn request(key: &ApiKey, model: &str, request: &JudgeRequest) -> WireRequest {
    let blocks: Vec<Value> = request
        .blocks
        .iter()
        .map(|block| text_block(&block.text, block.cacheable))
        .collect();
    let mut body = json!({
        "model": model,
        "max_tokens": request.max_tokens,
        "system": [text_block(&request.system, true)],
        "messages": [{"role": "user", "content": blocks}],
        "tools": [{
            "name": TOOL,
            "description": "Reports which essay is better.",
            "input_schema": answer::schema(),
        }],
        "tool_choice": {"type": "tool", "name": TOOL},
    });
    if let Some(temperature) = request.temperature {
        body["temperature"] = temperature.into();
    }
    WireRequest {
        path: vec!["v1".into(), "messages".into()],
        headers: vec![
            (HeaderName::from_static("x-api-key"), key.plain()),
            (
                HeaderName::from_static("anthropic-version"),
                HeaderValue::from_static("2023-06-01"),
            ),
        ],
        body,
    }
}

pub(super) fn answer(body: &Value) -> WireAnswer {
    let usage = &body["usage"];
    let used = body["content"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|block| block["type"] == "tool_use" && block["name"] == TOOL);
    WireAnswer {
        judgement: match used {
            _ if body["stop_reason"] == "max_tokens" => Err(AnswerError::CutShort),
            Some(block) => answer::from_value(&block["input"]),
            None => Err(AnswerError::Missing),
        },
        usage: Usage {
            prompt: count(&usage["input_tokens"])
                + count(&usage["cache_read_input_tokens"])
                + count(&usage["cache_creation_input_tokens"]),
            completion: count(&usage["output_tokens"]),
        },
    }
}

fn text_block(text: &str, cacheable: bool) -> Value {
    let mut block = json!({"type": "text", "text": text});
    if cacheable {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
    block
}
