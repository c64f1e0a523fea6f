//! The proofs of publishing: that an outage at any moment, with any crash on top, costs latency and
//! disk, but never an event and never the order within a key.
//!
//! | proof | what is real in it | where |
//! |---|---|---|
//! | [`model`] | nothing: the design, explored to its last state | `tests/it/model.rs` |
//! | simulation | drainer, circuit, journal; disk, cluster and clock are simulated | `tests/it/simulation/` |
//! | clusters | everything: broker processes (ours, and Apache Kafka's), sockets, disk | `tests/it/clusters.rs` |
//! | killed processes | everything but the loss of power | `tests/it/killed.rs` |
//!
//! [`history`] is the judge of all that is not the model.

pub mod history;
pub mod model;
pub mod publishing;
