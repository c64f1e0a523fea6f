//! The failures users have reported, one question each; numbers are those of the collection.

pub(crate) mod events;
pub(crate) mod outcomes;
pub(crate) mod probes;
pub(crate) mod settings;
