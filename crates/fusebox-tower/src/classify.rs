//! What a response or an error means: for the circuit, and for whether to try again.

use fusebox::Classify;
use fusebox_resilient::Verdict;
use tower::BoxError;

use crate::origin::{HasOrigin, Origin};

/// Judges the results of a service.
///
/// A verdict also carries the time the dependency asked to be left alone for (`Retry-After`), so
/// this is where it is read from a response.
pub trait ClassifyResult<Res, Err> {
    /// The verdict on one result.
    fn verdict(&self, result: Result<&Res, &Err>) -> Verdict;
}

/// Every response is a success; an error tells by [`Classify`] what it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByError;

impl<Res, Err: Classify> ClassifyResult<Res, Err> for ByError {
    fn verdict(&self, result: Result<&Res, &Err>) -> Verdict {
        match result {
            Ok(_) => Verdict::from(fusebox::Outcome::Success),
            Err(error) => Verdict::of(error),
        }
    }
}

/// Every response is a success; a boxed error is a failure, unless a refusal of ours is in its
/// chain of causes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByChain;

impl<Res> ClassifyResult<Res, BoxError> for ByChain {
    fn verdict(&self, result: Result<&Res, &BoxError>) -> Verdict {
        match result.map_err(HasOrigin::origin) {
            Ok(_) => Verdict::from(fusebox::Outcome::Success),
            Err(Origin::Inner | Origin::TimedOut) => Verdict::failure(),
            Err(_) => Verdict::neutral(),
        }
    }
}

/// Judges by a function; made by [`classify_fn`].
#[derive(Debug, Clone, Copy)]
pub struct ClassifyFn<F>(F);

/// Judges by a function.
///
/// ```
/// use std::time::Duration;
/// use fusebox::Outcome;
/// use fusebox_resilient::Verdict;
/// use fusebox_tower::{Error, classify_fn};
///
/// struct Response { status: u16, retry_after: Option<Duration> }
/// #[derive(Debug)]
/// struct ConnectionLost;
///
/// let http = classify_fn(|result: Result<&Response, &Error<ConnectionLost>>| match result {
///     Ok(response) => match response.status {
///         429 => Verdict::throttled(response.retry_after),
///         503 => Verdict::failure().with_retry_after(response.retry_after),
///         500.. => Verdict::failure(),
///         400.. => Verdict::neutral(), // the caller's fault
///         _ => Outcome::Success.into(),
///     },
///     Err(Error::Inner(ConnectionLost) | Error::TimedOut(_)) => Verdict::failure(),
///     Err(_) => Verdict::neutral(), // a refusal of our own
/// });
/// # let _: &dyn fusebox_tower::ClassifyResult<Response, Error<ConnectionLost>> = &http;
/// ```
pub fn classify_fn<F, Res, Err>(f: F) -> ClassifyFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Verdict,
{
    ClassifyFn(f)
}

impl<F, Res, Err> ClassifyResult<Res, Err> for ClassifyFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Verdict,
{
    fn verdict(&self, result: Result<&Res, &Err>) -> Verdict {
        (self.0)(result)
    }
}
