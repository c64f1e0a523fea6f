//! A local server that stands in for the four providers: no key, no money, no network.
//!
//! It speaks their wire formats, judges by counting features of the texts, and can be told to fail
//! in every way that the verdict table knows. It is no AI and says so: in `GET /sandbox`, in a
//! field of every answer, and in every justification.
//!
//! # How it judges
//! Each text gets a quality from 0 to 13, the weighted sum of the features in the table
//! below. The first text wins with the probability that Bradley and Terry give
//! to the difference of the two qualities; the draw comes from a hash of the seed and both texts.
//! So a verdict depends on the two texts, their order and the seed, and on nothing else: not on
//! time, provider, model, or what was asked before. What else the prompt says has no influence.
//!
//! | feature | worth | full marks for |
//! |---------|-------|----------------|
//! | correctness | 3.0 | no slips (spelling, grammar and punctuation patterns), none for 8 or more in 100 words |
//! | length | 2.0 | 250 words or more |
//! | vocabulary | 1.5 | many different words in any 50 words running |
//! | word length | 1.5 | a mean of 5 letters (Swedish: 5.6) |
//! | connectives | 1.5 | six different words that tie an argument together |
//! | register | 1.2 | three in 100 words that belong to written argument |
//! | sentence length | 0.8 | a mean from 11 to 22 words |
//! | sentence variety | 0.8 | lengths that differ by half of their mean |
//! | paragraphs | 0.7 | three or more |
//!
//! The language, English or Swedish, is told from the commonest words.

mod faults;
mod features;
mod judge;
mod lexicon;
mod server;
mod wire;

pub use faults::{Fault, FaultMode};
pub use judge::quality;
pub use server::{Sandbox, SandboxConfig, SandboxStatus};

/// The field by which every answer of the sandbox says what it is.
pub const MARK_FIELD: &str = "fusebox_sandbox";
