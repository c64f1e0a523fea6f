//! Takes uploads, extracts and validates their text.
