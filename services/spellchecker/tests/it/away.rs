//! The Content Service is away for a while.

use fusebox::State;
use huleedu_contracts::status::ProcessingStatus;
use huleedu_kit::testing::eventually;

use crate::platform::{LIMIT, Platform};

#[tokio::test]
async fn requests_wait_while_the_content_service_is_away_and_are_then_answered_once() {
    let mut platform = Platform::start().await;
    let text = platform.put(b"Becouse of it.").await;
    platform.crash_content().await;

    let requests: Vec<_> = (0..6).map(|_| platform.request(&text, "en")).collect();
    for request in &requests {
        platform.send(request).await;
    }
    let circuit = platform
        .service()
        .breakers()
        .get("spellchecker.content_client")
        .expect("the circuit");
    eventually("the circuit opens", LIMIT, || async {
        (circuit.state() == State::Open).then_some(())
    })
    .await
    .expect("an open circuit");
    assert_eq!(
        platform.count("SELECT COUNT(*) FROM spellcheck_jobs").await,
        0
    );
    assert_eq!(platform.count("SELECT COUNT(*) FROM dead_events").await, 0);

    platform.restart_content().await;
    platform.settled(6).await;
    let answers = platform.answers(6).await;
    for request in &requests {
        let answered: Vec<_> = answers
            .iter()
            .filter(|(thin, _)| thin.entity_id == request.data.entity_id)
            .collect();
        assert_eq!(answered.len(), 1);
        assert_eq!(answered[0].0.status, ProcessingStatus::Completed);
    }
    assert_eq!(platform.count("SELECT COUNT(*) FROM outbox").await, 12);
    platform.stop().await;
}
