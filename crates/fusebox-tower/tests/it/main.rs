//! The layers through their public interface, against services that test the contract.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod breaker;
mod call;
mod contract;
mod deadline;
mod errors;
mod hedge;
mod limit;
mod order;
mod probe;
mod retry;
mod throttle;
