//! The pace against clusters that are simulated on a clock moved by hand.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::share::LEAST;
use super::*;

/// A cluster that works off one record after the other, and a window before it.
#[derive(Debug, Clone)]
struct Cluster {
    /// What one record and one byte take.
    per_record: Duration,
    per_byte: Duration,
    /// The way there and back.
    way: Duration,
    window: usize,
    size: usize,
}

/// What was seen of a cluster.
struct Seen {
    /// When each record was handed over, and how long its acknowledgement took.
    acknowledged: Vec<(Instant, Duration)>,
    start: Instant,
}

impl Cluster {
    fn service(&self) -> Duration {
        self.per_record + self.per_byte * u32::try_from(self.size).unwrap()
    }

    /// Hands over an endless backlog, at a pace or as fast as the window lets it.
    fn drain(&self, mut pace: Option<&mut Pace>, start: Instant, length: Duration) -> Seen {
        let (mut now, end) = (start, start + length);
        let mut free_at = start;
        let mut under_way = VecDeque::new();
        let mut acknowledged = Vec::new();
        while now < end {
            while let Some((fed, at)) = under_way.front().copied().filter(|(_, at)| *at <= now) {
                under_way.pop_front();
                acknowledged.push((fed, at - fed));
                if let Some(pace) = &mut pace {
                    pace.acknowledged(fed, at);
                }
            }
            let mut again = None;
            while under_way.len() < self.window {
                if let Some(pace) = &mut pace {
                    if let Err(at) = pace.ready(now) {
                        assert!(at > now, "asked in vain for ever");
                        again = Some(at);
                        break;
                    }
                    pace.spent(self.size, now);
                }
                free_at = free_at.max(now) + self.service();
                under_way.push_back((now, free_at + self.way));
            }
            let next = under_way.front().map(|(_, at)| *at);
            now = next.into_iter().chain(again).min().unwrap();
        }
        Seen {
            acknowledged,
            start,
        }
    }
}

impl Seen {
    /// Records in a second between two times after the start.
    fn rate(&self, from: Duration, to: Duration) -> f64 {
        let (from_at, to_at) = (self.start + from, self.start + to);
        let times = self.acknowledged.iter().map(|(fed, took)| *fed + *took);
        let count = times.filter(|at| (from_at..to_at).contains(at)).count();
        f64::from(u32::try_from(count).unwrap()) / to.saturating_sub(from).as_secs_f64()
    }

    fn slowest_since(&self, from: Duration) -> Duration {
        let later = self.acknowledged.iter();
        let later = later.filter(|(fed, _)| *fed >= self.start + from);
        later.map(|(_, took)| *took).max().unwrap()
    }
}

