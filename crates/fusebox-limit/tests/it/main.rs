//! The limits through their public interface.

mod bulkhead;
mod model;
mod threads;
mod traps;
