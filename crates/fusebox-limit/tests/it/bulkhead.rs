//! The fixed limit, its queue, and what becomes of those who leave it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use fusebox::{Classify, Outcome, VirtualClock};
use fusebox_limit::{AdaptiveConfig, Enter, Limit, Place};

/// Counts its wake-ups.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Waiting {
    enter: Enter,
    bell: Arc<Bell>,
}

impl Waiting {
    fn of(limit: &Limit) -> Self {
        let enter = limit.enter().now().expect_err("no place is free");
        let mut waiting = Self {
            enter,
            bell: Arc::default(),
        };
        assert!(waiting.poll().is_none());
        waiting
    }

    fn poll(&mut self) -> Option<Place> {
        let waker = Waker::from(Arc::clone(&self.bell));
        match Pin::new(&mut self.enter).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(place) => Some(place.expect("whoever waits is not refused any more")),
            Poll::Pending => None,
        }
    }

    fn rung(&self) -> usize {
        self.bell.0.load(Ordering::SeqCst)
    }
}

#[test]
fn first_come_first_served_and_nobody_slips_in() {
    let limit = Limit::bulkhead(1, 2).unwrap();
    let inside = limit.try_enter().unwrap();
    let mut first = Waiting::of(&limit);
    let mut second = Waiting::of(&limit);
    let full = limit.enter().now().unwrap().unwrap_err();
    assert_eq!((full.limit(), full.waiting()), (1, 2));
    assert_eq!(full.outcome(), Outcome::Neutral);

    drop(inside);
    assert_eq!((first.rung(), second.rung()), (1, 0));
    assert!(
        limit.try_enter().is_err(),
        "the place is the first one's already"
    );
    assert!(second.poll().is_none());
    let place = first.poll().unwrap();
    assert_eq!(limit.snapshot().in_use, 1);
    drop(place);
    assert_eq!(second.rung(), 1);
    drop(second.poll().unwrap());
    let now = limit.snapshot();
    assert_eq!(
        (now.in_use, now.waiting, now.admitted, now.refused),
        (0, 0, 3, 2)
    );
}

#[test]
fn a_granted_place_that_nobody_takes_goes_to_the_next() {
    let limit = Limit::bulkhead(1, 3).unwrap();
    let inside = limit.try_enter().unwrap();
    let first = Waiting::of(&limit);
    let between = Waiting::of(&limit);
    let mut last = Waiting::of(&limit);
    drop(between); // leaves the middle of the queue
    drop(inside);
    assert_eq!((first.rung(), last.rung()), (1, 0));
    drop(first); // cancelled between its wake-up and its poll
    assert_eq!(last.rung(), 1);
    assert!(last.poll().is_some());
    let now = limit.snapshot();
    assert_eq!((now.in_use, now.waiting, now.gave_up), (0, 0, 2));
}

#[test]
fn a_queue_position_is_taken_before_the_first_poll() {
    let limit = Limit::bulkhead(1, 2).unwrap();
    let inside = limit.try_enter().unwrap();
    let unpolled = limit.enter();
    let mut later = Waiting::of(&limit);
    drop(inside);
    assert!(later.poll().is_none());
    drop(unpolled);
    assert!(later.poll().is_some());
}

#[test]
fn the_limit_can_be_moved_while_calls_are_under_way() {
    let limit = Limit::bulkhead(1, 3).unwrap();
    let inside = limit.try_enter().unwrap();
    let mut first = Waiting::of(&limit);
    let mut second = Waiting::of(&limit);
    limit.set_max_concurrent(3).unwrap();
    let (first, second) = (first.poll().unwrap(), second.poll().unwrap());
    limit.set_max_concurrent(1).unwrap();
    assert_eq!((limit.snapshot().limit, limit.snapshot().in_use), (1, 3));
    drop((inside, first));
    assert!(limit.try_enter().is_err(), "one is still inside");
    drop(second);
    assert!(limit.try_enter().is_ok());
    assert_eq!(
        limit.set_max_concurrent(0).unwrap_err().to_string(),
        "max_concurrent is 0; allowed is 1 to 1000000"
    );
}

#[test]
fn a_place_is_given_back_by_a_panic() {
    let limit = Limit::bulkhead(1, 0).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _place = limit.try_enter().unwrap();
        std::panic::resume_unwind(Box::new("the call"));
    }));
    assert!(caught.is_err());
    assert_eq!(limit.snapshot().in_use, 0);
}

#[test]
fn a_limit_that_adapts_is_not_moved_by_hand() {
    let clock = Arc::new(VirtualClock::new());
    let limit = Limit::adaptive(AdaptiveConfig::new(), clock).unwrap();
    assert!(limit.is_adaptive());
    limit.set_max_concurrent(3).unwrap();
    assert_eq!(limit.snapshot().limit, 20);
    assert!(limit.set_max_concurrent(0).is_err(), "refused all the same");
    assert!(!Limit::bulkhead(3, 0).unwrap().is_adaptive());
}

#[test]
fn a_place_says_how_its_call_ended() {
    let clock = Arc::new(VirtualClock::new());
    let config = AdaptiveConfig::new().with_initial(1);
    let limit = Limit::adaptive(config, clock).unwrap();
    limit.try_enter().unwrap().success();
    assert_eq!(limit.snapshot().limit, 3);
    limit.try_enter().unwrap().overloaded();
    let now = limit.snapshot();
    assert_eq!((now.limit, now.cuts, now.in_use), (2, 1, 0));
    drop(limit.try_enter().unwrap());
    assert_eq!(limit.snapshot().limit, 2, "nothing is said");
}

#[test]
fn a_refusal_tells_the_limit_it_met() {
    let limit = Limit::bulkhead(3, 0).unwrap();
    let _inside: Vec<Place> = (0..3).map(|_| limit.try_enter().unwrap()).collect();
    let full = limit.try_enter().unwrap_err();
    assert_eq!((full.limit(), full.waiting()), (3, 0));
}

#[test]
fn the_bounds_of_settings_are_allowed_themselves() {
    assert!(Limit::bulkhead(1_000_000, 1_000_000).is_ok());
    assert!(Limit::bulkhead(1_000_001, 0).is_err());
    assert!(Limit::bulkhead(1, 1_000_001).is_err());
}

#[test]
fn nonsense_is_refused() {
    assert_eq!(
        Limit::bulkhead(0, 0).unwrap_err().setting(),
        "max_concurrent"
    );
    assert_eq!(
        Limit::bulkhead(1, u32::MAX).unwrap_err().setting(),
        "max_waiting"
    );
}
