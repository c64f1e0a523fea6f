//! Stores blobs by content hash.
