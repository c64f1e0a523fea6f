//! The layer that names a call.

use std::fmt;
use std::sync::Arc;

use fusebox_resilient::Ids;
use tower::Layer;

use super::Call;

/// Where the ids in force come from.
pub(super) type IdSource = Arc<dyn Fn() -> Ids + Send + Sync>;

/// Names the calls of a service: a span for each, and errors that know their call.
///
/// ```
/// use fusebox::{CircuitBreaker, Classify, Outcome};
/// use fusebox_resilient::Ids;
/// use fusebox_tower::{BreakerLayer, ByError, CallLayer, Error};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// #[derive(Debug)]
/// struct Down;
/// impl Classify for Down {
///     fn outcome(&self) -> Outcome { Outcome::Failure }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::builder("content").service("spellchecker").build()?;
/// let service = ServiceBuilder::new()
///     .layer(CallLayer::new(breaker.clone(), "content.fetch", ByError))
///     .layer(BreakerLayer::new(breaker, ByError))
///     .map_err(Error::Inner)
///     .service(service_fn(async |()| Err::<(), _>(Down)));
/// let ids = Ids::new().with_correlation_id("c-1");
/// let failed = ids.scope(service.oneshot(())).await.unwrap_err();
/// assert!(matches!(failed.error(), Error::Inner(Down)));
/// assert_eq!(
///     failed.context().to_string(),
///     "operation=content.fetch circuit=content service=spellchecker attempts=1 correlation_id=c-1"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CallLayer<B, C> {
    circuits: B,
    operation: Arc<str>,
    classify: C,
    ids: IdSource,
}

impl<B, C> CallLayer<B, C> {
    /// A layer for calls of `operation`, as `client.method`, through `circuits`, which are those of
    /// the breaker's layer inside. `classify` says what a result is in the span.
    ///
    /// The ids are those of [`Ids::scope`].
    pub fn new(circuits: B, operation: impl Into<Arc<str>>, classify: C) -> Self {
        Self {
            circuits,
            operation: operation.into(),
            classify,
            ids: Arc::new(Ids::current),
        }
    }

    /// The same with ids from elsewhere. Asked only for errors and for spans that are recorded.
    #[must_use]
    pub fn with_ids(mut self, ids: impl Fn() -> Ids + Send + Sync + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }
}

impl<S, B: Clone, C: Clone> Layer<S> for CallLayer<B, C> {
    type Service = Call<S, B, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Call {
            inner,
            circuits: self.circuits.clone(),
            operation: Arc::clone(&self.operation),
            classify: self.classify.clone(),
            ids: Arc::clone(&self.ids),
        }
    }
}

impl<B, C> fmt::Debug for CallLayer<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallLayer")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}
