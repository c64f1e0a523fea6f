//! Resolves a requested pipeline into the phases that are still to run.
