//! What goes over the wire, per provider, pinned whole.

use fusebox_llm::{JudgeProvider, JudgeRequest, ModelChoice, PromptBlock, Provider, Side, Usage};
use serde_json::{Value, json};

use crate::server::{Seen, client, recorder};

fn two_blocks() -> JudgeRequest {
    let block = |text: &str, cacheable| PromptBlock {
        text: text.to_owned(),
        cacheable,
    };
    let mut request = JudgeRequest::new(
        "Judge.",
        vec![block("Context", true), block("Essays", false)],
    );
    request.max_tokens = 300;
    request
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "winner": {
                "type": "string", "enum": ["Essay A", "Essay B"],
                "description": "The better essay."
            },
            "justification": {
                "type": "string",
                "description": "Why it is better, in at most 50 words."
            },
            "confidence": {
                "type": "integer", "enum": [1, 2, 3, 4, 5],
                "description": "1 is a coin's throw, 5 is beyond doubt."
            }
        },
        "required": ["winner", "justification", "confidence"],
        "additionalProperties": false
    })
}

/// Sends `request` to a server that answers with `answer`; gives the judgement and what was sent.
async fn exchange(
    provider: Provider,
    request: &JudgeRequest,
    answer: Value,
) -> (fusebox_llm::Judged, Seen) {
    let (server, seen) = recorder(200, answer.to_string()).await;
    let client = client(provider, server.url("/base/"));
    let judged = client.judge(request).await.expect("a judgement");
    let seen = seen.lock().expect("no panic")[0].clone();
    assert!(seen.uri.query().is_none(), "nothing is put into the query");
    assert!(
        !seen.uri.to_string().contains("secret"),
        "the key is not in the URL"
    );
    assert_eq!(seen.headers["content-type"], "application/json");
    (judged, seen)
}

fn assert_judged(judged: &fusebox_llm::Judged, provider: Provider, usage: Usage) {
    assert_eq!(judged.judgement.winner, Side::B);
    assert_eq!(judged.judgement.justification, "clearer");
    assert!((judged.judgement.confidence.get() - 4.0).abs() < f64::EPSILON);
    assert_eq!((judged.provider, judged.usage), (provider, usage));
    assert!(!judged.sandbox);
    assert!(judged.passed_over.is_empty());
}

#[tokio::test]
async fn anthropic() {
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
        "content": [
            {"type": "text", "text": "I compare."},
            {"type": "tool_use", "id": "t", "name": "comparison_result",
             "input": {"winner": "Essay B", "justification": "clearer", "confidence": 4}}
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5,
                  "cache_creation_input_tokens": 2, "output_tokens": 7}
    });
    let (judged, seen) = exchange(Provider::Anthropic, &two_blocks(), answer).await;
    assert_judged(
        &judged,
        Provider::Anthropic,
        Usage {
            prompt: 17,
            completion: 7,
        },
    );
    assert_eq!(judged.usage.total(), 24);
    assert_eq!(seen.uri.path(), "/base/v1/messages");
    assert_eq!(seen.headers["x-api-key"], "sk-secret-of-the-test");
    assert_eq!(seen.headers["anthropic-version"], "2023-06-01");
    assert!(!seen.headers.contains_key("authorization"));
    assert_eq!(
        seen.body,
        json!({
            "model": "claude-haiku-4-5-20251001",
            "max_tokens": 300,
            "temperature": 0.0,
            "system": [{"type": "text", "text": "Judge.", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "Context", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Essays"}
            ]}],
            "tools": [{
                "name": "comparison_result",
                "description": "Reports which essay is better.",
                "input_schema": schema()
            }],
            "tool_choice": {"type": "tool", "name": "comparison_result"}
        })
    );
}

