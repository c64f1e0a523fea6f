//! The response of a call that needs a place first.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use fusebox_limit::{Enter, Full, Place};
use pin_project_lite::pin_project;
use tower::Service;

use super::Load;

pin_project! {
    /// The response of a call that needs a place first.
    ///
    /// # Cancel safety
    /// Dropping it gives the place back, or leaves the queue.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, L, Req> {
        #[pin]
        state: State<S, Req, S::Future>,
        load: L,
    }
}

pin_project! {
    #[project = Now]
    enum State<S, Req, F> {
        Waiting {
            enter: Enter,
            // The ready service and its request, until they are used.
            call: Option<(S, Req)>,
        },
        Calling {
            #[pin]
            future: F,
            place: Option<Place>,
        },
        Refused {
            full: Full,
        },
    }
}

impl<S: Service<Req>, L, Req> ResponseFuture<S, L, Req> {
    pub(super) fn waiting(enter: Enter, ready: S, request: Req, load: L) -> Self {
        let call = Some((ready, request));
        Self {
            state: State::Waiting { enter, call },
            load,
        }
    }

    pub(super) fn calling(future: S::Future, place: Place, load: L) -> Self {
        let place = Some(place);
        Self {
            state: State::Calling { future, place },
            load,
        }
    }

    pub(super) fn refused(full: Full, load: L) -> Self {
        Self {
            state: State::Refused { full },
            load,
        }
    }
}

impl<S, L, Req> Future for ResponseFuture<S, L, Req>
where
    S: Service<Req>,
    S::Error: From<Full>,
    L: Load<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                Now::Waiting { enter, call } => {
                    let place = match ready!(Pin::new(enter).poll(cx)) {
                        Ok(place) => place,
                        Err(full) => return Poll::Ready(Err(full.into())),
                    };
                    let (mut inner, request) = call.take().expect("kept until the place has come");
                    let future = inner.call(request);
                    let place = Some(place);
                    this.state.set(State::Calling { future, place });
                }
                Now::Calling { future, place } => {
                    // Held here while foreign code runs: its panic gives the place back at once.
                    let held = place.take();
                    let Poll::Ready(result) = future.poll(cx) else {
                        *place = held;
                        return Poll::Pending;
                    };
                    if let Some(held) = held {
                        held.report(this.load.sample(result.as_ref()));
                    }
                    return Poll::Ready(result);
                }
                Now::Refused { full } => return Poll::Ready(Err((*full).into())),
            }
        }
    }
}

impl<S: Service<Req>, L, Req> fmt::Debug for ResponseFuture<S, L, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "waiting",
            State::Calling { .. } => "calling",
            State::Refused { .. } => "refused",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
