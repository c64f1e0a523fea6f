//! One protected call from beginning to end: its span, its deadline, the count of its attempts.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Level, Span};

use super::Active;
use crate::context::Context;
use crate::deadline::Deadline;
use crate::error::{Reason, Rejected};
use crate::span::{self, CallResult};
use crate::verdict::Verdict;

/// One protected call under way. `A` is a borrowed policy for a call, an owned one for a stream.
///
/// Attempts of a hedged call share it, hence the atomics; none of them orders other memory.
pub(crate) struct Run<A: Deref<Target = Active>> {
    active: A,
    span: Span,
    /// Read only when some timeout needs it.
    started: Option<Instant>,
    /// The work's own.
    ambient: Option<Deadline>,
    /// The earlier of the work's and that of the total timeout.
    deadline: Option<Deadline>,
    attempts: AtomicU32,
    finished: AtomicBool,
}

/// The end of an attempt's time.
pub(crate) struct Limit {
    pub(crate) at: Instant,
    pub(crate) kind: LimitKind,
}

pub(crate) enum LimitKind {
    /// The attempt has had all the time an attempt gets.
    Attempt(Duration),
    /// The work's deadline, or that of the whole call, came first.
    Deadline,
}

impl<A: Deref<Target = Active>> Run<A> {
    #[inline]
    pub(crate) fn begin(active: A) -> Self {
        let ambient = Deadline::current();
        let timed =
            active.attempt_timeout.is_some() || active.total_timeout.is_some() || ambient.is_some();
        let started = timed.then(Instant::now);
        let own = started
            .zip(active.total_timeout)
            .map(|(start, total)| Deadline::from_start(start, total));
        Self {
            span: span(&active),
            active,
            started,
            ambient,
            deadline: Deadline::earlier(own, ambient),
            attempts: AtomicU32::new(0),
            finished: AtomicBool::new(false),
        }
    }

    pub(crate) fn active(&self) -> &Active {
        &self.active
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Polls a part of the call inside its span. By reference and around a pinned future: neither the
    /// span is counted nor the future moved.
    pub(crate) fn in_span<F: Future>(
        &self,
        mut part: Pin<&mut F>,
    ) -> impl Future<Output = F::Output> {
        poll_fn(move |cx| {
            let _entered = self.span.enter();
            part.as_mut().poll(cx)
        })
    }

    /// The deadline of the work around the call; an open stream knows no other.
    pub(crate) fn ambient_deadline(&self) -> Option<Deadline> {
        self.ambient
    }

    /// Notes that the call is really made now.
    #[inline]
    pub(crate) fn count_attempt(&self) {
        // Load and store instead of one step: all attempts of a call run in one task, one at a time.
        let made = self.attempts.load(Ordering::Relaxed);
        self.attempts.store(made + 1, Ordering::Relaxed);
    }

    /// When an attempt that starts now must end; `Err` when the deadline has passed already.
    #[inline]
    pub(crate) fn limit(&self) -> Result<Option<Limit>, Rejected> {
        let Some(started) = self.started else {
            return Ok(None);
        };
        // The first attempt shares its start with the whole call: with one timeout for both, its
        // end is then told as the attempt's, which is evidence against the dependency.
        let now = match self.attempts.load(Ordering::Relaxed) {
            0 => started,
            _ => Instant::now(),
        };
        if self.deadline.is_some_and(|end| end.instant() <= now) {
            return Err(self.reject(Reason::DeadlineExceeded));
        }
        let active = self.active();
        let of_attempt = active
            .attempt_timeout
            .or(active.total_timeout)
            .map(|time| (Deadline::from_start(now, time).instant(), time));
        let limit = match (of_attempt, self.deadline) {
            (Some((at, after)), Some(end)) if at <= end.instant() => Some(Limit {
                at,
                kind: LimitKind::Attempt(after),
            }),
            (_, Some(end)) => Some(Limit {
                at: end.instant(),
                kind: LimitKind::Deadline,
            }),
            (Some((at, after)), None) => Some(Limit {
                at,
                kind: LimitKind::Attempt(after),
            }),
            (None, None) => None,
        };
        Ok(limit)
    }

    /// How long to wait before the attempt after the `made`-th, if there may be one. Takes its
    /// price from the budget.
    pub(crate) fn wait(&self, verdict: Verdict, made: u32) -> Option<Duration> {
        let active = self.active();
        if !verdict.may_retry() || made >= active.max_attempts {
            return None;
        }
        // The circuit has just opened, perhaps by this very failure: the real error tells the
        // caller more than the refusal the next attempt would meet.
        if active.breaker.state() == fusebox::State::Open {
            return None;
        }
        let backoff = active.backoff.delay(made.saturating_sub(1), rand::random());
        let wait = match verdict.retry_after() {
            Some(hint) if hint > active.backoff.max => return None,
            // Never earlier than asked, and not all callers at the same moment.
            Some(hint) => backoff.max(hint.mul_f64(1.0 + rand::random::<f64>() / 10.0)),
            None => backoff,
        };
        if self.deadline.is_some_and(|end| end.remaining() <= wait) {
            return None;
        }
        active.budget.withdraw().then_some(wait)
    }

    pub(crate) fn context(&self) -> Context {
        let active = self.active();
        let names = std::sync::Arc::clone(&active.names);
        Context::new(names, active.ids(), self.attempts.load(Ordering::Relaxed))
    }

    #[cold]
    pub(crate) fn reject(&self, reason: Reason) -> Rejected {
        Rejected::new(reason, self.context())
    }

    /// Tells the span how the call ended. The first ending told is the one that counts.
    #[inline]
    pub(crate) fn finish(&self, result: CallResult) {
        if self.span.is_disabled() || self.finished.swap(true, Ordering::Relaxed) {
            return;
        }
        let attempts = self.attempts.load(Ordering::Relaxed);
        span::finish(&self.span, result, attempts);
    }
}

impl<A: Deref<Target = Active>> Drop for Run<A> {
    #[inline]
    fn drop(&mut self) {
        if !self.span.is_disabled() && !*self.finished.get_mut() {
            span::abandon(&self.span, *self.attempts.get_mut());
        }
    }
}

/// The span of a call, or none at no cost when nobody listens.
#[inline]
fn span(active: &Active) -> Span {
    if !tracing::span_enabled!(Level::INFO) {
        return Span::none();
    }
    let names = &*active.names;
    let texts = (&*names.service, &*names.circuit, &*names.operation);
    span::recorded(&active.breaker, texts, &active.ids())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use fusebox::{Classify, Outcome, Registry};

    use crate::{Ids, Resilience};

    #[derive(Debug)]
    struct Down;

    impl Classify for Down {
        fn outcome(&self) -> Outcome {
            Outcome::Failure
        }
    }

    /// Here and not with the other tests of spans: in their process somebody listens.
    #[tokio::test]
    async fn without_a_listener_nothing_is_made() {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let resilience = Resilience::builder(&Registry::new("gateway"))
            .ids(move || {
                counter.fetch_add(1, super::Ordering::SeqCst);
                Ids::new()
            })
            .build()
            .unwrap();
        let policy = resilience.policy("content", "content.fetch").unwrap();
        assert!(policy.call(async || Ok::<_, Down>(())).await.is_ok());
        assert_eq!(asked.load(super::Ordering::SeqCst), 0);
        assert!(policy.call(async || Err::<(), _>(Down)).await.is_err());
        assert_eq!(asked.load(super::Ordering::SeqCst), 1, "for the error");
    }
}
