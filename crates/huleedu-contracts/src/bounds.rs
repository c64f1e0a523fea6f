//! Numbers with bounds, checked whenever they are made or read.

use crate::macros::bounded_number;

/// A number outside the range its type allows.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{what} must be a finite number between {min} and {max}, not {value}")]
pub struct OutOfRange {
    what: &'static str,
    value: f64,
    min: f64,
    max: f64,
}

impl OutOfRange {
    pub(crate) fn new(what: &'static str, value: f64, min: f64, max: f64) -> Self {
        Self {
            what,
            value,
            min,
            max,
        }
    }
}

bounded_number! {
    /// A share or a certainty: 0 (none) to 1 (all).
    pub struct Fraction(0.0, 1.0);
}

bounded_number! {
    /// A share in per cent: 0 to 100.
    pub struct Percentage(0.0, 100.0);
}

bounded_number! {
    /// The sampling temperature of an AI model: 0 (the same answer each time) to 2.
    pub struct Temperature(0.0, 2.0);
}

bounded_number! {
    /// Any finite number, for example a Bradley–Terry score in logits.
    pub struct Score(f64::MIN, f64::MAX);
}

bounded_number! {
    /// A finite number that is not negative, for example a duration in seconds or a density.
    pub struct NonNegative(0.0, f64::MAX);
}

impl Fraction {
    /// Brings any number into the range; what is not a number becomes 0.
    pub fn clamped(value: f64) -> Self {
        if value.is_nan() {
            Self::MIN
        } else {
            Self(value.clamp(0.0, 1.0))
        }
    }
}

impl Percentage {
    /// The share that `part` is of `whole`; nothing of nothing is 0.
    pub fn of(part: u32, whole: u32) -> Self {
        if whole == 0 {
            Self::MIN
        } else {
            Self((100.0 * f64::from(part) / f64::from(whole)).min(100.0))
        }
    }
}

impl NonNegative {
    /// Whole and broken seconds of a duration.
    pub fn from_duration(duration: std::time::Duration) -> Self {
        Self(duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_range_belong_to_it() {
        assert_eq!(Fraction::new(0.0).unwrap(), Fraction::MIN);
        assert_eq!(Fraction::new(1.0).unwrap(), Fraction::MAX);
        assert!(Fraction::new(1.000_001).is_err());
        assert!(Fraction::new(-0.000_001).is_err());
        assert!(Temperature::new(2.0).is_ok());
        assert!(Temperature::new(2.1).is_err());
        assert!(NonNegative::new(-1.0).is_err());
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Score::new(value).is_err());
            assert!(NonNegative::new(value).is_err());
        }
        assert_eq!(Fraction::clamped(f64::NAN), Fraction::MIN);
        assert_eq!(Fraction::clamped(f64::INFINITY), Fraction::MAX);
    }

    #[test]
    fn a_percentage_of_nothing_is_nothing() {
        assert_eq!(Percentage::of(0, 0), Percentage::MIN);
        assert!((Percentage::of(1, 4).get() - 25.0).abs() < 1e-12);
        assert_eq!(Percentage::of(4, 4), Percentage::MAX);
    }

    #[test]
    fn a_refusal_names_the_type_the_value_and_the_range() {
        let message = Temperature::new(3.5).unwrap_err().to_string();
        assert_eq!(
            message,
            "Temperature must be a finite number between 0 and 2, not 3.5"
        );
    }
}
