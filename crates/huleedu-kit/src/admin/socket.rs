//! Who owns a service's store, and where it is asked.
//!
//! The lock file beside the socket is the truth: whoever holds it is the owner, and a crash gives it
//! back. What is written in it is for people. The socket is only believed while the lock is held.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{MetadataExt as _, PermissionsExt as _},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use tokio::{net::UnixStream, time::Instant};

use crate::{service::ServiceId, store::sqlite_file};

/// The address of a socket holds 108 bytes, the last of which is zero.
const LONGEST: usize = 107;
/// A starting service waits so long for an operator's command that just looks, or for the process
/// before it that is just ending.
const CLAIM_LIMIT: Duration = Duration::from_secs(5);

/// Where a service's admin socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath(PathBuf);

/// A store cannot be owned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Somebody has it.
    #[error("{} is in use by {owner}", lock.display())]
    Owned {
        /// The lock.
        lock: PathBuf,
        /// What the owner wrote about itself.
        owner: String,
    },
    /// The system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The lock or the socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Ownership of a store, given back when it is dropped.
#[derive(Debug)]
pub struct Claim {
    path: SocketPath,
    _lock: File,
}

impl SocketPath {
    /// Where the socket of a service is: where `setting` says, unless that is `off`; else beside its
    /// SQLite file; else nowhere.
    pub fn of(service: ServiceId, setting: Option<&str>, database_url: &str) -> Option<Self> {
        match setting.map(str::trim) {
            Some("off") => None,
            Some(path) if !path.is_empty() => Some(Self(path.into())),
            _ => {
                let file = sqlite_file(database_url)?;
                Some(Self(
                    file.with_file_name(format!("{}.admin.sock", service.slug())),
                ))
            }
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn lock_path(&self) -> PathBuf {
        self.0.with_extension("lock")
    }

    /// What the owner wrote about itself; `None` when nobody owns the store now. Changes nothing.
    ///
    /// # Errors
    /// When the lock cannot be looked at.
    pub fn owner(&self) -> Result<Option<String>, ClaimError> {
        let path = self.lock_path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ClaimError::Io { path, source }),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_owner(&mut file))),
            Err(TryLockError::Error(source)) => Err(ClaimError::Io { path, source }),
        }
    }

    /// Owns the store from now on. `who` is told to others. Waits up to five seconds while somebody
    /// else has it.
    ///
    /// # Errors
    /// When somebody else has it, or the system refuses.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn claim(&self, who: &str) -> Result<Claim, ClaimError> {
        let path = self.lock_path();
        let failed = |source| ClaimError::Io {
            path: path.clone(),
            source,
        };
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let deadline = Instant::now() + CLAIM_LIMIT;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let owner = read_owner(&mut lock);
                    return Err(ClaimError::Owned { lock: path, owner });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        lock.set_len(0).map_err(failed)?;
        write!(lock, "process {}: {who}", std::process::id()).map_err(failed)?;
        Ok(Claim {
            path: self.clone(),
            _lock: lock,
        })
    }

    /// A name for the same socket that fits into an address, for as long as the file is open.
    ///
    /// # Errors
    /// When the folder cannot be opened.
    pub fn short(&self) -> io::Result<(PathBuf, Option<File>)> {
        let (Some(folder), Some(name)) = (self.0.parent(), self.0.file_name()) else {
            return Ok((self.0.clone(), None));
        };
        if self.0.as_os_str().len() <= LONGEST || folder.as_os_str().is_empty() {
            return Ok((self.0.clone(), None));
        }
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
        Ok((path.join(name), Some(folder)))
    }
}

impl Claim {
    /// Listens on the socket; what an earlier owner left there goes.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen(self) -> Result<OwnListener, ClaimError> {
        let path = self.path.path().to_owned();
        let failed = |source| ClaimError::Io {
            path: path.clone(),
            source,
        };
        let bind = || {
            let (short, _folder) = self.path.short()?;
            match std::fs::remove_file(&short) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&short)?;
            std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o600))?;
            // The file is ours, so its owner is who we are.
            let user = std::fs::symlink_metadata(&short)?.uid();
            listener.set_nonblocking(true)?;
            Ok((tokio::net::UnixListener::from_std(listener)?, user))
        };
        let (inner, user) = bind().map_err(failed)?;
        Ok(OwnListener {
            inner,
            user,
            _claim: self,
        })
    }
}

/// Accepts connections of this user and of root, and of nobody else. Holds the claim.
#[derive(Debug)]
pub(crate) struct OwnListener {
    inner: tokio::net::UnixListener,
    user: u32,
    _claim: Claim,
}

impl axum::serve::Listener for OwnListener {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.inner).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.user || peer.uid() == 0 => return (stream, address),
                Ok(peer) => {
                    tracing::warn!(user = peer.uid(), "admin socket: another user, refused");
                }
                Err(error) => tracing::warn!(%error, "admin socket: unknown user, refused"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

fn read_owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(200).read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => text,
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(setting: Option<&str>, url: &str) -> Option<String> {
        SocketPath::of(ServiceId::File, setting, url).map(|p| p.path().display().to_string())
    }

    #[test]
    fn the_socket_is_beside_the_file_or_where_it_is_wanted_or_nowhere() {
        let beside = Some("/data/file.admin.sock".to_owned());
        assert_eq!(of(None, "sqlite:///data/file.db"), beside);
        assert_eq!(of(None, "sqlite:/data/x.db?mode=rwc"), beside);
        assert_eq!(of(None, "postgres://host/name"), None);
        assert_eq!(of(None, "sqlite::memory:"), None);
        assert_eq!(of(Some("off"), "sqlite:///data/file.db"), None);
        let elsewhere = Some("/run/file.sock".to_owned());
        assert_eq!(
            of(Some("/run/file.sock"), "postgres://host/name"),
            elsewhere
        );
    }

    #[tokio::test]
    async fn a_store_has_one_owner_whose_name_others_see_and_a_dead_one_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = SocketPath(folder.path().join("file.admin.sock"));
        assert!(path.owner().unwrap().is_none());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        let claim = path.claim("a test").await.unwrap();
        let owner = path.owner().unwrap().unwrap();
        assert_eq!(owner, format!("process {}: a test", std::process::id()));
        let error = path.claim("another").await.unwrap_err().to_string();
        assert!(error.ends_with(&format!("is in use by {owner}")), "{error}");
        drop(claim);
        assert!(path.owner().unwrap().is_none());
        drop(path.claim("the next").await.unwrap());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_an_address_works_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = SocketPath(deep.join("file.admin.sock"));
        let mut listener = path.claim("a test").await.unwrap().listen().unwrap();
        let (short, _folder) = path.short().unwrap();
        let (client, served) = tokio::join!(
            UnixStream::connect(short),
            axum::serve::Listener::accept(&mut listener)
        );
        drop((client.unwrap(), served));
        let mode = std::fs::metadata(path.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
