//! The spelling engine: takes a text, gives the corrected text and a record of every change. It is
//! pure: no clock, no disk, no network; its dictionaries are part of the program.
//!
//! # What it does
//! One pass over the words of the text ([`Engine::correct`]); what stands between words is kept
//! byte for byte, and a replacement is never looked at again. For each word the first rule that
//! fits decides:
//!
//! 1. Single letters, words with digits, words in another script than Latin, pieces of dotted
//!    abbreviations, words with capitals inside and words of more than 48 letters stay.
//! 2. A word in the list of learners' errors becomes what the list says, in the same casing
//!    (acronyms of up to three capitals stay).
//! 3. A word that the dictionary knows, in any casing, stays. English means American and British
//!    English alike.
//! 4. ALL CAPS and words of two letters stay.
//! 5. Names stay (below).
//! 6. Any other word becomes the nearest dictionary word: at most two edits away, or one for words
//!    of up to four letters and words with a hyphen or an apostrophe; difference in accents alone
//!    first, then fewer edits, the same sound, the same first letter, the more common word, the
//!    dictionary's own order. If no word is near enough, it stays.
//!
//! # Names
//! An unknown word is a name, and is left alone,
//! - when it is in the list of names (`data/names.txt`), genitive included;
//! - when it is capitalised inside a sentence;
//! - when it is so anywhere else in the same text, in whatever casing it stands here;
//! - when it is capitalised at the start of a sentence, unless a common word of at least four
//!   letters is one edit away: `Beacuse of` is corrected, `Tindra is` is not.
//!
//! # Bounds
//! At most [`MAX_LOOKUPS`] different unknown words of a text are looked up; any further ones stay,
//! and [`Correction::limit_reached`] says so. Answers are remembered per language, at most
//! [`CACHE_WORDS`] of them; forgetting one costs time and never changes an answer.

mod casing;
mod detect;
mod distance;
mod language;
mod learners;
mod lexicon;
mod names;
mod tokens;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use lru::LruCache;
use serde::{Deserialize, Serialize};

pub use detect::engine_for;
pub use language::{EngineError, Language};

use casing::Casing;
use learners::Learners;
use lexicon::{LONGEST_WORD, Lexicon};
use names::Names;
use tokens::{Position, Shape, Token, lookup_form, tokens};

/// How many different unknown words of one text are looked up.
pub const MAX_LOOKUPS: usize = 2_000;

/// How many answers of the dictionary an engine remembers.
pub const CACHE_WORDS: usize = 8_192;

/// The label under which results of this engine are stored and published.
pub const VERSION: &str = "spellbook-0.4+learners-1";

/// Which rule changed a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// The list of learners' errors.
    Learners,
    /// The nearest word of the dictionary.
    Dictionary,
}

impl Rule {
    /// The rule's name as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Learners => "learners",
            Self::Dictionary => "dictionary",
        }
    }
}

/// One word that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorrectionRecord {
    /// The word as written.
    pub original_word: String,
    /// What it became; may be several words.
    pub corrected_word: String,
    /// Position of its first character in the *original* text, in characters (Unicode scalar
    /// values).
    pub start: usize,
    /// Position of its last character in the *original* text, in characters; inclusive.
    pub end: usize,
    /// Its bytes in the *original* text.
    #[serde(skip)]
    pub bytes: Range<usize>,
    /// Which rule changed it.
    pub rule: Rule,
}

/// Totals of a correction.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Metrics {
    /// Words changed.
    pub total_corrections: usize,
    /// Words changed by the list of learners' errors.
    pub l2_dictionary_corrections: usize,
    /// Words changed by the dictionary.
    pub spellchecker_corrections: usize,
    /// Words in the original text; numbers and addresses are none.
    pub word_count: usize,
    /// Changes per 100 words; 0 for a text without words.
    pub correction_density: f64,
}

/// A corrected text.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// The text with every change made.
    pub corrected: String,
    /// The changes, in the order of the text; none overlaps another.
    pub corrections: Vec<CorrectionRecord>,
    /// Totals.
    pub metrics: Metrics,
    /// Whether [`MAX_LOOKUPS`] was reached, so that some unknown words were not looked up.
    pub limit_reached: bool,
}

