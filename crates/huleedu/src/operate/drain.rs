//! `huleedu journal drain`: the drainer of the service without the service.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use fusebox::{BreakerConfig, Registry, TripRule};
use fusebox_kafka::{
    Backlog, Drainer, DrainerConfig, JournalBacklog, KafkaProducerConfig, RdKafkaBroker, WallClock,
};
use huleedu_kit::{
    admin::Claim,
    store::{OutboxBacklog, Store},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    hand::{self, Purpose, attach},
    places::Place,
};
use crate::{
    assess::progress::{Progress, Step},
    out,
    stop::StopSignal,
};

/// How often the backlog is counted.
const LOOK: Duration = Duration::from_millis(200);

/// A backlog that nobody else owns.
struct Owned {
    backlog: Arc<dyn Backlog>,
    store: Option<Store>,
    _claim: Option<Claim>,
}

/// How the draining of one place ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Empty,
    Stuck,
    Interrupted,
}

/// What became of one place.
struct Drained {
    end: End,
    sent: u64,
    waiting: u64,
    refused: u64,
}

/// Drains one place after the other.
pub(crate) async fn run(
    places: &[Place],
    kafka: &str,
    patience: Duration,
    stopped: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignal::listen()?;
    // All are owned before anything is sent: a service that runs is found out first.
    let mut owned = Vec::new();
    for place in places {
        owned.push((place.name(), own(place, stopped).await?));
    }
    let (mut worst, mut objects) = (End::Empty, Vec::new());
    for (name, place) in owned {
        let drained = if worst == End::Interrupted {
            let waiting = place.backlog.stats().await?.waiting;
            let (end, sent, refused) = (End::Interrupted, 0, 0);
            Drained {
                end,
                sent,
                waiting,
                refused,
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
        } = drained;
        if end != End::Empty && worst != End::Interrupted {
            worst = end;
        }
        if json {
            objects.push(
                json!({ "place": name, "sent": sent, "waiting": waiting, "refused": refused }),
            );
        } else {
            let refused = if refused == 0 {
                String::new()
            } else {
                format!(", {refused} refused by Kafka (`huleedu dead list`)")
            };
            out::line(&format!("{name}: {sent} sent, {waiting} wait{refused}"))?;
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
        End::Interrupted => {
            out::note(
                "interrupted: what Kafka acknowledged is settled, the rest waits where it is",
            );
            ExitCode::from(130)
        }
    })
}

async fn own(place: &Place, stopped: bool) -> anyhow::Result<Owned> {
    match place {
        Place::Store(place) => {
            let claim = match &place.socket {
                Some(socket) => {
                    if let Some(owner) = socket.owner()? {
                        bail!(
                            "{} is in use by {owner}, which sends what waits by itself; `huleedu journal stats` \
                             shows how far it is. To drain without it, stop it first",
                            place.service
                        );
                    }
                    Some(socket.claim("huleedu journal drain").await?)
                }
                None if stopped => None,
                None => bail!(
                    "whether {} runs somewhere cannot be seen from its database alone, and two that drain send \
                     everything twice; stop it everywhere and say so with --stopped",
                    place.service
                ),
            };
            let store = attach(place, Purpose::Change).await?;
            Ok(Owned {
                backlog: Arc::new(OutboxBacklog::new(store.clone())),
                store: Some(store),
                _claim: claim,
            })
        }
        Place::Journal { dir, .. } => {
            let journal = hand::own(dir.clone()).await?;
            Ok(Owned {
                backlog: Arc::new(JournalBacklog::new(journal, WallClock::default())),
                store: None,
                _claim: None,
            })
        }
    }
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
    let mut end = End::Empty;
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
            DrainerConfig::default(),
        );
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
                break End::Empty;
            }
            if moved.elapsed() >= patience {
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
    })
}
