//! What a run found, and the table that compares several.

use std::fmt::{self, Write as _};

use crate::check::{Check, NOT_ASKED, checks};

/// The answer of one breaker to one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Right,
    /// Otherwise; what was seen.
    Wrong(String),
    /// The question makes no sense for this make; why.
    NotApplicable(String),
}

impl Verdict {
    /// True for [`Verdict::Right`].
    pub fn is_right(&self) -> bool {
        matches!(self, Verdict::Right)
    }

    /// True for [`Verdict::Wrong`].
    pub fn is_wrong(&self) -> bool {
        matches!(self, Verdict::Wrong(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Right => f.write_str("right"),
            Verdict::Wrong(observed) => write!(f, "wrong: {observed}"),
            Verdict::NotApplicable(why) => write!(f, "not applicable: {why}"),
        }
    }
}

/// All answers of one breaker.
#[derive(Debug, Clone)]
pub struct Report {
    /// The breaker's name.
    pub subject: String,
    /// Every check with its verdict, in the order of [`checks`].
    pub rows: Vec<(&'static Check, Verdict)>,
}

impl Report {
    /// The checks that found something else than expected, with what was seen.
    pub fn wrong(&self) -> impl Iterator<Item = (&'static Check, &str)> {
        self.rows
            .iter()
            .filter_map(|(check, verdict)| match verdict {
                Verdict::Wrong(observed) => Some((*check, observed.as_str())),
                _ => None,
            })
    }
}

/// The reports side by side, as Markdown: the table, then what was seen where it went wrong, why
/// the rest does not apply, and the threads that are not asked.
pub fn table(reports: &[Report]) -> String {
    let mut out = String::from("| check |");
    for report in reports {
        put(&mut out, format_args!(" {} |", cell(&report.subject)));
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(reports.len()));
    for (index, check) in checks().iter().enumerate() {
        put(&mut out, format_args!("\n| {} {} |", check.id, check.title));
        for report in reports {
            out.push_str(match report.rows.get(index) {
                Some((_, Verdict::Right)) => " right |",
                Some((_, Verdict::Wrong(_))) => " **wrong** |",
                Some((_, Verdict::NotApplicable(_))) | None => " – |",
            });
        }
    }
    out.push_str("\n| right / wrong |");
    for report in reports {
        let count =
            |which: fn(&Verdict) -> bool| report.rows.iter().filter(|(_, v)| which(v)).count();
        put(
            &mut out,
            format_args!(
                " {} / {} |",
                count(Verdict::is_right),
                count(Verdict::is_wrong)
            ),
        );
    }
    out.push_str("\n\nWhat was seen where it is wrong:\n\n");
    for report in reports {
        for (check, observed) in report.wrong() {
            put(
                &mut out,
                format_args!(
                    "- {}, {}: {}\n",
                    cell(&report.subject),
                    check.id,
                    cell(observed)
                ),
            );
        }
    }
    out.push_str("\nWhy a question was not put (–):\n\n");
    for report in reports {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (check, verdict) in &report.rows {
            let Verdict::NotApplicable(why) = verdict else {
                continue;
            };
            match reasons.iter_mut().find(|(known, _)| known == why) {
                Some((_, ids)) => ids.push(check.id),
                None => reasons.push((why, vec![check.id])),
            }
        }
        if !reasons.is_empty() {
            let list: Vec<String> = reasons
                .iter()
                .map(|(why, ids)| format!("{} ({})", cell(why), ids.join(", ")))
                .collect();
            put(
                &mut out,
                format_args!("- {}: {}\n", cell(&report.subject), list.join("; ")),
            );
        }
    }
    out.push_str("\nThreads that put no question to a breaker:\n\n");
    for (thread, why) in NOT_ASKED {
        put(&mut out, format_args!("- {thread}: {why}\n"));
    }
    out
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("a String takes all that is written");
}

/// Text that cannot break a table or a list.
fn cell(text: &str) -> String {
    text.replace('|', "/").replace(['\n', '\r'], " ")
}
