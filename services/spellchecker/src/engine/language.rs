//! The languages there are dictionaries for, and why there may be no correction.

use std::fmt;
use std::str::FromStr;

/// A language that texts can be corrected in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Language {
    /// English, American and British spelling alike.
    English,
    /// Swedish.
    Swedish,
}

impl Language {
    /// Every language, in a fixed order.
    pub const ALL: [Self; 2] = [Self::English, Self::Swedish];

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::English => Self::Swedish,
            Self::Swedish => Self::English,
        }
    }

    /// The two-letter code of the language.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Swedish => "sv",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Language {
    type Err = EngineError;

    /// Reads a language tag: `en`, `sv`, with or without a region (`en-GB`, `sv_SE`), in any case.
    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        let language = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|known| language.eq_ignore_ascii_case(known.code()))
            .ok_or_else(|| EngineError::UnsupportedLanguage(tag.chars().take(32).collect()))
    }
}

/// Why there is no correction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no dictionary for the language asked for.
    #[error("no dictionary for language {0:?}; supported are \"en\" and \"sv\"")]
    UnsupportedLanguage(String),
    /// The dictionary that was built in cannot be read.
    #[error("cannot read the dictionary for {language}: {reason}")]
    Dictionary {
        /// Whose dictionary.
        language: Language,
        /// What the dictionary's parser says. It is text because the parser's error is no
        /// [`std::error::Error`].
        reason: String,
    },
}
