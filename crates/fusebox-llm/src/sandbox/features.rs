//! What the sandbox counts in a text.

use std::collections::{HashMap, HashSet};

use unicode_segmentation::UnicodeSegmentation;

use super::lexicon::{ENGLISH, Language, Lexicon, SWEDISH};

/// Words in the window over which different words are counted.
const WINDOW: usize = 50;

/// The features of a text, each from 0 (poor) to 1 (full marks).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Features {
    pub(super) correctness: f64,
    pub(super) length: f64,
    pub(super) vocabulary: f64,
    pub(super) word_length: f64,
    pub(super) connectives: f64,
    pub(super) register: f64,
    pub(super) sentence_length: f64,
    pub(super) sentence_variety: f64,
    pub(super) paragraphs: f64,
}

impl Features {
    /// Counts the features of a text; a text without words has none of them.
    pub(super) fn of(text: &str) -> Self {
        let words: Vec<String> = text.unicode_words().map(str::to_lowercase).collect();
        if words.is_empty() {
            return Self::none();
        }
        let lexicon = language(&words);
        let sentences = sentences(text);
        let total = real(words.len());
        let lengths: Vec<f64> = sentences
            .iter()
            .map(|sentence| real(sentence.len()))
            .collect();
        let mean_sentence = lengths.iter().sum::<f64>() / real(lengths.len().max(1));
        let letters: usize = words.iter().map(|word| word.chars().count()).sum();
        let long_words = lexicon.long_words;
        let slips = real(slips(text, &words, &sentences, lexicon)) * 100.0 / total;
        let in_register = real(distinct_in(&words, lexicon.register)) * 100.0 / total;
        // A few words are no essay, however well chosen they are.
        let substance = (total / 60.0).min(1.0);
        Self {
            correctness: substance * (1.0 - (slips / 8.0).min(1.0)),
            length: (total / 250.0).min(1.0),
            vocabulary: substance * ramp(0.60, 0.85, moving_variety(&words)),
            word_length: substance * ramp(long_words - 1.2, long_words, real(letters) / total),
            connectives: (real(distinct_in(&words, lexicon.connectives)) / 6.0).min(1.0),
            register: substance * (in_register / 3.0).min(1.0),
            sentence_length: substance
                * ramp(5.0, 11.0, mean_sentence)
                * (1.0 - ramp(22.0, 45.0, mean_sentence)),
            sentence_variety: substance * ramp(0.1, 0.5, spread(&lengths, mean_sentence)),
            paragraphs: substance * ((real(paragraphs(text)) - 1.0) / 2.0).clamp(0.0, 1.0),
        }
    }

    fn none() -> Self {
        Self {
            correctness: 0.0,
            length: 0.0,
            vocabulary: 0.0,
            word_length: 0.0,
            connectives: 0.0,
            register: 0.0,
            sentence_length: 0.0,
            sentence_variety: 0.0,
            paragraphs: 0.0,
        }
    }
}

/// The language whose commonest words occur more often; English when neither does.
fn language(words: &[String]) -> &'static Lexicon {
    let hits = |lexicon: &Lexicon| {
        words
            .iter()
            .filter(|word| has(lexicon.common, word))
            .count()
    };
    if hits(&SWEDISH) > hits(&ENGLISH) {
        &SWEDISH
    } else {
        &ENGLISH
    }
}

/// The words of each sentence, as written.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .flat_map(UnicodeSegmentation::unicode_sentences)
        .map(|sentence| sentence.unicode_words().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .collect()
}

/// The number of slips: in spelling, grammar, capitals and punctuation.
fn slips(text: &str, words: &[String], sentences: &[Vec<&str>], lexicon: &Lexicon) -> usize {
    let misspelled = words.iter().filter(|word| has(lexicon.slips, word)).count();
    let tripled = words.iter().filter(|word| has_three_alike(word)).count();
    let pairs = words
        .windows(2)
        .filter(|two| {
            lexicon
                .wrong_pairs
                .binary_search(&(two[0].as_str(), &two[1]))
                .is_ok()
        })
        .count();
    let heads = sentences
        .iter()
        .filter(|sentence| sentence[0].chars().next().is_some_and(char::is_lowercase));
    let uninverted = sentences.iter().filter(|sentence| {
        let lower = |word: Option<&&str>| word.map(|word| word.to_lowercase()).unwrap_or_default();
        has(lexicon.inverting, &lower(sentence.first()))
            && has(lexicon.subjects, &lower(sentence.get(1)))
    });
    let english = lexicon.language == Language::English;
    let small_i = if english {
        text.unicode_words()
            .filter(|word| *word == "i" || word.starts_with("i'"))
            .count()
    } else {
        0
    };
    let articles = if english { wrong_articles(words) } else { 0 };
    misspelled
        + tripled
        + pairs
        + heads.count()
        + uninverted.count()
        + small_i
        + articles
        + punctuation_slips(text)
}

