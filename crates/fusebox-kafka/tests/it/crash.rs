//! The process dies at any moment: every record arrives at least once, first occurrences in order.

use std::sync::Arc;
use std::time::Duration;

use fusebox_kafka::{Broker, DrainerConfig, ErrorClass};

use crate::model::{MemoryBacklog, ModelBroker, breaker, error, firsts, record, run, until};

/// A small generator of reproducible numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

#[tokio::test(start_paused = true)]
async fn no_crash_at_any_moment_loses_or_reorders() {
    let mut duplicates = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let backlog = Arc::new(MemoryBacklog::default());
        let broker = ModelBroker::start(Duration::from_micros(300));
        let total = 200;
        for n in 1..=total {
            backlog.push(record(n, "t", "k"));
        }
        for _ in 0..20 {
            let as_broker: Arc<dyn Broker> = Arc::<ModelBroker>::clone(&broker);
            let mut config = DrainerConfig::default();
            config.max_records = 1 + usize::try_from(random.below(40)).unwrap();
            config.page = 1 + usize::try_from(random.below(20)).unwrap();
            backlog.refuse_settle(usize::try_from(random.below(3)).unwrap());
            if random.below(4) == 0 {
                let n = u128::from(random.below(200)) + 1;
                broker.refuse(
                    n,
                    &[error(ErrorClass::Fatal, "OUT_OF_ORDER_SEQUENCE_NUMBER")],
                );
            }
            let running = run(&backlog, as_broker, &breaker(), config);
            let life = Duration::from_micros(random.below(15_000));
            tokio::time::sleep(life).await;
            running.task.abort();
            assert!(running.task.await.unwrap_err().is_cancelled());
            // Of what the dead process held, some was on the wire already.
            let on_the_wire = usize::try_from(random.below(40)).unwrap();
            broker.crash(on_the_wire);
            broker.rebuild().unwrap();
        }
        backlog.refuse_settle(0);
        let as_broker: Arc<dyn Broker> = Arc::<ModelBroker>::clone(&broker);
        let running = run(&backlog, as_broker, &breaker(), DrainerConfig::default());
        until("drained", || backlog.waiting() == 0).await;
        running.stop().await;
        let log = broker.log();
        assert_eq!(firsts(&log), (1..=total).collect::<Vec<_>>(), "seed {seed}");
        assert!(backlog.dead().is_empty(), "seed {seed}");
        duplicates += log.len() - 200;
    }
    assert!(
        duplicates > 0,
        "the test never crashed at a moment that matters"
    );
}
