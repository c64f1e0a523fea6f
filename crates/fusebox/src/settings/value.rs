//! The values of settings: text to value, and what to say when it is none.

use std::time::Duration;

use crate::config::{Abandoned, TripRule};

/// What is allowed in place of a text that is no value.
pub(super) type Allowed = &'static str;

pub(super) fn whole(text: &str) -> Result<u32, Allowed> {
    text.trim()
        .parse()
        .map_err(|_| "a whole number from 0 to 4294967295")
}

pub(super) fn number(text: &str) -> Result<f64, Allowed> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("a decimal number"),
    }
}

/// Seconds as a plain number, or a number with one of the units `ms`, `s`, `m`, `h`.
pub(super) fn duration(text: &str) -> Result<Duration, Allowed> {
    const ALLOWED: Allowed = "seconds, or a number with the unit ms, s, m or h";
    let text = text.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let seconds_per_unit = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(ALLOWED),
    };
    let digits = digits.trim_end();
    // Only digits and a point: `f64` would also take signs, exponents and words.
    if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(ALLOWED);
    }
    let count: f64 = digits.parse().map_err(|_| ALLOWED)?;
    Duration::try_from_secs_f64(count * seconds_per_unit).map_err(|_| ALLOWED)
}

pub(super) fn trip_rule(text: &str) -> Result<TripRule, Allowed> {
    match text.trim().to_ascii_lowercase().as_str() {
        "rate" => Ok(TripRule::Rate),
        "consecutive" => Ok(TripRule::Consecutive),
        _ => Err("rate or consecutive"),
    }
}

pub(super) fn truth(text: &str) -> Result<bool, Allowed> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false"),
    }
}

pub(super) fn abandoned(text: &str) -> Result<Abandoned, Allowed> {
    match text.trim().to_ascii_lowercase().as_str() {
        "neutral" => Ok(Abandoned::Neutral),
        "failure" => Ok(Abandoned::Failure),
        "slow" => Ok(Abandoned::Slow),
        _ => Err("neutral, failure or slow"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        for (text, millis) in [
            ("30", 30_000),
            ("0.5", 500),
            (" 250ms ", 250),
            ("2s", 2_000),
            ("1.5m", 90_000),
            ("1 h", 3_600_000),
            ("0", 0),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(millis)),
                "{text:?}"
            );
        }
        for text in [
            "",
            "s",
            "-1",
            "+1",
            "1e3",
            "inf",
            "NaN",
            "1d",
            "1 2",
            "1s2",
            "1.2.3",
            "99999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_and_rules() {
        assert_eq!(whole(" 7 "), Ok(7));
        assert!(
            ["-1", "1.5", "", "4294967296"]
                .iter()
                .all(|t| whole(t).is_err())
        );
        assert_eq!(number("0.25"), Ok(0.25));
        assert!(["NaN", "inf", "half"].iter().all(|t| number(t).is_err()));
        assert_eq!(trip_rule("Rate"), Ok(TripRule::Rate));
        assert_eq!(trip_rule("consecutive"), Ok(TripRule::Consecutive));
        assert_eq!(trip_rule("both"), Err("rate or consecutive"));
        assert_eq!((truth("True"), truth("false")), (Ok(true), Ok(false)));
        assert_eq!(truth("1"), Err("true or false"));
        let policies = ["neutral", "Failure", "slow"].map(abandoned);
        let expected = [Abandoned::Neutral, Abandoned::Failure, Abandoned::Slow];
        assert_eq!(policies, expected.map(Ok));
        assert_eq!(abandoned("ok"), Err("neutral, failure or slow"));
    }
}
