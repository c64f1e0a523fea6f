//! The verdict table: what each provider says, and what it means.

use fusebox::Outcome;
use fusebox_llm::verdict::{Kind, Scope, Verdict, judge};
use fusebox_llm::{JudgeRequest, Provider};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: i64 = 784_111_777;

#[test]
fn every_fixture_has_its_verdict() {
    let fixtures: Vec<Value> =
        serde_json::from_str(include_str!("../fixtures/verdicts.json")).unwrap();
    assert!(fixtures.len() >= 70);
    let now = jiff::Timestamp::from_second(NOW).unwrap();
    for fixture in fixtures {
        let provider: Provider = fixture["provider"].as_str().unwrap().parse().unwrap();
        let status = u16::try_from(fixture["status"].as_u64().unwrap()).unwrap();
        let headers: HeaderMap = fixture["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                let name = HeaderName::try_from(name.as_str()).unwrap();
                (
                    name,
                    HeaderValue::from_str(value.as_str().unwrap()).unwrap(),
                )
            })
            .collect();
        let body = match &fixture["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let verdict = judge(provider, status, &headers, body.as_bytes(), now);
        let Some(verdict) = verdict else {
            assert!(fixture["kind"].is_null(), "no verdict: {fixture}");
            continue;
        };
        assert_eq!(
            Some(verdict.kind.as_str()),
            fixture["kind"].as_str(),
            "{fixture}"
        );
        let meant = Verdict::of(verdict.kind);
        assert_eq!(
            (verdict.outcome, verdict.scope, verdict.fail_over),
            (meant.outcome, meant.scope, meant.fail_over),
            "{fixture}"
        );
        let retry = fixture["retry_same"].as_bool();
        let by_table = meant.retry_same;
        // OpenRouter says in its own fixtures whether a retry helps.
        let said = fixture["body"]["error"]["availability"]["retryable"].as_bool();
        assert_eq!(
            verdict.retry_same,
            retry.or(said).unwrap_or(by_table),
            "{fixture}"
        );
        let wait = verdict
            .wait
            .map(|wait| u64::try_from(wait.as_millis()).unwrap());
        assert_eq!(wait, fixture["wait_ms"].as_u64(), "{fixture}");
    }
}

/// The caller's own faults and throttles are no evidence against a provider, and never a success.
#[test]
fn what_a_kind_means() {
    for kind in Kind::ALL {
        let (outcome, scope, retry_same, fail_over) = kind.meaning();
        match kind {
            Kind::Overloaded | Kind::Truncated | Kind::Timeout | Kind::Unavailable => {
                assert_eq!(outcome, Outcome::Failure);
                assert!(retry_same && fail_over);
            }
            Kind::BadRequest | Kind::Refused | Kind::DeadlinePassed => {
                assert_eq!((outcome, scope), (Outcome::Neutral, Scope::Request));
                assert!(!retry_same && !fail_over, "no other provider is bothered");
            }
            Kind::Auth | Kind::QuotaExhausted => {
                assert_eq!((outcome, scope), (Outcome::Neutral, Scope::Credential));
                assert!(!retry_same && fail_over);
            }
            _ => assert!(outcome == Outcome::Neutral && fail_over),
        }
    }
    assert_eq!(JudgeRequest::new("", Vec::new()).temperature, Some(0.0));
}
