//! Who is compared with whom: coverage waves by matching, resampling passes, and who is shown first.
//!
//! Everything here is a pure function of what was asked before, the scores so far, a seed and the
//! number of the wave. A batch that is taken up again after a crash therefore plans the same waves
//! as one that was never disturbed.

mod coverage;
mod history;
mod orientation;
mod resampling;

pub use coverage::coverage_wave;
pub use history::History;
pub use resampling::resampling_pass;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// Two essays that are put before a judge, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Index of the essay shown as "Essay A".
    pub a: usize,
    /// Index of the essay shown as "Essay B".
    pub b: usize,
}

impl Pair {
    /// The pair whatever the order shown: smaller index first.
    #[must_use]
    pub fn unordered(self) -> (usize, usize) {
        (self.a.min(self.b), self.a.max(self.b))
    }
}

/// The number of different pairs that `nodes` essays can form.
#[must_use]
pub fn possible_pairs(nodes: usize) -> usize {
    nodes * nodes.saturating_sub(1) / 2
}

/// The random numbers of one wave. `purpose` keeps the two kinds of wave apart, so that a
/// resampling pass never replays the draws of a coverage wave with the same number.
fn wave_rng(seed: u64, wave: u32, purpose: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(b"comparative judgement wave\0");
    hash.update(seed.to_le_bytes());
    hash.update(wave.to_le_bytes());
    hash.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}
