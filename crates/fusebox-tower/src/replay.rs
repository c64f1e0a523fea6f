//! Which requests may be sent more than once, and the copies they are sent from.

/// Says whether a request may be sent again, by making its copy.
///
/// Sending again is safe for what is idempotent: by the method's nature, or because it carries a
/// key by which the receiver knows it. Nobody but the caller knows that.
pub trait Replay<Req> {
    /// A copy to send if need be; `None` when the request must be sent only once.
    fn replay(&self, request: &Req) -> Option<Req>;
}

/// Every request may be sent again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Always;

impl<Req: Clone> Replay<Req> for Always {
    fn replay(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// Lets a function make the copy; made by [`replay_fn`].
#[derive(Debug, Clone, Copy)]
pub struct ReplayFn<F>(F);

/// Lets a function make the copy, or refuse to.
///
/// ```
/// use fusebox_tower::{Replay, replay_fn};
///
/// #[derive(Clone)]
/// enum Request { Get(u64), Post(String) }
///
/// let replay = replay_fn(|request: &Request| match request {
///     Request::Get(_) => Some(request.clone()),
///     Request::Post(_) => None,
/// });
/// assert!(replay.replay(&Request::Post("essay".into())).is_none());
/// # assert!(replay.replay(&Request::Get(7)).is_some());
/// ```
pub fn replay_fn<F, Req>(f: F) -> ReplayFn<F>
where
    F: Fn(&Req) -> Option<Req>,
{
    ReplayFn(f)
}

impl<F, Req> Replay<Req> for ReplayFn<F>
where
    F: Fn(&Req) -> Option<Req>,
{
    fn replay(&self, request: &Req) -> Option<Req> {
        (self.0)(request)
    }
}