/// Corrects texts of one language. Cheap to share, expensive to make: use [`engine`].
#[derive(Debug)]
pub struct Engine {
    language: Language,
    lexicon: Lexicon,
    learners: Learners,
    names: &'static Names,
    answers: Mutex<LruCache<String, Option<String>>>,
}

/// The engine of a language. The first call for a language loads it, which takes a good part of a
/// second; every further one only looks it up. Blocks: call it where blocking is allowed.
///
/// # Errors
/// [`EngineError::Dictionary`] when the built-in data is damaged.
pub fn engine(language: Language) -> Result<&'static Engine, EngineError> {
    static ENGLISH: OnceLock<Engine> = OnceLock::new();
    static SWEDISH: OnceLock<Engine> = OnceLock::new();
    static LOADING: Mutex<()> = Mutex::new(());
    let slot = match language {
        Language::English => &ENGLISH,
        Language::Swedish => &SWEDISH,
    };
    if let Some(engine) = slot.get() {
        return Ok(engine);
    }
    // One loads, the others wait for it; a failure is not kept.
    let loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = slot.get() {
        return Ok(engine);
    }
    let loaded = Engine::load(language)?;
    let engine = slot.get_or_init(|| loaded);
    drop(loading);
    Ok(engine)
}

impl Engine {
    /// Loads an engine of its own, with an empty memory. Everything but tests wants [`engine`].
    ///
    /// # Errors
    /// [`EngineError::Dictionary`] when the built-in data is damaged.
    pub fn load(language: Language) -> Result<Self, EngineError> {
        let learners = match language {
            Language::English => include_str!("../../data/en/learners.tsv"),
            Language::Swedish => include_str!("../../data/sv/learners.tsv"),
        };
        Ok(Self {
            language,
            lexicon: Lexicon::load(language)?,
            learners: Learners::parse(learners),
            names: names::listed(),
            answers: Mutex::new(LruCache::new(
                NonZeroUsize::new(CACHE_WORDS).unwrap_or(NonZeroUsize::MIN),
            )),
        })
    }

    /// The language this engine corrects.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Corrects a text. The same text always gives the same result, in any thread and whatever was
    /// corrected before. Takes milliseconds to seconds of processor time: call it where blocking is
    /// allowed.
    pub fn correct(&self, text: &str) -> Correction {
        let tokens = tokens(text);
        let recurring = self.recurring_names(&tokens);
        let mut lookups = Lookups::default();
        let mut corrected = String::with_capacity(text.len() + text.len() / 32);
        let mut corrections = Vec::new();
        let mut kept_to = 0;
        for token in &tokens {
            let Some((replacement, rule)) = self.replacement(token, &recurring, &mut lookups)
            else {
                continue;
            };
            let replacement = dressed_like(token.text, &replacement);
            if replacement == token.text {
                continue;
            }
            corrected.push_str(text.get(kept_to..token.bytes.start).unwrap_or_default());
            corrected.push_str(&replacement);
            kept_to = token.bytes.end;
            corrections.push(CorrectionRecord {
                original_word: token.text.to_owned(),
                corrected_word: replacement,
                start: token.first_char,
                end: token.first_char + token.chars - 1,
                bytes: token.bytes.clone(),
                rule,
            });
        }
        corrected.push_str(text.get(kept_to..).unwrap_or_default());
        let metrics = Metrics::of(&corrections, tokens.len());
        Correction {
            corrected,
            corrections,
            metrics,
            limit_reached: lookups.limit_reached,
        }
    }

