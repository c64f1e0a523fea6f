//! The layer that gives work a deadline, and where its time comes from.

use std::time::Duration;

use tower::Layer;

use super::WithDeadline;

/// How much time a request has.
pub trait TimeFor<Req> {
    /// Time from now on; `None` when the request names none.
    fn time(&self, request: &Req) -> Option<Duration>;
}

/// The same time for every request.
impl<Req> TimeFor<Req> for Duration {
    fn time(&self, _: &Req) -> Option<Duration> {
        Some(*self)
    }
}

/// Time that comes with the request, such as in a header.
impl<F, Req> TimeFor<Req> for F
where
    F: Fn(&Req) -> Option<Duration>,
{
    fn time(&self, request: &Req) -> Option<Duration> {
        self(request)
    }
}

/// Gives work a deadline.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer<T> {
    time: T,
}

impl<T> DeadlineLayer<T> {
    /// A deadline after `time`: a [`Duration`], or a function of the request.
    pub fn new(time: T) -> Self {
        Self { time }
    }
}

impl<S, T: Clone> Layer<S> for DeadlineLayer<T> {
    type Service = WithDeadline<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        WithDeadline::new(inner, self.time.clone())
    }
}