fn unlimited(now: Instant) -> Pace {
    Pace::new(PaceLimit::default(), PaceLimit::default(), now)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn arb_cluster() -> impl Strategy<Value = Cluster> {
    (
        20_u64..900,
        0_u64..20,
        0_u64..60,
        100_usize..5_000,
        50_usize..60_000,
    )
        .prop_map(|(record_us, byte_ns, way_ms, window, size)| Cluster {
            per_record: Duration::from_micros(record_us),
            per_byte: Duration::from_nanos(byte_ns),
            way: Duration::from_millis(way_ms),
            window,
            size,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the cluster: soon the backlog is made up for about as fast as without a pace, and while it
    /// is, nobody waits in the cluster much longer than is allowed.
    #[test]
    fn it_finds_what_the_cluster_can_do_and_stays_there(cluster in arb_cluster()) {
        let start = Instant::now();
        let length = seconds(40);
        let free = cluster.drain(None, start, length);
        let mut pace = unlimited(start);
        let paced = cluster.drain(Some(&mut pace), start, length);
        let (from, to) = (seconds(15), seconds(40));
        let (could, did) = (free.rate(from, to), paced.rate(from, to));
        prop_assert!(did >= 0.8 * could, "{did} of {could} in a second");
        // Where the window alone keeps the queue short, nothing is ever halved.
        let full = cluster.way + cluster.service() * u32::try_from(cluster.window).unwrap();
        if full < Duration::from_millis(100) {
            prop_assert_eq!(pace.cuts(), PaceCuts::default());
            prop_assert!(did >= 0.98 * could, "{did} of {could} in a second");
        }
        // A cluster that cannot take even the least share is fed it all the same.
        let least = (RECORDS * LEAST).min(BYTES * LEAST / f64::from(u32::try_from(cluster.size).unwrap()));
        if could < 1.1 * least {
            return Ok(());
        }
        let bound = pace.baseline.bound().max(cluster.way * 4);
        let slowest = paced.slowest_since(from);
        prop_assert!(slowest <= bound * 3 + cluster.service() * 20, "{slowest:?}, bound {bound:?}");
    }

    /// Records of any size, answers of any kind: the next record goes in a bounded time.
    #[test]
    fn it_never_stands_still(
        steps in proptest::collection::vec((1_usize..1_000_000, 0_u8..6, 0_u64..500), 1..200),
    ) {
        let mut now = Instant::now();
        let mut pace = unlimited(now);
        for (size, what, ms) in steps {
            let fed = now;
            now += Duration::from_millis(ms);
            match what {
                0 => pace.trouble(Cut::Refused, fed, now),
                1 => pace.trouble(Cut::Full, now, now),
                2 => pace.catch_up(now),
                3 => pace.caught_up(),
                _ => pace.acknowledged(fed, now),
            }
            let asked = now;
            let mut times = 0;
            while let Err(at) = pace.ready(now) {
                prop_assert!(at > now);
                now = at;
                times += 1;
                prop_assert!(times < 50, "asked {times} times");
            }
            // What the record before owes, at the least pace.
            prop_assert!(now - asked <= seconds(2), "{:?}", now - asked);
            pace.spent(size, now);
            let PaceNow { records, bytes } = pace.now();
            prop_assert!(records.is_none_or(|n| n >= RECORDS * LEAST), "{records:?}");
            prop_assert!(bytes.is_none_or(|n| n >= BYTES * LEAST), "{bytes:?}");
        }
    }
}

const FAST: Cluster = Cluster {
    per_record: Duration::from_micros(50),
    per_byte: Duration::ZERO,
    way: Duration::from_millis(5),
    window: 1_000,
    size: 1_000,
};

#[test]
fn bytes_and_records_are_both_bounded_and_the_first_goes_at_once() {
    let start = Instant::now();
    let mut pace = unlimited(start);
    // The share of 1 has not been judged within its first interval.
    let most = |pace: &mut Pace, size: usize| {
        let (mut now, mut count) = (start, 0_u32);
        while now < start + Duration::from_millis(100) {
            match pace.ready(now) {
                Ok(()) => {
                    pace.spent(size, now);
                    count += 1;
                }
                Err(at) => now = at,
            }
        }
        count
    };
    assert_eq!(pace.ready(start), Ok(()));
    // A hundred, and the burst before them.
    let small = most(&mut pace, 200);
    assert!((140..=155).contains(&small), "{small}");
    let mut pace = unlimited(start);
    // 4 MiB in a second are 419 KiB in a tenth of it, and half as much in the burst.
    let large = most(&mut pace, 40_000);
    assert!((14..=17).contains(&large), "{large}");
    // After an outage there is no burst.
    pace.catch_up(start);
    let large = most(&mut pace, 40_000);
    assert!((9..=12).contains(&large), "{large}");
}

#[test]
fn a_record_that_no_budget_holds_goes_and_the_next_one_waits_for_it() {
    let start = Instant::now();
    let limit = PaceLimit {
        records: None,
        bytes: NonZeroU64::new(100_000),
    };
    let mut pace = Pace::new(limit, PaceLimit::default(), start);
    assert_eq!(pace.ready(start), Ok(()));
    pace.spent(1_000_000, start);
    let at = pace.ready(start).unwrap_err();
    assert!(at - start >= seconds(9) && at - start <= seconds(10));
    // Beyond the debt, or it is asked for a moment again.
    let moment = Duration::from_millis(1);
    assert_eq!(pace.ready(at + moment), Ok(()));
}

#[test]
fn trouble_halves_once_and_the_way_back_is_by_steps() {
    let start = Instant::now();
    let mut pace = unlimited(start);
    FAST.drain(Some(&mut pace), start, seconds(10));
    let before = pace.now().records.unwrap();
    assert!(before > 10_000.0, "{before}");
    let now = start + seconds(10);
    // A whole batch tells the same.
    for _ in 0..100 {
        pace.trouble(Cut::Refused, now - Duration::from_millis(5), now);
    }
    assert_eq!(pace.now().records, Some(before / 2.0));
    let later = now + Duration::from_millis(150);
    pace.trouble(Cut::Refused, now - Duration::from_millis(1), later);
    assert_eq!(pace.now().records, Some(before / 2.0), "it was under way");
    pace.trouble(Cut::Full, later, later);
    assert_eq!(pace.now().records, Some(before / 4.0));
    assert_eq!((pace.cuts().refused, pace.cuts().full), (1, 1));
    let mut now = later;
    let mut last = before / 4.0;
    for _ in 0..12 {
        while pace.ready(now).is_ok() {
            pace.spent(100, now);
        }
        pace.acknowledged(now, now + Duration::from_millis(5));
        now += Duration::from_millis(100);
        assert!(pace.ready(now).is_ok(), "a tenth of a second is enough");
        let grown = pace.now().records.unwrap();
        assert!((grown - last - before / 16.0).abs() < 1.0, "{last} {grown}");
        last = grown;
    }
    for minute in 0..10 {
        let now = now + seconds(60 * minute);
        pace.trouble(Cut::Refused, now, now);
    }
    assert_eq!(pace.now().records, Some(RECORDS * LEAST));
}

#[test]
fn without_need_it_does_not_grow() {
    let start = Instant::now();
    let mut pace = unlimited(start);
    let mut now = start;
    // Fifty records in a second are far below the pace.
    for _ in 0..500 {
        assert_eq!(pace.ready(now), Ok(()));
        pace.spent(100, now);
        pace.acknowledged(now, now + Duration::from_millis(5));
        now += Duration::from_millis(20);
    }
    assert_eq!(pace.now().records, Some(RECORDS));
}

#[test]
fn a_bound_of_the_operators_holds_and_the_share_does_not_run_away_behind_it() {
    let start = Instant::now();
    let recovery = PaceLimit {
        records: NonZeroU32::new(3_000),
        bytes: None,
    };
    let always = PaceLimit {
        records: NonZeroU32::new(6_000),
        bytes: None,
    };
    let mut pace = Pace::new(always, recovery, start);
    let seen = FAST.drain(Some(&mut pace), start, seconds(20));
    let rate = seen.rate(seconds(5), seconds(20));
    assert!((2_900.0..=3_050.0).contains(&rate), "{rate}");
    let now = start + seconds(20);
    pace.trouble(Cut::Refused, now, now);
    let cut = pace.now().records.unwrap();
    assert!(cut < 3_000.0, "{cut}: halved far above what counts");
    pace.caught_up();
    assert_eq!(pace.now().records, Some(6_000.0));
    let seen = FAST.drain(Some(&mut pace), now, seconds(10));
    let rate = seen.rate(seconds(1), seconds(10));
    assert!((5_900.0..=6_050.0).contains(&rate), "{rate}");
}

/// A cluster that loses nine tenths of its strength is not fed as before for long, and is found
/// again when it has it back.
#[test]
fn it_follows_a_cluster_that_grows_weak_and_strong() {
    let start = Instant::now();
    let weak = Cluster {
        per_record: Duration::from_micros(500),
        ..FAST
    };
    let mut pace = unlimited(start);
    FAST.drain(Some(&mut pace), start, seconds(10));
    let seen = weak.drain(Some(&mut pace), start + seconds(10), seconds(30));
    let slowest = seen.slowest_since(seconds(10));
    assert!(slowest < Duration::from_millis(400), "{slowest:?}");
    let rate = seen.rate(seconds(10), seconds(30));
    assert!(rate > 1_600.0, "{rate}");
    assert!(pace.cuts().slow > 0);
    let seen = FAST.drain(Some(&mut pace), start + seconds(40), seconds(60));
    let rate = seen.rate(seconds(40), seconds(60));
    assert!(rate > 0.8 * 20_000.0, "{rate}");
}

#[test]
fn trouble_while_free_begins_as_after_an_outage() {
    let start = Instant::now();
    let mut pace = unlimited(start);
    pace.caught_up();
    assert_eq!(pace.now(), PaceNow::default());
    for _ in 0..10_000 {
        assert_eq!(pace.ready(start), Ok(()));
        pace.spent(1_000_000, start);
    }
    for _ in 0..3 {
        pace.trouble(Cut::Refused, start, start + seconds(1));
    }
    assert_eq!(pace.now().records, Some(RECORDS));
    assert_eq!(pace.cuts(), PaceCuts::default());
    // What went without a bound is not owed.
    assert_eq!(pace.ready(start + seconds(1)), Ok(()));
}
