//! The options of the attribute: reading them, and saying what is wrong with them.

use std::time::Duration;

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Ident, LitInt, LitStr, Meta, Path, Result, Token};

/// What may be written on the trait.
const TRAIT: &[&str] = &["name", "breaker", "wrapper", "classify", "crate"];
/// What may be written on a method.
const METHOD: &[&str] = &[
    "skip",
    "idempotent",
    "attempts",
    "hedge",
    "attempt_timeout",
    "total_timeout",
    "breaker",
    "classify",
    "stream",
    "first_item",
    "idle",
    "last",
];

/// A value with the place of its option, where a complaint about it belongs.
#[derive(Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// The options of the trait.
#[derive(Default)]
pub(crate) struct TraitOptions {
    pub(crate) name: Option<At<LitStr>>,
    pub(crate) breaker: Option<At<LitStr>>,
    pub(crate) wrapper: Option<At<Ident>>,
    pub(crate) classify: Option<At<Path>>,
    pub(crate) krate: Option<At<Path>>,
    pub(crate) local: bool,
}

/// The options of a method.
#[derive(Default)]
pub(crate) struct MethodOptions {
    /// The first option's place, if any was given.
    pub(crate) any: Option<Span>,
    pub(crate) skip: Option<At<()>>,
    pub(crate) idempotent: Option<At<()>>,
    pub(crate) attempts: Option<At<u32>>,
    pub(crate) hedge: Option<At<Option<Duration>>>,
    pub(crate) attempt_timeout: Option<At<Duration>>,
    pub(crate) total_timeout: Option<At<Duration>>,
    pub(crate) breaker: Option<At<LitStr>>,
    pub(crate) classify: Option<At<Path>>,
    pub(crate) stream: Option<At<()>>,
    pub(crate) first_item: Option<At<Duration>>,
    pub(crate) idle: Option<At<Duration>>,
    pub(crate) last: Option<At<Path>>,
}

impl Parse for TraitOptions {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut options = Self::default();
        each_option(input, |input| {
            if input.peek(Token![?]) {
                input.parse::<Token![?]>()?;
                let bound: Ident = input.parse()?;
                if bound != "Send" {
                    return Err(Error::new(bound.span(), "only `?Send` can be relaxed"));
                }
                options.local = true;
                return Ok(());
            }
            let key = key(input)?;
            match key.to_string().as_str() {
                "name" => set(&mut options.name, &key, non_empty(input)?),
                "breaker" => set(&mut options.breaker, &key, non_empty(input)?),
                "wrapper" => set(&mut options.wrapper, &key, valued(input)?),
                "classify" => set(&mut options.classify, &key, valued(input)?),
                "crate" => set(&mut options.krate, &key, crate_path(input)?),
                other if METHOD.contains(&other) => Err(Error::new(
                    key.span(),
                    format!("`{other}` belongs on a method, as `#[resilient({other})]` above it"),
                )),
                other => Err(unknown(&key, other, TRAIT, " or `?Send`")),
            }
        })?;
        Ok(options)
    }
}

impl Parse for MethodOptions {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut options = Self::default();
        each_option(input, |input| {
            if input.peek(Token![?]) {
                return Err(input.error("`?Send` belongs on the trait: it holds for all methods"));
            }
            let key = key(input)?;
            options.any.get_or_insert(key.span());
            match key.to_string().as_str() {
                "skip" => set(&mut options.skip, &key, ()),
                "idempotent" => set(&mut options.idempotent, &key, ()),
                "stream" => set(&mut options.stream, &key, ()),
                "attempts" => set(&mut options.attempts, &key, attempts(input)?),
                "hedge" if input.peek(Token![=]) => {
                    set(&mut options.hedge, &key, Some(duration(input)?))
                }
                "hedge" => set(&mut options.hedge, &key, None),
                "attempt_timeout" => set(&mut options.attempt_timeout, &key, duration(input)?),
                "total_timeout" => set(&mut options.total_timeout, &key, duration(input)?),
                "first_item" => set(&mut options.first_item, &key, duration(input)?),
                "idle" => set(&mut options.idle, &key, duration(input)?),
                "breaker" => set(&mut options.breaker, &key, non_empty(input)?),
                "classify" => set(&mut options.classify, &key, valued(input)?),
                "last" => set(&mut options.last, &key, valued(input)?),
                other if TRAIT.contains(&other) => Err(Error::new(
                    key.span(),
                    format!("`{other}` belongs on the trait, not on a method"),
                )),
                other => Err(unknown(&key, other, METHOD, "")),
            }
        })?;
        Ok(options)
    }
}

