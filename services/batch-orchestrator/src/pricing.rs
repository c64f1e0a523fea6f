//! What a pipeline takes, for the check before it is asked for.
//!
//! Which phases a pipeline has is the conductor's knowledge; this is the price list of those that
//! can run here. A test holds both against each other.

/// The pipelines that can be asked for.
pub const RUNNABLE: &[&str] = &["cj_assessment"];

/// Credits that a pipeline takes for a number of essays; `None` when it cannot be asked for.
///
/// Comparative judgement is priced by its greatest number of comparisons, each essay against each
/// other one: n(n−1)/2. Spell-checking is free.
pub fn required_credits(pipeline: &str, essays: u32) -> Option<u64> {
    let essays = u64::from(essays);
    match pipeline {
        "cj_assessment" => Some(essays * essays.saturating_sub(1) / 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use batch_conductor::{
        catalogue::Catalogue,
        resolve::{Question, resolve},
    };

    use super::*;

    #[test]
    fn every_pair_is_paid_once() {
        for (essays, credits) in [(0, 0), (1, 0), (2, 1), (3, 3), (30, 435), (2000, 1_999_000)] {
            assert_eq!(required_credits("cj_assessment", essays), Some(credits));
        }
        assert_eq!(required_credits("spelling", 3), None);
    }

    /// A pipeline that the conductor can run and nobody could ask for, or the other way round,
    /// would be a gap between two services.
    #[test]
    fn what_can_be_asked_for_is_what_the_conductor_can_run() {
        let catalogue = Catalogue::builtin().unwrap();
        for pipeline in catalogue.names() {
            let question = Question {
                pipeline,
                history: &[],
                prompt_attached: true,
                require_prompt: false,
            };
            let runs = resolve(&catalogue, question).is_ok();
            assert_eq!(RUNNABLE.contains(&pipeline), runs, "{pipeline}");
            assert_eq!(required_credits(pipeline, 1).is_some(), runs, "{pipeline}");
        }
    }
}
