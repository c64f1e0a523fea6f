//! One attempt: circuit, bulkhead, attempt timeout, call.

use std::ops::Deref;

use fusebox::{BorrowedPermit, CircuitBreaker, NotPermitted, Permit};
use tokio::time::timeout_at;

use super::run::LimitKind;
use super::{Active, CallResult, Judging, Run};
use crate::bulkhead::Place;
use crate::error::Reason;
use crate::verdict::{Fallible, Verdict};

/// The permit for one attempt and its place in the bulkhead; dropped unsettled, it is neutral.
#[derive(Debug)]
pub(crate) struct Admitted<P = Permit> {
    permit: P,
    _place: Option<Place>,
}

impl<P: Leave> Admitted<P> {
    pub(crate) fn settle(self, verdict: Verdict) {
        self.permit.settle(verdict);
    }
}

/// A permit, owned or borrowed.
pub(crate) trait Leave {
    fn settle(self, verdict: Verdict);
}

impl Leave for Permit {
    fn settle(self, verdict: Verdict) {
        self.record_with_hint(verdict.outcome(), verdict.retry_after());
    }
}

impl Leave for BorrowedPermit<'_> {
    fn settle(self, verdict: Verdict) {
        self.record_with_hint(verdict.outcome(), verdict.retry_after());
    }
}

/// What becomes of the permit when its attempt has gone well, and so which kind it must be.
pub(crate) trait Keep: Sized {
    type Leave<'a>: Leave;

    fn enter(breaker: &CircuitBreaker) -> Result<Self::Leave<'_>, NotPermitted>;

    fn keep(admitted: Admitted<Self::Leave<'_>>) -> Self;
}

/// A call has ended, and its circuit hears of it at once: the permit need not outlive the futures
/// around the call, so it is a borrowed one.
impl Keep for () {
    type Leave<'a> = BorrowedPermit<'a>;

    #[inline]
    fn enter(breaker: &CircuitBreaker) -> Result<BorrowedPermit<'_>, NotPermitted> {
        breaker.enter()
    }

    #[inline]
    fn keep(admitted: Admitted<BorrowedPermit<'_>>) -> Self {
        admitted.permit.success();
    }
}

/// A stream goes on.
impl Keep for Admitted {
    type Leave<'a> = Permit;

    fn enter(breaker: &CircuitBreaker) -> Result<Permit, NotPermitted> {
        breaker.try_acquire()
    }

    fn keep(admitted: Admitted) -> Self {
        admitted
    }
}

/// What an attempt gave.
pub(crate) struct Attempt<R, K> {
    pub(crate) result: R,
    pub(crate) end: End<K>,
}

/// How an attempt ended.
pub(crate) enum End<K> {
    /// Well.
    Success(K),
    /// With an error of the call's own; settled.
    Failed(Verdict),
    /// Without an answer in its time; settled.
    TimedOut,
    /// By a layer of ours before the call was made.
    Refused,
    /// At the deadline, through no fault of the dependency.
    Late,
}

impl<K> End<K> {
    /// What the end means for another attempt; `None` when there is none to think of.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self {
            End::Failed(verdict) => Some(*verdict),
            End::TimedOut => Some(Verdict::failure()),
            End::Success(_) | End::Refused | End::Late => None,
        }
    }
}

impl<A: Deref<Target = Active>> Run<A> {
    /// # Cancel safety
    /// Dropping the future drops the call; the permit is given back as neutral.
    pub(crate) async fn attempt<R, K, Fut, J>(
        &self,
        judge: J,
        f: impl FnOnce() -> Fut,
    ) -> Attempt<R, K>
    where
        R: Fallible,
        K: Keep,
        Fut: Future<Output = R>,
        J: Judging<R::Error>,
    {
        let limit = match self.limit() {
            Ok(limit) => limit,
            Err(rejected) => return Attempt::refused(R::rejected(rejected)),
        };
        let admitted = match self.admit::<K>() {
            Ok(admitted) => admitted,
            Err(reason) => return Attempt::refused(R::rejected(self.reject(reason))),
        };
        self.count_attempt();
        let result = match limit {
            None => f().await,
            Some(limit) => match timeout_at(limit.at, f()).await {
                Ok(result) => result,
                Err(_) => return self.out_of_time(&limit.kind, admitted),
            },
        };
        judged(judge, result, admitted)
    }

