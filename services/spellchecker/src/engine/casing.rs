//! How a word is written: small, Capitalised, ALL CAPS, or mIxed; and giving that look to another.

/// How the letters of a word are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Casing {
    /// No capital letter.
    Lower,
    /// The first letter alone is a capital.
    Capitalised,
    /// More than one letter, all capitals.
    AllCaps,
    /// Capitals inside (`iPhone`, `McDonald`).
    Mixed,
}

impl Casing {
    /// Looks at the letters of `word`. A word of several hyphenated parts (`Anglo-Saxon`) is
    /// capitalised when its first part is and the others are small or capitalised.
    pub(crate) fn of(word: &str) -> Self {
        let letters = word.chars().filter(|c| c.is_alphabetic());
        let (mut all, mut upper) = (0_usize, 0_usize);
        for letter in letters {
            all += 1;
            upper += usize::from(letter.is_uppercase());
        }
        if upper == 0 {
            return Self::Lower;
        }
        if upper == all && all > 1 {
            return Self::AllCaps;
        }
        let inner_capital = word.split('-').any(|part| {
            part.chars()
                .filter(|c| c.is_alphabetic())
                .skip(1)
                .any(char::is_uppercase)
        });
        let first = word.chars().next().is_some_and(char::is_uppercase);
        if inner_capital || !first {
            Self::Mixed
        } else {
            Self::Capitalised
        }
    }

    /// Writes `word` this way; what is small or mixed stays as it is.
    pub(crate) fn apply(self, word: &str) -> String {
        match self {
            Self::AllCaps => word.to_uppercase(),
            Self::Capitalised => capitalised(word),
            Self::Lower | Self::Mixed => word.to_owned(),
        }
    }
}

/// `word` with a capital first letter.
pub(crate) fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casing_is_seen_and_given_back() {
        for (word, casing, applied) in [
            ("wich", Casing::Lower, "ett ord"),
            ("Ärlig", Casing::Capitalised, "Ett ord"),
            ("I", Casing::Capitalised, "Ett ord"),
            ("WICH", Casing::AllCaps, "ETT ORD"),
            ("ÅÄÖ", Casing::AllCaps, "ETT ORD"),
            ("DON'T", Casing::AllCaps, "ETT ORD"),
            ("iPhone", Casing::Mixed, "ett ord"),
            ("McDonald", Casing::Mixed, "ett ord"),
            ("Anglo-Saxon", Casing::Capitalised, "Ett ord"),
            ("e-Post", Casing::Mixed, "ett ord"),
        ] {
            assert_eq!(Casing::of(word), casing, "{word}");
            assert_eq!(casing.apply("ett ord"), applied, "{word}");
        }
    }
}
