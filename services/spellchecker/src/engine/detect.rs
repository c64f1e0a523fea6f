//! Which language a text is really in: a batch has one course, but a class may hand in essays in
//! either language, and "correcting" Swedish by an English dictionary would ruin it.
//!
//! The language that was asked for is kept unless its dictionary knows less than six words in ten
//! and another language's knows a quarter of all words more. Struggling learners' English stays
//! English: even in the weakest samples the right dictionary knows eight words in ten.

use super::{
    Engine, EngineError, Language, engine,
    tokens::{Shape, lookup_form, tokens},
};

/// Words that are looked at; a share of more is no surer.
const SAMPLE: usize = 400;
/// With fewer words the language that was asked for is kept.
const FEWEST: usize = 20;
/// Below this share the asked language is in doubt …
const DOUBTFUL: f64 = 0.6;
/// … and another one is taken if it knows this much more.
const CLEARLY_MORE: f64 = 0.25;

/// The engine for the language that `text` is in, by preference `asked`. Blocks like [`engine`].
///
/// # Errors
/// [`EngineError::Dictionary`] when the built-in data is damaged.
pub fn engine_for(text: &str, asked: Language) -> Result<&'static Engine, EngineError> {
    let first = engine(asked)?;
    let Some(share) = first.known_share(text).filter(|share| *share < DOUBTFUL) else {
        return Ok(first);
    };
    let second = engine(asked.other())?;
    match second.known_share(text) {
        Some(other) if other >= share + CLEARLY_MORE => Ok(second),
        _ => Ok(first),
    }
}

impl Engine {
    /// The share of words that the dictionary knows, from 0 to 1; `None` for too few words.
    fn known_share(&self, text: &str) -> Option<f64> {
        let all = tokens(text);
        let words = all
            .iter()
            .filter(|token| token.shape == Shape::Word)
            .take(SAMPLE);
        let (mut count, mut known) = (0_u32, 0_u32);
        for token in words {
            count += 1;
            known += u32::from(self.knows(&lookup_form(token.text), token));
        }
        let enough = usize::try_from(count).is_ok_and(|count| count >= FEWEST);
        enough.then(|| f64::from(known) / f64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The plain-text samples and their languages.
    fn samples() -> Vec<(String, String, Language)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
        let levels = fs::read_to_string(root.join("essays.levels.json")).unwrap();
        let levels: serde_json::Value = serde_json::from_str(&levels).unwrap();
        let mut found = Vec::new();
        for (file, facts) in levels.as_object().unwrap() {
            let Ok(text) = fs::read_to_string(root.join("essays").join(file)) else {
                continue;
            };
            let language = facts["language"].as_str().unwrap().parse().unwrap();
            found.push((file.clone(), text, language));
        }
        found
    }

    #[test]
    fn every_sample_is_told_by_its_words_whatever_was_asked() {
        let samples = samples();
        assert!(
            samples
                .iter()
                .any(|(_, _, language)| *language == Language::Swedish)
        );
        for (file, text, language) in samples {
            for asked in [Language::English, Language::Swedish] {
                assert_eq!(
                    engine_for(&text, asked).unwrap().language(),
                    language,
                    "{file}"
                );
            }
        }
    }

    #[test]
    fn in_doubt_the_language_that_was_asked_for_stays() {
        for text in ["", "Hej på dig", "xyzzy plugh frobozz ".repeat(20).as_str()] {
            for asked in [Language::English, Language::Swedish] {
                assert_eq!(engine_for(text, asked).unwrap().language(), asked, "{text}");
            }
        }
    }
}
