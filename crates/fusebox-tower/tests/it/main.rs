//! The layers through their public interface, against services that test the contract.

mod breaker;
mod contract;
mod deadline;
mod errors;
mod hedge;
mod limit;
mod order;
mod probe;
mod retry;
