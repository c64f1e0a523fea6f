//! How far two words are apart: the number of letters that are added, dropped, replaced, or swapped
//! with their neighbour.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The distance of two words (optimal string alignment), or `None` when it is more than `limit`.
///
/// Costs at most `a.len() * (2 * limit + 1)` steps.
pub(crate) fn within(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let too_far = limit + 1;
    let width = b.len() + 1;
    // Three rows of the table; cells outside the band of `limit` round the diagonal are too far.
    let mut before = vec![too_far; width];
    let mut previous: Vec<usize> = (0..width).map(|j| j.min(too_far)).collect();
    let mut current = vec![too_far; width];
    for i in 1..=a.len() {
        let from = i.saturating_sub(limit).max(1);
        let to = (i + limit).min(b.len());
        current.fill(too_far);
        if i <= limit {
            current[0] = i;
        }
        let mut best = current[0];
        for j in from..=to {
            let same = a[i - 1] == b[j - 1];
            let mut cost = (previous[j - 1] + usize::from(!same))
                .min(previous[j] + 1)
                .min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 1);
            }
            current[j] = cost.min(too_far);
            best = best.min(current[j]);
        }
        // A swap reaches back two rows, so one row alone being too far decides nothing unless the
        // row before it is too far as well.
        if best > limit && previous.iter().all(|cost| *cost > limit) {
            return None;
        }
        std::mem::swap(&mut before, &mut previous);
        std::mem::swap(&mut previous, &mut current);
    }
    previous
        .last()
        .copied()
        .filter(|distance| *distance <= limit)
}

/// The word without its accents, rings and dots: what is left when a writer had no key for them.
pub(crate) fn without_marks(word: &str) -> String {
    word.nfd().filter(|c| !is_combining_mark(*c)).collect()
}

/// A word as the ear has it, roughly: doubled letters once, and the letters that English and Swedish
/// learners take for one another as one (`ph` and `f`, `c`, `ck` and `k`, `z` and `s`, `w` and `v`).
pub(crate) fn sound(word: &str) -> String {
    let mut heard = String::with_capacity(word.len());
    let mut letters = word.chars().peekable();
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        let sound = match (letter, next) {
            ('p', Some('h')) => {
                letters.next();
                'f'
            }
            ('c', Some('e' | 'i' | 'y')) | ('z', _) => 's',
            ('c', Some('h')) => 'c',
            ('c' | 'q', _) => 'k',
            ('w', _) => 'v',
            (other, _) => other,
        };
        if !heard.ends_with(sound) {
            heard.push(sound);
        }
    }
    heard
}

/// Which letters a word has, as bits: one edit changes at most two bits, so words whose masks
/// differ in more than `2 * limit` bits need no comparison.
pub(crate) fn letter_mask(word: &str) -> u64 {
    word.chars()
        .fold(0, |mask, c| mask | 1 << (u32::from(c) % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
        let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
        within(&a, &b, limit)
    }

    /// The same distance, computed the slow way on the whole table.
    fn whole_table(a: &[char], b: &[char]) -> usize {
        let mut table = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
        for (i, row) in table.iter_mut().enumerate() {
            row[0] = i;
        }
        for (j, cell) in table[0].iter_mut().enumerate() {
            *cell = j;
        }
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                let mut cost = (table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]))
                    .min(table[i - 1][j] + 1)
                    .min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    cost = cost.min(table[i - 2][j - 2] + 1);
                }
                table[i][j] = cost;
            }
        }
        table[a.len()][b.len()]
    }

    #[test]
    fn swaps_count_once() {
        assert_eq!(distance("teh", "the", 1), Some(1));
        assert_eq!(distance("recieve", "receive", 2), Some(1));
        assert_eq!(distance("kitten", "sitting", 2), None);
        assert_eq!(distance("kitten", "sitting", 3), Some(3));
        assert_eq!(distance("", "ab", 2), Some(2));
        assert_eq!(distance("", "", 0), Some(0));
    }

    #[test]
    fn marks_are_taken_off() {
        assert_eq!(without_marks("överallt"), "overallt");
        assert_eq!(without_marks("café"), "cafe");
    }

    #[test]
    fn words_that_sound_alike_have_one_sound() {
        for (written, meant) in [
            ("elefant", "elephant"),
            ("klosed", "closed"),
            ("hapy", "happy"),
            ("disision", "dicision"),
            ("bak", "back"),
            ("wery", "very"),
        ] {
            assert_eq!(sound(written), sound(meant));
        }
        assert_ne!(sound("chat"), sound("kat"));
        assert_ne!(sound("elegant"), sound("elephant"));
    }

    proptest! {
        #[test]
        fn the_band_gives_the_true_distance(a in "[abc]{0,9}", b in "[abc]{0,9}", limit in 0_usize..4) {
            let (x, y): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
            let truth = whole_table(&x, &y);
            prop_assert_eq!(within(&x, &y, limit), (truth <= limit).then_some(truth));
            let differing = (letter_mask(&a) ^ letter_mask(&b)).count_ones() as usize;
            prop_assert!(differing <= 2 * truth);
        }
    }
}
