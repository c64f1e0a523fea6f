//! `huleedu journal drain`: the drainer of the service without the service.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use fusebox::{BreakerConfig, Registry, TripRule};
use fusebox_kafka::{
    Backlog, Blocked, Drainer, DrainerConfig, JournalBacklog, KafkaProducerConfig, RdKafkaBroker,
    WallClock,
};
use huleedu_kit::{
    admin::Claim,
    store::{Dialect, OutboxBacklog, Store},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    hand::{self, Purpose, attach},
    places::{Kept, Place},
};
use crate::{
    assess::progress::{Progress, Step},
    out,
    stop::StopSignal,
};

/// How often the backlog is counted.
const LOOK: Duration = Duration::from_millis(200);

/// How long a process that is gone may still have the lease of an outbox: its length, and a little more.
const LEASE_LIMIT: Duration = Duration::from_secs(17);

/// How long nothing moves before lanes that are held up are what keeps the rest.
const HELD_UP: Duration = Duration::from_secs(3);

/// A backlog that nobody else owns.
struct Owned {
    backlog: Arc<dyn Backlog>,
    store: Option<Store>,
    config: DrainerConfig,
    _claim: Option<Claim>,
}

/// How the draining of one place ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Empty,
    /// Kafka takes nothing.
    Stuck,
    /// What is left is behind events that Kafka refuses.
    Held,
    Interrupted,
}

/// What became of one place.
struct Drained {
    end: End,
    sent: u64,
    waiting: u64,
    refused: u64,
    held: Vec<Blocked>,
}

/// Drains one place after the other.
pub(crate) async fn run(
    places: &[Place],
    kafka: &str,
    patience: Duration,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignal::listen()?;
    // All are owned before anything is sent: a service that runs is found out first.
    let mut owned = Vec::new();
    for place in places.iter().filter(|place| place.sends()) {
        owned.push((place.name(), own(place).await?));
    }
    let (mut worst, mut objects) = (End::Empty, Vec::new());
    for (name, place) in owned {
        let drained = if worst == End::Interrupted {
            let waiting = place.backlog.stats().await?.waiting;
            Drained {
                end: End::Interrupted,
                sent: 0,
                waiting,
                refused: 0,
                held: Vec::new(),
            }
        } else {
            drain(name, &place, kafka, patience, &mut stop).await?
        };
        if let Some(store) = &place.store {
            store.close().await;
        }
        let Drained {
            end,
            sent,
            waiting,
            refused,
            held,
        } = drained;
        if end != End::Empty && worst != End::Interrupted {
            worst = end;
        }
        if json {
            objects.push(
                json!({ "place": name, "sent": sent, "waiting": waiting, "refused": refused, "held_up": held.len() }),
            );
        } else {
            let refused = if refused == 0 {
                String::new()
            } else {
                format!(", {refused} refused by Kafka (`huleedu dead list`)")
            };
            out::line(&format!("{name}: {sent} sent, {waiting} wait{refused}"))?;
        }
        for lane in held {
            let key = lane
                .key
                .map(|key| format!(", key {key}"))
                .unwrap_or_default();
            out::note(&format!(
                "{name}/{} holds up {}{key}: Kafka refused event {} for good ({})",
                lane.position, lane.topic, lane.event_id, lane.reason
            ));
        }
    }
    if json {
        out::line(&serde_json::to_string_pretty(&objects)?)?;
    }
    Ok(match worst {
        End::Empty => ExitCode::SUCCESS,
        End::Stuck => {
            out::note(&format!(
                "Kafka at {kafka} took nothing for {} s; what waits is safe where it is",
                patience.as_secs()
            ));
            ExitCode::FAILURE
        }
        End::Held => {
            out::note(
                "what is left is behind events that Kafka refuses, as KAFKA_POISON_POLICY says; it is safe \
                 where it is. With KAFKA_POISON_POLICY=skip in the environment of this command they become dead \
                 letters and those behind them go on without them",
            );
            ExitCode::FAILURE
        }
        End::Interrupted => {
            out::note(
                "interrupted: what Kafka acknowledged is settled, the rest waits where it is",
            );
            ExitCode::from(130)
        }
    })
}

