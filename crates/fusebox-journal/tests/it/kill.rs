//! A process that is killed again and again while it appends, settles and buries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use fusebox_journal::{Burial, Journal, Position};

use crate::support::{Random, all, entry, number, small};

const DIR: &str = "FUSEBOX_JOURNAL_CHILD_DIR";
const FROM: &str = "FUSEBOX_JOURNAL_CHILD_FROM";
/// The child ends by itself when its writers are at this number.
pub(crate) const UNTIL: &str = "FUSEBOX_JOURNAL_CHILD_UNTIL";

/// Writers of the child; writer `w` appends the numbers that leave the remainder `w`.
const WRITERS: u64 = 3;

/// Records that wait before the writers hold.
const BACKLOG: u64 = 400;

/// What the child says, one line each, before (`ask`) and after (`did`) it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Appended(u64, u64),
    AskSettle(u64),
    DidSettle(u64),
    AskBury(u64),
    DidBury(u64),
}

impl Word {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("! ")?.split(' ');
        let word = parts.next()?;
        let n = parts.next()?.parse().ok()?;
        Some(match word {
            "append" => Self::Appended(n, parts.next()?.parse().ok()?),
            "settle?" => Self::AskSettle(n),
            "settle" => Self::DidSettle(n),
            "bury?" => Self::AskBury(n),
            "bury" => Self::DidBury(n),
            _ => return None,
        })
    }
}

fn say(line: &str) {
    // One write each: what is said before the kill is heard.
    std::io::stdout()
        .write_all(format!("! {line}\n").as_bytes())
        .unwrap();
    std::io::stdout().flush().unwrap();
}

fn size_of(n: u64) -> usize {
    (n.wrapping_mul(2_654_435_761) % 3000) as usize
}

/// Not a test of its own: the process that the test below starts and kills. Alone it does nothing.
#[test]
fn child_process() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let until = std::env::var(UNTIL).map_or(u64::MAX, |until| until.parse().unwrap());
    let journal = Journal::open(dir, small()).unwrap();
    // The test harness has begun a line.
    say("open");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let journal = journal.clone();
            scope.spawn(move || {
                for n in (from..until).filter(|n| n % WRITERS == writer) {
                    let position = journal.append(entry(n, size_of(n))).wait().unwrap();
                    say(&format!("append {n} {position}"));
                    while journal.stats().waiting > BACKLOG {
                        std::thread::yield_now();
                    }
                }
            });
        }
        // Settles some out of order, buries some, leaves the youngest.
        let mut random = Random(from);
        while journal.next_position().0 <= until - from {
            let page = journal.peek(Position::START, 200, 1 << 20).unwrap();
            let wanted: Vec<_> = page.iter().filter(|_| random.below(3) > 0).collect();
            let (buried, settled): (Vec<_>, Vec<_>) = wanted
                .into_iter()
                .partition(|r| number(&r.entry).is_multiple_of(37));
            for record in &settled {
                say(&format!("settle? {}", number(&record.entry)));
            }
            let positions: Vec<_> = settled.iter().map(|r| r.position).collect();
            journal.settle(&positions).wait().unwrap();
            for record in settled {
                say(&format!("settle {}", number(&record.entry)));
            }
            for record in buried {
                let n = number(&record.entry);
                say(&format!("bury? {n}"));
                let burial = Burial {
                    code: "refused".into(),
                    ..Burial::default()
                };
                journal.bury(record.position, &burial).unwrap();
                say(&format!("bury {n}"));
            }
        }
    });
}

/// The child, to be started.
pub(crate) fn child(dir: &Path, from: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "kill::child_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, dir)
        .env(FROM, from.to_string());
    command
}

/// Starts the child, lets it say `words` and kills it; returns all it has said.
fn live_and_die(dir: &Path, from: u64, words: u64) -> Vec<Word> {
    let mut child = child(dir, from)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while (said.len() as u64) < words {
        match lines.next() {
            Some(line) => said.extend(Word::parse(&line.unwrap())),
            None => break,
        }
    }
    // SIGKILL.
    child.kill().unwrap();
    said.extend(lines.map_while(Result::ok).filter_map(|l| Word::parse(&l)));
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&output.status),
        Some(9),
        "the child has died by itself: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// What must be true of the journal.
#[derive(Debug, Default, Clone)]
pub(crate) struct Known {
    /// Acknowledged or found: number and position.
    appended: BTreeMap<u64, u64>,
    asked_settle: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    asked_bury: BTreeSet<u64>,
    buried: BTreeSet<u64>,
    came_back: u64,
}

