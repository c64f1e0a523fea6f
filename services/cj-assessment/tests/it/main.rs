//! Tests of the ranking mathematics, and of the service around it over real HTTP, an embedded
//! broker and the provider sandbox.

mod decision;
mod pairing;
mod platform;
mod ranking;
mod scoring;
mod service;