impl MethodOptions {
    /// Takes the attribute off a method and reads it.
    pub(crate) fn take(attributes: &mut Vec<Attribute>) -> Result<Self> {
        let ours = |attribute: &Attribute| {
            attribute
                .path()
                .segments
                .last()
                .is_some_and(|segment| segment.ident == "resilient")
        };
        let taken: Vec<Attribute> = attributes
            .extract_if(.., |attribute| ours(attribute))
            .collect();
        if let Some(second) = taken.get(1) {
            return Err(Error::new_spanned(
                second,
                "one `#[resilient(..)]` per method; put the options into one list",
            ));
        }
        match taken.first() {
            None => Ok(Self::default()),
            Some(attribute) => match &attribute.meta {
                Meta::Path(_) => Ok(Self::default()),
                _ => attribute.parse_args(),
            },
        }
    }
}

fn each_option(
    input: ParseStream,
    mut option: impl FnMut(ParseStream) -> Result<()>,
) -> Result<()> {
    while !input.is_empty() {
        option(input)?;
        if input.is_empty() {
            break;
        }
        input.parse::<Token![,]>()?;
    }
    Ok(())
}

/// An option's name; `crate` is a keyword, and yet a name here.
fn key(input: ParseStream) -> Result<Ident> {
    if input.peek(Token![crate]) {
        let token: Token![crate] = input.parse()?;
        return Ok(Ident::new("crate", token.span));
    }
    input.parse()
}

fn set<T>(slot: &mut Option<At<T>>, key: &Ident, value: T) -> Result<()> {
    if slot.is_some() {
        return Err(Error::new(key.span(), format!("`{key}` is given twice")));
    }
    *slot = Some(At {
        value,
        span: key.span(),
    });
    Ok(())
}

fn valued<T: Parse>(input: ParseStream) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn crate_path(input: ParseStream) -> Result<Path> {
    input.parse::<Token![=]>()?;
    input.call(Path::parse_mod_style)
}

fn non_empty(input: ParseStream) -> Result<LitStr> {
    let text: LitStr = valued(input)?;
    if text.value().trim().is_empty() {
        return Err(Error::new(text.span(), "a name must not be empty"));
    }
    Ok(text)
}

fn attempts(input: ParseStream) -> Result<u32> {
    let number: LitInt = valued(input)?;
    match number.base10_parse::<u32>() {
        Ok(count @ 1..=20) => Ok(count),
        _ => Err(Error::new(number.span(), "`attempts` is 1 to 20")),
    }
}

fn duration(input: ParseStream) -> Result<Duration> {
    let text: LitStr = valued(input)?;
    parse_duration(&text.value()).ok_or_else(|| {
        Error::new(
            text.span(),
            "a time is a whole number and its unit, more than zero: \"250ms\", \"3s\", \"2m\"",
        )
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

fn unknown(key: &Ident, name: &str, known: &[&str], also: &str) -> Error {
    let list = known
        .iter()
        .map(|option| format!("`{option}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let message = match nearest(name, known) {
        Some(meant) => format!("unknown option `{name}`; did you mean `{meant}`?"),
        None => format!("unknown option `{name}`; there are {list}{also}"),
    };
    Error::new(key.span(), message)
}

/// The known word that takes the fewest changes, if they are few for its length, or one that people
/// coming from elsewhere use for it.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let synonym = match word {
        "retry" | "retries" | "max_attempts" | "max_retries" => "attempts",
        "timeout" => "attempt_timeout",
        "deadline" => "total_timeout",
        "circuit" | "circuit_breaker" => "breaker",
        "ignore" | "passthrough" => "skip",
        "complete" | "end" => "last",
        _ => "",
    };
    if let Some(meant) = known.iter().find(|option| **option == synonym) {
        return Some(meant);
    }
    known
        .iter()
        .map(|option| (distance(word, option), *option))
        .filter(|(changes, option)| *changes <= 1 + option.len() / 5)
        .min()
        .map(|(_, option)| option)
}

/// Levenshtein's distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(nearest("idempotant", METHOD), Some("idempotent"));
        assert_eq!(nearest("retries", METHOD), Some("attempts"));
        assert_eq!(nearest("retries", TRAIT), None);
        assert_eq!(nearest("colour", METHOD), None);
    }

    #[test]
    fn times() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_mins(2)));
        for odd in [
            "",
            "3",
            "s",
            "0s",
            "1.5s",
            "-1s",
            "3 s",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(odd), None, "{odd}");
        }
    }
}
