//! Tests of the ranking mathematics and of the service around it.

mod decision;
mod pairing;
mod ranking;
mod scoring;