impl Known {
    pub(crate) fn hear(&mut self, words: &[Word]) -> u64 {
        let mut acknowledged = 0;
        for word in words {
            match *word {
                Word::Appended(n, position) => {
                    self.appended.insert(n, position);
                    acknowledged += 1;
                }
                Word::AskSettle(n) => drop(self.asked_settle.insert(n)),
                Word::DidSettle(n) => drop(self.settled.insert(n)),
                Word::AskBury(n) => drop(self.asked_bury.insert(n)),
                Word::DidBury(n) => drop(self.buried.insert(n)),
            }
        }
        acknowledged
    }

    pub(crate) fn check(&mut self, journal: &Journal) {
        let waiting = all(journal);
        let mut last: HashMap<u64, u64> = HashMap::new();
        let mut here = BTreeSet::new();
        for record in &waiting {
            let n = number(&record.entry);
            assert_eq!(record.entry, entry(n, size_of(n)), "content of {n}");
            assert!(here.insert(n), "record {n} is there twice");
            let before = last.insert(n % WRITERS, n);
            assert!(before < Some(n), "record {n} behind {before:?}: reordered");
            let known = *self.appended.entry(n).or_insert(record.position.0);
            assert_eq!(known, record.position.0, "record {n} has moved");
            assert!(!self.settled.contains(&n), "settled record {n} is back");
            assert!(!self.buried.contains(&n), "buried record {n} is back");
            self.came_back += u64::from(self.asked_settle.remove(&n));
        }
        assert!(waiting.is_sorted_by_key(|r| r.position));
        let letters = journal.dead_letters(Position::START, usize::MAX, |_| true);
        let mut dead = BTreeSet::new();
        for letter in letters {
            let n = u64::from_le_bytes(letter.id[..8].try_into().unwrap());
            assert!(dead.insert(n), "record {n} was buried twice");
            assert!(!here.contains(&n), "record {n} waits and is dead");
            assert!(self.asked_bury.contains(&n), "record {n} buried by itself");
        }
        for n in self.appended.keys() {
            let gone = self.asked_settle.contains(n);
            assert!(
                here.contains(n) || dead.contains(n) || gone,
                "acknowledged record {n} is lost"
            );
        }
        // What was asked and not seen again is settled for good.
        self.settled.extend(&self.asked_settle);
        for n in &self.buried {
            assert!(dead.contains(n), "dead letter of {n} is lost");
        }
        self.buried.extend(&dead);
        let stats = journal.stats();
        assert_eq!((stats.lost_records, stats.damaged_ranges), (0, 0));
        assert!(!stats.cursor_lost);
    }
}

#[test]
fn a_killed_process_loses_nothing() {
    let kills: u64 = std::env::var("FUSEBOX_JOURNAL_KILLS")
        .map_or(40, |kills| kills.parse().expect("a number of kills"));
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let mut known = Known::default();
    let mut acknowledged = 0;
    for kill in 0..kills {
        let from = known.appended.keys().next_back().map_or(0, |n| n + 1);
        // Some die while they open the journal.
        let words = if kill % 8 == 7 { 0 } else { random.below(900) };
        let said = live_and_die(dir.path(), from + WRITERS, words);
        acknowledged += known.hear(&said);
        let journal = Journal::open(dir.path(), small()).unwrap();
        known.check(&journal);
        journal.close().unwrap();
        if kill % 16 == 15 {
            let report = Journal::inspect(dir.path())
                .unwrap()
                .verify(|_| ())
                .unwrap();
            assert!(report.is_sound(), "{report:?}");
        }
    }
    let (settled, buried) = (known.settled.len(), known.buried.len());
    println!(
        "{kills} kills: {acknowledged} acknowledged, {settled} settled, {buried} buried, \
         {} came back that were being settled",
        known.came_back
    );
    assert!(acknowledged > kills * 20, "the child has done too little");
    assert!(settled > 0 && buried > 0);
    // One page at a time is being settled.
    assert!(known.came_back <= kills * 200);
}

/// The lock goes with its owner, and a second owner is told who has it.
#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = child(dir.path(), 0).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap().contains("! open"))
        .unwrap()
        .unwrap();
    let Err(error) = Journal::open(dir.path(), small()) else {
        panic!("two processes own one journal");
    };
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", child.id())),
        "{error}"
    );
    let look = Journal::inspect(dir.path()).unwrap();
    assert!(look.owner().unwrap().contains(&child.id().to_string()));
    child.kill().unwrap();
    child.wait().unwrap();
    Journal::open(dir.path(), small()).unwrap();
}
