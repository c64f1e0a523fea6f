//! The order of the layers: what each sees of the others.

use std::time::Duration;

use fusebox::backoff::Backoff;
use fusebox::{CircuitBreaker, State};
use fusebox_limit::Limit;
use fusebox_resilient::RetryBudget;
use fusebox_tower::{
    Always, AttemptTimeoutLayer, BreakerLayer, ByError, DeadlineLayer, Error, HasOrigin,
    HedgeLayer, LimitLayer, Origin, RetryLayer, RetryPolicy,
};
use tokio::time::{Instant, advance};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::probe::{Answer, Answered, ByHand, DOWN, Probe, TestError, breaker};

const SECOND: Duration = Duration::from_secs(1);

struct Stack {
    breaker: CircuitBreaker,
    limit: Limit,
    budget: RetryBudget,
    probe: Probe,
}

impl Stack {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            breaker: breaker(),
            limit: Limit::bulkhead(2, 0).unwrap(),
            budget: RetryBudget::new(10, 0.0),
            probe: Probe::answering(answers),
        }
    }

    /// All layers: 20 s in all, a copy after 15 s, three attempts a second apart, 4 s each.
    fn service(
        &self,
    ) -> impl Service<u32, Response = u32, Error = TestError, Future: Send> + Clone + use<> {
        let policy = RetryPolicy::new(self.budget.clone())
            .with_backoff(Backoff::new(SECOND, SECOND).with_jitter(0.0));
        let budget = self.budget.clone();
        ServiceBuilder::new()
            .layer(DeadlineLayer::new(20 * SECOND))
            .layer(HedgeLayer::new(15 * SECOND, budget, ByError, Always))
            .layer(RetryLayer::new(policy, ByError, Always))
            .layer(BreakerLayer::new(self.breaker.clone(), ByError))
            .layer(LimitLayer::new(self.limit.clone()))
            .layer(AttemptTimeoutLayer::new(4 * SECOND))
            .service(self.probe.clone())
    }

    async fn call(&self) -> Answered {
        self.service().oneshot(7).await
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_judged_by_itself() {
    let stack = Stack::new([DOWN, Answer::Never]);
    let start = Instant::now();
    assert_eq!(stack.call().await, Ok(7));
    assert_eq!(start.elapsed(), 6 * SECOND, "1 s, 4 s of no answer, 1 s");
    let counts = stack.breaker.snapshot().counts;
    assert_eq!((counts.failure, counts.success), (2, 1));
    assert_eq!(stack.budget.granted(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_ends_the_call_and_takes_no_place() {
    let stack = Stack::new([]);
    stack.breaker.force_open("drill");
    let start = Instant::now();
    assert!(matches!(stack.call().await, Err(Error::NotPermitted(_))));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        (stack.limit.snapshot().admitted, stack.budget.granted()),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_limit_is_neither_a_failure_nor_tried_again() {
    let stack = Stack::new([]);
    let _places = (stack.limit.try_enter(), stack.limit.try_enter());
    for _ in 0..5 {
        assert!(matches!(stack.call().await, Err(Error::Full(_))));
    }
    assert_eq!(stack.breaker.state(), State::Closed);
    assert_eq!(stack.breaker.snapshot().counts.neutral, 5);
    assert_eq!((stack.probe.calls(), stack.budget.granted()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_hold_no_place_and_no_permit() {
    let stack = Stack::new([DOWN]);
    let mut service = stack.service();
    let mut call = ByHand::new(service.ready().await.unwrap().call(7));
    assert!(call.poll().is_pending());
    assert_eq!(stack.probe.calls(), 1);
    assert_eq!(stack.limit.snapshot().in_use, 0);
    assert_eq!(stack.breaker.snapshot().in_flight, 0);
    advance(SECOND).await;
    assert_eq!(call.poll(), std::task::Poll::Ready(Ok(7)));
}

/// Attempts that hang end after 4 s, and waits take 1 s.
#[tokio::test(start_paused = true)]
async fn the_deadline_covers_waits_and_attempts() {
    let cut = async |seconds: u64| {
        let stack = Stack::new([Answer::Never; 9]);
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(Duration::from_secs(seconds)))
            .service(stack.service());
        let start = Instant::now();
        let error = service.oneshot(7).await.unwrap_err();
        let counts = stack.breaker.snapshot().counts;
        assert_eq!(stack.limit.snapshot().in_use, 0);
        let held = (counts.failure, counts.neutral, stack.budget.granted());
        (error.origin(), start.elapsed().as_secs(), held)
    };
    assert_eq!(cut(3).await, (Origin::DeadlineExceeded, 3, (0, 1, 0)));
    assert_eq!(
        cut(5).await,
        (Origin::TimedOut, 4, (1, 0, 0)),
        "no wait for nothing"
    );
    assert_eq!(cut(7).await, (Origin::DeadlineExceeded, 7, (1, 1, 1)));
}

#[tokio::test(start_paused = true)]
async fn the_whole_stack_runs_on_many_tasks() {
    let stack = Stack::new([]);
    let tasks: Vec<_> = (0..50)
        .map(|n| tokio::spawn(stack.service().oneshot(n)))
        .collect();
    let mut answered = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => answered += 1,
            Err(error) => assert!(matches!(error, Error::Full(_)), "{error:?}"),
        }
    }
    assert!(answered >= 2);
    assert_eq!(stack.limit.snapshot().in_use, 0);
    assert_eq!(stack.breaker.snapshot().in_flight, 0);
}