async fn own(place: &Place) -> anyhow::Result<Owned> {
    let claim = match &place.owner_at {
        Some(at) => {
            if let Some(owner) = at.owner()? {
                bail!(
                    "{} is in use by {owner}, which sends what waits by itself; `huleedu journal stats` shows \
                     how far it is. To drain without it, stop it first",
                    place.name()
                );
            }
            Some(at.claim("huleedu journal drain").await?)
        }
        None => None,
    };
    let mut config = DrainerConfig::default();
    place.poison.apply_to(&mut config);
    place.pace.apply_to(&mut config);
    let (backlog, store): (Arc<dyn Backlog>, _) = match &place.kept {
        Kept::Store { service, url } => {
            let store = attach(*service, url, place.limit, Purpose::Change).await?;
            let backlog = match store.dialect() {
                Dialect::Sqlite => OutboxBacklog::new(store.clone()),
                Dialect::Postgres => lease(place, &store).await?,
            };
            (Arc::new(backlog), Some(store))
        }
        Kept::Journal(dir) => {
            let journal = hand::own(dir.clone()).await?;
            let backlog = JournalBacklog::new(journal, WallClock::default());
            (Arc::new(backlog), None)
        }
    };
    Ok(Owned {
        backlog,
        store,
        config,
        _claim: claim,
    })
}

/// Takes the right to send from an outbox on a server, which a service that runs anywhere would have. A
/// service that is started meanwhile waits until this command has ended.
async fn lease(place: &Place, store: &Store) -> anyhow::Result<OutboxBacklog> {
    let backlog = OutboxBacklog::shared(store.clone());
    let deadline = tokio::time::Instant::now() + LEASE_LIMIT;
    let mut told = false;
    while !backlog.is_mine().await? {
        let sender = store.outbox_sender().await?;
        let sender = sender.unwrap_or_else(|| "another process".to_owned());
        if tokio::time::Instant::now() >= deadline {
            bail!(
                "{} runs: {sender} sends what waits in its outbox, and goes on doing so. Stop it first, \
                 wherever it is",
                place.name()
            );
        }
        if !told {
            out::note(&format!(
                "{}: {sender} had the outbox last; waiting up to {} s to see whether it is gone",
                place.name(),
                LEASE_LIMIT.as_secs()
            ));
            told = true;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(backlog)
}

async fn drain(
    name: &str,
    place: &Owned,
    kafka: &str,
    patience: Duration,
    stop: &mut StopSignal,
) -> anyhow::Result<Drained> {
    let before = place.backlog.stats().await?;
    let mut waiting = before.waiting;
    let total = waiting;
    let (mut end, mut held) = (End::Empty, Vec::new());
    if total > 0 {
        let registry = Registry::new("huleedu");
        let circuit = BreakerConfig::default()
            .with_trip_rule(TripRule::Consecutive)
            .with_recovery_timeout(Duration::from_secs(5));
        let breaker = registry
            .register(format!("huleedu.drain_{name}"), circuit)
            .context("no circuit")?;
        let broker = RdKafkaBroker::new(KafkaProducerConfig::new(kafka, "huleedu-drain"))
            .context("no Kafka producer")?;
        let drainer = Drainer::new(
            Arc::clone(&place.backlog),
            Arc::new(broker),
            breaker,
            place.config.clone(),
        );
        let handle = drainer.handle();
        let stopping = CancellationToken::new();
        let task = tokio::spawn(drainer.run(stopping.clone()));
        let mut progress = Progress::new();
        let mut moved = tokio::time::Instant::now();
        end = loop {
            progress.show(&Step {
                phase: "drain",
                done: total.saturating_sub(waiting),
                total,
            });
            if waiting == 0 {
                held.clear();
                break End::Empty;
            }
            held = handle.blocked();
            let still = moved.elapsed();
            if !held.is_empty() && handle.stats().in_flight == 0 && still >= HELD_UP.min(patience) {
                break End::Held;
            }
            if still >= patience {
                break End::Stuck;
            }
            tokio::select! {
                () = stop.recv() => break End::Interrupted,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = place.backlog.stats().await?.waiting;
            if now != waiting {
                (waiting, moved) = (now, tokio::time::Instant::now());
            }
        };
        stopping.cancel();
        task.await.context("the drainer died")?;
    }
    let after = place.backlog.stats().await?;
    let refused = after.dead.saturating_sub(before.dead);
    Ok(Drained {
        end,
        sent: total.saturating_sub(after.waiting).saturating_sub(refused),
        waiting: after.waiting,
        refused,
        held,
    })
}
