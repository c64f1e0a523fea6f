//! `huleedu journal`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use fusebox_journal::Journal;
use huleedu_kit::admin::{DeadQuery, EventQuery, QueueStats, StoreDesk};
use serde_json::{Value, json};

use super::{
    args::{JournalArgs, JournalCommand, ListArgs},
    client::Gone,
    drain,
    hand::{Hand, Purpose, attach},
    places::{self, Kept, Place},
    show,
};
use crate::{
    assess::progress::{Progress, Step},
    out,
};

/// Runs one command.
pub(crate) async fn run(args: &JournalArgs) -> anyhow::Result<ExitCode> {
    let places = places::find(&args.place)?;
    let json = args.place.json;
    match &args.command {
        JournalCommand::Stats => stats(&places, json).await,
        JournalCommand::List(query) => list(&places, query, json).await,
        JournalCommand::Show { id } => show(&places, id, json).await,
        JournalCommand::Verify => verify(&places, json).await,
        JournalCommand::Export { output, dead } => {
            let mut sink: Box<dyn Write> = match output {
                Some(path) => {
                    // A file that is there already may be the last export.
                    let file = File::create_new(path)
                        .with_context(|| format!("cannot make the file {}", path.display()))?;
                    Box::new(BufWriter::new(file))
                }
                None => Box::new(BufWriter::new(std::io::stdout())),
            };
            let count = export(&places, &mut sink, *dead).await?;
            sink.flush().context("the export could not be written")?;
            out::note(&format!("{count} exported; nothing was removed"));
            Ok(ExitCode::SUCCESS)
        }
        JournalCommand::Drain { kafka, patience } => {
            drain::run(&places, kafka, *patience, json).await
        }
    }
}

