//! Arrows between our crates run one way, as ARCHITECTURE.md draws them.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use crate::run::root;

/// What each crate may use of ours. Tests may use more.
const ALLOWED: &[(&str, &[&str])] = &[
    ("fusebox", &[]),
    ("fusebox-telemetry", &["fusebox"]),
    ("fusebox-macros", &[]),
    ("fusebox-resilient", &["fusebox", "fusebox-macros"]),
    ("fusebox-http", &["fusebox"]),
    ("fusebox-kafka", &["fusebox"]),
    ("fusebox-llm", &["fusebox", "fusebox-http"]),
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
