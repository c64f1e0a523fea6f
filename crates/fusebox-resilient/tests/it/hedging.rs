//! Second copies of calls that take long.

use std::time::Duration;

use fusebox_resilient::{RetryBudget, Settings};
use tokio::time::Instant;

use crate::support::*;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn the_faster_copy_answers_and_the_slower_is_neutral() {
    let resilience = resilience(1);
    let fake = Fake::with([Step::Slow(MS * 900), Step::Slow(MS * 30)]);
    let client = fake.clone().resilient(&resilience).unwrap();
    let start = Instant::now();
    assert_eq!(client.hedged().await.unwrap(), 2);
    assert_eq!(start.elapsed(), MS * 80);
    let snapshot = resilience.registry().get("bc").unwrap().snapshot();
    assert_eq!((snapshot.counts.success, snapshot.counts.neutral), (1, 1));
    assert_eq!(snapshot.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_quick_call_is_not_doubled() {
    let fake = Fake::with([Step::Slow(MS * 49)]);
    let client = fake.clone().resilient(&resilience(1)).unwrap();
    assert_eq!(client.hedged().await.unwrap(), 1);
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_copy_may_still_win() {
    let fake = Fake::with([Step::Slow(MS * 60), Step::Slow(MS * 30)]);
    let client = fake.clone().resilient(&resilience(1)).unwrap();
    assert_eq!(client.hedged().await.unwrap(), 1);
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_leaves_the_other_its_chance() {
    let fake = Fake::with([Step::Slow(MS * 400), Step::Fail(DOWN)]);
    let client = fake.clone().resilient(&resilience(9)).unwrap();
    assert_eq!(
        client.hedged().await.unwrap(),
        1,
        "the hedge failed at once"
    );

    let mut steps = vec![Step::SlowFail(MS * 100), Step::Slow(MS * 900)];
    steps.extend([Step::Fail(DOWN), Step::Fail(DOWN)]);
    let fake = Fake::with(steps);
    let client = fake.clone().resilient(&resilience(9)).unwrap();
    assert_eq!(
        client.hedged().await.unwrap(),
        2,
        "all attempts of the first failed"
    );
    assert_eq!(fake.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_final_error_needs_no_second_opinion() {
    let fake = Fake::with([Step::Slow(MS * 900), Step::Fail(ApiError::BadRequest)]);
    let client = fake.clone().resilient(&resilience(9)).unwrap();
    let start = Instant::now();
    assert_eq!(client.hedged().await, Err(ApiError::BadRequest));
    assert_eq!(start.elapsed(), MS * 50);
}

#[tokio::test(start_paused = true)]
async fn copies_are_paid_from_the_budget() {
    let budget = RetryBudget::new(1, 0.0);
    let resilience = builder(9)
        .settings(Settings::new().with_budget(budget.clone()))
        .build()
        .unwrap();
    let fake = Fake::with(std::iter::repeat_n(Step::Slow(MS * 200), 9));
    let client = fake.clone().resilient(&resilience).unwrap();
    assert!(client.hedged().await.is_ok());
    assert!(client.hedged().await.is_ok());
    assert_eq!(
        fake.calls(),
        3,
        "the second call had nothing left to pay with"
    );
    assert_eq!(budget.denied(), 1);
}

#[tokio::test(start_paused = true)]
async fn settings_choose_the_moment() {
    let resilience = builder(9)
        .operation("bc.hedged", Settings::new().with_hedge_after(MS * 300))
        .build()
        .unwrap();
    let fake = Fake::with([Step::Slow(MS * 250), Step::Slow(MS * 400)]);
    let client = fake.clone().resilient(&resilience).unwrap();
    assert_eq!(client.hedged().await.unwrap(), 1);
    assert_eq!(fake.calls(), 1);
    assert_eq!(client.hedged().await.unwrap(), 3);
}
