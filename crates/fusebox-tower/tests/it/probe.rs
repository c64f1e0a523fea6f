//! A service that does what it is told and notices every breach of tower's contract.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use fusebox::{BreakerConfig, CircuitBreaker, Classify, Outcome, TripRule};
use fusebox_tower::{Error, TokioClock};
use tokio::time::Instant;
use tower::Service;

/// The service's own error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("down")]
    Down,
    #[error("the caller's mistake {0}")]
    Mine(u32),
    #[error("busy")]
    Busy(Duration),
    #[error("never ready again")]
    Unready,
}

impl Classify for Trouble {
    fn outcome(&self) -> Outcome {
        match self {
            Trouble::Down | Trouble::Unready => Outcome::Failure,
            Trouble::Mine(_) | Trouble::Busy(_) => Outcome::Neutral,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Trouble::Busy(time) => Some(*time),
            _ => None,
        }
    }
}

pub(crate) type TestError = Error<Trouble>;
pub(crate) type Answered = Result<u32, TestError>;

pub(crate) const DOWN: Answer = Answer::Now(Err(Trouble::Down));

/// What `poll_ready` does, one after the other; then it is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ready {
    Yes,
    /// Not now; [`Probe::wake`] wakes whoever asked.
    Pending,
    /// Not now; asks to be polled again.
    Again,
    Error,
}

/// What `call` does, one after the other; then it answers with its request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Now(Result<u32, Trouble>),
    After(Duration, Result<u32, Trouble>),
    /// Is pending so many times first, and asks to be polled again.
    Polls(u32),
    Never,
    PanicInCall,
    PanicInPoll,
}

/// The service. A clone is not ready, whatever its original is.
#[derive(Debug)]
pub(crate) struct Probe {
    shared: Arc<Mutex<Shared>>,
    ready: bool,
    broken: bool,
}

#[derive(Debug, Default)]
struct Shared {
    readiness: VecDeque<Ready>,
    answers: VecDeque<Answer>,
    waiting: Vec<Waker>,
    calls: Vec<Instant>,
    in_flight: usize,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::default(),
            ready: false,
            broken: false,
        }
    }

    pub(crate) fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let probe = Self::new();
        probe.lock().answers.extend(answers);
        probe
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.lock().answers.push_back(answer);
    }

    pub(crate) fn readiness(&self, readiness: impl IntoIterator<Item = Ready>) {
        self.lock().readiness.extend(readiness);
    }

    pub(crate) fn wake(&self) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Calls made so far.
    pub(crate) fn calls(&self) -> usize {
        self.lock().calls.len()
    }

    /// When the calls were made.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.lock().calls.clone()
    }

    /// Calls whose futures are still alive.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic happens under the lock")
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            ready: false,
            broken: self.broken,
        }
    }
}

impl Service<u32> for Probe {
    type Response = u32;
    type Error = TestError;
    type Future = Pin<Box<dyn Future<Output = Answered> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TestError>> {
        assert!(!self.broken, "polled after its readiness has failed");
        let mut shared = self.shared.lock().expect("no panic happens under the lock");
        let ready = shared.readiness.pop_front().unwrap_or(Ready::Yes);
        match ready {
            Ready::Yes => {
                self.ready = true;
                Poll::Ready(Ok(()))
            }
            Ready::Pending => {
                shared.waiting.push(cx.waker().clone());
                Poll::Pending
            }
            Ready::Again => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ready::Error => {
                self.broken = true;
                Poll::Ready(Err(Error::Inner(Trouble::Unready)))
            }
        }
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(self.ready, "called without having been polled ready");
        self.ready = false;
        let answer = {
            let mut shared = self.lock();
            shared.calls.push(Instant::now());
            shared
                .answers
                .pop_front()
                .unwrap_or(Answer::Now(Ok(request)))
        };
        assert!(
            !matches!(answer, Answer::PanicInCall),
            "told to panic in call"
        );
        let alive = Alive::new(&self.shared);
        Box::pin(async move {
            let _alive = alive;
            match answer {
                Answer::Now(answer) => answer.map_err(Error::Inner),
                Answer::After(time, answer) => {
                    tokio::time::sleep(time).await;
                    answer.map_err(Error::Inner)
                }
                Answer::Polls(times) => {
                    for _ in 0..times {
                        tokio::task::yield_now().await;
                    }
                    Ok(request)
                }
                Answer::Never => std::future::pending().await,
                Answer::PanicInCall | Answer::PanicInPoll => panic!("told to panic in poll"),
            }
        })
    }
}

/// Counts a future for as long as it lives.
struct Alive(Arc<Mutex<Shared>>);

impl Alive {
    fn new(shared: &Arc<Mutex<Shared>>) -> Self {
        shared
            .lock()
            .expect("no panic happens under the lock")
            .in_flight += 1;
        Self(Arc::clone(shared))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Ok(mut shared) = self.0.lock() {
            shared.in_flight -= 1;
        }
    }
}

/// Polls a future by hand and counts its wake-ups.
pub(crate) struct ByHand<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> ByHand<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            bell: Arc::default(),
        }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.bell));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    pub(crate) fn rung(&self) -> usize {
        self.bell.0.load(Ordering::SeqCst)
    }
}

/// A breaker on the runtime's time that opens at the third failure in a row, for ten seconds.
pub(crate) fn breaker() -> CircuitBreaker {
    CircuitBreaker::builder("probe")
        .clock(Arc::new(TokioClock::new()))
        .config(config())
        .build()
        .expect("settings of a test")
}

pub(crate) fn config() -> BreakerConfig {
    BreakerConfig::new()
        .with_trip_rule(TripRule::Consecutive)
        .with_failure_threshold(3)
        .with_success_threshold(1)
        .with_first_break(Duration::from_secs(10))
        .with_break_jitter(0.0)
}
