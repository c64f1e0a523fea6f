//! Clusters to be mistreated, and topics to be read.

pub(crate) mod cluster;
pub(crate) mod topics;

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;

/// Longer than anything here takes, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// Waits until `state` holds.
pub(crate) async fn until(what: &str, state: impl FnMut() -> bool) {
    until_of(&"", what, state).await;
}

/// Waits until `state` holds, and shows `who` when it does not come to that.
pub(crate) async fn until_of(who: &impl Debug, what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !state() {
        let late = Instant::now() >= deadline;
        assert!(!late, "not within {LIMIT:?}: {what}\n{who:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
