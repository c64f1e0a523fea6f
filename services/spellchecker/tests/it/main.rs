//! Integration tests of the Spell Checker: a real Content Service over HTTP, the embedded broker.

mod away;
mod essays;
mod platform;
