//! What a scraper sees.

mod golden;
