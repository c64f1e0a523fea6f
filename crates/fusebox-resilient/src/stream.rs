//! Streams guarded beyond their opening: first item, silence, errors inside, an end too early.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fusebox::Outcome;
use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::deadline::Deadline;
use crate::error::Reason;
use crate::policy::{Active, Admitted, CallResult, Run};
use crate::verdict::{Fallible, Judge, Verdict};

/// How the items of a stream are judged.
pub struct ItemGuard<I: Fallible> {
    judge: Judge<I::Error>,
    last: Option<fn(&I::Ok) -> bool>,
}

impl<I: Fallible> ItemGuard<I> {
    /// Errors among the items are judged by `judge`; any end is a good end.
    pub fn new(judge: Judge<I::Error>) -> Self {
        Self { judge, last: None }
    }

    /// The same, but a stream that ends without an item for which `last` is true was truncated.
    #[must_use]
    pub fn ending_with(mut self, last: fn(&I::Ok) -> bool) -> Self {
        self.last = Some(last);
        self
    }
}

impl<I: Fallible> fmt::Debug for ItemGuard<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemGuard")
            .field("last", &self.last.is_some())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// A stream that is watched to its end.
    ///
    /// The call lasts as long as its stream: the circuit hears of a success when the stream has
    /// ended well, of a failure when an item is one, when the stream falls silent, or ends before
    /// its last item. Silence and truncation come out as a last item, an error. A stream that is
    /// dropped before its end is neutral. The total timeout is for the opening only; the deadline of
    /// the work that opened it holds for the whole stream. A slow-call rule of the circuit must allow for whole
    /// streams.
    #[must_use = "streams do nothing unless polled"]
    pub struct GuardedStream<S>
    where
        S: Stream,
        S::Item: Fallible,
    {
        // Gone as soon as it has ended, so that a connection that fell silent is let go.
        #[pin]
        stream: Option<S>,
        watch: Option<Watch<S::Item>>,
    }
}

struct Watch<I: Fallible> {
    run: Run<Arc<Active>>,
    /// Until the circuit has been told.
    admitted: Option<Admitted>,
    items: ItemGuard<I>,
    silence: Silence,
    /// The last item has come, or an error that explains the end.
    complete: bool,
    /// What a good end will be told as.
    verdict: Verdict,
}

/// Measures from the first time the consumer had to wait, not from the last item: a consumer that
/// takes its time is not the dependency's silence.
struct Silence {
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
    kind: SilenceKind,
    first: bool,
}

#[derive(Clone, Copy)]
enum SilenceKind {
    Silent(Duration),
    Deadline,
}

impl<S> GuardedStream<S>
where
    S: Stream,
    S::Item: Fallible,
{
    pub(crate) fn bare(stream: S) -> Self {
        Self {
            stream: Some(stream),
            watch: None,
        }
    }

    pub(crate) fn watched(
        stream: S,
        run: Run<Arc<Active>>,
        admitted: Admitted,
        items: ItemGuard<S::Item>,
    ) -> Self {
        Self {
            stream: Some(stream),
            watch: Some(Watch {
                run,
                admitted: Some(admitted),
                items,
                silence: Silence {
                    timer: None,
                    armed: false,
                    kind: SilenceKind::Deadline,
                    first: true,
                },
                complete: false,
                verdict: Verdict::from(Outcome::Success),
            }),
        }
    }
}

impl<S> Stream for GuardedStream<S>
where
    S: Stream,
    S::Item: Fallible,
{
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        let Some(stream) = this.stream.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let Some(watch) = this.watch else {
            return stream.poll_next(cx);
        };
        let polled = {
            let _entered = watch.run.span().enter();
            stream.poll_next(cx)
        };
        let last_word = match polled {
            Poll::Ready(Some(mut item)) => {
                watch.item(&mut item);
                return Poll::Ready(Some(item));
            }
            Poll::Ready(None) => watch.end(),
            Poll::Pending => Some(ready!(watch.poll_silence(cx))),
        };
        this.stream.set(None);
        Poll::Ready(last_word)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let hint = self.stream.as_ref().map_or((0, Some(0)), S::size_hint);
        match self.watch {
            None => hint,
            // It may end early, and then with one item more: the error.
            Some(_) => (0, hint.1.and_then(|most| most.checked_add(1))),
        }
    }
}

