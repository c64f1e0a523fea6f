//! The sandbox's verdict on two texts.

use sha2::{Digest, Sha256};

use super::features::Features;
use crate::{Confidence, Judgement, Side};

/// What a feature is called, what it is worth, and the feature.
type Weight = (&'static str, f64, fn(&Features) -> f64);

/// Features in the order in which a justification names them, with what each is worth.
const WEIGHTS: [Weight; 9] = [
    ("fewer slips", 3.0, |features| features.correctness),
    ("more substance", 2.0, |features| features.length),
    ("a richer vocabulary", 1.5, |features| features.vocabulary),
    ("longer words", 1.5, |features| features.word_length),
    ("better linked arguments", 1.5, |features| {
        features.connectives
    }),
    ("a more fitting register", 1.2, |features| features.register),
    ("better measured sentences", 0.8, |features| {
        features.sentence_length
    }),
    ("more varied sentences", 0.8, |features| {
        features.sentence_variety
    }),
    ("clearer paragraphs", 0.7, |features| features.paragraphs),
];

/// The quality that the sandbox sees in a text: the weighted sum of its features, from 0 to 13.
#[must_use]
pub fn quality(text: &str) -> f64 {
    let features = Features::of(text);
    WEIGHTS
        .iter()
        .map(|(_, weight, feature)| weight * feature(&features))
        .sum()
}

/// Judges two texts. `noise` stretches the scale on which the draw is made: at 1 a lead of one
/// point of quality wins in 73 of 100 pairs, at 0 the better text always wins.
pub(super) fn judge(essay_a: &str, essay_b: &str, seed: u64, noise: f64) -> Judgement {
    let (features_a, features_b) = (Features::of(essay_a), Features::of(essay_b));
    let leads: Vec<(&str, f64)> = WEIGHTS
        .iter()
        .map(|(name, weight, feature)| {
            (
                *name,
                weight * (feature(&features_a) - feature(&features_b)),
            )
        })
        .collect();
    let lead: f64 = leads.iter().map(|(_, lead)| lead).sum();
    // The logistic distribution, so that the winner's odds are those of Bradley and Terry.
    let draw = uniform(essay_a, essay_b, seed);
    let heard = lead + noise * (draw / (1.0 - draw)).ln();
    let winner = if heard >= 0.0 { Side::A } else { Side::B };
    let sign = if winner == Side::A { 1.0 } else { -1.0 };
    let best = leads
        .iter()
        .max_by(|left, right| (sign * left.1).total_cmp(&(sign * right.1)))
        .map_or("more substance", |(name, _)| *name);
    Judgement {
        winner,
        justification: format!(
            "{winner} shows {best}. (Sandbox: features were counted, no AI has read the texts.)"
        ),
        confidence: confidence(heard.abs()),
    }
}

/// From 1 to 5 by the lead that was heard, in points of quality.
fn confidence(lead: f64) -> Confidence {
    let value = match lead {
        lead if lead < 0.5 => 1.0,
        lead if lead < 1.25 => 2.0,
        lead if lead < 2.5 => 3.0,
        lead if lead < 4.0 => 4.0,
        _ => 5.0,
    };
    Confidence::new(value).expect("each value is on the scale")
}

/// A number strictly between 0 and 1 that depends on the two texts, their order and the seed only.
fn uniform(essay_a: &str, essay_b: &str, seed: u64) -> f64 {
    let mut hash = Sha256::new();
    hash.update(b"sandbox judge");
    hash.update(seed.to_le_bytes());
    for text in [essay_a, essay_b] {
        hash.update(text.len().to_le_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    let mut head = [0_u8; 4];
    head.copy_from_slice(&digest[..4]);
    (f64::from(u32::from_le_bytes(head)) + 0.5) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_depends_on_texts_order_and_seed() {
        let texts = [
            "One text about phones in school.",
            "Another text about phones at school.",
        ];
        let first = judge(texts[0], texts[1], 7, 1.0);
        assert_eq!(first, judge(texts[0], texts[1], 7, 1.0));
        let differs = |pick: &dyn Fn(u64) -> Side| {
            (0..64)
                .map(pick)
                .collect::<std::collections::HashSet<_>>()
                .len()
                == 2
        };
        assert!(differs(&|seed| judge(texts[0], texts[1], seed, 1.0).winner));
    }

    /// Two equal texts: a fair judge gives each place half of the wins.
    #[test]
    fn places_are_treated_alike() {
        let wins = (0..2000)
            .filter(|seed| judge("Same.", "Same.", *seed, 1.0).winner == Side::A)
            .count();
        assert!((850..1150).contains(&wins), "{wins}");
    }

    #[test]
    fn without_noise_the_better_text_always_wins() {
        let good = "Although phones distract, a total prohibition teaches nothing. Students need judgement. ".repeat(20);
        let bad = "i think phones is bad becouse they is bad and bad ".repeat(20);
        for seed in 0..50 {
            assert_eq!(judge(&good, &bad, seed, 0.0).winner, Side::A);
            assert_eq!(judge(&bad, &good, seed, 0.0).winner, Side::B);
        }
    }
}
