//! `huleedu journal` and `huleedu dead`: what waits for Kafka and what was given up, for the operator.
//!
//! | room | subject |
//! |---|---|
//! | `args` | the command line |
//! | `places` | which stores and journals are meant |
//! | `hand` | one of them, through the process that owns it or directly |
//! | `client` | the process's admin socket |
//! | `journal`, `dead` | the commands |
//! | `drain` | sending what waits, without the service |
//! | `show` | times, sizes, identifiers |

pub(crate) mod args;
mod client;
mod dead;
mod drain;
mod hand;
mod journal;
mod places;
mod show;

pub(crate) use dead::run as dead;
pub(crate) use journal::run as journal;
