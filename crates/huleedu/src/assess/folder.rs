//! Where the platform keeps its files: a folder of the user's, or a temporary one that goes away
//! unless something failed that someone will want to look at.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use tempfile::TempDir;

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    temporary: Mutex<Option<TempDir>>,
    is_temporary: bool,
}

impl DataDir {
    /// Uses `wanted`, or makes a temporary folder.
    pub(crate) fn open(wanted: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = wanted {
            fs::create_dir_all(path)
                .with_context(|| format!("cannot make the folder {}", path.display()))?;
            let path = path
                .canonicalize()
                .with_context(|| format!("cannot use {}", path.display()))?;
            return Ok(Self {
                path,
                temporary: Mutex::new(None),
                is_temporary: false,
            });
        }
        let folder = tempfile::Builder::new()
            .prefix("huleedu-")
            .tempdir()
            .context("cannot make a temporary folder; give one with --data-dir")?;
        Ok(Self {
            path: folder.path().to_owned(),
            temporary: Mutex::new(Some(folder)),
            is_temporary: true,
        })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes away at the end.
    pub(crate) fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    /// The log of all services.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.path.join("huleedu.log")
    }

    /// Something failed: a temporary folder stays, so that stores and log can be looked at.
    pub(crate) fn keep_for_inspection(&self) {
        if let Some(folder) = self
            .temporary
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            drop(folder.keep());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_away_unless_it_is_kept() {
        let data = DataDir::open(None).unwrap();
        let path = data.path().to_owned();
        assert!(path.is_dir());
        drop(data);
        assert!(!path.exists());

        let data = DataDir::open(None).unwrap();
        let path = data.path().to_owned();
        data.keep_for_inspection();
        drop(data);
        assert!(path.is_dir());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_of_the_users_stays() {
        let outer = tempfile::tempdir().unwrap();
        let wanted = outer.path().join("a b/c");
        drop(DataDir::open(Some(&wanted)).unwrap());
        assert!(wanted.is_dir());
    }
}
