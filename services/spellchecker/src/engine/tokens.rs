//! Cuts a text into words. Everything between two words belongs to nobody here and is kept as it
//! is by whoever uses the words; positions always refer to the text as it was given.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    /// The word exactly as written.
    pub(crate) text: &'t str,
    /// Its bytes in the text.
    pub(crate) bytes: Range<usize>,
    /// Position of its first character (Unicode scalar value) in the text.
    pub(crate) first_char: usize,
    /// How many characters it has.
    pub(crate) chars: usize,
    /// Where it stands in its sentence.
    pub(crate) position: Position,
    /// What is known about it from its shape and its neighbours.
    pub(crate) shape: Shape,
    /// Whether a full stop follows directly.
    pub(crate) before_full_stop: bool,
}

/// Where a word stands in its sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// The first word of a sentence, a quotation or a line of dialogue, or perhaps so: its capital
    /// letter says nothing.
    Initial,
    /// Certainly inside a sentence: a capital letter means something.
    Inside,
}

/// What a word looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A word in Latin letters, with inner apostrophes and hyphens.
    Word,
    /// A word with letters of another script: never touched.
    OtherScript,
    /// A word with digits or underscores in it (`4-year-old`, `B2`): never touched.
    Mixed,
    /// A piece of a dotted abbreviation (`t.ex.`, `i.e.`): never touched.
    Abbreviation,
}

/// Titles whose full stop does not end a sentence, in both languages.
const TITLES: [&str; 9] = ["mr", "mrs", "ms", "dr", "prof", "hr", "fr", "frk", "st"];

/// Endings that make a bare dotted word a web address.
const WEB_ENDINGS: [&str; 10] = [
    "com", "edu", "eu", "gov", "info", "io", "net", "nu", "org", "se",
];

/// Cuts `text` into its words, in order. Web and mail addresses, `@mentions`, `#tags` and bare
/// numbers are no words.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut words = Vec::new();
    let mut protected = protected_ranges(text).into_iter().peekable();
    let mut sentence = Sentence::new();
    let mut chars = text.char_indices().enumerate().peekable();

    while let Some(&(index, (at, first))) = chars.peek() {
        while protected.next_if(|range| range.end <= at).is_some() {}
        if let Some(range) = protected.peek().filter(|range| range.start <= at) {
            while chars.next_if(|&(_, (at, _))| at < range.end).is_some() {}
            sentence.saw_something();
            continue;
        }
        if !is_word_char(first) || is_combining_mark(first) {
            chars.next();
            sentence.saw_separator(first);
            continue;
        }

        // One word: a run of word characters, with joiners that have word characters on both sides.
        let stop = protected.peek().map_or(text.len(), |range| range.start);
        let mut end = at;
        let mut count = 0;
        while let Some(&(_, (here, c))) = chars.peek() {
            let inner = here < stop
                && (is_word_char(c) || {
                    is_joiner(c)
                        && rest(text, here + c.len_utf8())
                            .next()
                            .is_some_and(|next| is_word_char(next) && !is_combining_mark(next))
                });
            if !inner {
                break;
            }
            end = here + c.len_utf8();
            count += 1;
            chars.next();
        }
        let word = text.get(at..end).unwrap_or_default();
        let before_full_stop = rest(text, end).next() == Some('.');
        let shape = shape(word);
        if word.chars().any(char::is_alphabetic) {
            words.push(Token {
                text: word,
                bytes: at..end,
                first_char: index,
                chars: count,
                position: sentence.position(),
                shape,
                before_full_stop,
            });
        }
        sentence.saw_word(word);
    }
    mark_abbreviations(text, &mut words);
    words
}

/// The form of a word that dictionaries know: composed, ligatures resolved, straight apostrophes,
/// plain hyphens, no soft hyphens.
pub(crate) fn lookup_form(word: &str) -> String {
    word.nfkc()
        .filter(|c| !is_invisible(*c))
        .map(|c| match c {
            '\u{2019}' | '\u{02bc}' => '\'',
            '\u{2010}' | '\u{2011}' => '-',
            other => other,
        })
        .collect()
}

/// Whether a character belongs to the Latin letters that English and Swedish are written with.
fn is_latin(c: char) -> bool {
    c.is_alphabetic()
        && matches!(c, 'a'..='z' | 'A'..='Z' | '\u{aa}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{fb00}'..='\u{fb06}')
}

