//! The client under test: a trait with every kind of method, and an implementation told what to do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fusebox::{BreakerConfig, Classify, Outcome, Registry, TripRule};
use fusebox_resilient::{
    CarryContext, Context, Rejected, Resilience, ResilienceBuilder, resilient,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ApiError {
    Down(Option<Context>),
    BadRequest,
    Throttled(Duration),
    Rejected(Rejected),
}

pub(crate) const DOWN: ApiError = ApiError::Down(None);

impl ApiError {
    pub(crate) fn is_down(&self) -> bool {
        matches!(self, ApiError::Down(_))
    }

    pub(crate) fn rejected(&self) -> &Rejected {
        match self {
            ApiError::Rejected(rejected) => rejected,
            other => panic!("{other:?} is no rejection"),
        }
    }
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        ApiError::Rejected(rejected)
    }
}

impl Classify for ApiError {
    fn outcome(&self) -> Outcome {
        match self {
            ApiError::Down(_) => Outcome::Failure,
            ApiError::BadRequest | ApiError::Throttled(_) => Outcome::Neutral,
            ApiError::Rejected(rejected) => rejected.outcome(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Throttled(after) => Some(*after),
            _ => None,
        }
    }
}

impl CarryContext for ApiError {
    fn carry(&mut self, context: &Context) {
        if let ApiError::Down(slot) = self {
            slot.get_or_insert_with(|| context.clone());
        }
    }
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// Every kind of method a client may have.
#[resilient(name = "bc")]
pub(crate) trait BatchConductor {
    const VERSION: u32 = 1;
    type Id: Clone + Send + Sync;

    async fn resolve(&self, batch: Self::Id, tags: Vec<String>) -> ApiResult<String>;
    #[resilient(idempotent)]
    async fn fetch(&self, path: &str, number: u64) -> Result<String, ApiError>;
    #[resilient(
        idempotent,
        attempts = 2,
        attempt_timeout = "100ms",
        total_timeout = "1s"
    )]
    async fn twice(&self) -> ApiResult<u32>;
    #[resilient(idempotent, hedge = "50ms")]
    async fn hedged(&self) -> ApiResult<u32>;
    #[resilient(breaker = "bc.bulk")]
    async fn bulk(&mut self, rows: Vec<u8>) -> ApiResult<usize>;
    /// Has a body of its own, which implementations may override.
    async fn health(&self) -> ApiResult<()> {
        Ok(())
    }
    #[resilient(skip)]
    async fn ping(&self) -> bool;
    #[resilient(classify = all_is_well)]
    async fn lenient(&self) -> ApiResult<u32>;
    fn future(&self) -> impl Future<Output = ApiResult<u8>> + Send;
    async fn generic<K: Into<String> + Send>(&self, key: K) -> ApiResult<String>;
    async fn anonymous(&self, key: impl Into<String> + Send) -> ApiResult<String>;
    async fn borrowed<'a>(&'a self, text: &'a str) -> ApiResult<&'a str>;
    async fn sum(&self, (one, mut other): (u8, u8)) -> ApiResult<u8> {
        other += one;
        Ok(other)
    }
    async fn consume(self) -> ApiResult<u32>;
    async fn r#match(&self) -> ApiResult<()> {
        self.health().await
    }
    #[cfg(not(test))]
    async fn never_compiled(&self, nothing: NoSuchType) -> ApiResult<()>;
    #[cfg(test)]
    async fn always_compiled(&self) -> ApiResult<u32>;
    fn label(&self) -> &'static str {
        "default"
    }
    fn make() -> u32;
}

fn all_is_well(_: &ApiError) -> Outcome {
    Outcome::Success
}

/// What the next call does; when the list is empty, calls succeed.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Fail(ApiError),
    Hang,
    /// Takes that long and succeeds.
    Slow(Duration),
    /// Takes that long and fails.
    SlowFail(Duration),
}

#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) calls: Arc<AtomicU32>,
    script: Arc<Mutex<VecDeque<Step>>>,
}

impl Fake {
    pub(crate) fn with(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            calls: Arc::default(),
            script: Arc::new(Mutex::new(steps.into_iter().collect())),
        }
    }

    pub(crate) fn failing(times: usize) -> Self {
        Self::with(std::iter::repeat_n(Step::Fail(DOWN), times))
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Makes a call; answers its number.
    pub(crate) async fn hit(&self) -> ApiResult<u32> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let step = self.script.lock().unwrap().pop_front();
        match step {
            None => Ok(number),
            Some(Step::Fail(error)) => Err(error),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(number)
            }
            Some(Step::SlowFail(time)) => {
                tokio::time::sleep(time).await;
                Err(DOWN)
            }
        }
    }
}

impl BatchConductor for Fake {
    const VERSION: u32 = 7;
    type Id = u64;

    async fn resolve(&self, batch: u64, tags: Vec<String>) -> ApiResult<String> {
        let number = self.hit().await?;
        Ok(format!("{batch}/{}/{number}", tags.len()))
    }
    async fn fetch(&self, path: &str, number: u64) -> ApiResult<String> {
        let call = self.hit().await?;
        Ok(format!("{path}{number}#{call}"))
    }
    async fn twice(&self) -> ApiResult<u32> {
        self.hit().await
    }
    async fn hedged(&self) -> ApiResult<u32> {
        self.hit().await
    }
    async fn bulk(&mut self, rows: Vec<u8>) -> ApiResult<usize> {
        self.hit().await.map(|_| rows.len())
    }
    async fn health(&self) -> ApiResult<()> {
        self.hit().await.map(drop)
    }
    async fn ping(&self) -> bool {
        true
    }
    async fn lenient(&self) -> ApiResult<u32> {
        self.hit().await
    }
    async fn future(&self) -> ApiResult<u8> {
        self.hit().await.map(|_| 5)
    }
    async fn generic<K: Into<String> + Send>(&self, key: K) -> ApiResult<String> {
        self.hit().await.map(|_| key.into())
    }
    async fn anonymous(&self, key: impl Into<String> + Send) -> ApiResult<String> {
        self.hit().await.map(|_| key.into())
    }
    async fn borrowed<'a>(&'a self, text: &'a str) -> ApiResult<&'a str> {
        self.hit().await.map(|_| text)
    }
    async fn consume(self) -> ApiResult<u32> {
        self.hit().await
    }
    async fn always_compiled(&self) -> ApiResult<u32> {
        self.hit().await
    }
    fn make() -> u32 {
        42
    }
}

/// A circuit that opens after so many failures in a row, for a minute.
pub(crate) fn opens_after(failures: u32) -> BreakerConfig {
    let minute = Duration::from_mins(1);
    BreakerConfig::default()
        .with_trip_rule(TripRule::Consecutive)
        .with_failure_threshold(failures)
        .with_success_threshold(1)
        .with_first_break(minute)
        .with_recovery_timeout(minute)
        .with_break_jitter(0.0)
}

pub(crate) fn builder(failures: u32) -> ResilienceBuilder {
    Resilience::builder(&Registry::new("orchestrator")).breaker(opens_after(failures))
}

pub(crate) fn resilience(failures: u32) -> Resilience {
    builder(failures).build().unwrap()
}
