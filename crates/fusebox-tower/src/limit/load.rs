//! What a result says about the load of the dependency.

use fusebox_limit::Sample;

use crate::origin::{HasOrigin, Origin};

/// Judges what a result says about the load of the dependency.
pub trait Load<Res, Err> {
    /// What one result says.
    fn sample(&self, result: Result<&Res, &Err>) -> Sample;
}

/// A time-out is a sign of overload, a response is none, and an error that came in time says
/// nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeOuts;

impl<Res, Err: HasOrigin> Load<Res, Err> for TimeOuts {
    fn sample(&self, result: Result<&Res, &Err>) -> Sample {
        match result.map_err(HasOrigin::origin) {
            Ok(_) => Sample::Success,
            Err(Origin::TimedOut) => Sample::Overloaded,
            Err(_) => Sample::Ignored,
        }
    }
}

/// Judges by a function; made by [`load_fn`].
#[derive(Debug, Clone, Copy)]
pub struct LoadFn<F>(F);

/// Judges by a function, such as one that takes a response's status for a sign of overload.
pub fn load_fn<F, Res, Err>(f: F) -> LoadFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Sample,
{
    LoadFn(f)
}

impl<F, Res, Err> Load<Res, Err> for LoadFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Sample,
{
    fn sample(&self, result: Result<&Res, &Err>) -> Sample {
        (self.0)(result)
    }
}
