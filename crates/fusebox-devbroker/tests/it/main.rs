//! The broker with a real client, real sockets and real crashes.

mod crash;
mod faults;
mod groups;
mod records;
mod start;
mod support;