impl<I: Fallible> Watch<I> {
    fn item(&mut self, item: &mut I) {
        self.silence.item();
        if let (Some(last), Some(value)) = (self.items.last, item.success()) {
            self.complete |= last(value);
        }
        let judge = self.items.judge;
        if let Some(error) = item.error() {
            let verdict = judge.verdict(error);
            if judge.carries() {
                judge.carry(error, &self.run.context());
            }
            self.complete = true;
            match verdict.outcome() {
                Outcome::Failure => self.settle(verdict),
                Outcome::Neutral => self.verdict = verdict,
                _ => {}
            }
        }
    }

    /// The stream has ended; the error it ends with when that was too early.
    fn end(&mut self) -> Option<I> {
        if self.items.last.is_some() && !self.complete {
            self.settle(Verdict::failure());
            return Some(I::rejected(self.run.reject(Reason::StreamTruncated)));
        }
        self.settle(self.verdict);
        None
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<I> {
        let active = self.run.active();
        let limits = (active.first_item, active.idle);
        ready!(self.silence.poll(limits, self.run.ambient_deadline(), cx));
        let reason = match self.silence.kind {
            SilenceKind::Silent(after) => {
                self.settle(Verdict::failure());
                Reason::StreamStalled {
                    after,
                    first_item: self.silence.first,
                }
            }
            SilenceKind::Deadline => {
                self.settle(Verdict::neutral());
                Reason::DeadlineExceeded
            }
        };
        Poll::Ready(I::rejected(self.run.reject(reason)))
    }

    fn settle(&mut self, verdict: Verdict) {
        let Some(admitted) = self.admitted.take() else {
            return;
        };
        admitted.settle(verdict);
        self.run.finish(match verdict.outcome() {
            Outcome::Success => {
                self.run.active().deposit();
                CallResult::Success
            }
            Outcome::Failure => CallResult::Failure,
            _ => CallResult::Neutral,
        });
    }
}

impl Silence {
    fn item(&mut self) {
        self.armed = false;
        self.first = false;
    }

    fn poll(
        &mut self,
        (first_item, idle): (Option<Duration>, Option<Duration>),
        deadline: Option<Deadline>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !self.armed {
            let patience = if self.first { first_item } else { idle };
            let silent = patience.map(|time| {
                let at = Deadline::from_start(Instant::now(), time).instant();
                (at, SilenceKind::Silent(time))
            });
            let end = deadline.map(|end| (end.instant(), SilenceKind::Deadline));
            // With both at the same moment the silence is the reason.
            let Some((at, kind)) = silent.into_iter().chain(end).min_by_key(|(at, _)| *at) else {
                return Poll::Pending;
            };
            self.kind = kind;
            self.armed = true;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                none => *none = Some(Box::pin(sleep_until(at))),
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<S> fmt::Debug for GuardedStream<S>
where
    S: Stream,
    S::Item: Fallible,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedStream")
            .field("watched", &self.watch.is_some())
            .field("ended", &self.stream.is_none())
            .finish_non_exhaustive()
    }
}

/// The stream types a guarded method may answer without `impl`: boxed ones, which are boxed anew.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be guarded as a stream",
    label = "a guarded stream is another type than this",
    note = "answer `impl Stream<Item = Result<..>>` or `Pin<Box<dyn Stream<Item = Result<..>> + \
            Send>>`, or guard only the opening by leaving `stream` out"
)]
pub trait Rebox: Stream + Sized
where
    Self::Item: Fallible,
{
    fn rebox(guarded: GuardedStream<Self>) -> Self;
}

impl<'a, I: Fallible + 'a> Rebox for Pin<Box<dyn Stream<Item = I> + Send + 'a>> {
    fn rebox(guarded: GuardedStream<Self>) -> Self {
        Box::pin(guarded)
    }
}

impl<'a, I: Fallible + 'a> Rebox for Pin<Box<dyn Stream<Item = I> + 'a>> {
    fn rebox(guarded: GuardedStream<Self>) -> Self {
        Box::pin(guarded)
    }
}