/// Soft hyphen, zero-width space and joiners, word joiner: seen by nobody, left behind by text
/// extraction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}')
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || is_combining_mark(c)
}

fn is_joiner(c: char) -> bool {
    matches!(
        c,
        '\'' | '\u{2019}' | '\u{02bc}' | '-' | '\u{2010}' | '\u{2011}'
    ) || is_invisible(c)
}

fn shape(word: &str) -> Shape {
    if word.chars().any(|c| c.is_numeric() || c == '_') {
        Shape::Mixed
    } else if word
        .chars()
        .any(|c| c.is_alphabetic() && !is_latin(c) && c != '\u{02bc}')
    {
        Shape::OtherScript
    } else {
        Shape::Word
    }
}

fn rest(text: &str, from: usize) -> std::str::Chars<'_> {
    text.get(from..).unwrap_or_default().chars()
}

/// Letters joined by full stops without a space, each piece at most three letters long.
fn mark_abbreviations(text: &str, words: &mut [Token<'_>]) {
    const LONGEST_PIECE: usize = 3;
    for at in 1..words.len() {
        let (before, here) = words.split_at_mut(at);
        let (Some(left), Some(right)) = (before.last_mut(), here.first_mut()) else {
            continue;
        };
        let dotted = text.get(left.bytes.end..right.bytes.start) == Some(".");
        if dotted && left.chars <= LONGEST_PIECE && right.chars <= LONGEST_PIECE {
            for piece in [left, right] {
                if piece.shape == Shape::Word {
                    piece.shape = Shape::Abbreviation;
                }
            }
        }
    }
}

/// Web and mail addresses, mentions and tags, as byte ranges in order.
fn protected_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, c.is_whitespace()) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                let field = text.get(from..at).unwrap_or_default();
                if is_address(field) {
                    ranges.push(from..at);
                }
                start = None;
            }
            _ => {}
        }
    }
    ranges
}

fn is_address(field: &str) -> bool {
    let field = field.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '@' | '#' | '/'));
    if field.contains("://") {
        return true;
    }
    if field.len() > 1 && (field.starts_with('@') || field.starts_with('#')) {
        return true;
    }
    if let Some((user, host)) = field.split_once('@') {
        return user.ends_with(char::is_alphanumeric)
            && host.starts_with(char::is_alphanumeric)
            && host.contains('.');
    }
    let host = field.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let mut labels = host.rsplit('.');
    let ending = labels.next().unwrap_or_default();
    let named = labels.next().is_some_and(|label| !label.is_empty());
    named && (host.starts_with("www.") || WEB_ENDINGS.contains(&ending))
}

/// Follows the text and knows whether the next word may open a sentence.
#[derive(Debug)]
struct Sentence {
    opens: bool,
    line_breaks: usize,
    /// The separator before this one.
    before: char,
    last_word_is_short_form: bool,
    quoted: bool,
}

impl Sentence {
    fn new() -> Self {
        Self {
            opens: true,
            line_breaks: 1,
            before: ' ',
            last_word_is_short_form: false,
            quoted: false,
        }
    }

    fn position(&self) -> Position {
        if self.opens || self.quoted {
            Position::Initial
        } else {
            Position::Inside
        }
    }

