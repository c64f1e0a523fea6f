//! What an operator may see and do: events that wait for Kafka, dead letters, and the process that
//! has them.
//!
//! A running service answers on a **Unix socket**, by default beside its SQLite file
//! (`spellchecker.db`, `spellchecker.admin.sock`), else where `ADMIN_SOCKET` says. Why not a route of
//! its HTTP server behind a token: that server listens where others can reach it, a token must be made,
//! kept and handed out, and it is one more secret to leak; the socket is reachable by the machine's own
//! users alone, the system tells who asks (only the service's own user and root are answered), and
//! whoever has the data directory knows where it is.
//!
//! Beside the socket lies a lock that says whether the directory is *live*. `huleedu journal` and
//! `huleedu dead` ask the process while it runs and open the store themselves when it does not; both
//! ways end in the same [`Desk`].
//!
//! | room | subject |
//! |---|---|
//! | `desk` | what can be seen and done |
//! | `outbox`, `journal` | the same on a database, and on a journal |
//! | `model` | the answers |
//! | `routes` | the desk over the socket, and lanes that are held up |
//! | `socket` | who owns a directory; finding and claiming it |

mod desk;
mod journal;
mod model;
mod outbox;
mod routes;
mod socket;

pub use desk::{AdminError, Desk, Verified};
pub use journal::JournalDesk;
pub use model::{
    BlockedLane, Body, DeadDetail, DeadId, DeadKind, DeadQuery, DeadSummary, EventDetail,
    EventQuery, EventSummary, QueueStats, Requeued, Resolved, UnknownDeadId,
};
pub use outbox::StoreDesk;
pub(crate) use routes::{Live, routes};
pub(crate) use socket::OwnListener;
pub use socket::{Claim, ClaimError, Home, Owner, SocketPath, short_path};
