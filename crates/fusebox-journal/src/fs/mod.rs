//! What the journal needs of the world: files, syncs, free space, a lock, a clock and random bytes.
//!
//! [`RealFs`] is the machine; [`sim::SimFs`] is a disk that loses power and fails on demand.

mod real;
pub mod sim;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use real::RealFs;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To read.
    Read,
    /// To read and write, existing.
    Write,
    /// To read and write; an existing file is emptied.
    Create,
}

/// A file system with what a log needs.
pub trait Fs: Send + Sync + Debug {
    /// Makes a directory and its parents, durably.
    ///
    /// # Errors
    /// When that is not possible.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in a directory, in any order.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file.
    ///
    /// # Errors
    /// When that is not possible.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn FsFile>>;

    /// Gives a file another name, atomically; durable after [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// When that is not possible.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; durable after [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// When that is not possible.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// When that is not possible.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes an ordinary user may still write to the disk of `dir`.
    ///
    /// # Errors
    /// When the disk does not tell.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the lock `path` for as long as the guard lives and writes `owner` into it; `None` when
    /// another process has it.
    ///
    /// # Errors
    /// When the file cannot be made.
    fn lock(&self, path: &Path, owner: &str) -> io::Result<Option<Box<dyn Debug + Send + Sync>>>;

    /// Who has the lock `path`, if anyone. Neither writes nor takes it for longer than a look.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn lock_holder(&self, path: &Path) -> io::Result<Option<String>>;

    /// The name of the machine, for people to read.
    fn host(&self) -> String;

    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// Fills `buffer` with random bytes.
    ///
    /// # Errors
    /// When the system has none.
    fn random(&self, buffer: &mut [u8]) -> io::Result<()>;
}

/// An open file.
pub trait FsFile: Send + Sync + Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// When that is unknown.
    fn size(&self) -> io::Result<u64>;

    /// Reads at `offset` until the buffer is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// When the disk fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// When the disk fails or is full; a part may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes data durable, and of the metadata what reading needs.
    ///
    /// # Errors
    /// When the disk fails. What was not durable before is then unknown.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes data and all metadata durable.
    ///
    /// # Errors
    /// Like [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> io::Result<()>;

    /// Forgets what memory holds of the file and the disk has been given, so that what is read next is what
    /// the disk has: after a sync that failed, memory may hold more than that. Where the system does not do
    /// it, nothing happens.
    fn forget_cached(&self) {}
}
