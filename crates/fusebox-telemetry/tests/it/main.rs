//! What a scraper sees.

mod golden;
mod removed;
