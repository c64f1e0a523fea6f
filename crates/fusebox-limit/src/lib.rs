//! Bounds on calls under way at once.
