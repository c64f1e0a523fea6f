//! What a running broker can be told: one command a line on standard input, one line in return.

use std::{
    str::{FromStr, SplitWhitespace},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use fusebox_devbroker::{ApiKey, DevBroker, Effect, Fault, ResponseError, When};
use jiff::SignedDuration;
use tokio::time::Instant;

/// The commands, for `--help` and for the command `help`.
pub(crate) const HELP: &str = "\
freeze [TIME]         hang: connections stay and are taken, nothing is read or answered
thaw                  go on where it was frozen
refuse [TIME]         refuse new connections; those there are stay
outage [TIME]         refuse new connections and close those there are
cut                   close all connections once
heal                  take connections again
fault API EFFECT [WHEN] [on TOPIC]
                      API: produce, fetch, metadata, join-group, offset-commit …
                      EFFECT: drop-answer (done, but not answered), cut (not done, not answered),
                      reject ERROR (Kafka's name or number), delay TIME
                      WHEN: always, next N, nth N, every N; counted from now
clear                 no faults, not frozen, connections taken
topics                one line per partition: topic, partition, first and next offset
help                  this

TIME is 500ms, 20s, 2m; without it the state lasts until it is taken back. The answer to a command is
a line `ok`, or a line that begins with `error:`.";

/// One command.
#[derive(Debug)]
pub(crate) enum Command {
    Freeze(Option<Duration>),
    Thaw,
    Refuse(Option<Duration>),
    Outage(Option<Duration>),
    Cut,
    Heal,
    Fault(Fault),
    Clear,
    Topics,
    Help,
}

impl FromStr for Command {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let mut words = line.split_whitespace();
        let word = words.next().context("an empty command")?;
        let command = match word {
            "freeze" => Self::Freeze(time_if_any(&mut words)?),
            "thaw" => Self::Thaw,
            "refuse" => Self::Refuse(time_if_any(&mut words)?),
            "outage" => Self::Outage(time_if_any(&mut words)?),
            "cut" => Self::Cut,
            "heal" => Self::Heal,
            "fault" => Self::Fault(fault(&mut words)?),
            "clear" => Self::Clear,
            "topics" => Self::Topics,
            "help" => Self::Help,
            other => bail!("there is no command {other}; try help"),
        };
        match words.next() {
            None => Ok(command),
            Some(rest) => bail!("{rest} is one word too many"),
        }
    }
}

/// Carries commands out, and takes back in time what was to last for a time.
#[derive(Debug, Default)]
pub(crate) struct Control {
    thaw_at: Option<Instant>,
    heal_at: Option<Instant>,
}

impl Control {
    /// Does what a line says, and says what is to be printed.
    pub(crate) fn obey(&mut self, line: &str, broker: &DevBroker) -> String {
        match line.parse() {
            Ok(command) => self.carry_out(command, broker),
            Err(error) => format!("error: {error:#}\n"),
        }
    }

    fn carry_out(&mut self, command: Command, broker: &DevBroker) -> String {
        let faults = broker.faults();
        let at = |time: Option<Duration>| time.map(|time| Instant::now() + time);
        let mut answer = String::new();
        match command {
            Command::Freeze(time) => {
                faults.freeze();
                self.thaw_at = at(time);
            }
            Command::Thaw => {
                faults.thaw();
                self.thaw_at = None;
            }
            Command::Refuse(time) => {
                faults.refuse_connections();
                self.heal_at = at(time);
            }
            Command::Outage(time) => {
                faults.outage();
                self.heal_at = at(time);
            }
            Command::Cut => faults.cut_connections(),
            Command::Heal => {
                faults.heal();
                self.heal_at = None;
            }
            Command::Fault(fault) => drop(faults.set(fault)),
            Command::Clear => {
                faults.clear();
                *self = Self::default();
            }
            Command::Topics => {
                for (topic, partitions) in broker.topics() {
                    for partition in 0..partitions {
                        if let Some((first, next)) = broker.offsets(&topic, partition) {
                            let line = format!("{topic} {partition} {first} {next}\n");
                            answer.push_str(&line);
                        }
                    }
                }
            }
            Command::Help => {
                answer.push_str(HELP);
                answer.push('\n');
            }
        }
        answer.push_str("ok\n");
        answer
    }

    /// When [`take_back`](Self::take_back) has something to do.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.thaw_at.into_iter().chain(self.heal_at).min()
    }

    /// Ends what has lasted long enough.
    pub(crate) fn take_back(&mut self, broker: &DevBroker) {
        let now = Instant::now();
        if self.thaw_at.take_if(|at| *at <= now).is_some() {
            broker.faults().thaw();
        }
        if self.heal_at.take_if(|at| *at <= now).is_some() {
            broker.faults().heal();
        }
    }
}

fn time_if_any(words: &mut SplitWhitespace<'_>) -> anyhow::Result<Option<Duration>> {
    words.next().map(time).transpose()
}

fn time(text: &str) -> anyhow::Result<Duration> {
    let time: SignedDuration = text
        .parse()
        .map_err(|_| anyhow!("{text} is not a time such as 500ms, 20s or 2m"))?;
    Duration::try_from(time).map_err(|_| anyhow!("{text} is in the past"))
}

fn number(words: &mut SplitWhitespace<'_>) -> anyhow::Result<u64> {
    let word = words.next().context("a number is missing")?;
    match word.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{word} is not a number from 1 on"),
    }
}

