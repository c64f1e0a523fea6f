//! Providers in order.

use std::sync::Arc;
use std::time::Duration;

use fusebox_llm::sandbox::{Fault, FaultMode, SandboxConfig};
use fusebox_llm::verdict::Kind;
use fusebox_llm::{Failover, JudgeProvider, Provider, ProviderClient};

use crate::server::{Served, client, request, sandbox};

fn told(status: u16, retry_after_seconds: Option<u32>) -> FaultMode {
    FaultMode::Status {
        status,
        retry_after_seconds,
    }
}

async fn judges(config: SandboxConfig) -> (Served, Vec<Arc<ProviderClient>>, Failover) {
    let server = sandbox(config).await;
    let clients: Vec<Arc<ProviderClient>> = Provider::ALL
        .into_iter()
        .map(|provider| Arc::new(client(provider, server.url(&format!("/{provider}")))))
        .collect();
    let judges = clients
        .iter()
        .map(|client| Arc::clone(client) as Arc<dyn JudgeProvider>)
        .collect();
    (server, clients, Failover::new(judges))
}

#[tokio::test]
async fn the_first_provider_that_can_answers() {
    let (_server, _, judge) = judges(SandboxConfig::new(3)).await;
    let judged = judge.judge(&request("a", "b")).await.unwrap();
    assert_eq!(
        (judged.provider, judged.passed_over),
        (Provider::Anthropic, vec![])
    );
    assert!(judged.sandbox);
    assert_eq!(judge.providers().collect::<Vec<_>>(), Provider::ALL);

    let config = SandboxConfig::new(3)
        .with_fault(Fault::of(Provider::Anthropic, told(529, None)))
        .with_fault(Fault::of(Provider::OpenAi, told(401, None)));
    let (_server, clients, judge) = judges(config).await;
    let judged = judge.judge(&request("a", "b")).await.unwrap();
    assert_eq!(judged.provider, Provider::Google);
    assert_eq!(judged.passed_over, [Provider::Anthropic, Provider::OpenAi]);
    let fallbacks = |client: &ProviderClient| {
        client
            .breaker()
            .snapshot()
            .fallbacks
            .iter()
            .map(|(_, count)| *count)
            .sum::<u64>()
    };
    assert_eq!(
        clients
            .iter()
            .map(|client| fallbacks(client))
            .collect::<Vec<_>>(),
        [1, 1, 0, 0]
    );
}

#[tokio::test]
async fn a_request_that_all_would_refuse_bothers_one() {
    let fault = Fault::of(Provider::Anthropic, told(400, None));
    let (_server, _, judge) = judges(SandboxConfig::new(3).with_fault(fault)).await;
    let error = judge.judge(&request("a", "b")).await.unwrap_err();
    assert_eq!(error.attempts.len(), 1);
    assert_eq!(error.attempts[0].kind(), Kind::BadRequest);
    assert!(!error.may_pass_later());
    assert_eq!(error.retry_after, None);
}

#[tokio::test]
async fn when_all_fail_the_shortest_wait_is_given() {
    let config = SandboxConfig::new(3)
        .with_fault(Fault::of(Provider::Anthropic, told(429, Some(40))))
        .with_fault(Fault::of(Provider::OpenAi, told(429, Some(20))))
        .with_fault(Fault::of(Provider::Google, told(503, Some(90))))
        .with_fault(Fault::of(Provider::OpenRouter, told(500, None)));
    let (_server, _, judge) = judges(config).await;
    let error = judge.judge(&request("a", "b")).await.unwrap_err();
    assert_eq!(error.attempts.len(), 4);
    assert_eq!(error.retry_after, Some(Duration::from_secs(20)));
    assert!(error.may_pass_later() && !error.held_back());
}

/// A model that answers nonsense once is asked once more before others are.
#[tokio::test]
async fn nonsense_is_asked_again_once() {
    let nonsense = Fault::of(Provider::Anthropic, FaultMode::UnknownWinner);
    let config = SandboxConfig::new(3).with_fault(nonsense.clone().times(1));
    let (_server, _, judge) = judges(config).await;
    assert_eq!(
        judge.judge(&request("a", "b")).await.unwrap().provider,
        Provider::Anthropic
    );

    let (_server, _, judge) = judges(SandboxConfig::new(3).with_fault(nonsense)).await;
    let judged = judge.judge(&request("a", "b")).await.unwrap();
    assert_eq!(
        (judged.provider, judged.passed_over.len()),
        (Provider::OpenAi, 1)
    );

    let every = Fault {
        provider: None,
        mode: FaultMode::UnknownWinner,
        times: None,
    };
    let (_server, _, judge) = judges(SandboxConfig::new(3).with_fault(every)).await;
    let error = judge.judge(&request("a", "b")).await.unwrap_err();
    assert_eq!(error.attempts.len(), 8);
    assert!(!error.may_pass_later(), "waiting mends no nonsense");
}

#[tokio::test]
async fn open_circuits_hold_everything_back() {
    let every = Fault {
        provider: None,
        mode: told(500, None),
        times: None,
    };
    let (server, _, judge) = judges(SandboxConfig::new(3).with_fault(every)).await;
    for _ in 0..3 {
        assert!(
            !judge
                .judge(&request("a", "b"))
                .await
                .unwrap_err()
                .held_back()
        );
    }
    let error = judge.judge(&request("a", "b")).await.unwrap_err();
    assert!(error.held_back() && error.may_pass_later());
    assert!(error.retry_after.is_some());
    drop(server);
}

#[tokio::test]
async fn without_providers_nothing_is_invented() {
    let error = Failover::new(Vec::new())
        .judge(&request("a", "b"))
        .await
        .unwrap_err();
    assert!(error.attempts.is_empty() && error.may_pass_later());
}
