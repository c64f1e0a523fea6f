//! A durable queue on disk: a segmented log with group commit.
