//! Clusters to be mistreated, and topics to be read.

pub(crate) mod cluster;
pub(crate) mod topics;

use std::time::Duration;

use tokio::time::Instant;

/// Longer than anything here takes, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// Waits until `state` holds.
pub(crate) async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !state() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
