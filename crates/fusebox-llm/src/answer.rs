//! A judge's answer: read strictly, because a guess would be a bias.

use std::fmt;

use serde_json::Value;
use thiserror::Error;

/// A justification is cut to this many characters.
pub const MAX_JUSTIFICATION_CHARS: usize = 500;

/// The text that won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The text shown as Essay A.
    A,
    /// The text shown as Essay B.
    B,
}

impl Side {
    /// The side as the wire has it: `Essay A` or `Essay B`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "Essay A",
            Self::B => "Essay B",
        }
    }

    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How sure a judge is, from 1 (a coin's throw) to 5 (beyond doubt).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Confidence(f64);

impl Confidence {
    /// Takes a value from 1 to 5; anything else is `None`.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (1.0..=5.0).contains(&value).then_some(Self(value))
    }

    /// The value, from 1 to 5.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

/// What a judge found.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The better text.
    pub winner: Side,
    /// Why, in at most [`MAX_JUSTIFICATION_CHARS`] characters.
    pub justification: String,
    /// How sure the judge is.
    pub confidence: Confidence,
}

/// Why an answer is no judgement.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The answer was cut short at its token limit.
    #[error("the answer was cut short at its token limit")]
    CutShort,
    /// There is no answer where the wire format has one.
    #[error("the answer holds no judgement")]
    Missing,
    /// The judgement is not JSON.
    #[error("the judgement is not a JSON object")]
    NotJson(#[source] serde_json::Error),
    /// The judgement is JSON, but not an object.
    #[error("the judgement is JSON but not an object")]
    NotAnObject,
    /// The winner is missing or neither of the two.
    #[error("the winner is neither Essay A nor Essay B")]
    Winner,
    /// The confidence is missing or not a number from 1 to 5.
    #[error("the confidence is not a number from 1 to 5")]
    Confidence,
    /// The justification is missing or not a text.
    #[error("the justification is not a text")]
    Justification,
}

/// Reads a judgement from the text of an answer: a JSON object, bare or in a code fence.
pub(crate) fn from_text(text: &str) -> Result<Judgement, AnswerError> {
    let text = text.trim();
    let bare = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"))
        .unwrap_or(text);
    let value = serde_json::from_str(bare.trim()).map_err(AnswerError::NotJson)?;
    from_value(&value)
}

/// Reads a judgement from JSON.
pub(crate) fn from_value(value: &Value) -> Result<Judgement, AnswerError> {
    let fields = value.as_object().ok_or(AnswerError::NotAnObject)?;
    let winner = match fields.get("winner").and_then(Value::as_str).map(str::trim) {
        Some("Essay A") => Side::A,
        Some("Essay B") => Side::B,
        _ => return Err(AnswerError::Winner),
    };
    let confidence = fields
        .get("confidence")
        .and_then(Value::as_f64)
        .and_then(Confidence::new)
        .ok_or(AnswerError::Confidence)?;
    let justification = fields
        .get("justification")
        .and_then(Value::as_str)
        .ok_or(AnswerError::Justification)?;
    Ok(Judgement {
        winner,
        justification: shortened(justification),
        confidence,
    })
}

/// The JSON schema of an answer. Strict dialects want every key required and nothing else allowed;
/// bounds are given as an enumeration because not every dialect has them.
pub(crate) fn schema() -> Value {
    serde_json::json!({
        "type": "object",
        "properties": {
            "winner": {
                "type": "string",
                "enum": ["Essay A", "Essay B"],
                "description": "The better essay."
            },
            "justification": {
                "type": "string",
                "description": "Why it is better, in at most 50 words."
            },
            "confidence": {
                "type": "integer",
                "enum": [1, 2, 3, 4, 5],
                "description": "1 is a coin's throw, 5 is beyond doubt."
            }
        },
        "required": ["winner", "justification", "confidence"],
        "additionalProperties": false
    })
}

/// Trims a text and cuts it at the limit, with an ellipsis where something was cut.
fn shortened(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= MAX_JUSTIFICATION_CHARS {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MAX_JUSTIFICATION_CHARS - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_proper_answer_is_read() {
        let answer = r#"{"winner":"Essay B","justification":" clearer ","confidence":4}"#;
        for text in [
            answer.to_owned(),
            format!("```json\n{answer}\n```"),
            format!("\n {answer} "),
        ] {
            let judgement = from_text(&text).unwrap();
            assert_eq!(judgement.winner, Side::B);
            assert_eq!(judgement.justification, "clearer");
            assert!((judgement.confidence.get() - 4.0).abs() < f64::EPSILON);
        }
    }

    /// The platform that this one follows took "Essay A" for every winner it did not know.
    #[test]
    fn an_unknown_winner_is_an_error_and_never_essay_a() {
        for winner in [
            json!("A"),
            json!("Essay C"),
            json!(""),
            json!("essay a"),
            json!(1),
            Value::Null,
        ] {
            let answer = json!({"winner": winner, "justification": "x", "confidence": 3});
            assert!(
                matches!(from_value(&answer), Err(AnswerError::Winner)),
                "{answer}"
            );
        }
        assert!(matches!(
            from_value(&json!({"justification": "x", "confidence": 3})),
            Err(AnswerError::Winner)
        ));
    }

    #[test]
    fn a_confidence_outside_of_its_scale_is_an_error() {
        for confidence in [
            json!(0),
            json!(0.99),
            json!(5.01),
            json!(-1),
            json!("4"),
            Value::Null,
        ] {
            let answer =
                json!({"winner": "Essay A", "justification": "x", "confidence": confidence});
            assert!(
                matches!(from_value(&answer), Err(AnswerError::Confidence)),
                "{answer}"
            );
        }
        for confidence in [json!(1), json!(5), json!(3.5)] {
            let answer =
                json!({"winner": "Essay A", "justification": "x", "confidence": confidence});
            assert!(from_value(&answer).is_ok(), "{answer}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_an_error() {
        assert!(matches!(
            from_text("Essay A is better."),
            Err(AnswerError::NotJson(_))
        ));
        assert!(matches!(
            from_text(r#"{"winner":"Essay A","#),
            Err(AnswerError::NotJson(_))
        ));
        assert!(matches!(from_text("[1]"), Err(AnswerError::NotAnObject)));
        assert!(matches!(
            from_value(&json!({"winner": "Essay A", "confidence": 3})),
            Err(AnswerError::Justification)
        ));
    }

    /// The platform that this one follows lost paid answers whose justification was too long.
    #[test]
    fn a_long_justification_is_cut_between_characters() {
        let long = "å".repeat(2000);
        let answer = json!({"winner": "Essay A", "justification": long, "confidence": 3});
        let judgement = from_value(&answer).unwrap();
        assert_eq!(
            judgement.justification.chars().count(),
            MAX_JUSTIFICATION_CHARS
        );
        assert!(judgement.justification.ends_with('…'));
        let exact = "x".repeat(MAX_JUSTIFICATION_CHARS);
        let answer = json!({"winner": "Essay A", "justification": exact, "confidence": 3});
        assert_eq!(from_value(&answer).unwrap().justification, exact);
    }
}