    fn saw_separator(&mut self, c: char) {
        let before = std::mem::replace(&mut self.before, c);
        match c {
            '.' if self.last_word_is_short_form => {}
            '.' | '!' | '?' | '\u{2026}' | ':' => self.opens = true,
            // A return and its line feed are one line break.
            '\n' if before == '\r' => {}
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                self.line_breaks += 1;
                // A single break may be a wrapped line; an empty line ends what went before.
                if self.line_breaks >= 2 || c == '\u{2029}' {
                    self.opens = true;
                }
            }
            // A bullet or the dash of a line of dialogue.
            '-' | '\u{2013}' | '\u{2014}' | '\u{2022}' | '*' if self.line_breaks > 0 => {
                self.opens = true;
            }
            '"' | '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' | '\u{2018}'
            | '\u{2019}' | '\'' | '(' | '[' => self.quoted = true,
            c if c.is_whitespace() => self.quoted = false,
            _ => {}
        }
        self.last_word_is_short_form = false;
    }

    fn saw_word(&mut self, word: &str) {
        self.saw_something();
        let mut letters = word.chars();
        let initial = letters.next().is_some_and(char::is_uppercase) && letters.next().is_none();
        self.last_word_is_short_form =
            initial && word != "I" || TITLES.iter().any(|title| title.eq_ignore_ascii_case(word));
    }

    fn saw_something(&mut self) {
        self.opens = false;
        self.quoted = false;
        self.line_breaks = 0;
        self.before = ' ';
        self.last_word_is_short_form = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    fn initial(text: &str) -> Vec<&str> {
        tokens(text)
            .into_iter()
            .filter(|token| token.position == Position::Initial)
            .map(|token| token.text)
            .collect()
    }

    #[test]
    fn letters_of_swedish_and_marks_never_split_a_word() {
        assert_eq!(
            words("Åsa är på ön, señor!"),
            ["Åsa", "är", "på", "ön", "señor"]
        );
        let decomposed = "A\u{30a}sa a\u{308}r pa\u{30a} o\u{308}n";
        assert_eq!(
            words(decomposed),
            ["A\u{30a}sa", "a\u{308}r", "pa\u{30a}", "o\u{308}n"]
        );
        assert_eq!(lookup_form("pa\u{30a}"), "på");
        assert_eq!(lookup_form("\u{fb01}nd"), "find");
        assert_eq!(lookup_form("inter\u{ad}esting"), "interesting");
    }

    #[test]
    fn apostrophes_and_hyphens_belong_to_a_word_only_inside() {
        assert_eq!(
            words("'don't' don\u{2019}t well-known -x- mother-in-law's rock'n'roll'"),
            [
                "don't",
                "don\u{2019}t",
                "well-known",
                "x",
                "mother-in-law's",
                "rock'n'roll"
            ]
        );
        assert_eq!(words("a--b"), ["a", "b"]);
    }

    #[test]
    fn addresses_tags_and_numbers_are_no_words() {
        assert_eq!(
            words(
                "se https://ex.se/Pth?x=teh, (www.example.org) a.b@skola.se, @anna #svensk 3.14 \
                 1 000 example.com/teh slut"
            ),
            ["se", "slut"]
        );
        // A missing space after a full stop does not make an address.
        assert_eq!(words("dogs.They bark"), ["dogs", "They", "bark"]);
    }

    #[test]
    fn shapes_are_told_apart() {
        let shapes: Vec<_> = tokens("B2 снег кат привет t.ex. i.e. dogs.It under_score ordet")
            .into_iter()
            .map(|token| token.shape)
            .collect();
        assert_eq!(
            shapes,
            [
                Shape::Mixed,
                Shape::OtherScript,
                Shape::OtherScript,
                Shape::OtherScript,
                Shape::Abbreviation,
                Shape::Abbreviation,
                Shape::Abbreviation,
                Shape::Abbreviation,
                Shape::Word,
                Shape::Word,
                Shape::Mixed,
                Shape::Word
            ]
        );
    }

    #[test]
    fn positions_count_bytes_and_characters_of_the_given_text() {
        let text = "🙂 på\r\nö";
        let found = tokens(text);
        let places: Vec<_> = found
            .iter()
            .map(|token| (token.bytes.clone(), token.first_char, token.chars))
            .collect();
        assert_eq!(places, [(5..8, 2, 2), (10..12, 6, 1)]);
    }

    #[test]
    fn sentences_open_after_terminators_empty_lines_quotes_and_dashes() {
        assert_eq!(
            initial("One two. Three four? Five: Six"),
            ["One", "Three", "Five", "Six"]
        );
        assert_eq!(initial("One two\nThree\n\nFour Five"), ["One", "Four"]);
        assert_eq!(
            initial("One two\r\nThree\r\n\r\nFour Five"),
            ["One", "Four"]
        );
        assert_eq!(initial("He said \"Yes No\""), ["He", "Yes"]);
        assert_eq!(initial("x y\n\u{2013} Hej du\n- Nej"), ["x", "Hej", "Nej"]);
        assert_eq!(initial("Mr. Lund met J. K. Ek. Then"), ["Mr", "Then"]);
        assert_eq!(initial("It was 3. Then"), ["It", "Then"]);
    }
}
