//! The list of names: first names, places and brands that are common in Swedish schools and that a
//! dictionary may lack. It is ours: `data/names.txt`, one name a line.

use std::collections::HashSet;
use std::sync::OnceLock;

/// Names in small letters.
#[derive(Debug)]
pub(crate) struct Names {
    names: HashSet<String>,
}

impl Names {
    /// Whether `lower`, a word in small letters, is a listed name or the genitive of one; in a
    /// hyphenated word every part must be.
    pub(crate) fn contains(&self, lower: &str) -> bool {
        lower
            .split('-')
            .all(|part| forms(part).any(|form| self.names.contains(form)))
    }
}

/// The list, read once.
pub(crate) fn listed() -> &'static Names {
    static LISTED: OnceLock<Names> = OnceLock::new();
    LISTED.get_or_init(|| Names {
        names: include_str!("../../data/names.txt")
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_lowercase)
            .collect(),
    })
}

/// What a name may be when `lower` is it, or its genitive in either language.
pub(crate) fn forms(lower: &str) -> impl Iterator<Item = &str> {
    [
        Some(lower),
        lower.strip_suffix("'s"),
        lower.strip_suffix('s'),
    ]
    .into_iter()
    .flatten()
}

/// A word without the `'s` of a genitive.
pub(crate) fn bare(lower: &str) -> &str {
    lower.strip_suffix("'s").unwrap_or(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genitives_and_double_names_are_names() {
        for name in ["zlatan", "zlatans", "zlatan's", "anna-karin", "fatima"] {
            assert!(listed().contains(name), "{name}");
        }
        assert!(!listed().contains("becouse"));
        assert!(!listed().contains("anna-becouse"));
    }
}
