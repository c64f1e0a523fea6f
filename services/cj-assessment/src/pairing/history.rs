//! What has been asked so far, counted per essay and per pair.

use std::collections::BTreeMap;

use super::Pair;

/// Every pair that was asked, as the counts that pairing needs.
///
/// A pair counts from the moment it is planned, whether or not a judge could answer it: a pair
/// that a judge refused is not asked again by a coverage wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    as_a: Vec<u32>,
    as_b: Vec<u32>,
    oriented: BTreeMap<Pair, u32>,
    total: usize,
}

impl History {
    /// A history of `nodes` essays in which nothing was asked yet.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            as_a: vec![0; nodes],
            as_b: vec![0; nodes],
            oriented: BTreeMap::new(),
            total: 0,
        }
    }

    /// A history in which `pairs` were asked.
    ///
    /// # Panics
    /// Panics when a pair names an essay outside `0..nodes` or an essay twice.
    #[must_use]
    pub fn from_pairs(nodes: usize, pairs: impl IntoIterator<Item = Pair>) -> Self {
        let mut history = Self::new(nodes);
        for pair in pairs {
            history.record(pair);
        }
        history
    }

    /// Adds one pair.
    ///
    /// # Panics
    /// Panics when the pair names an essay outside `0..nodes` or an essay twice.
    pub fn record(&mut self, pair: Pair) {
        assert_ne!(pair.a, pair.b, "an essay cannot be compared with itself");
        self.as_a[pair.a] += 1;
        self.as_b[pair.b] += 1;
        *self.oriented.entry(pair).or_default() += 1;
        self.total += 1;
    }

    /// The number of essays.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.as_a.len()
    }

    /// How many pairs were asked, repeats included.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many comparisons the essay took part in.
    #[must_use]
    pub fn comparisons(&self, node: usize) -> u32 {
        self.as_a[node] + self.as_b[node]
    }

    /// How much more often the essay was shown as Essay A than as Essay B.
    #[must_use]
    pub fn skew(&self, node: usize) -> i64 {
        i64::from(self.as_a[node]) - i64::from(self.as_b[node])
    }

    /// How often exactly this pair was asked in exactly this order.
    #[must_use]
    pub fn times(&self, pair: Pair) -> u32 {
        self.oriented.get(&pair).copied().unwrap_or(0)
    }

    /// Whether the two essays met, in either order.
    #[must_use]
    pub fn met(&self, left: usize, right: usize) -> bool {
        self.times(Pair { a: left, b: right }) + self.times(Pair { a: right, b: left }) > 0
    }

    /// The different pairs that met, smaller index first, in ascending order.
    #[must_use]
    pub fn distinct_pairs(&self) -> Vec<(usize, usize)> {
        let mut pairs: Vec<_> = self.oriented.keys().map(|pair| pair.unordered()).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}
