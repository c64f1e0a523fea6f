//! `huleedu assess` from end to end: files in, ranking out.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    sync::OnceLock,
};

use serde_json::Value;

use crate::run::{Running, huleedu, output, root};

fn assess(folder: &Path, seed: &str, environment: &[(&str, &str)]) -> (i32, Value, String, String) {
    assess_with(folder, &["--seed", seed], environment)
}

fn assess_with(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (i32, Value, String, String) {
    let out = tempfile::tempdir().unwrap();
    let json = out.path().join("out.json");
    let mut command = huleedu(&["assess", folder.to_str().unwrap()]);
    command.args(arguments).arg("--json").arg(&json);
    command.envs(environment.iter().copied());
    let (code, stdout, stderr) = output(command);
    let report =
        fs::read(&json).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    (code, report, stdout, stderr)
}

/// The samples, assessed with seed 7 and nothing in the way. Once for all tests.
pub(crate) fn undisturbed() -> &'static Value {
    static REPORT: OnceLock<Value> = OnceLock::new();
    REPORT.get_or_init(|| {
        let (code, report, stdout, stderr) = assess(&root().join("samples/essays"), "7", &[]);
        assert_eq!(code, 0, "{stdout}\n{stderr}");
        assert!(stdout.contains("sandbox"));
        report
    })
}

