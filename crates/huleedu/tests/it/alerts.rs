//! The alert rules under deploy/prometheus: every name in them exists, and every alert has its runbook.
//! Whether they fire when they should is for `scripts/test-alerts`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::{
    page::{code, table},
    run::root,
};

const RULES: &str = "deploy/prometheus/events.rules.yml";
const TESTS: &str = "deploy/prometheus/events.tests.yml";

/// Words of the query language that the rules use.
const LANGUAGE: [&str; 13] = [
    "and",
    "by",
    "delta",
    "deriv",
    "increase",
    "max",
    "min",
    "min_over_time",
    "on",
    "or",
    "rate",
    "sum",
    "unless",
];

#[derive(Debug, Default)]
struct Alert {
    expr: String,
    runbook: String,
    severity: String,
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The file is written by hand in one shape: a key a line, an expression behind it or below it.
fn alerts() -> BTreeMap<String, Alert> {
    let text = read(RULES);
    let mut all = BTreeMap::new();
    for block in text.split("- alert: ").skip(1) {
        let mut lines = block.lines();
        let name = lines.next().unwrap().trim().to_owned();
        let mut alert = Alert::default();
        let mut in_expr = false;
        for line in lines {
            let trimmed = line.trim();
            let key = line.starts_with("        ") && !line.starts_with("          ");
            if key || line.starts_with("  - ") {
                in_expr = trimmed.starts_with("expr:");
            }
            let value = |key: &str| trimmed.strip_prefix(key).map(|v| v.trim().to_owned());
            if in_expr {
                alert.expr += trimmed.trim_start_matches("expr:").trim_start_matches(" |");
                alert.expr.push(' ');
            }
            alert.runbook = value("runbook:").unwrap_or(alert.runbook);
            alert.severity = value("severity:").unwrap_or(alert.severity);
        }
        assert!(
            all.insert(name.clone(), alert).is_none(),
            "{name} is there twice"
        );
    }
    assert!(all.len() >= 10, "{:?}", all.keys());
    all
}

/// What is between this pair of signs, and the rest.
fn cut(text: &str, (open, close): (char, char)) -> (String, Vec<String>) {
    let (mut rest, mut inside) = (String::new(), Vec::new());
    let mut pieces = text.split(open);
    rest += pieces.next().unwrap();
    for piece in pieces {
        let (part, after) = piece.split_once(close).unwrap();
        inside.push(part.to_owned());
        rest.push(' ');
        rest += after;
    }
    (rest, inside)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[test]
fn every_metric_label_and_value_in_a_rule_exists() {
    let page = read("docs/metrics.md");
    let mut metrics: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for row in table(&page, "## Families") {
        let labels = row[2].split(';').map(|label| {
            let (name, values) = label.split_once('=').unwrap_or((label, ""));
            (code(name)[0], code(values).into_iter().collect())
        });
        metrics.insert(code(row[0])[0], labels.collect());
    }
    let mut seen = 0;
    for (name, alert) in alerts() {
        // Ranges, then lists of labels behind by and on, then matchers.
        let (expr, _) = cut(&alert.expr, ('[', ']'));
        let mut lists = BTreeSet::new();
        let mut bare = String::new();
        let mut rest = expr.as_str();
        while let Some((at, word)) = ["by (", "on ("]
            .iter()
            .filter_map(|word| Some((rest.find(word)?, *word)))
            .min()
        {
            let (before, after) = rest.split_at(at);
            let (list, after) = after.strip_prefix(word).unwrap().split_once(')').unwrap();
            lists.extend(words(list));
            bare += before;
            rest = after;
        }
        bare += rest;
        let (plain, matchers) = cut(&bare, ('{', '}'));
        let used: Vec<_> = words(&plain).filter(|w| !LANGUAGE.contains(w)).collect();
        assert!(!used.is_empty(), "{name}: {}", alert.expr);
        for metric in &used {
            let labels = metrics.get(metric);
            let labels = labels.unwrap_or_else(|| panic!("{name}: no metric is called {metric}"));
            seen += 1;
            for list in &lists {
                let known = labels.contains_key(list) || *list != "service_name";
                assert!(known, "{name}: {metric} has no label {list}");
            }
        }
        for list in &lists {
            let known = used.iter().any(|metric| metrics[metric].contains_key(list));
            assert!(known, "{name}: no metric of it has the label {list}");
        }
        for matcher in &matchers {
            let (label, values) = matcher.split_once('=').unwrap();
            let allowed: BTreeSet<_> = used
                .iter()
                .filter_map(|metric| metrics[metric].get(label))
                .flatten()
                .copied()
                .collect();
            for value in words(values) {
                assert!(allowed.contains(value), "{name}: {label} is never {value}");
            }
        }
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn every_alert_names_a_runbook_that_names_it_and_has_a_test() {
    let alerts = alerts();
    let tests = read(TESTS);
    let mut linked = BTreeSet::new();
    for (name, alert) in &alerts {
        assert!(
            ["page", "ticket"].contains(&alert.severity.as_str()),
            "{name}: {alert:?}"
        );
        let runbook = read(&alert.runbook);
        assert!(
            runbook.contains(&format!("`{name}`")),
            "{} does not name {name}",
            alert.runbook
        );
        linked.insert(alert.runbook.clone());
        // At one moment it fires, as it says itself, and at another it does not.
        let fires = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels");
        assert!(tests.contains(&fires), "no test lets {name} fire");
        let silent = format!("alertname: {name}, exp_alerts: []");
        assert!(tests.contains(&silent), "no test keeps {name} silent");
    }
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let path = format!("docs/runbooks/{}", entry.unwrap().file_name().display());
        assert!(linked.contains(&path), "no alert leads to {path}");
        for word in code(
            read(&path)
                .lines()
                .find(|l| l.starts_with("**Alerts.**"))
                .unwrap(),
        ) {
            assert!(alerts.contains_key(word) || word == RULES, "{path}: {word}");
        }
    }
}
