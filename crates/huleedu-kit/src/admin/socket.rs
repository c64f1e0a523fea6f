//! Who owns a service's store, and where it is asked.
//!
//! The lock is the truth: whoever holds it is the owner, and a crash gives it back. In it is written who that
//! is, for people, and on which socket it answers; that is believed only while the lock is held.

use std::{
    fmt,
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

/// Where the owner of what a service keeps is found: the lock that says that there is one, and the socket
/// on which it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath {
    lock: PathBuf,
    socket: Option<PathBuf>,
}

/// What a service keeps, of which one process at a time is the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home<'a> {
    /// The database of a service, by its URL. One on a server may have several owners.
    Database(ServiceId, &'a str),
    /// The folder of a journal.
    Journal(&'a Path),
}

/// Who owns a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    who: String,
    socket: Option<PathBuf>,
}

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
    place: SocketPath,
    _lock: File,
}

impl Owner {
    /// Where it answers; `None` when it does not.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)
    }
}

impl SocketPath {
    /// The lock is beside the SQLite file or in the journal, whatever the setting, so that everybody finds
    /// the same one; with a database on a server it is beside the socket. The socket is where `setting`
    /// says, nowhere when that is `off`, else beside the lock.
    pub fn of(setting: Option<&str>, home: Home<'_>) -> Option<Self> {
        let setting = setting.map(str::trim).filter(|text| !text.is_empty());
        let wanted = setting.filter(|text| *text != "off").map(PathBuf::from);
        let beside = match home {
            Home::Database(service, url) => sqlite_file(url)
                .map(|file| file.with_file_name(format!("{}.admin.sock", service.slug()))),
            Home::Journal(dir) => Some(dir.join("admin.sock")),
        };
        let lock = beside.as_ref().or(wanted.as_ref())?.with_extension("lock");
        let socket = if setting.is_some() { wanted } else { beside };
        Some(Self { lock, socket })
    }

    /// The socket; `None` when the service is not to have one.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Who owns the store now. Changes nothing.
    ///
    /// # Errors
    /// When the lock cannot be looked at.
    pub fn owner(&self) -> Result<Option<Owner>, ClaimError> {
        let path = self.lock.clone();
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
        self.claim_as(who, None).await
    }

    /// The same for who answers on the socket.
    pub(crate) async fn claim_to_serve(&self, who: &str) -> Result<Claim, ClaimError> {
        self.claim_as(who, self.socket()).await
    }

    async fn claim_as(&self, who: &str, socket: Option<&Path>) -> Result<Claim, ClaimError> {
        let path = self.lock.clone();
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
                    let owner = read_owner(&mut lock).to_string();
                    return Err(ClaimError::Owned { lock: path, owner });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        let socket = socket.map(std::path::absolute).transpose();
        let socket = socket.map_err(failed)?.unwrap_or_default();
        let text = format!(
            "process {}: {who}\n{}",
            std::process::id(),
            socket.display()
        );
        lock.set_len(0).map_err(failed)?;
        lock.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Claim {
            place: self.clone(),
            _lock: lock,
        })
    }
}

/// A name for the same socket that fits into an address, for as long as the file is open.
///
/// # Errors
/// When the folder cannot be opened.
pub fn short_path(socket: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Ok((socket.to_owned(), None));
    };
    if socket.as_os_str().len() <= LONGEST || folder.as_os_str().is_empty() {
        return Ok((socket.to_owned(), None));
    }
    let folder = File::open(folder)?;
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
    Ok((path.join(name), Some(folder)))
}

impl Claim {
    /// Listens on the socket; what an earlier owner left there goes. `None` when there is to be none.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen(&self) -> Result<Option<OwnListener>, ClaimError> {
        let Some(path) = self.place.socket().map(Path::to_owned) else {
            return Ok(None);
        };
        let bind = || {
            let (short, _folder) = short_path(&path)?;
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
        let (inner, user) = bind().map_err(|source| ClaimError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Some(OwnListener { inner, user }))
    }
}

