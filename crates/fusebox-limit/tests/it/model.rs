//! A small discrete-event model: callers, a limit, and a server with a queue; time is virtual.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fusebox::VirtualClock;
use fusebox_limit::{Limit, Place, Sample};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const MICROS: u64 = 1_000_000;

/// What is wrong with the server, from one second to another.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    None,
    /// It takes requests and never answers.
    Hangs,
    /// Service times are so many times as long.
    Slow(f64),
    /// This share of the requests is answered with an error, in the usual time.
    Errors(f64),
}

/// Poisson arrivals, exponential service times, a first-come queue, and a caller's time-out.
pub(crate) struct Model {
    pub(crate) seed: u64,
    pub(crate) calls_per_second: f64,
    pub(crate) servers: usize,
    pub(crate) service: Duration,
    pub(crate) timeout: Duration,
    pub(crate) fault: Fault,
    /// Second of its start, second of its end.
    pub(crate) faulty: (u64, u64),
    pub(crate) seconds: u64,
}

/// What became of the calls that arrived in one second.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Second {
    pub(crate) arrived: u32,
    pub(crate) refused: u32,
    pub(crate) success: u32,
    pub(crate) error: u32,
    pub(crate) timeout: u32,
    /// The limit at its end.
    pub(crate) limit: u32,
    /// Most calls under way in it.
    pub(crate) most_in_use: u32,
}

impl Second {
    pub(crate) fn add(mut self, other: &Self) -> Self {
        self.arrived += other.arrived;
        self.refused += other.refused;
        self.success += other.success;
        self.error += other.error;
        self.timeout += other.timeout;
        self.most_in_use = self.most_in_use.max(other.most_in_use);
        self
    }

    pub(crate) fn success_share(&self) -> f64 {
        f64::from(self.success) / f64::from(self.arrived.max(1))
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrives,
    Served { server: u64, call: usize },
    TimesOut { call: usize },
    Heals,
    SecondEnds,
}

struct Call {
    second: usize,
    /// `None` once the caller has its answer or has given up.
    place: Option<Place>,
    fails: bool,
}

impl Model {
    /// Runs the model and answers what became of the calls, second by second.
    pub(crate) fn run(&self, limit: &Limit, clock: &VirtualClock) -> Vec<Second> {
        Run::new(self, limit, clock).run()
    }

    pub(crate) fn limit(config: fusebox_limit::AdaptiveConfig) -> (Limit, VirtualClock) {
        let clock = VirtualClock::new();
        let limit = Limit::adaptive(config, Arc::new(clock.clone())).expect("settings of a test");
        (limit, clock)
    }
}

struct Run<'a> {
    model: &'a Model,
    limit: &'a Limit,
    clock: &'a VirtualClock,
    rng: ChaCha8Rng,
    now: u64,
    number: u64,
    events: BinaryHeap<Reverse<(u64, u64, What)>>,
    calls: Vec<Call>,
    queue: VecDeque<usize>,
    busy: usize,
    /// Raised when a hang ends: what was being served is lost.
    epoch: u64,
    seconds: Vec<Second>,
}

impl<'a> Run<'a> {
    fn new(model: &'a Model, limit: &'a Limit, clock: &'a VirtualClock) -> Self {
        let seconds = usize::try_from(model.seconds).expect("minutes");
        Self {
            model,
            limit,
            clock,
            rng: ChaCha8Rng::seed_from_u64(model.seed),
            now: 0,
            number: 0,
            events: BinaryHeap::new(),
            calls: Vec::new(),
            queue: VecDeque::new(),
            busy: 0,
            epoch: 0,
            seconds: vec![Second::default(); seconds],
        }
    }

    fn run(mut self) -> Vec<Second> {
        self.at(0, What::Arrives);
        self.at(self.model.faulty.1 * MICROS, What::Heals);
        for second in 1..=self.model.seconds {
            self.at(second * MICROS - 1, What::SecondEnds);
        }
        let end = (self.model.seconds + 60) * MICROS;
        while let Some(Reverse((at, _, what))) = self.events.pop() {
            if at > end {
                break;
            }
            self.clock.advance(Duration::from_micros(at - self.now));
            self.now = at;
            self.handle(&what);
        }
        self.seconds
    }

    fn handle(&mut self, what: &What) {
        match *what {
            What::Arrives => {
                let gap = self.exponential(1.0 / self.model.calls_per_second);
                if self.now + gap < self.model.seconds * MICROS {
                    self.at(self.now + gap, What::Arrives);
                }
                self.arrive();
            }
            What::Served { server, call } => {
                if server != self.epoch {
                    return;
                }
                self.busy -= 1;
                let fails = self.calls[call].fails;
                if fails {
                    self.answer(call, Sample::Ignored, |second| &mut second.error);
                } else {
                    self.answer(call, Sample::Success, |second| &mut second.success);
                }
                self.serve();
            }
            What::TimesOut { call } => {
                self.answer(call, Sample::Overloaded, |second| &mut second.timeout);
            }
            What::Heals => {
                if matches!(self.model.fault, Fault::Hangs) {
                    self.epoch += 1;
                    self.busy = 0;
                    self.queue.clear();
                }
            }
            What::SecondEnds => {
                let second = self.second();
                self.seconds[second].limit = self.limit.snapshot().limit;
            }
        }
    }

    fn arrive(&mut self) {
        let second = self.second();
        self.seconds[second].arrived += 1;
        let Ok(place) = self.limit.try_enter() else {
            self.seconds[second].refused += 1;
            return;
        };
        let in_use = self.limit.snapshot().in_use;
        let most = &mut self.seconds[second].most_in_use;
        *most = (*most).max(in_use);
        let call = self.calls.len();
        let fails = matches!(self.fault(), Fault::Errors(share) if self.rng.random_bool(share));
        self.calls.push(Call {
            second,
            place: Some(place),
            fails,
        });
        self.queue.push_back(call);
        let timeout = u64::try_from(self.model.timeout.as_micros()).expect("seconds");
        self.at(self.now + timeout, What::TimesOut { call });
        self.serve();
    }

    /// The server does not know who has given up: that work is done for nothing.
    fn serve(&mut self) {
        while self.busy < self.model.servers
            && let Some(call) = self.queue.pop_front()
        {
            self.busy += 1;
            let slow = match self.fault() {
                Fault::Hangs => continue,
                Fault::Slow(times) => times,
                Fault::Errors(_) | Fault::None => 1.0,
            };
            let took = self.exponential(self.model.service.as_secs_f64() * slow);
            let server = self.epoch;
            self.at(self.now + took, What::Served { server, call });
        }
    }

    fn answer(&mut self, call: usize, sample: Sample, of: fn(&mut Second) -> &mut u32) {
        let call = &mut self.calls[call];
        if let Some(place) = call.place.take() {
            place.report(sample);
            *of(&mut self.seconds[call.second]) += 1;
        }
    }

    fn fault(&self) -> Fault {
        let (from, to) = self.model.faulty;
        if (from * MICROS..to * MICROS).contains(&self.now) {
            self.model.fault
        } else {
            Fault::None
        }
    }

    fn second(&self) -> usize {
        usize::try_from(self.now / MICROS).expect("minutes")
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "times of a model, far from any limit"
    )]
    fn exponential(&mut self, mean_seconds: f64) -> u64 {
        let uniform: f64 = 1.0 - self.rng.random::<f64>();
        (-uniform.ln() * mean_seconds * MICROS as f64) as u64
    }

    fn at(&mut self, at: u64, what: What) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, what)));
    }
}