/// `a` before a vowel and `an` before a consonant, except where the sound differs from the letter.
fn wrong_articles(words: &[String]) -> usize {
    const SOUND_DIFFERS: [&str; 9] = ["eu", "ho", "hei", "on", "un", "us", "ut", "x", "mp"];
    words
        .windows(2)
        .filter(|two| {
            let vowel = two[1].starts_with(['a', 'e', 'i', 'o', 'u']);
            let exception = SOUND_DIFFERS.iter().any(|head| two[1].starts_with(head))
                || two[1].chars().count() == 1;
            !exception && ((two[0] == "a" && vowel) || (two[0] == "an" && !vowel))
        })
        .count()
}

/// Space before a comma or full stop, none after a comma, and signs that are repeated.
fn punctuation_slips(text: &str) -> usize {
    let chars: Vec<char> = text.chars().collect();
    chars
        .windows(3)
        .filter(|three| {
            let &[first, second, third] = *three else {
                return false;
            };
            let space_before = first == ' ' && matches!(second, ',' | '.') && third != '.';
            let none_after = second == ',' && first.is_alphabetic() && third.is_alphabetic();
            let repeated = matches!(second, '!' | '?') && second == third && first != second;
            space_before || none_after || repeated
        })
        .count()
}

fn has_three_alike(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    letters
        .windows(3)
        .any(|three| three[0].is_alphabetic() && three[0] == three[1] && three[1] == three[2])
}

/// The mean share of different words in every window of the text (the moving-average type-token
/// ratio), or in the whole text when it is shorter than a window.
fn moving_variety(words: &[String]) -> f64 {
    let window = WINDOW.min(words.len());
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut different = 0_usize;
    for (index, word) in words.iter().enumerate() {
        *counts.entry(word).or_default() += 1;
        if index >= window {
            let gone = counts.entry(&words[index - window]).or_default();
            *gone -= 1;
            if *gone == 0 {
                counts.remove(words[index - window].as_str());
            }
        }
        if index + 1 >= window {
            different += counts.len();
        }
    }
    let windows = words.len() - window + 1;
    real(different) / real(windows * window)
}

/// How much lengths differ, as a part of their mean.
fn spread(lengths: &[f64], mean: f64) -> f64 {
    if lengths.len() < 2 || mean <= 0.0 {
        return 0.0;
    }
    let variance = lengths
        .iter()
        .map(|length| (length - mean).powi(2))
        .sum::<f64>()
        / real(lengths.len() - 1);
    variance.sqrt() / mean
}

/// Lines with at least 15 words.
fn paragraphs(text: &str) -> usize {
    text.lines()
        .filter(|line| line.unicode_words().count() >= 15)
        .count()
}

fn distinct_in(words: &[String], list: &[&str]) -> usize {
    words
        .iter()
        .filter(|word| has(list, word))
        .collect::<HashSet<_>>()
        .len()
}

fn has(list: &[&str], word: &str) -> bool {
    list.binary_search(&word).is_ok()
}

/// 0 up to `low`, 1 from `high` on, a straight line between them.
fn ramp(low: f64, high: f64, value: f64) -> f64 {
    ((value - low) / (high - low)).clamp(0.0, 1.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a text has far fewer than 2^52 words"
)]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_words_has_no_features() {
        for text in ["", " \n ", "!!! ...", "🙂"] {
            assert_eq!(Features::of(text), Features::none(), "{text:?}");
        }
    }

    #[test]
    fn slips_are_counted() {
        let count = |text: &str| {
            let words: Vec<String> = text.unicode_words().map(str::to_lowercase).collect();
            slips(text, &words, &sentences(text), language(&words))
        };
        assert_eq!(
            count("I think that this is an honest and useful answer to the question."),
            0
        );
        assert_eq!(count("i think that the phones is bad"), 3); // head, i, phones is
        assert_eq!(count("It is a apple, and an tree."), 2);
        assert_eq!(
            count("It is an hour, a unit, a European one, and an X-ray."),
            0
        );
        assert_eq!(count("The teacher said , that it is soooo bad!!!"), 3);
        assert_eq!(count("Därför jag tycker att det är bra."), 1);
        assert_eq!(count("Därför tycker jag att det är bra."), 0);
    }

    #[test]
    fn variety_is_measured_over_windows() {
        let repeated: Vec<String> = (0..200).map(|_| "the".to_owned()).collect();
        assert!((moving_variety(&repeated) - 1.0 / 50.0).abs() < 1e-12);
        let different: Vec<String> = (0..200).map(|index| format!("w{index}")).collect();
        assert!((moving_variety(&different) - 1.0).abs() < 1e-12);
        let short: Vec<String> = ["a", "b", "a", "b"].map(str::to_owned).to_vec();
        assert!((moving_variety(&short) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_language_is_told_from_common_words() {
        let of = |text: &str| {
            let words: Vec<String> = text.unicode_words().map(str::to_lowercase).collect();
            language(&words).language == Language::Swedish
        };
        assert!(of(
            "Jag tycker att mobiler är ett problem i skolan och det är inte bra."
        ));
        assert!(!of(
            "I think that phones are a problem in the school and it is not good."
        ));
    }
}
