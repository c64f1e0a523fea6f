//! Values that hold while a future runs: set before each of its polls, put back after it.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// A value that lives in a thread-local variable while work under it is polled.
pub(crate) trait Ambient {
    /// What was in force before.
    type Before;

    fn enter(&self) -> Self::Before;

    fn leave(before: Self::Before);
}

pin_project! {
    /// Runs a future under an ambient value; made by [`crate::Deadline::scope`] and
    /// [`crate::Ids::scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<A, F> {
        value: A,
        #[pin]
        work: F,
    }
}

impl<A, F> Scope<A, F> {
    pub(crate) fn new(value: A, work: F) -> Self {
        Self { value, work }
    }
}

impl<A: Ambient, F: Future> Future for Scope<A, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // Put back by a guard: a panic of the work must not leave its value to the thread.
        let _entered = Entered::<A>(Some(this.value.enter()));
        this.work.poll(cx)
    }
}

struct Entered<A: Ambient>(Option<A::Before>);

impl<A: Ambient> Drop for Entered<A> {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            A::leave(before);
        }
    }
}