#[tokio::test]
async fn openai() {
    let answer = json!({
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant",
            "content": "{\"winner\":\"Essay B\",\"justification\":\"clearer\",\"confidence\":4}"
        }}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17}
    });
    let mut request = two_blocks();
    request.model = Some(ModelChoice {
        provider: Provider::OpenAi,
        model: "gpt-4.1-mini".to_owned(),
    });
    let (judged, seen) = exchange(Provider::OpenAi, &request, answer.clone()).await;
    assert_judged(
        &judged,
        Provider::OpenAi,
        Usage {
            prompt: 11,
            completion: 6,
        },
    );
    assert_eq!(judged.model, "gpt-4.1-mini");
    assert_eq!(seen.uri.path(), "/base/v1/chat/completions");
    assert_eq!(
        seen.headers["authorization"],
        "Bearer sk-secret-of-the-test"
    );
    assert_eq!(
        seen.body,
        json!({
            "model": "gpt-4.1-mini",
            "messages": [
                {"role": "system", "content": "Judge."},
                {"role": "user", "content": "Context\n\nEssays"}
            ],
            "max_completion_tokens": 300,
            "temperature": 0.0,
            "response_format": {"type": "json_schema", "json_schema": {
                "name": "comparison_result", "strict": true, "schema": schema()
            }}
        })
    );
    // Models that think take no temperature.
    let (_, seen) = exchange(Provider::OpenAi, &two_blocks(), answer).await;
    assert_eq!(seen.body["model"], "gpt-5-mini-2025-08-07");
    assert!(seen.body.get("temperature").is_none());
}

#[tokio::test]
async fn google() {
    let answer = json!({
        "candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "thinking about it", "thought": true},
            {"text": "{\"winner\":\"Essay B\",\"justification\":\"clearer\","},
            {"text": "\"confidence\":4}"}
        ]}}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 3}
    });
    let (judged, seen) = exchange(Provider::Google, &two_blocks(), answer).await;
    assert_judged(
        &judged,
        Provider::Google,
        Usage {
            prompt: 9,
            completion: 7,
        },
    );
    assert_eq!(
        seen.uri.path(),
        "/base/v1beta/models/gemini-2.5-flash:generateContent"
    );
    assert_eq!(seen.headers["x-goog-api-key"], "sk-secret-of-the-test");
    assert_eq!(
        seen.body,
        json!({
            "systemInstruction": {"parts": [{"text": "Judge."}]},
            "contents": [{"role": "user", "parts": [{"text": "Context"}, {"text": "Essays"}]}],
            "generationConfig": {
                "maxOutputTokens": 300,
                "candidateCount": 1,
                "responseMimeType": "application/json",
                "responseJsonSchema": schema(),
                "temperature": 0.0
            }
        })
    );
}

#[tokio::test]
async fn openrouter() {
    let answer = json!({
        "id": "gen-1",
        "choices": [{"finish_reason": "stop", "native_finish_reason": "end_turn", "message": {
            "content": "```json\n{\"winner\":\"Essay B\",\"justification\":\"clearer\",\"confidence\":4}\n```"
        }}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.001}
    });
    let mut request = two_blocks();
    request.temperature = None;
    // A model of another provider is no choice for this one.
    request.model = Some(ModelChoice {
        provider: Provider::OpenAi,
        model: "gpt-4.1".to_owned(),
    });
    let (judged, seen) = exchange(Provider::OpenRouter, &request, answer).await;
    assert_judged(
        &judged,
        Provider::OpenRouter,
        Usage {
            prompt: 1,
            completion: 2,
        },
    );
    assert_eq!(seen.uri.path(), "/base/v1/chat/completions");
    assert_eq!(
        seen.headers["authorization"],
        "Bearer sk-secret-of-the-test"
    );
    assert_eq!(
        seen.body,
        json!({
            "model": "anthropic/claude-haiku-4.5",
            "messages": [
                {"role": "system", "content": "Judge."},
                {"role": "user", "content": "Context\n\nEssays"}
            ],
            "max_tokens": 300,
            "response_format": {"type": "json_schema", "json_schema": {
                "name": "comparison_result", "strict": true, "schema": schema()
            }},
            "provider": {"require_parameters": true}
        })
    );
}
