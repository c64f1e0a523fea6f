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
//! ```
//! use fusebox_journal::{Burial, Entry, Journal, JournalConfig, Position};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let entry = |id: u8, text: &'static str| Entry {
//!     id: [id; 16], // the caller's own: the same on every try
//!     label: "orders".into(),
//!     admitted_at_ms: 1_700_000_000_000,
//!     data: text.into(),
//! };
//! let journal = Journal::open(directory, JournalConfig::default())?; // one process for a directory
//!
//! // Begun together, both are in one write and one fdatasync. The answer is `wait`ed for, or awaited.
//! let (first, second) = (journal.append(entry(1, "one")), journal.append(entry(2, "two")));
//! let (first, second) = (first.wait()?, second.wait()?);
//! assert!(first < second, "safe now, in the order of admission");
//!
//! // Whoever drains it looks, does something, and settles: nothing is gone before that.
//! let waiting = journal.peek(Position::START, 100, 1 << 20)?; // at most 100 records and 1 MiB
//! assert_eq!(waiting.len(), 2);
//! journal.settle(&[first]).wait()?;
//!
//! // What can never be delivered is kept with its reason, and no longer in the way.
//! let burial = Burial { reason: "too large".into(), ..Burial::default() };
//! journal.bury(second, &burial)?;
//! journal.close()?;
//!
//! let journal = Journal::open(directory, JournalConfig::default())?;
//! assert!(journal.peek(Position::START, 100, 1 << 20)?.is_empty());
//! let dead = journal.dead_letters(Position::START, 10, |_| true);
//! let letter = journal.dead_letter(dead[0].position)?;
//! assert_eq!((&*letter.entry.data, &*letter.burial.reason), (&b"two"[..], "too large"));
//! journal.requeue(letter.position)?; // its cause is gone: at the end of the line again
//! assert_eq!(journal.peek(Position::START, 100, 1 << 20)?.len(), 1);
//! # Ok(())
//! # }
//! ```
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
