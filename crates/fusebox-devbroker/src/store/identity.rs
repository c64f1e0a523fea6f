//! Who the cluster is, and which producer ids were given out.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::{Buf as _, BufMut as _};
use uuid::Uuid;

use super::{Magic, read_sealed, replace, seal};
use crate::error::StoreError;

const MAGIC: Magic = *b"FBXIDENT";
/// Ids are set aside in blocks, so that not each one costs a write.
const BLOCK: i64 = 1000;

/// The cluster's id and its next producer id.
#[derive(Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    cluster: Uuid,
    ids: Mutex<Ids>,
}

#[derive(Debug)]
struct Ids {
    next: i64,
    /// The first id that is not set aside on disk.
    reserved: i64,
}

impl Identity {
    /// Opens or makes the file.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("identity");
        let (cluster, next) = match read_sealed(&path, MAGIC)? {
            None => (Uuid::new_v4(), 1),
            Some(body) => {
                let mut body = body.as_slice();
                let cluster = body.try_get_u128_le().map(Uuid::from_u128);
                match (cluster, body.try_get_i64_le(), body.is_empty()) {
                    (Ok(cluster), Ok(next), true) => (cluster, next),
                    _ => {
                        return Err(StoreError::Damaged {
                            path,
                            reason: "its length is wrong",
                        });
                    }
                }
            }
        };
        let identity = Self {
            path,
            cluster,
            ids: Mutex::new(Ids {
                next,
                reserved: next,
            }),
        };
        identity.write(next)?;
        Ok(identity)
    }

    /// Id of the cluster, as text.
    pub(crate) fn cluster(&self) -> String {
        self.cluster.simple().to_string()
    }

    /// Ids up to `id` are in the log, whatever the file says.
    pub(crate) fn seen(&self, id: i64) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.next = ids.next.max(id.saturating_add(1));
    }

    /// An id that no producer ever had.
    pub(crate) fn next_producer_id(&self) -> Result<i64, StoreError> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.next >= ids.reserved {
            let reserved = ids.next.saturating_add(BLOCK);
            self.write(reserved)?;
            ids.reserved = reserved;
        }
        let id = ids.next;
        ids.next += 1;
        Ok(id)
    }

    fn write(&self, next: i64) -> Result<(), StoreError> {
        let mut body = Vec::new();
        body.put_u128_le(self.cluster.as_u128());
        body.put_i64_le(next);
        replace(&self.path, &seal(MAGIC, &body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_never_given_twice_and_the_cluster_stays_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut given = std::collections::BTreeSet::new();
        let first = Identity::open(dir.path()).unwrap();
        for _ in 0..1500 {
            assert!(given.insert(first.next_producer_id().unwrap()));
        }
        // As after a crash: nothing is said at the end.
        let second = Identity::open(dir.path()).unwrap();
        assert_eq!(second.cluster(), first.cluster());
        assert!(given.insert(second.next_producer_id().unwrap()));
        second.seen(1_000_000);
        assert!(second.next_producer_id().unwrap() > 1_000_000);
    }
}
