//! What a protected call costs over the bare one. Run it with `--release`; it takes a few seconds.
//!
//! The rows take turns in short rounds and each keeps its best, so that a noisy machine disturbs
//! all of them alike. The ratios are the result; the nanoseconds are this machine's.

#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use fusebox::{Classify, Outcome, Registry};
use fusebox_resilient::{Rejected, Resilience, Settings, resilient};

#[derive(Debug)]
struct ApiError(#[expect(dead_code, reason = "for the size of a real error")] Rejected);

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        Self(rejected)
    }
}

impl Classify for ApiError {
    fn outcome(&self) -> Outcome {
        Outcome::Failure
    }
}

#[resilient]
trait Client {
    async fn once<'a>(&'a self, text: &'a str) -> Result<&'a str, ApiError>;
    #[resilient(idempotent)]
    async fn many<'a>(&'a self, text: &'a str) -> Result<&'a str, ApiError>;
    #[resilient(idempotent, hedge = "1s")]
    async fn hedged<'a>(&'a self, text: &'a str) -> Result<&'a str, ApiError>;
}

struct Echo;

impl Client for Echo {
    async fn once<'a>(&'a self, text: &'a str) -> Result<&'a str, ApiError> {
        Ok(black_box(text))
    }
    async fn many<'a>(&'a self, text: &'a str) -> Result<&'a str, ApiError> {
        Ok(black_box(text))
    }
    async fn hedged<'a>(&'a self, text: &'a str) -> Result<&'a str, ApiError> {
        Ok(black_box(text))
    }
}

const CALLS: u32 = 200_000;
const ROUNDS: u32 = 25;

struct Row {
    name: &'static str,
    best: f64,
}

impl Row {
    async fn round(&mut self, call: impl AsyncFn()) {
        let start = Instant::now();
        for _ in 0..CALLS {
            call().await;
        }
        let each = start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS);
        self.best = self.best.min(each);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let untimed = Settings::new()
        .with_attempt_timeout(Duration::MAX)
        .with_total_timeout(Duration::MAX);
    let registry = Registry::new("bench");
    let timed = Resilience::new(&Registry::new("bench"));
    let off = Echo.resilient(&Resilience::new(&Registry::disabled("bench")))?;
    let on = Echo.resilient(&Resilience::builder(&registry).settings(untimed).build()?)?;
    let limited = Echo.resilient(&timed)?;
    let refusing = Registry::new("bench");
    let refused = Echo.resilient(&Resilience::new(&refusing))?;
    refusing
        .get("client")
        .ok_or("the wrapper has registered its circuit")?
        .force_open("bench");
    let breaker = registry
        .get("client")
        .ok_or("the wrapper has registered its circuit")?;

    let names = [
        "bare call",
        "switched off",
        "circuit by hand",
        "circuit",
        "circuit, idempotent",
        "circuit and timeouts",
        "circuit, timeouts, hedge",
        "refused",
    ];
    let mut rows = names.map(|name| Row {
        name,
        best: f64::MAX,
    });
    let [
        bare,
        disabled,
        by_hand,
        circuit,
        many,
        timeouts,
        hedged,
        refusals,
    ] = &mut rows;
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            bare.round(async || consume(Echo.once("x").await)).await;
            disabled.round(async || consume(off.once("x").await)).await;
            by_hand
                .round(async || consume(breaker.call(async || Echo.once("x").await).await.ok()))
                .await;
            circuit.round(async || consume(on.once("x").await)).await;
            many.round(async || consume(on.many("x").await)).await;
            timeouts
                .round(async || consume(limited.once("x").await))
                .await;
            hedged
                .round(async || consume(limited.hedged("x").await))
                .await;
            refusals
                .round(async || consume(refused.once("x").await))
                .await;
        }
    });

    let off = rows[1].best;
    println!(
        "{:<26}{:>10}{:>16}{:>12}",
        "", "ns/call", "over off, ns", "to off"
    );
    for row in &rows {
        println!(
            "{:<26}{:>10.1}{:>16.1}{:>11.1}x",
            row.name,
            row.best,
            row.best - off,
            row.best / off
        );
    }
    Ok(())
}

fn consume<T>(value: T) {
    drop(black_box(value));
}
