//! A set of positions: all up to a watermark, and runs above it.

use std::collections::BTreeMap;

/// A set of positions that is mostly contiguous.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Runs {
    watermark: u64,
    /// Beginning and end (exclusive) of each run; none touches another or the watermark.
    above_it: BTreeMap<u64, u64>,
    above: u64,
}

impl Runs {
    /// Every position up to `watermark`.
    pub(crate) fn new(watermark: u64) -> Self {
        Self {
            watermark,
            ..Self::default()
        }
    }

    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Runs above the watermark, ascending, as beginning and end (exclusive).
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.above_it.iter().map(|(start, end)| (*start, *end))
    }

    /// Positions above the watermark.
    pub(crate) fn above(&self) -> u64 {
        self.above
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        self.next_absent(position) != position
    }

    /// The first position at or behind `position` that is not in the set.
    pub(crate) fn next_absent(&self, position: u64) -> u64 {
        let position = position.max(self.watermark + 1);
        match self.above_it.range(..=position).next_back() {
            Some((_, end)) if *end > position => *end,
            _ => position,
        }
    }

    /// Whether any position of `start..end` is in the set.
    pub(crate) fn meets(&self, start: u64, end: u64) -> bool {
        let above = self.above_it.range(..end).next_back();
        start <= self.watermark || above.is_some_and(|(_, last)| *last > start)
    }

    /// Adds `start..end`; returns how many were not in the set.
    pub(crate) fn insert(&mut self, start: u64, end: u64) -> u64 {
        let mut start = start.max(self.watermark + 1);
        let mut end = end;
        if start >= end {
            return 0;
        }
        let before = self.watermark + self.above;
        // The run that reaches into or touches the new one from below, then all that begin in it.
        if let Some((low, high)) = self.above_it.range(..start).next_back().map(pair)
            && high >= start
        {
            self.remove(low, high);
            start = low;
            end = end.max(high);
        }
        while let Some((low, high)) = self.above_it.range(start..=end).next().map(pair) {
            self.remove(low, high);
            end = end.max(high);
        }
        if start == self.watermark + 1 {
            self.watermark = end - 1;
        } else {
            self.above_it.insert(start, end);
            self.above += end - start;
        }
        self.watermark + self.above - before
    }

    fn remove(&mut self, low: u64, high: u64) {
        self.above_it.remove(&low);
        self.above -= high - low;
    }
}

fn pair((low, high): (&u64, &u64)) -> (u64, u64) {
    (*low, *high)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_it_stands_for(inserts in prop::collection::vec((1..60_u64, 0..9_u64), 0..60)) {
            let mut runs = Runs::default();
            let mut model = BTreeSet::new();
            for (start, length) in inserts {
                let new = (start..start + length).filter(|p| model.insert(*p)).count();
                prop_assert_eq!(runs.insert(start, start + length), new as u64);
                prop_assert_eq!(runs.watermark() + runs.above(), model.len() as u64);
                for position in 1..80 {
                    prop_assert_eq!(runs.contains(position), model.contains(&position));
                    let absent = (position..100).find(|p| !model.contains(p)).unwrap();
                    prop_assert_eq!(runs.next_absent(position), absent);
                    for end in position + 1..position + 8 {
                        let any = (position..end).any(|p| model.contains(&p));
                        prop_assert_eq!(runs.meets(position, end), any);
                    }
                }
                prop_assert!(!model.contains(&(runs.watermark() + 1)));
                let mut last = runs.watermark();
                for (start, end) in runs.runs() {
                    prop_assert!(start > last && end > start);
                    last = end;
                }
            }
        }
    }
}
