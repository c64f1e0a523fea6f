//! Tests of the provider clients, the verdict table, failover and the sandbox, over real HTTP.

mod client;
mod failover;
mod sandbox;
mod server;
mod verdicts;
mod wire;
