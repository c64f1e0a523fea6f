//! Tests of the drainer over a model of Kafka, and over librdkafka's mock cluster.

#![allow(clippy::unwrap_used, reason = "a test's helper may panic")]

mod cluster;
mod crash;
mod drainer;
mod faults;
mod model;
mod publisher;
#[path = "../../../fusebox-resilient/tests/spans/recorder.rs"]
mod recorder;
mod spans;
