//! What an operator may see and do: events that wait for Kafka, dead letters, and the process that
//! has them.
//!
//! A running service answers on a **Unix socket**, by default beside its SQLite file
//! (`spellchecker.db`, `spellchecker.admin.sock`) or in its journal's folder, else where `ADMIN_SOCKET` says.
//! Why not a route of
//! its HTTP server behind a token: that server listens where others can reach it, a token must be made,
//! kept and handed out, and it is one more secret to leak; the socket is reachable by the machine's own
//! users alone, the system tells who asks (only the service's own user and root are answered), and
//! whoever has the data directory knows where it is.
//!
//! A lock says whether what it lies beside is *live*, and where its owner answers. It is beside the SQLite file
//! or in the journal whatever `ADMIN_SOCKET` says, so that two processes with different settings meet at it; a
//! database on a server has none of its own, but a lease on its outbox. `huleedu journal`, `dead` and `blocked`
//! ask the process while it runs; the first two open the store themselves when it does not. Both ways end in
//! the same [`Desk`].
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
