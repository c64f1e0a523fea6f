//! Additive increase, multiplicative decrease: the arithmetic of the limit that adapts.

use std::time::Duration;

use crate::config::AdaptiveConfig;
use crate::place::Sample;

/// The limit that has been learnt.
#[derive(Debug)]
pub(crate) struct Aimd {
    config: AdaptiveConfig,
    limit: f64,
    /// Number of cuts so far. A call admitted in an earlier round tells of a load that has been
    /// answered already.
    round: u64,
}

/// One call that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) sample: Sample,
    pub(crate) took: Duration,
    /// [`Aimd::round`] at its admission.
    pub(crate) round: u64,
    /// Places in use, that of this call included. Without it a limit of 1 would never look used.
    pub(crate) in_use: u32,
}

impl Aimd {
    pub(crate) fn new(config: AdaptiveConfig) -> Self {
        Self {
            limit: f64::from(config.initial),
            round: 0,
            config,
        }
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    /// The limit in whole places.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "kept between min and max, which are whole and positive"
    )]
    pub(crate) fn limit(&self) -> u32 {
        self.limit as u32
    }

    pub(crate) fn learn(&mut self, ended: Ended) {
        let late = self
            .config
            .overload_after
            .is_some_and(|after| ended.took > after);
        match ended.sample {
            _ if late => self.cut(ended.round),
            Sample::Overloaded => self.cut(ended.round),
            Sample::Success => self.grow(ended.in_use),
            Sample::Ignored => {}
        }
    }

    fn cut(&mut self, round: u64) {
        if round == self.round {
            self.round += 1;
            self.limit = (self.limit * self.config.backoff).max(f64::from(self.config.min));
        }
    }

    fn grow(&mut self, in_use: u32) {
        // A limit nobody comes near has been tested by nobody: it must not drift upwards.
        if u64::from(in_use) * 2 >= u64::from(self.limit()) {
            let grown = self.limit + self.config.growth / self.limit;
            self.limit = grown.min(f64::from(self.config.max));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aimd(initial: u32) -> Aimd {
        Aimd::new(AdaptiveConfig::new().with_initial(initial))
    }

    fn ended(sample: Sample, of: &Aimd, in_use: u32) -> Ended {
        Ended {
            sample,
            took: Duration::from_millis(10),
            round: of.round(),
            in_use,
        }
    }

    #[test]
    fn a_round_of_successes_adds_the_growth() {
        let mut aimd = aimd(20);
        for _ in 0..20 {
            aimd.learn(ended(Sample::Success, &aimd, 20));
        }
        assert_eq!(aimd.limit(), 21, "20 × 2/20, less what grew on the way");
        aimd.learn(ended(Sample::Success, &aimd, 20));
        assert_eq!(aimd.limit(), 22);
    }

    // The model of a cascade once had a limit that never came back from 1: after the last call's
    // place was given back nothing was in use, so the limit looked unused.
    #[test]
    fn a_limit_of_one_grows_by_a_lone_call() {
        let mut aimd = aimd(1);
        aimd.learn(ended(Sample::Success, &aimd, 1));
        assert_eq!(aimd.limit(), 3);
    }

    #[test]
    fn a_limit_that_is_not_used_does_not_drift() {
        let mut aimd = aimd(20);
        for _ in 0..10_000 {
            aimd.learn(ended(Sample::Success, &aimd, 9));
        }
        assert_eq!(aimd.limit(), 20);
        aimd.learn(ended(Sample::Success, &aimd, 10));
        assert!(aimd.limit > 20.0);
    }

    #[test]
    fn many_timeouts_of_one_round_cut_once() {
        let mut aimd = aimd(100);
        let together = ended(Sample::Overloaded, &aimd, 100);
        for _ in 0..100 {
            aimd.learn(together);
        }
        assert_eq!(aimd.limit(), 70);
        aimd.learn(ended(Sample::Overloaded, &aimd, 70));
        assert_eq!(aimd.limit(), 49, "a call admitted after the cut cuts again");
    }

    #[test]
    fn errors_in_time_change_nothing() {
        let mut aimd = aimd(20);
        for _ in 0..1_000 {
            aimd.learn(ended(Sample::Ignored, &aimd, 20));
        }
        assert_eq!((aimd.limit(), aimd.round()), (20, 0));
    }

    #[test]
    fn what_takes_too_long_is_overload_however_it_ends() {
        for sample in [Sample::Success, Sample::Ignored, Sample::Overloaded] {
            let config = AdaptiveConfig::new().with_overload_after(Duration::from_secs(1));
            let mut aimd = Aimd::new(config);
            let mut call = ended(sample, &aimd, 20);
            call.took = Duration::from_millis(1_001);
            aimd.learn(call);
            assert_eq!(aimd.limit(), 14, "{sample:?}");
        }
    }

    #[test]
    fn what_takes_just_as_long_as_it_may_is_in_time() {
        let config = AdaptiveConfig::new().with_overload_after(Duration::from_secs(1));
        let mut aimd = Aimd::new(config);
        let mut call = ended(Sample::Ignored, &aimd, 20);
        call.took = Duration::from_secs(1);
        aimd.learn(call);
        assert_eq!((aimd.limit(), aimd.round()), (20, 0));
    }

    proptest! {
        #[test]
        fn stays_within_its_bounds(
            min in 1_u32..50,
            more in 0_u32..50,
            samples in prop::collection::vec((0_u8..3, 0_u32..200), 0..500),
        ) {
            let config = AdaptiveConfig::new().with_bounds(min, min + more);
            prop_assert_eq!(config.validate(), Ok(()));
            let mut aimd = Aimd::new(config);
            for (sample, in_use) in samples {
                let sample = [Sample::Success, Sample::Overloaded, Sample::Ignored][usize::from(sample)];
                let before = aimd.limit;
                aimd.learn(ended(sample, &aimd, in_use));
                prop_assert!((min..=min + more).contains(&aimd.limit()));
                match sample {
                    Sample::Success => prop_assert!(aimd.limit >= before),
                    Sample::Overloaded => prop_assert!(aimd.limit <= before),
                    Sample::Ignored => prop_assert!((aimd.limit - before).abs() < f64::EPSILON),
                }
            }
        }
    }
}
