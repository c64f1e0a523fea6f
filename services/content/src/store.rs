//! Contents in the database, by the hash of what they are.

use huleedu_contracts::ids::StorageId;
use huleedu_kit::{
    CallContext,
    store::{Store, StoreError, now_ms},
};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;

/// A stored content.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) content_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// The id of a content: the first half of the SHA-256 over its type, a zero byte, and its bytes.
///
/// The type is part of it because it is part of what is given back. A media type holds no zero
/// byte, so no two pairs of type and bytes are the same input.
pub fn storage_id(content_type: &str, bytes: &[u8]) -> StorageId {
    let digest = Sha256::new()
        .chain_update(content_type.as_bytes())
        .chain_update([0])
        .chain_update(bytes)
        .finalize();
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    StorageId::from_bytes(first)
}

/// Puts a content in. When this returns, it is on disk; a second time changes nothing.
pub(crate) async fn put(
    store: &Store,
    content_type: &str,
    bytes: &[u8],
) -> Result<StorageId, StoreError> {
    let id = storage_id(content_type, bytes);
    let mut tx = store.begin().await?;
    sqlx::query(
        "INSERT INTO stored_content \
         (content_id, content_type, content_data, content_size, correlation_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (content_id) DO NOTHING",
    )
    .bind(id.as_str())
    .bind(content_type)
    .bind(bytes)
    .bind(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
    .bind(CallContext::current().correlation_id.to_string())
    .bind(now_ms())
    .execute(tx.conn())
    .await?;
    tx.commit().await?;
    Ok(id)
}

/// Takes a content out.
pub(crate) async fn get(store: &Store, id: &StorageId) -> Result<Option<Stored>, StoreError> {
    let row =
        sqlx::query("SELECT content_type, content_data FROM stored_content WHERE content_id = $1")
            .bind(id.as_str())
            .fetch_optional(store.pool())
            .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Stored {
        content_type: row.try_get(0)?,
        bytes: row.try_get(1)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::storage_id;

    #[test]
    fn the_id_is_pinned_and_depends_on_type_and_bytes() {
        // printf 'text/plain\0hello' | sha256sum | head -c 32
        assert_eq!(
            storage_id("text/plain", b"hello").as_str(),
            "97ef98f924d843749ab0e7f56c8362af"
        );
        assert_ne!(
            storage_id("text/plain", b"hello"),
            storage_id("text/html", b"hello")
        );
        assert_ne!(
            storage_id("text/plain", b"hello"),
            storage_id("text/plain", b"hello ")
        );
        assert_ne!(storage_id("a", b"b"), storage_id("ab", b""));
    }
}
