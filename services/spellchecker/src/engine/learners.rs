//! The list of learners' errors: what Swedish learners of English, and learners of Swedish, often
//! write, and what they mean. Data: `data/*/learners.tsv`, one `wrong<TAB>right` a line.

use std::collections::HashMap;

/// Words this short are too often something else to be replaced by rule.
const SHORTEST: usize = 3;

/// A list of errors, by the wrong word in small letters.
#[derive(Debug, Default)]
pub(crate) struct Learners {
    entries: HashMap<&'static str, &'static str>,
}

impl Learners {
    /// Reads a list. Empty lines and lines that start with `#` are skipped, and so are entries that
    /// could do harm: either side two letters or shorter, or both sides differing only as singular
    /// and plural, which is grammar and no spelling.
    pub(crate) fn parse(data: &'static str) -> Self {
        let entries = entries(data)
            .filter(|(wrong, right)| {
                wrong.chars().count() >= SHORTEST
                    && right.chars().count() >= SHORTEST
                    && !differ_in_number(wrong, right)
            })
            .collect();
        Self { entries }
    }

    /// What is meant by `lowercase`, when it is a known error.
    pub(crate) fn meant(&self, lowercase: &str) -> Option<&'static str> {
        self.entries.get(lowercase).copied()
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.entries.iter().map(|(wrong, right)| (*wrong, *right))
    }
}

/// The lines of a list that are entries.
pub(crate) fn entries(data: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    data.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .map(|(wrong, right)| (wrong.trim(), right.trim()))
}

fn differ_in_number(a: &str, b: &str) -> bool {
    let plural_of = |one: &str, many: &str| {
        many.strip_suffix('s') == Some(one)
            || many.strip_suffix("es") == Some(one)
            || one
                .strip_suffix('y')
                .is_some_and(|stem| many.strip_suffix("ies") == Some(stem))
    };
    plural_of(a, b) || plural_of(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmful_entries_are_dropped() {
        let list = Learners::parse(
            "# a comment\nwich\twhich\n\nov\tof\nalot\ta lot\ninformation\tinformations\n\
             bus\tbuses\ncity\tcities\nabc\tde\n",
        );
        assert_eq!(list.meant("wich"), Some("which"));
        assert_eq!(list.meant("alot"), Some("a lot"));
        assert_eq!(list.iter().count(), 2);
    }
}
