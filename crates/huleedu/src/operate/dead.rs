//! `huleedu dead`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use huleedu_kit::admin::{DeadId, DeadKind, DeadQuery, DeadSummary, Requeued};
use serde_json::json;

use super::{
    args::{DeadArgs, DeadCommand, DeadFilter, WhichDead},
    hand::{Hand, Purpose},
    journal::skip_if_gone,
    places::{self, Place},
    show,
};
use crate::{
    assess::progress::{Progress, Step},
    out,
};

/// Runs one command.
pub(crate) async fn run(args: &DeadArgs) -> anyhow::Result<ExitCode> {
    let places = places::find(&args.place)?;
    let json = args.place.json;
    match &args.command {
        DeadCommand::List { filter, limit } => list(&places, filter, *limit, json).await,
        DeadCommand::Show { id } => show(&places, id, json).await,
        DeadCommand::Requeue { which, old } => requeue(&places, which, *old, json).await,
        DeadCommand::Discard(which) => discard(&places, which, json).await,
    }
}

fn query(filter: &DeadFilter, limit: usize) -> DeadQuery {
    DeadQuery {
        after: None,
        limit,
        kind: filter.kind.map(Into::into),
        topic: filter.topic.clone(),
        code: filter.code.clone(),
    }
}

fn full(place: &Place, id: DeadId) -> String {
    format!("{}/{id}", place.name())
}

fn parse(id: &str) -> anyhow::Result<DeadId> {
    id.parse()
        .with_context(|| format!("not a dead letter: {id}"))
}

