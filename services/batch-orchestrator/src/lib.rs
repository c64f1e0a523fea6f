//! Owner of the batch record and of pipeline progress.
