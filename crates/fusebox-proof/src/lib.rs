//! The proofs of publishing: that an outage at any moment, with any crash on top, costs latency and
//! disk, but never an event and never the order within a key.
//!
//! | proof | what is real in it | where |
//! |---|---|---|
//! | [`model`] | nothing: the design, explored to its last state | `tests/it/model.rs` |

pub mod model;
