//! A durable queue on disk: a segmented log with group commit.
//!
//! ```text
//! append ──► queue ──► group: one write, one fdatasync ──► answered: safe
//!                               │
//!                  segments, preallocated ──► peek, in the order of admission
//!                               │                     │
//!                            cursor ◄── settle ◄──────┤
//!                               ▲                     │
//!                               └── dead letters ◄── bury
//! ```
//!
//! [`Journal`] is the whole of it. A record is *accepted* when [`Journal::append`] has answered, and
//! from then on survives the death of process and machine; it is handed out by [`Journal::peek`] until
//! it is settled or buried. Delivery is at least once: what was settled in the last moments before a
//! crash may be handed out again, in the old order.
//!
//! Nothing is dropped silently: a quota, a full disk and a broken one refuse new records with a typed
//! error, and records that the disk has damaged are counted and their bytes kept in quarantine. What is
//! on disk, and why a crash at any moment is harmless, stands in `docs/design/journal.md`.

mod config;
#[cfg(feature = "encryption")]
mod crypt;
mod dead;
mod error;
mod format;
pub mod fs;
mod inspect;
mod journal;
mod log;
mod pace;
mod record;
mod stats;

pub use config::JournalConfig;
#[cfg(feature = "encryption")]
pub use crypt::KeyRing;
pub use dead::{Burial, DeadLetter, DeadSummary};
pub use error::{AppendError, JournalError, OpenError};
pub use inspect::{
    Checked, Finding, FindingKind, Inspection, Overview, Progress, Report, Seen, SeenRecord,
};
pub use journal::{Journal, Pending};
pub use record::{Entry, Position, Stored};
pub use stats::{Histogram, JournalStats};
