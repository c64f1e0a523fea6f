//! Who called what, on whose behalf: the context that errors of protected calls carry.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::ambient::{Ambient, Scope};

thread_local! {
    static CURRENT: RefCell<Option<Ids>> = const { RefCell::new(None) };
}

/// The ids by which a piece of work is found again in logs and traces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ids {
    /// Follows a user's request through every service.
    pub correlation_id: Option<Arc<str>>,
    /// The trace the work belongs to.
    pub trace_id: Option<Arc<str>>,
    /// The span in it.
    pub span_id: Option<Arc<str>>,
}

impl Ids {
    /// No ids at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this correlation id.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// The same with this trace id.
    #[must_use]
    pub fn with_trace_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.trace_id = Some(id.into());
        self
    }

    /// The same with this span id.
    #[must_use]
    pub fn with_span_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.span_id = Some(id.into());
        self
    }

    /// The ids of the scope around the running work; none outside of any.
    pub fn current() -> Self {
        CURRENT.with_borrow(|ids| ids.clone().unwrap_or_default())
    }

    /// Runs `work` under these ids. Inside another scope the inner one holds.
    ///
    /// A program that keeps its ids elsewhere hands them over by
    /// [`crate::ResilienceBuilder::ids`] instead.
    ///
    /// # Cancel safety
    /// As cancel safe as `work`.
    pub fn scope<F: Future>(self, work: F) -> Scope<Self, F> {
        Scope::new(self, work)
    }
}

impl Ambient for Ids {
    type Before = Option<Ids>;

    fn enter(&self) -> Option<Ids> {
        // Three reference counts; nothing is copied.
        CURRENT.replace(Some(self.clone()))
    }

    fn leave(before: Option<Ids>) {
        CURRENT.replace(before);
    }
}

/// The names of a protected operation, the same for every call of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) service: Box<str>,
    pub(crate) circuit: Box<str>,
    pub(crate) operation: Box<str>,
}

/// What is known about one protected call; every error of it can carry this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    names: Arc<Names>,
    ids: Ids,
    attempts: u32,
}

impl Context {
    /// The context of a call through `breaker` that no [`crate::Policy`] made.
    pub fn of(breaker: &fusebox::CircuitBreaker, operation: &str, ids: Ids, attempts: u32) -> Self {
        let names = Names {
            service: breaker.service().into(),
            circuit: breaker.name().into(),
            operation: operation.into(),
        };
        Self::new(Arc::new(names), ids, attempts)
    }

    pub(crate) fn new(names: Arc<Names>, ids: Ids, attempts: u32) -> Self {
        Self {
            names,
            ids,
            attempts,
        }
    }

    /// The calling service.
    pub fn service(&self) -> &str {
        &self.names.service
    }

    /// What was called, as `client.method`.
    pub fn operation(&self) -> &str {
        &self.names.operation
    }

    /// The circuit the call went through.
    pub fn circuit(&self) -> &str {
        &self.names.circuit
    }

    /// The ids of the work that made the call.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The correlation id, if one was in force.
    pub fn correlation_id(&self) -> Option<&str> {
        self.ids.correlation_id.as_deref()
    }

    /// The trace id, if one was in force.
    pub fn trace_id(&self) -> Option<&str> {
        self.ids.trace_id.as_deref()
    }

    /// The span id, if one was in force.
    pub fn span_id(&self) -> Option<&str> {
        self.ids.span_id.as_deref()
    }

    /// How often the call was tried, hedges not counted; 0 when it was refused at once.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// One line for logs: `operation=… circuit=… service=…`, and the ids that are known.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "operation={} circuit={} service={} attempts={}",
            self.operation(),
            self.circuit(),
            self.service(),
            self.attempts
        )?;
        let ids = [
            ("correlation_id", self.correlation_id()),
            ("trace_id", self.trace_id()),
            ("span_id", self.span_id()),
        ];
        for (name, id) in ids {
            if let Some(id) = id {
                write!(f, " {name}={id}")?;
            }
        }
        Ok(())
    }
}

/// An error that keeps the context of the call it came from.
///
/// `#[resilient]` finds out by itself whether a method's error has this; an error that has not is
/// handed through as it is. Refusals of our own carry their context in any case.
pub trait CarryContext {
    /// Takes the context in. With nested protected calls the inner one comes first.
    fn carry(&mut self, context: &Context);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_inner_scope_holds_and_ends() {
        let outer = Ids::new().with_correlation_id("a").with_trace_id("t");
        outer
            .clone()
            .scope(async {
                let inner = Ids::new().with_correlation_id("b").with_span_id("s");
                inner
                    .clone()
                    .scope(async { assert_eq!(Ids::current(), inner) })
                    .await;
                assert_eq!(Ids::current(), outer);
            })
            .await;
        assert_eq!(Ids::current(), Ids::new());
    }

    #[test]
    fn one_line_tells_all() {
        let names = Names {
            service: "gateway".into(),
            circuit: "content".into(),
            operation: "content.fetch".into(),
        };
        let ids = Ids::new().with_correlation_id("c1").with_span_id("s1");
        let line = Context::new(Arc::new(names), ids, 2).to_string();
        assert_eq!(
            line,
            "operation=content.fetch circuit=content service=gateway attempts=2 \
             correlation_id=c1 span_id=s1"
        );
    }
}
