//! The error of a call that has a name.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use fusebox::{Classify, Outcome};
use fusebox_resilient::Context;

use crate::origin::{HasOrigin, Origin};

/// A call has failed, or was refused: the error, and which call it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailed<E> {
    // Boxed: results are moved about far more often than they are errors.
    inner: Box<(E, Context)>,
}

impl<E> CallFailed<E> {
    pub(super) fn new(error: E, context: Context) -> Self {
        Self {
            inner: Box::new((error, context)),
        }
    }

    /// The error.
    pub fn error(&self) -> &E {
        &self.inner.0
    }

    /// The error alone.
    pub fn into_inner(self) -> E {
        self.inner.0
    }

    /// Which call, for whom.
    pub fn context(&self) -> &Context {
        &self.inner.1
    }
}

/// What the error says; the context is for the log's fields.
impl<E: fmt::Display> fmt::Display for CallFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl<E: StdError> StdError for CallFailed<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().source()
    }
}

impl<E: Classify> Classify for CallFailed<E> {
    fn outcome(&self) -> Outcome {
        self.error().outcome()
    }

    fn retry_after(&self) -> Option<Duration> {
        self.error().retry_after()
    }
}

impl<E: HasOrigin> HasOrigin for CallFailed<E> {
    fn origin(&self) -> Origin {
        self.error().origin()
    }
}
