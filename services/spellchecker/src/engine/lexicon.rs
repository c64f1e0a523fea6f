//! What a language's words are: its dictionary (Hunspell format), how common its words are, and
//! which of them are never offered. Data and origin: `data/README.md`.

use std::collections::{HashMap, HashSet};
use std::fmt;

use spellbook::Dictionary;

use super::casing::capitalised;
use super::distance::{letter_mask, sound, within, without_marks};
use super::{EngineError, Language};

/// Words longer than this are neither checked nor corrected: no word of a dictionary is as long,
/// and the work per word stays bounded.
pub(crate) const LONGEST_WORD: usize = 48;

/// A word this short, or with a hyphen or an apostrophe, is corrected by one edit at most.
const SHORT_WORD: usize = 4;

/// The raw data of one language.
struct Data {
    affixes: &'static str,
    /// Word lists; a word is known when one of them has it.
    words: &'static [&'static str],
    frequent: &'static str,
}

const ENGLISH: Data = Data {
    affixes: include_str!("../../data/en/en.aff"),
    words: &[
        include_str!("../../data/en/en-US.dic"),
        include_str!("../../data/en/en-GB.dic"),
    ],
    frequent: include_str!("../../data/en/frequent.txt"),
};

const SWEDISH: Data = Data {
    affixes: include_str!("../../data/sv/sv.aff"),
    words: &[include_str!("../../data/sv/sv.dic")],
    frequent: include_str!("../../data/sv/frequent.txt"),
};

/// The words of one language.
pub(crate) struct Lexicon {
    dictionary: Dictionary,
    /// The words that the dictionary marks as never to be offered: insults and rarities. It knows
    /// them in all their forms.
    unoffered: Dictionary,
    /// Common words, most common first.
    frequent: Vec<Frequent>,
    /// Place of a common word in `frequent`.
    ranks: HashMap<&'static str, usize>,
}

/// A common word, made ready for comparing.
struct Frequent {
    text: &'static str,
    letters: Vec<char>,
    mask: u64,
}

/// How well a candidate stands for an unknown word; the least is the best. The order of the
/// variants and fields is the rule.
#[expect(
    clippy::struct_excessive_bools,
    reason = "a row of criteria, compared one after the other"
)]
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Merit {
    /// Candidates that differ in accents only come first: the writer knew the word.
    more_than_accents: bool,
    distance: usize,
    /// Then words that sound like what was written: learners spell by ear.
    other_sound: bool,
    /// Learners seldom miss the first letter.
    other_first_letter: bool,
    /// A name is a poor guess for a word in small letters.
    capital: bool,
    /// Common words first; those that are not common share the last place.
    rank: usize,
    /// Then as the dictionary offers them.
    offer: usize,
}

impl Lexicon {
    /// Loads a language.
    ///
    /// # Errors
    /// [`EngineError::Dictionary`] when the dictionary files are damaged.
    pub(crate) fn load(language: Language) -> Result<Self, EngineError> {
        let data = match language {
            Language::English => ENGLISH,
            Language::Swedish => SWEDISH,
        };
        let failed = |source: spellbook::ParseDictionaryError| EngineError::Dictionary {
            language,
            reason: source.to_string(),
        };
        let lines = merged(data.words);
        let dictionary = Dictionary::new(data.affixes, &word_list(&lines)).map_err(failed)?;
        let flagged: Vec<_> = lines
            .iter()
            .copied()
            .filter(|line| line.rsplit_once('/').is_some_and(|(_, f)| f.contains('!')))
            .collect();
        let unoffered = Dictionary::new(data.affixes, &word_list(&flagged)).map_err(failed)?;

        let frequent: Vec<_> = data
            .frequent
            .lines()
            .map(|text| Frequent {
                text,
                letters: text.chars().collect(),
                mask: letter_mask(text),
            })
            .collect();
        let ranks = frequent
            .iter()
            .enumerate()
            .map(|(rank, word)| (word.text, rank))
            .collect();
        Ok(Self {
            dictionary,
            unoffered,
            frequent,
            ranks,
        })
    }

    /// Whether `word` is right, whatever its capitals: alone, as a genitive, or part by part when it
    /// is hyphenated.
    pub(crate) fn knows(&self, word: &str) -> bool {
        let lower = word.to_lowercase();
        self.knows_one(word)
            || self.knows_one(&lower)
            || self.knows_one(&capitalised(&lower))
            || self.knows_one(&lower.to_uppercase())
            || lower
                .strip_suffix("'s")
                .is_some_and(|stem| !stem.is_empty() && self.knows(stem))
            || lower.contains('-') && lower.split('-').all(|part| self.knows_part(part))
    }

    /// Whether `word`, in small letters, is one of the common words.
    pub(crate) fn is_frequent(&self, word: &str) -> bool {
        self.ranks.contains_key(word)
    }

