//! Many threads on one limit: never too many inside, nothing lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use fusebox::VirtualClock;
use fusebox_limit::{AdaptiveConfig, Enter, Limit, Place, Sample};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait(enter: Enter) -> Place {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut enter = std::pin::pin!(enter);
    loop {
        match enter.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(place) => return place.expect("the queue has room for every thread"),
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_bulkhead_holds_and_everyone_gets_in() {
    let limit = Limit::bulkhead(3, 8).unwrap();
    let (inside, entered) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for worker in 0..8 {
            let (limit, inside, entered) = (&limit, &inside, &entered);
            scope.spawn(move || {
                for turn in 0..2_000 {
                    if (worker + turn) % 5 == 0 {
                        drop(limit.enter()); // gives up, perhaps just as its turn comes
                        continue;
                    }
                    let place = wait(limit.enter());
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    entered.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                }
            });
        }
    });
    let now = limit.snapshot();
    assert_eq!((now.in_use, now.waiting, now.refused), (0, 0, 0));
    assert_eq!(entered.into_inner(), 8 * 1_600);
}

// A peer read the limit, computed and stored it in separate steps, and lost updates.
#[test]
fn no_growth_is_lost() {
    let config = AdaptiveConfig::new()
        .with_bounds(1, 1_000_000)
        .with_initial(1_000);
    let limit = Limit::adaptive(config, Arc::new(VirtualClock::new())).unwrap();
    // More than half in use all the time, so that every success counts.
    let held: Vec<Place> = (0..900).map(|_| limit.try_enter().unwrap()).collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    limit.try_enter().unwrap().report(Sample::Success);
                }
            });
        }
    });
    drop(held);
    // Each success adds 2/limit, so the square of the limit grows by 4 each: √(1000² + 4 · 20000).
    assert_eq!(limit.snapshot().limit, 1_039);
}