    /// What a word becomes, if anything.
    fn replacement(
        &self,
        token: &Token<'_>,
        recurring: &HashSet<String>,
        lookups: &mut Lookups,
    ) -> Option<(String, Rule)> {
        if token.shape != Shape::Word || token.chars > LONGEST_WORD {
            return None;
        }
        let word = lookup_form(token.text);
        let letters = word.chars().count();
        let casing = Casing::of(&word);
        if letters < 2 || casing == Casing::Mixed || casing == Casing::AllCaps && letters <= 3 {
            return None;
        }
        let lower = word.to_lowercase();
        if let Some(meant) = self.learners.meant(&lower) {
            return Some((casing.apply(meant), Rule::Learners));
        }
        if letters < 3 || casing == Casing::AllCaps || self.knows(&word, token) {
            return None;
        }
        let is_name = self.names.contains(&lower)
            || names::forms(&lower).any(|form| recurring.contains(form))
            || casing == Casing::Capitalised && token.position == Position::Inside;
        if is_name {
            return None;
        }
        let nearest = self.nearest(&lower, lookups)?;
        if casing == Casing::Capitalised && !self.surely_no_name(&lower, &nearest) {
            return None;
        }
        Some((casing.apply(&nearest), Rule::Dictionary))
    }

    fn knows(&self, word: &str, token: &Token<'_>) -> bool {
        self.lexicon.knows(word)
            || token.before_full_stop && self.lexicon.knows(&format!("{word}."))
    }

    /// Unknown words that stand with a capital inside a sentence, in small letters.
    fn recurring_names(&self, tokens: &[Token<'_>]) -> HashSet<String> {
        tokens
            .iter()
            .filter(|token| {
                token.shape == Shape::Word
                    && token.position == Position::Inside
                    && token.chars <= LONGEST_WORD
            })
            .map(|token| lookup_form(token.text))
            .filter(|word| Casing::of(word) == Casing::Capitalised && !self.lexicon.knows(word))
            .map(|word| names::bare(&word.to_lowercase()).to_owned())
            .collect()
    }

    /// Whether a capitalised word at the start of a sentence is rather a misspelt common word than
    /// a name.
    fn surely_no_name(&self, lower: &str, nearest: &str) -> bool {
        const SHORTEST: usize = 4;
        let (from, to): (Vec<_>, Vec<_>) = (lower.chars().collect(), nearest.chars().collect());
        from.len() >= SHORTEST
            && to.len() >= SHORTEST
            && self.lexicon.is_frequent(nearest)
            && distance::within(&from, &to, 1).is_some()
    }

    fn nearest(&self, lower: &str, lookups: &mut Lookups) -> Option<String> {
        // The bound counts words of this text, remembered or not, so that what other texts asked
        // before never changes a result.
        if !lookups.admit(lower) {
            return None;
        }
        let remembered = self.answers().get(lower).cloned();
        if let Some(answer) = remembered {
            return answer;
        }
        let answer = self.lexicon.nearest(lower);
        self.answers().put(lower.to_owned(), answer.clone());
        answer
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, LruCache<String, Option<String>>> {
        // Whatever panicked while holding it, the memory holds only whole answers.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    fn of(corrections: &[CorrectionRecord], word_count: usize) -> Self {
        let total = corrections.len();
        let learners = corrections
            .iter()
            .filter(|record| record.rule == Rule::Learners)
            .count();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a text has far fewer than 2^52 words"
        )]
        let correction_density = if word_count == 0 {
            0.0
        } else {
            total as f64 * 100.0 / word_count as f64
        };
        Self {
            total_corrections: total,
            l2_dictionary_corrections: learners,
            spellchecker_corrections: total - learners,
            word_count,
            correction_density,
        }
    }
}

/// The different unknown words that one text asked for.
#[derive(Debug, Default)]
struct Lookups {
    words: HashSet<String>,
    limit_reached: bool,
}

impl Lookups {
    fn admit(&mut self, word: &str) -> bool {
        if self.words.contains(word) {
            return true;
        }
        if self.words.len() == MAX_LOOKUPS {
            self.limit_reached = true;
            return false;
        }
        self.words.insert(word.to_owned())
    }
}

/// Gives a replacement the kind of apostrophe and hyphen that the word was written with.
fn dressed_like(original: &str, replacement: &str) -> String {
    let curly = original.contains('\u{2019}');
    let hyphen = original
        .chars()
        .find(|c| matches!(c, '\u{2010}' | '\u{2011}'));
    replacement
        .chars()
        .map(|c| match (c, hyphen) {
            ('\'', _) if curly => '\u{2019}',
            ('-', Some(hyphen)) => hyphen,
            _ => c,
        })
        .collect()
}

#[cfg(test)]
mod tests;