async fn stats(places: &[Place], json: bool) -> anyhow::Result<ExitCode> {
    let mut all: Vec<(String, QueueStats)> = Vec::new();
    for place in places {
        let hand = Hand::on(place, Purpose::Look).await?;
        let owner = hand.owner().map_or_else(
            || "nobody (stopped)".to_owned(),
            |owner| owner.split(':').next().unwrap_or(owner).to_owned(),
        );
        all.push((owner, hand.stats().await?));
    }
    if json {
        let stats: Vec<&QueueStats> = all.iter().map(|(_, stats)| stats).collect();
        out::line(&serde_json::to_string_pretty(&stats)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let dash = || "-".to_owned();
    let rows: Vec<_> = all
        .iter()
        .map(|(owner, s)| {
            vec![
                s.service.clone(),
                owner.clone(),
                s.waiting.to_string(),
                s.limit.map_or_else(dash, |limit| limit.to_string()),
                s.oldest_age_ms.map_or_else(dash, show::age),
                s.circuit.clone().unwrap_or_else(dash),
                s.blocked.map_or_else(dash, |blocked| blocked.to_string()),
                s.dead_sent.to_string(),
                s.dead_received.values().sum::<u64>().to_string(),
            ]
        })
        .collect();
    let head = [
        "place", "owner", "waiting", "limit", "oldest", "circuit", "held up", "refused", "given up",
    ];
    out::line(&out::table(&head, &rows))?;
    for (_, s) in &all {
        if let Some(sender) = &s.sender {
            out::note(&format!(
                "{}: of several processes {sender} sends",
                s.service
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An object with its identifier in front.
fn with_id(id: &str, value: impl serde::Serialize) -> anyhow::Result<Value> {
    let mut object = json!({ "id": id });
    let Value::Object(fields) = serde_json::to_value(value)? else {
        bail!("not an object");
    };
    for (name, value) in fields {
        object[if name == "id" { "name" } else { &name }] = value;
    }
    Ok(object)
}

async fn list(places: &[Place], query: &ListArgs, json: bool) -> anyhow::Result<ExitCode> {
    let (mut rows, mut objects, mut more) = (Vec::new(), Vec::new(), Vec::new());
    let wanted = EventQuery {
        limit: query.limit,
        topic: query.topic.clone(),
        key: query.key.clone(),
        ..EventQuery::default()
    };
    for place in places {
        let hand = Hand::on(place, Purpose::Look).await?;
        let mut count = 0;
        let listed = hand
            .events(&wanted, |event| {
                count += 1;
                let id = format!("{}/{}", place.name(), event.position);
                if json {
                    objects.push(with_id(&id, event)?);
                    return Ok(());
                }
                rows.push(vec![
                    id,
                    event.topic,
                    event.key.unwrap_or_else(|| "-".to_owned()),
                    event.event_id,
                    event.bytes.to_string(),
                    show::ago(event.admitted_at_ms),
                ]);
                Ok(())
            })
            .await;
        skip_if_gone(place, listed)?;
        if query.limit > 0 && count >= query.limit {
            more.push(place.name());
        }
    }
    if json {
        out::line(&serde_json::to_string_pretty(&objects)?)?;
    } else if rows.is_empty() {
        out::line("nothing waits")?;
    } else {
        let head = ["id", "topic", "key", "event id", "bytes", "age"];
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

/// One of several places that keeps nothing must not hide what the others have.
pub(super) fn skip_if_gone<T: Default>(
    place: &Place,
    result: anyhow::Result<T>,
) -> anyhow::Result<T> {
    match result {
        Err(error) if error.is::<Gone>() => {
            out::note(&format!("{}: left out: {error}", place.name()));
            Ok(T::default())
        }
        result => result,
    }
}

async fn show(places: &[Place], id: &str, json: bool) -> anyhow::Result<ExitCode> {
    let (place, position) = places::pick(places, id)?;
    let hand = Hand::on(place, Purpose::Look).await?;
    let event = hand.event(position).await?;
    let id = format!("{}/{position}", place.name());
    if json {
        out::line(&serde_json::to_string_pretty(&with_id(&id, event)?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let s = &event.summary;
    out::line(&format!("event     {id}"))?;
    out::line(&format!("event id  {}", s.event_id))?;
    out::line(&format!("topic     {}", s.topic))?;
    out::line(&format!("key       {}", s.key.as_deref().unwrap_or("-")))?;
    let admitted = show::time(s.admitted_at_ms);
    out::line(&format!(
        "admitted  {admitted}, {} ago",
        show::ago(s.admitted_at_ms)
    ))?;
    let sent = s
        .sent_at_ms
        .map_or_else(|| "not yet".to_owned(), show::time);
    out::line(&format!("sent      {sent}"))?;
    for (name, value) in &event.headers {
        out::line(&format!("header    {name}: {value}"))?;
    }
    out::line(&format!("payload   {} bytes\n{}", s.bytes, event.payload))?;
    Ok(ExitCode::SUCCESS)
}

async fn export(places: &[Place], sink: &mut dyn Write, dead: bool) -> anyhow::Result<u64> {
    let mut progress = Progress::new();
    let (mut done, mut total, mut sent) = (0, 0, 0);
    let mut hands = Vec::new();
    for place in places {
        let hand = Hand::on(place, Purpose::Look).await?;
        let stats = hand.stats().await?;
        total += if dead {
            stats.dead_sent + stats.dead_received.values().sum::<u64>()
        } else {
            stats.waiting
        };
        hands.push((place, hand));
    }
    for (place, hand) in hands {
        let mut line = |value: &Value| {
            serde_json::to_writer(&mut *sink, value)
                .map_err(anyhow::Error::from)
                .and_then(|()| Ok(sink.write_all(b"\n")?))
                .context("the export could not be written")?;
            done += 1;
            progress.show(&Step {
                phase: "export",
                done,
                total: total.max(done),
            });
            anyhow::Ok(())
        };
        if dead {
            let query = DeadQuery::default();
            for letter in skip_if_gone(place, hand.dead(&query).await)? {
                let detail = hand.dead_letter(letter.id).await?;
                line(&with_id(
                    &format!("{}/{}", place.name(), letter.id),
                    detail,
                )?)?;
            }
            continue;
        }
        let mut positions = Vec::new();
        let query = EventQuery {
            limit: 0,
            ..EventQuery::default()
        };
        let listed = hand.events(&query, |event| {
            positions.push(event.position);
            Ok(())
        });
        skip_if_gone(place, listed.await)?;
        for position in positions {
            let id = format!("{}/{position}", place.name());
            match hand.event(&position.to_string()).await {
                Ok(detail) => line(&with_id(&id, detail)?)?,
                // Sent since the list was made, and a journal keeps none of those.
                Err(error) if error.is::<Gone>() => sent += 1,
                Err(error) => return Err(error),
            }
        }
    }
    if sent > 0 {
        out::note(&format!("{sent} were sent to Kafka meanwhile"));
    }
    Ok(done)
}

async fn verify(places: &[Place], json: bool) -> anyhow::Result<ExitCode> {
    let mut reports = Vec::new();
    let mut sound = true;
    for place in places {
        if let Kept::Journal(dir) = &place.kept
            && !places::is_journal(dir)?
        {
            out::note(&format!("{}: left out: it has no journal", place.name()));
            continue;
        }
        let mut progress = Progress::new();
        let (checked, findings) = match &place.kept {
            Kept::Store { service, url } => {
                let store = attach(*service, url, place.limit, Purpose::Look).await?;
                let desk = StoreDesk::new(*service, store);
                let report = desk
                    .verify(|done, total| {
                        progress.show(&Step {
                            phase: "verify",
                            done,
                            total,
                        });
                    })
                    .await?;
                sound &= report.findings.is_empty();
                (format!("{} rows", report.rows), report.findings)
            }
            Kept::Journal(dir) => {
                let dir = dir.clone();
                let work = move || {
                    let report = Journal::inspect(&dir)?.verify(|p| {
                        progress.show(&Step {
                            phase: "verify",
                            done: p.done,
                            total: p.total,
                        });
                    })?;
                    anyhow::Ok(report)
                };
                let report = tokio::task::spawn_blocking(work)
                    .await
                    .context("the verification broke off")??;
                sound &= report.is_sound();
                let checked = format!(
                    "{} records, {} bytes, {} records lost",
                    report.journal.records + report.dead.records,
                    report.journal.bytes + report.dead.bytes,
                    report.lost
                );
                let mut findings: Vec<String> =
                    report.findings.iter().map(ToString::to_string).collect();
                if report.more_findings > 0 {
                    findings.push(format!("and {} more", report.more_findings));
                }
                (checked, findings)
            }
        };
        reports.push((place.name(), checked, findings));
    }
    if json {
        let all: Vec<Value> = reports
            .iter()
            .map(|(place, checked, findings)| {
                json!({ "place": place, "checked": checked, "findings": findings })
            })
            .collect();
        out::line(&serde_json::to_string_pretty(&all)?)?;
    } else {
        for (place, checked, findings) in &reports {
            let word = if findings.is_empty() {
                "sound"
            } else {
                "see below"
            };
            out::line(&format!("{place}: {checked} read, {word}"))?;
            for finding in findings {
                out::line(&format!("  {finding}"))?;
            }
        }
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
