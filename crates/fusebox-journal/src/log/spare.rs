//! The segment file made ahead, so that a full disk does not stop the log at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Log, lock};
use crate::AppendError;
use crate::format::to_usize;
use crate::fs::{FsFile, OpenMode};

pub(super) const SPARE: &str = "spare";
const SPARE_TMP: &str = "spare.tmp";

/// A file full of zeros, synced, named `spare`.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: Arc<dyn FsFile>,
}

/// An error of the disk as callers see it.
pub(super) fn refusal(error: io::Error) -> AppendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::NoSpace,
        _ => AppendError::Io(Arc::new(error)),
    }
}

impl Log {
    /// Makes the spare if there is none.
    pub(crate) fn prepare_spare(&self) -> Result<(), AppendError> {
        let mut spare = lock(&self.spare);
        if spare.is_none() {
            *spare = Some(self.make_spare()?);
        }
        Ok(())
    }

    pub(crate) fn spare_ready(&self) -> bool {
        // While it is being made it is not ready.
        self.spare.try_lock().is_ok_and(|spare| spare.is_some())
    }

    /// Takes the spare, made now if need be, and lets `begin` give it a name of its own. Until that is
    /// done nobody else makes another: it would take the place of this one under the name `spare`.
    pub(super) fn use_spare(
        &self,
        begin: impl FnOnce(&Spare) -> Result<(), AppendError>,
    ) -> Result<Spare, AppendError> {
        let mut spare = lock(&self.spare);
        let taken = match spare.take() {
            Some(taken) => taken,
            None => self.make_spare()?,
        };
        begin(&taken)?;
        Ok(taken)
    }

    fn make_spare(&self) -> Result<Spare, AppendError> {
        let needed = self.config.segment_bytes + self.config.reserve_bytes;
        // A disk that does not tell shows it when the zeros are written.
        let is_short = || {
            let free = self.fs.free_bytes(&self.dir);
            free.is_ok_and(|free| free < needed)
        };
        if is_short() {
            // Some file systems count the space of a removed file as free only behind the next sync.
            let freed = self.freed.swap(false, Ordering::AcqRel);
            if !freed || self.fs.sync_dir(&self.dir).is_err() || is_short() {
                return Err(AppendError::NoSpace);
            }
        }
        let made = self.write_spare();
        if made.is_err() {
            // Gives the space back; what cannot be removed is removed when opening.
            let removed = self.fs.unlink(&self.path(SPARE_TMP));
            drop(removed);
        }
        made.map_err(refusal)
    }

    fn write_spare(&self) -> io::Result<Spare> {
        let zeros = vec![0; 256 << 10];
        let tmp = self.path(SPARE_TMP);
        let file = self.fs.open(&tmp, OpenMode::Create)?;
        let mut at = 0;
        while at < self.config.segment_bytes {
            let left = to_usize(self.config.segment_bytes - at);
            let chunk = &zeros[..zeros.len().min(left)];
            file.write_at(at, chunk)?;
            at += chunk.len() as u64;
        }
        file.sync_all()?;
        self.fs.rename(&tmp, &self.path(SPARE))?;
        self.fs.sync_dir(&self.dir)?;
        Ok(Spare { file })
    }

    /// The spare an earlier run left, if it is whole; otherwise it is removed.
    pub(super) fn find_spare(&self) -> io::Result<()> {
        let path = self.path(SPARE);
        let file = self.fs.open(&path, OpenMode::Write)?;
        if file.size()? == self.config.segment_bytes {
            *lock(&self.spare) = Some(Spare { file });
            return Ok(());
        }
        drop(file);
        self.fs.unlink(&path)
    }
}
