//! Tests of the drainer over a model of Kafka, and over librdkafka's mock cluster.

mod cluster;
mod crash;
mod drainer;
mod faults;
mod model;