/// `API EFFECT [WHEN] [on TOPIC]`
fn fault(words: &mut SplitWhitespace<'_>) -> anyhow::Result<Fault> {
    let api = api(words.next().context("which kind of request?")?)?;
    let effect = match words.next().context("what is to happen to it?")? {
        "drop-answer" => Effect::DropAnswer,
        "cut" => Effect::Cut,
        "reject" => Effect::Reject(error(words.next().context("with which error?")?)?),
        "delay" => Effect::Delay(time(words.next().context("for how long?")?)?),
        other => bail!("{other} is none of drop-answer, cut, reject, delay"),
    };
    let mut fault = Fault::new(api, effect);
    while let Some(word) = words.next() {
        fault = match word {
            "always" => fault.when(When::Always),
            "next" => fault.when(When::Next(number(words)?)),
            "nth" => fault.when(When::Nth(number(words)?)),
            "every" => fault.when(When::Every(number(words)?)),
            "on" => fault.on_topic(words.next().context("on which topic?")?),
            other => bail!("{other} is none of always, next, nth, every, on"),
        };
    }
    Ok(fault)
}

/// A kind of request, by its name in any spelling.
fn api(name: &str) -> anyhow::Result<ApiKey> {
    let wanted = plain(name);
    (0..100)
        .filter_map(|key| ApiKey::try_from(key).ok())
        .find(|api| plain(&format!("{api:?}")) == wanted)
        .with_context(|| format!("{name} is not a kind of request"))
}

/// An error of the protocol, by its number or its name in any spelling.
fn error(name: &str) -> anyhow::Result<ResponseError> {
    let wanted = plain(name);
    let number: Option<i16> = name.parse().ok();
    (-1..200)
        .filter(|code| *code != 0)
        .filter_map(ResponseError::try_from_code)
        .find(|error| {
            let name = plain(&format!("{error:?}"));
            number == Some(error.code())
                || name == wanted
                || name.strip_suffix("exception") == Some(&wanted)
        })
        .filter(|error| !matches!(error, ResponseError::Unknown(_)))
        .with_context(|| format!("{name} is not an error of the protocol"))
}

/// Letters and digits in lower case.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        format!("{:#}", line.parse::<Command>().unwrap_err())
    }

    #[test]
    fn commands_are_read() {
        let seconds = |n| Some(Duration::from_secs(n));
        let read = |line: &str| line.parse::<Command>().unwrap();
        assert!(matches!(read("freeze"), Command::Freeze(None)));
        assert!(matches!(read(" freeze  20s "), Command::Freeze(t) if t == seconds(20)));
        assert!(matches!(read("outage 2m"), Command::Outage(t) if t == seconds(120)));
        assert!(matches!(read("topics"), Command::Topics));
        for fault in [
            "fault produce drop-answer every 7",
            "fault JoinGroup reject NOT_COORDINATOR next 2",
            "fault offset-commit cut nth 1 on orders",
            "fault fetch delay 250ms on orders always",
        ] {
            assert!(matches!(read(fault), Command::Fault(_)), "{fault}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("", "empty"),
            ("explode", "explode"),
            ("freeze soon", "soon"),
            ("outage -1s", "-1s"),
            ("thaw now", "now"),
            ("fault", "kind of request"),
            ("fault nothing cut", "nothing"),
            ("fault produce", "what is to happen"),
            ("fault produce reject", "which error"),
            ("fault produce reject MOOD", "MOOD"),
            ("fault produce reject 0", "0"),
            ("fault produce cut every 0", "0"),
            ("fault produce cut every", "number"),
            ("fault produce cut on", "topic"),
            ("fault produce cut later", "later"),
        ] {
            let error = refused(line);
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn errors_have_names_and_numbers() {
        for name in [
            "NOT_LEADER_OR_FOLLOWER",
            "NotLeaderOrFollower",
            "not-leader-or-follower",
            "6",
        ] {
            assert_eq!(error(name).unwrap(), ResponseError::NotLeaderOrFollower);
        }
        let topic = error("INVALID_TOPIC").unwrap();
        assert_eq!(topic.code(), 17);
        assert_eq!(error("-1").unwrap().code(), -1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_for_a_time_is_taken_back_and_the_last_word_counts() {
        let broker = DevBroker::start(fusebox_devbroker::DevBrokerConfig::temporary()).unwrap();
        let mut control = Control::default();
        assert_eq!(control.obey("freeze 5s", &broker), "ok\n");
        assert_eq!(control.obey("freeze 20s", &broker), "ok\n");
        assert_eq!(control.obey("outage 1s", &broker), "ok\n");
        let started = Instant::now();
        let mut taken_back = Vec::new();
        while let Some(at) = control.next() {
            tokio::time::sleep_until(at).await;
            control.take_back(&broker);
            taken_back.push((at - started).as_secs());
        }
        assert_eq!(taken_back, [1, 20]);
        control.obey("freeze", &broker);
        assert_eq!(control.next(), None);
        control.obey("clear", &broker);
        assert!(control.obey("freez", &broker).starts_with("error: "));
        broker.create_topic("t", 1).unwrap();
        assert_eq!(control.obey("topics", &broker), "t 0 0 0\nok\n");
    }
}