/// Rank by file; every file once and every rank once, from 1.
fn ranks(report: &Value) -> BTreeMap<String, u64> {
    let ranking = report["ranking"].as_array().unwrap();
    let ranks: BTreeMap<_, _> = ranking
        .iter()
        .map(|r| {
            (
                r["file"].as_str().unwrap().to_owned(),
                r["rank"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(ranks.len(), ranking.len(), "a file is ranked twice");
    let mut all: Vec<_> = ranks.values().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=ranking.len() as u64).collect::<Vec<_>>());
    ranks
}

#[test]
fn the_samples_are_ranked_once_each_by_their_level_and_the_same_without_circuits() {
    let folder = root().join("samples/essays");
    let report = undisturbed();
    let ranks = ranks(report);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(ranks.keys().cloned().collect::<Vec<_>>(), files);

    let levels: Value =
        serde_json::from_slice(&fs::read(root().join("samples/essays.levels.json")).unwrap())
            .unwrap();
    let of = |level: &str| -> Vec<u64> {
        ranks
            .iter()
            .filter(|(file, _)| levels[file.as_str()]["level"] == level)
            .map(|(_, rank)| *rank)
            .collect()
    };
    let (best, worst) = (of("excellent"), of("struggling"));
    assert!(!best.is_empty() && !worst.is_empty());
    assert!(
        best.iter().max() < worst.iter().min(),
        "excellent {best:?} struggling {worst:?}"
    );

    assert_eq!(report["batch"]["status"], "completed_successfully");
    assert_eq!(report["failed_files"], Value::Array(Vec::new()));
    let events = &report["events"];
    assert_eq!(events["lost"], 0);
    assert_eq!(events["waiting"], 0);
    assert_eq!(events["published"], events["delivered"]);
    // Per essay at least: added, provisioned, assigned, spell-check asked, done and told.
    assert!(
        events["published"].as_u64().unwrap() >= files.len() as u64 * 6,
        "{events}"
    );
    let circuits = report["circuits"].as_array().unwrap();
    let names: Vec<_> = circuits
        .iter()
        .map(|c| c["circuit_name"].as_str().unwrap())
        .collect();
    for name in [
        "batch_orchestrator.batch_conductor_client",
        "spellchecker.content_client",
        "cj_assessment.content_client",
        "cj_assessment.anthropic_provider",
        "cj_assessment.openai_provider",
        "cj_assessment.google_provider",
        "cj_assessment.openrouter_provider",
        "batch_orchestrator.kafka_producer",
        "essay_lifecycle.kafka_producer",
        "spellchecker.kafka_producer",
        "cj_assessment.kafka_producer",
        "file.kafka_producer",
        "class_management.kafka_producer",
        "api_gateway.kafka_producer",
    ] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    assert!(
        circuits
            .iter()
            .all(|c| c["state"] == "closed" && c["blocked"] == 0),
        "{circuits:?}"
    );
    assert_eq!(report["judges"][0]["sandbox"], true);
    let judged: u64 = report["judges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|j| j["comparisons"].as_u64().unwrap())
        .sum();
    let taken: u64 = report["ranking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["comparisons"].as_u64().unwrap())
        .sum();
    assert_eq!(judged * 2, taken, "every comparison has two essays");

    let (code, unprotected, ..) = assess(&folder, "7", &[("CIRCUIT_BREAKER_ENABLED", "false")]);
    assert_eq!(code, 0);
    assert_eq!(unprotected["ranking"], report["ranking"]);
}

#[test]
fn the_broker_goes_away_in_the_middle_and_the_ranking_is_the_same() {
    let folder = root().join("samples/essays");
    for drill in ["broker-outage=5s", "broker-freeze=5s"] {
        // Four seconds without a delivery open a circuit, in place of seven.
        let environment = [("KAFKA_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "4")];
        let arguments = ["--seed", "7", "--drill", drill];
        let (code, report, stdout, stderr) = assess_with(&folder, &arguments, &environment);
        assert_eq!(code, 0, "{stdout}\n{stderr}");
        assert_eq!(report["ranking"], undisturbed()["ranking"], "{drill}");
        let events = &report["events"];
        assert_eq!(
            (&events["lost"], &events["waiting"]),
            (&0.into(), &0.into())
        );
        let shown = &report["drill"];
        let number = |name: &str| shown[name].as_f64().unwrap();
        assert!(number("seconds") >= 5.0, "{shown}");
        assert!(number("waiting_most") > number("waiting_before"), "{shown}");
        let circuits = shown["circuits"].as_array().unwrap();
        assert!(!circuits.is_empty(), "no circuit opened: {shown}");
        for circuit in circuits {
            let states = circuit["states"].as_array().unwrap();
            let states: Vec<_> = states.iter().map(|s| s.as_str().unwrap()).collect();
            assert!(
                states.starts_with(&["closed", "open", "half_open"]),
                "{shown}"
            );
            assert!(states.ends_with(&["half_open", "closed"]), "{shown}");
        }
        assert!(stdout.contains("drill: broker"), "{stdout}");
    }
}

#[test]
fn a_drill_without_the_embedded_broker_is_refused() {
    let folder = root().join("samples/essays");
    let elsewhere = [("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")];
    let arguments = ["--drill", "broker-outage=1s"];
    let (code, _, _, stderr) = assess_with(&folder, &arguments, &elsewhere);
    assert_eq!(code, 1);
    assert!(stderr.contains("KAFKA_BOOTSTRAP_SERVERS"), "{stderr}");
    let (code, _, _, stderr) = assess_with(&folder, &["--drill", "rain=1s"], &[]);
    assert_eq!(code, 2);
    assert!(stderr.contains("broker-outage=20s"), "{stderr}");
}

#[test]
fn a_bad_file_fails_alone_with_its_reason_and_the_rest_is_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let samples = root().join("samples/essays");
    for (from, to) in [
        ("Noah.txt", "a b.txt"),
        ("Omar_Haddad.txt", "مقال.txt"),
        ("Freja Holm.pdf", "作文.PDF"),
    ] {
        fs::copy(samples.join(from), folder.path().join(to)).unwrap();
    }
    let bad = [
        ("empty.txt", b"".to_vec()),
        ("short.txt", b"Too short.".to_vec()),
        ("binary.txt", (0..=255u8).cycle().take(4096).collect()),
        (
            "locked.docx",
            [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1].repeat(512),
        ),
        ("broken.pdf", b"%PDF-1.7\nnothing here".to_vec()),
    ];
    for (name, bytes) in &bad {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::write(folder.path().join("notes.md"), "not an essay").unwrap();
    let (code, report, stdout, stderr) = assess(folder.path(), "1", &[]);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    let ranks = ranks(&report);
    assert_eq!(ranks.len(), 3);
    assert!(ranks["مقال.txt"] < ranks["a b.txt"]);
    let failed: BTreeMap<_, _> = report["failed_files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["file"].as_str().unwrap(), f["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        failed.keys().copied().collect::<Vec<_>>(),
        [
            "binary.txt",
            "broken.pdf",
            "empty.txt",
            "locked.docx",
            "short.txt"
        ]
    );
    assert!(failed["short.txt"].contains("characters"), "{failed:?}");
    assert!(
        failed.values().all(|reason| reason.len() > 10),
        "{failed:?}"
    );
    assert_eq!(report["batch"]["status"], "completed_with_failures");
    assert_eq!(report["events"]["lost"], 0);
    assert!(stderr.contains("notes.md"), "{stderr}");
}

#[test]
fn a_batch_in_which_nothing_is_usable_fails_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "short").unwrap();
    let (code, report, stdout, stderr) = assess(folder.path(), "1", &[]);
    assert_eq!((code, report), (1, Value::Null), "{stdout}");
    assert!(
        stderr.contains("a.txt") && stderr.contains("huleedu.log"),
        "{stderr}"
    );
    // What was kept for inspection is the test's to remove.
    let log = stderr
        .split("the log is ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    let kept = Path::new(log).parent().unwrap();
    assert!(kept.join("batch-orchestrator.db").is_file());
    fs::remove_dir_all(kept).unwrap();
}

#[test]
fn ctrl_c_stops_cleanly_and_keeps_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let samples = root().join("samples/essays");
    let mut command = huleedu(&["assess", samples.to_str().unwrap()]);
    command.env("TMPDIR", temporary.path());
    let mut running = Running::start(command);
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    let mut said = String::new();
    // In the middle of the work: the first phase has been told of.
    while !said.contains("reading files") {
        assert_ne!(
            stderr.read_line(&mut said).unwrap(),
            0,
            "ended early: {said}"
        );
    }
    running.signal("INT");
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("stopped"), "{said}");
    assert_eq!(
        fs::read_dir(temporary.path()).unwrap().count(),
        0,
        "files are left behind"
    );
}
