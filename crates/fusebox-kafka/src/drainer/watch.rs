//! Whether a producer from which nothing comes back has lost its cluster.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::broker::{Broker, ErrorClass, SendError};

/// How long nothing may come back of what is under way before the producer is asked, and asked again.
pub(super) const ASK_AFTER: Duration = Duration::from_secs(5);

/// Asks the producer now and then while nothing comes back; never otherwise.
#[derive(Default)]
pub(super) struct Watch {
    question: Option<BoxFuture<'static, bool>>,
    /// When it is asked, if nothing comes back until then.
    ask_at: Option<Instant>,
    answered: Option<Instant>,
}

impl Watch {
    /// Brings the watch up to date; `waiting_since` is when something came back last, or went out first,
    /// while anything is under way.
    pub(super) fn advance(
        &mut self,
        waiting_since: Option<Instant>,
        broker: &Arc<dyn Broker>,
        now: Instant,
    ) {
        let Some(since) = waiting_since else {
            *self = Self::default();
            return;
        };
        if self.question.is_some() {
            return;
        }
        let since = self.answered.map_or(since, |answered| answered.max(since));
        let ask_at = since + ASK_AFTER;
        self.ask_at = Some(ask_at);
        if ask_at <= now {
            let broker = Arc::clone(broker);
            self.question = Some(Box::pin(async move { broker.has_lost_cluster().await }));
        }
    }

    /// Ends when the producer has answered; never ends while it is not asked.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(question) = &mut self.question else {
            return Poll::Pending;
        };
        let answer = question.as_mut().poll(cx);
        if answer.is_ready() {
            self.question = None;
            self.answered = Some(Instant::now());
        }
        answer
    }

    /// When it must be looked at again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.ask_at.filter(|_| self.question.is_none())
    }
}

/// What is told of a producer that has.
pub(super) fn lost_cluster() -> SendError {
    SendError {
        class: ErrorClass::Fatal,
        code: "_CLUSTER_LOST".to_owned(),
        text: "the producer does not find the cluster any more, and a new one does".to_owned(),
    }
}