    /// The best replacement for an unknown word in small letters, or nothing when no word is near
    /// enough. The same word always gets the same answer.
    pub(crate) fn nearest(&self, word: &str) -> Option<String> {
        if word.contains('-') {
            return self.nearest_hyphenated(word);
        }
        let letters: Vec<_> = word.chars().collect();
        let limit = if letters.len() <= SHORT_WORD || word.contains('\'') {
            1
        } else {
            2
        };
        let mut best = self.nearest_frequent(word, &letters, limit);
        let mut offers = Vec::new();
        self.dictionary
            .suggester()
            .with_ngram_suggestions(false)
            .suggest(word, &mut offers);
        for (offer, candidate) in offers.into_iter().enumerate() {
            let Some(merit) = self.merit(word, &letters, &candidate, limit, offer) else {
                continue;
            };
            if best.as_ref().is_none_or(|(other, _)| merit < *other) {
                best = Some((merit, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// The common words, most common first.
    #[cfg(test)]
    pub(crate) fn frequent_words(&self) -> impl Iterator<Item = &'static str> {
        self.frequent.iter().map(|word| word.text)
    }

    /// Whether a word may be offered as a correction.
    #[cfg(test)]
    pub(crate) fn offers(&self, word: &str) -> bool {
        self.knows_one(word) && !self.unoffered.check(word)
    }

    fn knows_one(&self, word: &str) -> bool {
        self.dictionary.check(word)
    }

    fn knows_part(&self, part: &str) -> bool {
        !part.is_empty() && (self.knows_one(part) || self.knows_one(&capitalised(part)))
    }

    /// Corrects the one wrong part of a hyphenated word, by one edit.
    fn nearest_hyphenated(&self, word: &str) -> Option<String> {
        let parts: Vec<_> = word.split('-').collect();
        let mut wrong = parts
            .iter()
            .enumerate()
            .filter(|(_, part)| !self.knows_part(part));
        let (at, part) = wrong.next()?;
        if wrong.next().is_some() || part.chars().count() < 3 {
            return None;
        }
        let better = self.nearest(part)?;
        let (from, to): (Vec<_>, Vec<_>) = (part.chars().collect(), better.chars().collect());
        within(&from, &to, 1)?;
        let mut mended = parts;
        mended[at] = &better;
        Some(mended.join("-"))
    }

    fn nearest_frequent(
        &self,
        word: &str,
        letters: &[char],
        limit: usize,
    ) -> Option<(Merit, String)> {
        let mask = letter_mask(word);
        let mut best: Option<(Merit, &str)> = None;
        for candidate in &self.frequent {
            let differing = (candidate.mask ^ mask).count_ones() as usize;
            if differing > 2 * limit || candidate.letters.len().abs_diff(letters.len()) > limit {
                continue;
            }
            if let Some(merit) = self.merit(word, letters, candidate.text, limit, 0)
                && best.as_ref().is_none_or(|(other, _)| merit < *other)
            {
                best = Some((merit, candidate.text));
            }
        }
        best.map(|(merit, text)| (merit, text.to_owned()))
    }

    /// How good `candidate` is for `word`; nothing when it is too far away or must not be offered.
    fn merit(
        &self,
        word: &str,
        letters: &[char],
        candidate: &str,
        limit: usize,
        offer: usize,
    ) -> Option<Merit> {
        // One word stays one word: splitting is what the learners' list is for.
        if candidate.contains([' ', '-', '.']) || self.unoffered.check(candidate) {
            return None;
        }
        let lower = candidate.to_lowercase();
        let other: Vec<_> = lower.chars().collect();
        let distance = within(letters, &other, limit)?;
        let other_first_letter = letters.first() != other.first();
        let accents_only = without_marks(word) == without_marks(&lower);
        let other_sound = sound(word) != sound(&lower);
        // Two letters for one sound are one mistake.
        let distance = if other_sound {
            distance
        } else {
            distance.min(1)
        };
        // Two edits, one of them in the first letter: as likely any other word.
        if distance == 0 || (distance > 1 && other_first_letter && !accents_only) {
            return None;
        }
        Some(Merit {
            more_than_accents: !accents_only,
            distance,
            other_sound,
            other_first_letter,
            capital: lower != candidate,
            rank: self
                .ranks
                .get(lower.as_str())
                .copied()
                .unwrap_or(usize::MAX),
            offer,
        })
    }
}

impl fmt::Debug for Lexicon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lexicon")
            .field("dictionary", &self.dictionary)
            .field("frequent", &self.frequent.len())
            .finish_non_exhaustive()
    }
}

/// The entries of several word lists, each once, without their first lines (a count).
fn merged(lists: &[&'static str]) -> Vec<&'static str> {
    let mut seen = HashSet::new();
    lists
        .iter()
        .flat_map(|list| list.lines().skip(1))
        .filter(|line| seen.insert(*line))
        .collect()
}

fn word_list(lines: &[&str]) -> String {
    let mut list = lines.len().to_string();
    for line in lines {
        list.push('\n');
        list.push_str(line);
    }
    list.push('\n');
    list
}
