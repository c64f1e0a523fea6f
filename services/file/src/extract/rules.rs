//! The length rules that an essay's text must meet.

use super::{ExtractError, ExtractedText};

/// How long an essay may be, in Unicode characters after cleaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRules {
    /// Fewest characters; 50 by default.
    pub min_characters: usize,
    /// Most characters; 50,000 by default.
    pub max_characters: usize,
}

impl Default for TextRules {
    fn default() -> Self {
        Self {
            min_characters: 50,
            max_characters: 50_000,
        }
    }
}

impl TextRules {
    /// Holds a text against the rules.
    ///
    /// # Errors
    /// [`ExtractError::TooShort`] or [`ExtractError::TooLong`].
    pub fn check(&self, extracted: &ExtractedText) -> Result<(), ExtractError> {
        let characters = extracted.characters;
        if characters < self.min_characters {
            Err(ExtractError::TooShort {
                characters,
                min: self.min_characters,
            })
        } else if characters > self.max_characters {
            Err(ExtractError::TooLong {
                characters,
                max: self.max_characters,
            })
        } else {
            Ok(())
        }
    }
}