async fn list(
    places: &[Place],
    filter: &DeadFilter,
    limit: usize,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (mut rows, mut objects, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for place in places {
        let hand = Hand::on(place, Purpose::Look).await?;
        let letters = skip_if_gone(place, hand.dead(&query(filter, limit)).await)?;
        if limit > 0 && letters.len() >= limit {
            more.push(place.name());
        }
        for letter in letters {
            let id = full(place, letter.id);
            if json {
                let mut object = serde_json::to_value(&letter)?;
                object["id"] = id.into();
                objects.push(object);
            } else {
                rows.push(row(id, &letter));
            }
        }
    }
    if json {
        out::line(&serde_json::to_string_pretty(&objects)?)?;
    } else if rows.is_empty() {
        out::line("no dead letters")?;
    } else {
        let head = ["id", "code", "topic", "event id", "tries", "age", "reason"];
        out::line(&out::table(&head, &rows))?;
    }
    if !more.is_empty() {
        let names = more.join(", ");
        out::note(&format!(
            "there may be more in {names}; --limit 0 lists all"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(id: String, letter: &DeadSummary) -> Vec<String> {
    vec![
        id,
        letter.code.clone(),
        letter.topic.clone(),
        letter.event_id.clone().unwrap_or_else(|| "-".to_owned()),
        letter.attempts.to_string(),
        show::ago(letter.died_at_ms),
        show::short(&letter.reason, 60),
    ]
}

async fn show(places: &[Place], id: &str, json: bool) -> anyhow::Result<ExitCode> {
    let (place, name) = places::pick(places, id)?;
    let hand = Hand::on(place, Purpose::Look).await?;
    let letter = hand.dead_letter(parse(name)?).await?;
    let s = &letter.summary;
    let id = full(place, s.id);
    if json {
        let mut object = serde_json::to_value(&letter)?;
        object["id"] = id.into();
        out::line(&serde_json::to_string_pretty(&object)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    out::line(&format!("dead letter     {id}"))?;
    out::line(&format!("code            {}", s.code))?;
    out::line(&format!("reason          {}", s.reason))?;
    out::line(&format!("tries           {}", s.attempts))?;
    let died = show::time(s.died_at_ms);
    out::line(&format!(
        "given up        {died}, {} ago",
        show::ago(s.died_at_ms)
    ))?;
    out::line(&format!("event id        {}", or_dash(s.event_id.clone())))?;
    out::line(&format!(
        "correlation id  {}",
        or_dash(letter.correlation_id)
    ))?;
    out::line(&format!("topic           {}", s.topic))?;
    out::line(&format!(
        "key             {}",
        or_dash(letter.key.map(|k| k.to_string()))
    ))?;
    if let (Some(partition), Some(offset)) = (letter.partition, letter.offset) {
        out::line(&format!(
            "received        partition {partition}, offset {offset}"
        ))?;
    }
    out::line(&format!(
        "sent            {}",
        or_dash(letter.event_at_ms.map(show::time))
    ))?;
    for (name, value) in &letter.headers {
        out::line(&format!("header          {name}: {value}"))?;
    }
    out::line(&format!(
        "payload         {} bytes\n{}",
        s.bytes, letter.payload
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The letters that are meant, by place.
async fn chosen<'a>(
    places: &'a [Place],
    which: &WhichDead,
) -> anyhow::Result<Vec<(&'a Place, Vec<DeadId>)>> {
    let mut all: Vec<(&Place, Vec<DeadId>)> = Vec::new();
    if which.all {
        for place in places {
            let hand = Hand::on(place, Purpose::Look).await?;
            let letters = skip_if_gone(place, hand.dead(&query(&which.filter, 0)).await)?;
            if !letters.is_empty() {
                all.push((place, letters.iter().map(|letter| letter.id).collect()));
            }
        }
        return Ok(all);
    }
    for id in &which.ids {
        let (place, name) = places::pick(places, id)?;
        let id = parse(name)?;
        match all.iter_mut().find(|(p, _)| p.name() == place.name()) {
            Some((_, ids)) => ids.push(id),
            None => all.push((place, vec![id])),
        }
    }
    Ok(all)
}

async fn requeue(
    places: &[Place],
    which: &WhichDead,
    old: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let chosen = chosen(places, which).await?;
    let total = chosen.iter().map(|(_, ids)| ids.len() as u64).sum();
    let (mut progress, mut done, mut failed) = (Progress::new(), Vec::new(), 0);
    for (place, ids) in chosen {
        let hand = Hand::on(place, Purpose::Change).await?;
        for id in ids {
            match requeue_one(&hand, place, id, old).await {
                Ok(requeued) => {
                    let position = requeued.position;
                    let text = format!(
                        "{} requeued: event {} {} for {}",
                        full(place, id),
                        requeued.event_id,
                        position.map_or_else(
                            || "went to Kafka at once".to_owned(),
                            |position| format!("waits at position {position}")
                        ),
                        requeued.topic
                    );
                    done.push((full(place, id), requeued, text));
                }
                Err(error) => {
                    failed += 1;
                    out::note(&format!(
                        "error: {} not requeued: {error:#}",
                        full(place, id)
                    ));
                }
            }
            progress.show(&Step {
                phase: "requeue",
                done: done.len() as u64 + failed,
                total,
            });
        }
        if hand.owner().is_none() {
            out::note(&format!(
                "{} does not run: what was requeued waits until it starts, or for `huleedu journal drain`",
                place.name()
            ));
        }
    }
    if json {
        let all: Vec<_> = done
            .iter()
            .map(|(id, r, _)| json!({ "id": id, "position": r.position, "event_id": r.event_id, "topic": r.topic }))
            .collect();
        out::line(&serde_json::to_string_pretty(&all)?)?;
    } else {
        for (_, _, text) in &done {
            out::line(text)?;
        }
    }
    if !done.is_empty() {
        out::note(
            "the old order is not restored: these events come behind all that waits, and behind later events \
             of their keys that were applied long ago",
        );
    }
    Ok(code(failed))
}

/// One that others may have applied and forgotten is not sent to them again by accident.
async fn requeue_one(
    hand: &Hand,
    place: &Place,
    id: DeadId,
    old: bool,
) -> anyhow::Result<Requeued> {
    if !old && id.kind == DeadKind::Received {
        let sent = hand.dead_letter(id).await?.event_at_ms;
        let age = sent.map(|sent| show::now_ms().saturating_sub(sent));
        let age = age.and_then(|age| u64::try_from(age).ok()).unwrap_or(0);
        if Duration::from_millis(age) > place.retention {
            bail!(
                "it was sent {} ago, and services remember what they have applied for {} \
                 (INBOX_RETENTION_SECONDS): one that has applied it would apply it again. --old sends it all \
                 the same",
                show::age(age),
                show::age(place.retention.as_millis().try_into().unwrap_or(u64::MAX))
            );
        }
    }
    hand.requeue(id).await
}

async fn discard(places: &[Place], which: &WhichDead, json: bool) -> anyhow::Result<ExitCode> {
    let chosen = chosen(places, which).await?;
    let (mut done, mut failed) = (Vec::new(), 0);
    for (place, ids) in chosen {
        let hand = Hand::on(place, Purpose::Change).await?;
        for id in ids {
            let id_text = full(place, id);
            match hand.discard(id).await {
                Ok(()) => done.push(id_text),
                Err(error) => {
                    failed += 1;
                    out::note(&format!("error: {id_text} not discarded: {error:#}"));
                }
            }
        }
    }
    if json {
        out::line(&serde_json::to_string_pretty(&done)?)?;
    } else {
        for id in &done {
            out::line(&format!("{id} discarded"))?;
        }
        if done.is_empty() && failed == 0 {
            out::line("no dead letters")?;
        }
    }
    Ok(code(failed))
}

fn code(failed: u64) -> ExitCode {
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
