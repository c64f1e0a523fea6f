//! Patterns over circuit names, and which of several is the most specific.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The longest pattern, in characters.
const LONGEST: usize = 256;

/// A pattern over circuit names: `*` stands for any run of characters, an empty one included, `?`
/// for exactly one, everything else for itself.
///
/// Patterns are ordered by how specific they are, the most specific first: a name without wildcards
/// before any other; then more characters that stand for themselves; then fewer `*`; then the
/// alphabet. The order is total, so of several patterns that match a name exactly one is first,
/// whatever order they were written in.
///
/// ```
/// use fusebox::Pattern;
///
/// # fn main() -> Result<(), fusebox::PatternError> {
/// let all: Pattern = "*".parse()?;
/// let providers: Pattern = "cj_assessment.*_provider".parse()?;
/// assert!(providers.matches("cj_assessment.openai_provider"));
/// assert!(!providers.matches("cj_assessment.content_client"));
/// assert!(providers < all, "the more specific one comes first");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Arc<str>,
}

impl Pattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// It is empty, longer than 256 characters, or holds a control character.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let problem = if text.is_empty() {
            "it is empty"
        } else if text.chars().count() > LONGEST {
            "it is longer than 256 characters"
        } else if text.chars().any(char::is_control) {
            "it holds a control character"
        } else {
            return Ok(Self { text: text.into() });
        };
        Err(PatternError {
            pattern: text.chars().take(LONGEST).collect(),
            problem,
        })
    }

    /// Whether it matches the whole of `name`.
    ///
    /// Takes time in the product of both lengths at worst.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.text.chars(), name.chars());
        // What follows the last star, and what of the name it has not yet eaten.
        let mut star = None;
        loop {
            let mut ahead = pattern.clone();
            match (ahead.next(), rest.clone().next()) {
                (Some('*'), _) => {
                    pattern = ahead;
                    star = Some((pattern.clone(), rest.clone()));
                    continue;
                }
                (None, None) => return true,
                (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                    pattern = ahead;
                    rest.next();
                    continue;
                }
                _ => {}
            }
            // A mismatch: let the last star eat one character more. An earlier star need never be
            // asked again, because whatever it could eat the last one can eat as well.
            let Some((after_star, eaten)) = &mut star else {
                return false;
            };
            if eaten.next().is_none() {
                return false;
            }
            pattern = after_star.clone();
            rest = eaten.clone();
        }
    }

    /// True for a plain name: without `*` and `?`.
    pub fn is_name(&self) -> bool {
        !self.text.contains(['*', '?'])
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn rank(&self) -> (bool, Reverse<usize>, usize, &str) {
        let literal = self.text.chars().filter(|c| !matches!(c, '*' | '?'));
        let stars = self.text.chars().filter(|c| *c == '*').count();
        (!self.is_name(), Reverse(literal.count()), stars, &self.text)
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

/// A pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the pattern {pattern:?} cannot be used: {problem}")]
pub struct PatternError {
    pattern: String,
    problem: &'static str,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect(text)
    }

    /// The definition, as slow as it is plain.
    fn defined(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|eaten| defined(rest, &name[eaten..])),
            Some((wanted, rest)) => name.split_first().is_some_and(|(found, after)| {
                (*wanted == '?' || wanted == found) && defined(rest, after)
            }),
        }
    }

    #[test]
    fn wildcards_stand_for_what_the_page_says() {
        for (text, name, expected) in [
            ("file", "file", true),
            ("file", "files", false),
            ("*", "", true),
            ("*", "anything.at/all", true),
            ("*.content_client", "spellchecker.content_client", true),
            ("*.content_client", "content_client", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "é", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "aab", false),
            ("a*b*c", "a-b-b-c", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(pattern(text).matches(name), expected, "{text} on {name:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let hostile = pattern(&("*a".repeat(127) + "b"));
        assert!(!hostile.matches(&"a".repeat(10_000)));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        let refused = |text: &str| Pattern::new(text).expect_err(text).to_string();
        assert_eq!(refused(""), "the pattern \"\" cannot be used: it is empty");
        assert!(refused(&"x".repeat(257)).ends_with("longer than 256 characters"));
        assert!(refused("a\nb").contains(r#""a\nb""#));
        assert!(Pattern::new(&"x".repeat(256)).is_ok());
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        for text in ["*", "a?c.*", "file"] {
            let read = pattern(text);
            assert_eq!((read.as_str(), read.to_string()), (text, text.to_owned()));
        }
    }

    #[test]
    fn the_most_specific_comes_first() {
        let mut patterns: Vec<Pattern> = ["*", "b*", "a*", "*.content", "a?", "*a*", "ab", "zz"]
            .map(pattern)
            .into();
        patterns.sort();
        let order: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
        assert_eq!(
            order,
            ["ab", "zz", "*.content", "a?", "a*", "b*", "*a*", "*"]
        );
        assert!(pattern("ab").is_name() && !pattern("a?").is_name() && !pattern("a*").is_name());
    }

    proptest! {
        #[test]
        fn it_matches_what_the_definition_matches(text in "[ab*?]{1,8}", name in "[abc]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                pattern(&text).matches(&name),
                defined(&chars(&text), &chars(&name))
            );
        }

        #[test]
        fn the_order_is_total(a in "[ab*?]{1,6}", b in "[ab*?]{1,6}") {
            let (a, b) = (pattern(&a), pattern(&b));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        }
    }
}
