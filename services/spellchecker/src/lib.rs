//! Corrects learners' spelling in English and Swedish.

pub mod engine;
