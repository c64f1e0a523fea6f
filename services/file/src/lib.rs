//! Takes uploads, extracts and validates their text.

pub mod extract;
