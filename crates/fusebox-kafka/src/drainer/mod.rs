//! Empties a backlog into Kafka, in order, for as long as the process runs.
//!
//! | room | subject |
//! |---|---|
//! | `config` | the numbers |
//! | `handle` | waking, watching |
//! | `engine` | the loop: feeding, reports, upkeep of the backlog |
//! | `reader` | where the drainer is in the backlog |
//! | `window` | every record that left the backlog's head and is not settled yet |
//! | `gate` | the circuit: is anything being delivered? |
//! | `pace` | how fast records are handed over |
//! | `pauses` | topics at fault |
//! | `blocks` | lanes that a refused record holds up |
//! | `rates` | records coming and going in a second |
//! | `span` | what is told to tracing |
//! | `retry` | when failed work is tried again |
//! | `tries` | how often a record was handed over, and whether it may have arrived |
//! | `watch` | whether the producer has lost its cluster |

mod blocks;
mod config;
mod engine;
mod gate;
mod handle;
mod pace;
mod pauses;
mod rates;
mod reader;
mod retry;
mod span;
mod tries;
mod watch;
mod window;

use std::fmt;
use std::sync::Arc;

use fusebox::CircuitBreaker;
use tokio_util::sync::CancellationToken;

pub use self::blocks::{Blocked, PoisonPolicy, Resolution};
pub use self::config::DrainerConfig;
use self::engine::Engine;
use self::handle::Shared;
pub use self::handle::{DrainerHandle, DrainerStats};
pub use self::pace::{PaceCuts, PaceLimit, PaceNow};
use crate::backlog::Backlog;
use crate::broker::Broker;

/// Feeds one producer from one backlog, in the order of admission.
///
/// The circuit judges progress: as long as records are delivered it stays closed; when nothing is
/// delivered for [`DrainerConfig::stall_after`] although something is under way, failures are counted
/// until it opens. So give it [`TripRule::Consecutive`](fusebox::TripRule::Consecutive): then the
/// successes before an outage do not outweigh it. While it is open nothing is fed, and what the
/// producer holds stays there. Half-open, the oldest record is the probe; when there is none, the
/// cluster is asked for a sign of life, so a circuit heals without traffic.
///
/// After an outage the window begins with one record and doubles with each round trip. A backlog, also
/// one that is found at the start, is handed over at a pace of records and bytes that begins low, grows
/// while Kafka acknowledges in time, and is halved when it does not, until everything is fed; it is
/// never below its beginning.
///
/// A record leaves the backlog in two ways: delivered, or buried with a reason after it was refused
/// twice for its own sake, the second time alone. Under another [`PoisonPolicy`] than the default it
/// stays instead, and holds up its key or topic until somebody [resolves](DrainerHandle::resolve) it.
///
/// Order within a lane holds whatever Kafka answers: a refusal ends the producer, so that nothing behind
/// the refused record arrives before it; when all its reports are in it is replaced, and the backlog is
/// read again from the oldest record that is not settled. A record that was refused is then sent alone,
/// in its turn.
///
/// A producer that [has lost its cluster](Broker::has_lost_cluster) is replaced, too: it is asked whenever
/// nothing has come back for 5 s of what is under way.
pub struct Drainer {
    backlog: Arc<dyn Backlog>,
    broker: Arc<dyn Broker>,
    breaker: CircuitBreaker,
    config: DrainerConfig,
    shared: Arc<Shared>,
}

impl Drainer {
    /// A drainer that does nothing until it is run.
    pub fn new(
        backlog: Arc<dyn Backlog>,
        broker: Arc<dyn Broker>,
        breaker: CircuitBreaker,
        config: DrainerConfig,
    ) -> Self {
        Self {
            backlog,
            broker,
            breaker,
            config,
            shared: Arc::default(),
        }
    }

    /// A handle to wake and to watch it.
    pub fn handle(&self) -> DrainerHandle {
        DrainerHandle::new(Arc::clone(&self.shared))
    }

    /// Drains until `shutdown` is cancelled; then feeds nothing more, waits up to
    /// [`DrainerConfig::shutdown_timeout`] for the reports of what is under way, settles, and ends.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was not settled is sent again by the next drainer on
    /// the same backlog.
    pub async fn run(self, shutdown: CancellationToken) {
        Engine::new(
            self.backlog,
            self.broker,
            self.breaker,
            self.config,
            self.shared,
        )
        .run(shutdown)
        .await;
    }
}

impl fmt::Debug for Drainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drainer")
            .field("breaker", &self.breaker.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
