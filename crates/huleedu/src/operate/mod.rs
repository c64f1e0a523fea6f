//! `huleedu journal`, `dead` and `blocked`: what waits for Kafka, what was given up, and what holds up
//! others, for the operator.
//!
//! | room | subject |
//! |---|---|
//! | `args` | the command line |
//! | `places` | which stores and journals are meant |
//! | `hand` | one of them, through the process that owns it or directly |
//! | `client` | the process's admin socket |
//! | `journal`, `dead`, `blocked` | the commands |
//! | `drain` | sending what waits, without the service |
//! | `show` | times, sizes, identifiers |

pub(crate) mod args;
mod blocked;
mod client;
mod dead;
mod drain;
mod hand;
mod journal;
mod places;
mod show;

pub(crate) use blocked::run as blocked;
pub(crate) use dead::run as dead;
pub(crate) use journal::run as journal;
