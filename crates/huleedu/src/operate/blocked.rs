//! `huleedu blocked`: lanes that a refused event holds up.

use std::process::ExitCode;

use huleedu_kit::admin::{BlockedLane, Resolved};
use serde_json::json;

use super::{
    args::{BlockedArgs, BlockedCommand},
    hand::{Decision, Hand, Purpose},
    places::{self, Place},
    show,
};
use crate::out;

/// Runs one command.
pub(crate) async fn run(args: &BlockedArgs) -> anyhow::Result<ExitCode> {
    let places = places::find(&args.place)?;
    let json = args.place.json;
    match &args.command {
        BlockedCommand::List => list(&places, json).await,
        BlockedCommand::Retry { ids } => resolve(&places, ids, Decision::Retry, json).await,
        BlockedCommand::Bury { ids } => resolve(&places, ids, Decision::Bury, json).await,
    }
}

async fn list(places: &[Place], json: bool) -> anyhow::Result<ExitCode> {
    let (mut rows, mut objects, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
    let sending = places.iter().filter(|place| place.sends());
    for place in sending.clone() {
        let hand = Hand::on(place, Purpose::Look).await?;
        let Some(lanes) = hand.blocked().await? else {
            stopped.push(place.name());
            continue;
        };
        if lanes.is_empty()
            && let Some(sender) = hand.stats().await?.sender
        {
            out::note(&format!(
                "{}: of several processes {sender} sends; ask there",
                place.name()
            ));
        }
        for lane in lanes {
            let id = format!("{}/{}", place.name(), lane.position);
            if json {
                let mut object = serde_json::to_value(&lane)?;
                object["id"] = id.into();
                objects.push(object);
            } else {
                rows.push(row(id, lane));
            }
        }
    }
    if json {
        out::line(&serde_json::to_string_pretty(&objects)?)?;
    } else if rows.is_empty() {
        out::line("nothing is held up")?;
    } else {
        let head = [
            "id", "topic", "key", "held up", "behind", "code", "tries", "event id", "reason",
        ];
        out::line(&out::table(&head, &rows))?;
    }
    if !stopped.is_empty() {
        let who = if stopped.len() == sending.count() {
            "no service runs here".to_owned()
        } else {
            format!("not running: {}", stopped.join(", "))
        };
        out::note(&format!(
            "{who}; nothing is held up while nobody sends, and what waits is in `huleedu journal list`"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(id: String, lane: BlockedLane) -> Vec<String> {
    vec![
        id,
        lane.topic,
        lane.key.unwrap_or_else(|| "(all)".to_owned()),
        show::age(lane.held_ms),
        lane.behind.to_string(),
        lane.code,
        lane.attempts.to_string(),
        lane.event_id,
        show::short(&lane.reason, 60),
    ]
}

async fn resolve(
    places: &[Place],
    ids: &[String],
    decision: Decision,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (mut objects, mut code, mut buried) = (Vec::new(), ExitCode::SUCCESS, false);
    for id in ids {
        let (place, position) = places::pick(places, id)?;
        let hand = Hand::on(place, Purpose::Look).await?;
        let full = format!("{}/{position}", place.name());
        let resolved = match hand.resolve(position, decision).await {
            Ok(resolved) => resolved,
            Err(error) => {
                code = ExitCode::FAILURE;
                out::note(&format!("error: {full}: {error:#}"));
                continue;
            }
        };
        if matches!(resolved, Resolved::HeldAgain { .. } | Resolved::Undecided) {
            code = ExitCode::FAILURE;
        }
        buried |= resolved == Resolved::Buried;
        if json {
            objects.push(json!({ "id": full, "result": resolved }));
        } else {
            out::line(&format!("{full} {}", words(&resolved)))?;
        }
    }
    if json {
        out::line(&serde_json::to_string_pretty(&objects)?)?;
    }
    if buried {
        out::note(
            "those behind it go on without it: readers of its key get later events and not this one. \
             `huleedu dead requeue` sends it after them",
        );
    }
    Ok(code)
}

fn words(resolved: &Resolved) -> String {
    match resolved {
        Resolved::Sent { partition, offset } => format!(
            "is in Kafka (partition {partition}, offset {offset}), in its place; those behind it go on"
        ),
        Resolved::Buried => "is a dead letter now (`huleedu dead list`)".to_owned(),
        Resolved::HeldAgain { code, reason } => {
            format!("was refused again and holds up its lane as before: {code}: {reason}")
        }
        Resolved::Undecided => {
            "will be done, but nothing has come of it yet: does Kafka answer? (`huleedu journal stats`)"
                .to_owned()
        }
    }
}