/// Accepts connections of this user and of root, and of nobody else.
#[derive(Debug)]
pub(crate) struct OwnListener {
    inner: tokio::net::UnixListener,
    user: u32,
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

fn read_owner(file: &mut File) -> Owner {
    let mut text = String::new();
    // An address and two lines of ours are no longer than this.
    let read = file.take(8192).read_to_string(&mut text);
    let (who, socket) = text.split_once('\n').unwrap_or((&text, ""));
    let known = read.is_ok() && !who.is_empty();
    Owner {
        who: if known { who } else { "another process" }.to_owned(),
        socket: Some(socket)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(setting: Option<&str>, home: Home<'_>) -> (Option<String>, Option<String>) {
        let path = SocketPath::of(setting, home);
        let text = |path: &Path| path.display().to_string();
        (
            path.as_ref().and_then(|p| p.socket().map(text)),
            path.map(|p| text(&p.lock)),
        )
    }

    #[test]
    fn the_socket_is_where_it_is_wanted_and_the_lock_where_everybody_finds_it() {
        let some = |text: &str| Some(text.to_owned());
        let (socket, lock) = ("/data/file.admin.sock", some("/data/file.admin.lock"));
        let sqlite = Home::Database(ServiceId::File, "sqlite:///data/file.db");
        let beside = (some(socket), lock.clone());
        assert_eq!(of(None, sqlite), beside);
        assert_eq!(of(Some(" "), sqlite), beside);
        let with_options = Home::Database(ServiceId::File, "sqlite:/data/x.db?mode=rwc");
        assert_eq!(of(None, with_options), beside);
        // Two processes with different settings meet at one lock all the same.
        assert_eq!(of(Some("off"), sqlite), (None, lock.clone()));
        let elsewhere = some("/run/file.sock");
        assert_eq!(
            of(Some("/run/file.sock"), sqlite),
            (elsewhere.clone(), lock)
        );

        let server = Home::Database(ServiceId::File, "postgres://host/name");
        assert_eq!(of(None, server), (None, None));
        assert_eq!(of(Some("off"), server), (None, None));
        let there = (elsewhere, some("/run/file.lock"));
        assert_eq!(of(Some("/run/file.sock"), server), there);
        assert_eq!(
            of(None, Home::Database(ServiceId::File, "sqlite::memory:")),
            (None, None)
        );

        let journal = Home::Journal(Path::new("/data/events"));
        let lock = some("/data/events/admin.lock");
        let inside = (some("/data/events/admin.sock"), lock.clone());
        assert_eq!(of(None, journal), inside);
        assert_eq!(of(Some("off"), journal), (None, lock));
    }

    fn place(folder: &Path) -> SocketPath {
        let file = folder.join("file.db");
        let url = format!("sqlite://{}", file.display());
        SocketPath::of(None, Home::Database(ServiceId::File, &url)).unwrap()
    }

    #[tokio::test]
    async fn a_store_has_one_owner_whose_name_others_see_and_a_dead_one_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = place(folder.path());
        assert!(path.owner().unwrap().is_none());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        let claim = path.claim("a test").await.unwrap();
        let owner = path.owner().unwrap().unwrap();
        let text = format!("process {}: a test", std::process::id());
        assert_eq!((owner.to_string(), owner.socket()), (text, None));
        let error = path.claim("another").await.unwrap_err().to_string();
        assert!(error.ends_with(&format!("is in use by {owner}")), "{error}");
        drop(claim);
        assert!(path.owner().unwrap().is_none());
        let claim = path.claim_to_serve("the next").await.unwrap();
        let owner = path.owner().unwrap().unwrap();
        assert_eq!(owner.socket(), path.socket());
        drop(claim);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_an_address_works_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = place(&deep);
        let claim = path.claim_to_serve("a test").await.unwrap();
        let mut listener = claim.listen().unwrap().unwrap();
        let socket = path.socket().unwrap();
        let (short, _folder) = short_path(socket).unwrap();
        let (client, served) = tokio::join!(
            UnixStream::connect(short),
            axum::serve::Listener::accept(&mut listener)
        );
        drop((client.unwrap(), served));
        let mode = std::fs::metadata(socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
