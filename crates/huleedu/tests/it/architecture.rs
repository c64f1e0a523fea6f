//! Arrows between our crates run one way, as ARCHITECTURE.md draws them, and that page names only
//! what exists.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::Value;

use crate::{
    page::{code, outside_of_fences, table},
    run::root,
};

/// What each crate may use of ours. Tests may use more.
const ALLOWED: &[(&str, &[&str])] = &[
    ("fusebox", &[]),
    ("fusebox-devbroker", &[]),
    ("fusebox-telemetry", &["fusebox"]),
    ("fusebox-macros", &[]),
    ("fusebox-resilient", &["fusebox", "fusebox-macros"]),
    ("fusebox-conformance", &[]),
    ("fusebox-limit", &["fusebox"]),
    (
        "fusebox-tower",
        &["fusebox", "fusebox-limit", "fusebox-resilient"],
    ),
    ("fusebox-journal", &[]),
    (
        "fusebox-proof",
        &["fusebox*", "huleedu-contracts", "huleedu-kit"],
    ),
    ("fusebox-http", &["fusebox", "fusebox-resilient"]),
    (
        "fusebox-kafka",
        &["fusebox", "fusebox-journal", "fusebox-resilient"],
    ),
    (
        "fusebox-llm",
        &["fusebox", "fusebox-http", "fusebox-resilient"],
    ),
    ("huleedu-contracts", &[]),
    ("huleedu-kit", &["fusebox*", "huleedu-contracts"]),
    (
        "services",
        &["fusebox*", "huleedu-contracts", "huleedu-kit"],
    ),
    (
        "huleedu",
        &["fusebox*", "huleedu-contracts", "huleedu-kit", "services"],
    ),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn no_crate_uses_what_it_must_not_know() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let kind: BTreeMap<&str, &str> = packages
        .iter()
        .map(|p| {
            let name = p["name"].as_str().unwrap();
            let path = p["manifest_path"].as_str().unwrap();
            (
                name,
                if path.contains("/services/") {
                    "services"
                } else {
                    name
                },
            )
        })
        .collect();
    assert_eq!(kind.values().filter(|k| **k == "services").count(), 9);
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let allowed = ALLOWED
            .iter()
            .find(|(of, _)| *of == kind[name])
            .unwrap_or_else(|| panic!("{name} has no arrows in this test and ARCHITECTURE.md"))
            .1;
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let Some(used_kind) = kind.get(used).filter(|_| dependency["kind"].is_null()) else {
                continue;
            };
            let fits = |rule: &&str| match rule.strip_suffix('*') {
                Some(start) => used.starts_with(start),
                None => rule == used_kind,
            };
            assert!(allowed.iter().any(fits), "{name} must not use {used}");
        }
    }
}

#[test]
fn only_the_kafka_crates_and_the_kit_know_the_c_library() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().unwrap() {
        let uses = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .any(|d| d["name"] == "rdkafka" && d["kind"].is_null());
        let name = package["name"].as_str().unwrap();
        // The kit consumes; the binary's audit reads the topics with a consumer of its own.
        assert!(
            !uses || ["fusebox-kafka", "huleedu-kit", "huleedu"].contains(&name),
            "{name}"
        );
    }
}

fn page() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// Whether a word in backticks stands for a file or folder of the repository, and not for a route,
/// a type or a setting.
fn is_path(word: &str) -> bool {
    let tops = [
        "crates", "services", "docs", "scripts", "samples", "bench", ".ci",
    ];
    !word.contains(' ')
        && word.split_once('/').map_or_else(
            || word.to_uppercase().ends_with(".MD"),
            |(top, _)| tops.contains(&top),
        )
}

#[test]
fn the_architecture_page_names_only_what_exists() {
    let page = page();
    assert!(page.lines().count() <= 400);
    let (mut paths, mut tests) = (0, 0);
    for line in outside_of_fences(&page) {
        // A test is named behind its file.
        let mut file = None;
        for word in code(line) {
            if is_path(word) {
                let path = root().join(word);
                assert!(path.exists(), "{word} does not exist: {line}");
                paths += 1;
                file = Some(path);
            } else if word.matches('_').count() >= 3 && word == word.to_lowercase() {
                let file = file.as_ref().unwrap_or_else(|| panic!("no file: {line}"));
                let text = fs::read_to_string(file).unwrap();
                assert!(
                    text.contains(&format!("fn {word}(")),
                    "{word} is not in {}",
                    file.display()
                );
                tests += 1;
            }
        }
    }
    // Were the page written another way, nothing would be checked.
    assert!(paths > 100 && tests > 25, "{paths} paths, {tests} tests");
}

#[test]
fn the_architecture_page_draws_the_arrows_that_are_checked_and_maps_every_crate() {
    let page = page();
    let rows = table(&page, "## Arrows");
    let drawn: Vec<_> = rows
        .iter()
        .map(|row| (code(row[0])[0], code(row[1])))
        .collect();
    let checked: Vec<_> = ALLOWED
        .iter()
        .map(|(of, allowed)| (*of, allowed.to_vec()))
        .collect();
    assert_eq!(drawn, checked);
    for package in metadata()["packages"].as_array().unwrap() {
        let manifest = package["manifest_path"].as_str().unwrap();
        let folder = manifest.strip_suffix("/Cargo.toml").unwrap();
        let mut parts = folder.rsplit('/');
        let (name, top) = (parts.next().unwrap(), parts.next().unwrap());
        let row = format!("| `{top}/{name}` |");
        assert!(page.contains(&row), "{row} is not in the code map");
    }
}