    /// An attempt of a plain function, which nothing can cut off.
    pub(crate) fn attempt_sync<R, J>(&self, judge: J, f: impl FnOnce() -> R) -> Attempt<R, ()>
    where
        R: Fallible,
        J: Judging<R::Error>,
    {
        if let Err(rejected) = self.limit() {
            return Attempt::refused(R::rejected(rejected));
        }
        let admitted = match self.admit::<()>() {
            Ok(admitted) => admitted,
            Err(reason) => return Attempt::refused(R::rejected(self.reject(reason))),
        };
        self.count_attempt();
        judged(judge, f(), admitted)
    }

    /// Ends a call whose result is no stream.
    #[inline]
    pub(crate) fn conclude<R, J>(&self, judge: J, attempt: Attempt<R, ()>) -> R
    where
        R: Fallible,
        J: Judging<R::Error>,
    {
        let Attempt { mut result, end } = attempt;
        match end {
            End::Success(()) => {
                self.active().deposit();
                self.finish(CallResult::Success);
            }
            other => self.conclude_error(judge, &mut result, &other),
        }
        result
    }

    /// Ends a call that has gone wrong: its error gets its context, its span its result.
    #[cold]
    pub(crate) fn conclude_error<R, J, K>(&self, judge: J, result: &mut R, end: &End<K>)
    where
        R: Fallible,
        J: Judging<R::Error>,
    {
        if matches!(end, End::Failed(_))
            && judge.carries()
            && let Some(error) = result.error()
        {
            judge.carry(error, &self.context());
        }
        self.finish(match end {
            End::Success(_) => CallResult::Success,
            End::TimedOut => CallResult::Failure,
            End::Refused => CallResult::Blocked,
            End::Late => CallResult::Neutral,
            End::Failed(verdict) => CallResult::of(verdict.outcome()),
        });
    }

    #[inline]
    fn admit<K: Keep>(&self) -> Result<Admitted<K::Leave<'_>>, Reason> {
        let active = self.active();
        let permit = K::enter(&active.breaker).map_err(Reason::NotPermitted)?;
        let place = match &active.bulkhead {
            None => None,
            Some(bulkhead) => match bulkhead.enter() {
                Some(place) => Some(place),
                // The permit goes back unused: a full bulkhead says nothing about the dependency.
                None => {
                    return Err(Reason::TooBusy {
                        limit: bulkhead.limit(),
                    });
                }
            },
        };
        Ok(Admitted {
            permit,
            _place: place,
        })
    }

    #[cold]
    fn out_of_time<R: Fallible, K>(
        &self,
        kind: &LimitKind,
        admitted: Admitted<impl Leave>,
    ) -> Attempt<R, K> {
        match kind {
            LimitKind::Attempt(after) => {
                admitted.settle(Verdict::failure());
                Attempt {
                    result: R::rejected(self.reject(Reason::AttemptTimedOut { after: *after })),
                    end: End::TimedOut,
                }
            }
            LimitKind::Deadline => Attempt {
                result: R::rejected(self.reject(Reason::DeadlineExceeded)),
                end: End::Late,
            },
        }
    }
}

impl<R, K> Attempt<R, K> {
    fn refused(result: R) -> Self {
        Self {
            result,
            end: End::Refused,
        }
    }
}

#[inline]
fn judged<R: Fallible, K: Keep, J: Judging<R::Error>>(
    judge: J,
    mut result: R,
    admitted: Admitted<K::Leave<'_>>,
) -> Attempt<R, K> {
    let end = match result.error() {
        None => End::Success(K::keep(admitted)),
        Some(error) => {
            let verdict = judge.verdict(error);
            admitted.settle(verdict);
            End::Failed(verdict)
        }
    };
    Attempt { result, end }
}
