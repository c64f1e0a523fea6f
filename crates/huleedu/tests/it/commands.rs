//! The other commands: `up`, `run`, `config`, and clear errors.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
};

use crate::run::{Running, Up, huleedu, output, root};

#[test]
fn up_answers_on_every_address_it_prints_and_stops_on_sigterm() {
    let mut up = Up::start();
    let (gateway, token) = (up.word("gateway:"), up.word("token:"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let http = huleedu_kit::testing::http_client();
        let addresses: Vec<_> = up
            .lines
            .iter()
            .flat_map(|l| l.split_whitespace())
            .filter(|w| w.ends_with("/healthz") || w.ends_with("/metrics"))
            .collect();
        assert_eq!(addresses.len(), 18, "{:?}", up.lines);
        for address in addresses {
            let response = http.get(address).send().await.unwrap();
            assert_eq!(response.status(), 200, "{address}");
            let body = response.text().await.unwrap();
            assert!(
                body.contains("healthy") || body.contains("circuit_breaker_state"),
                "{address}: {body}"
            );
        }
        let list = format!("{gateway}/v1/batches");
        assert_eq!(http.get(&list).send().await.unwrap().status(), 401);
        let response = http.get(&list).bearer_auth(&token).send().await.unwrap();
        assert_eq!(response.status(), 200);
    });
    up.running.signal("TERM");
    assert_eq!(up.running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn run_names_what_is_missing() {
    let (code, _, stderr) = output(huleedu(&["run", "spellchecker"]));
    assert_eq!(code, 1);
    for name in [
        "KAFKA_BOOTSTRAP_SERVERS",
        "SPELLCHECKER_SERVICE_DATABASE_URL",
    ] {
        assert!(stderr.contains(name), "{name} in {stderr}");
    }
    let (code, _, stderr) = output(huleedu(&["run", "grammar"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("batch-orchestrator"), "{stderr}");
}

#[test]
fn run_serves_one_service_and_stops_on_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = huleedu(&["run", "content", "--log-format", "json"]);
    command.env("HTTP_PORT", "0").env(
        "DATABASE_URL",
        format!("sqlite://{}/content.db", folder.path().display()),
    );
    let mut running = Running::start(command);
    let mut lines = BufReader::new(running.0.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "ended early");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["message"] == "service started" {
            break event["address"].as_str().unwrap().to_owned();
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let http = huleedu_kit::testing::http_client();
        let stored = http
            .post(format!("http://{address}/v1/content"))
            .body("text")
            .send()
            .await
            .unwrap();
        assert_eq!(stored.status(), 201);
    });
    running.signal("INT");
    lines.read_to_string(&mut line).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_bad_setting_stops_the_start_with_its_name_value_and_what_is_allowed() {
    let mut command = huleedu(&["assess", root().join("samples/essays").to_str().unwrap()]);
    let temporary = tempfile::tempdir().unwrap();
    command
        .env("TMPDIR", temporary.path())
        .env("BCS_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "many");
    let (code, _, stderr) = output(command);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("BCS_CIRCUIT_BREAKER_FAILURE_THRESHOLD is `many`; allowed: a whole number"),
        "{stderr}"
    );
}

#[test]
fn a_folder_without_essays_is_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = output(huleedu(&["assess", folder.path().to_str().unwrap()]));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("there is no .txt, .docx or .pdf file"),
        "{stderr}"
    );
    assert!(!stderr.contains("starting"), "{stderr}");
}

#[test]
fn config_shows_value_source_and_meaning_and_hides_secrets() {
    let mut command = huleedu(&["config", "api-gateway"]);
    command
        .env(
            "API_GATEWAY_JWT_SECRET",
            "correct horse battery staple, and more",
        )
        .env("HTTP_CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "12.5");
    let (_, stdout, _) = output(command);
    assert!(!stdout.contains("battery"), "{stdout}");
    let line = stdout
        .lines()
        .find(|l| l.starts_with("HTTP_CIRCUIT_BREAKER_RECOVERY_TIMEOUT"))
        .unwrap();
    assert!(
        line.contains("12.5") && line.contains("environment HTTP_CIRCUIT_BREAKER_RECOVERY_TIMEOUT"),
        "{line}"
    );
    assert!(
        stdout.contains("PROBLEM: KAFKA_BOOTSTRAP_SERVERS is not set"),
        "{stdout}"
    );
}

#[test]
fn the_configuration_page_is_what_the_program_says() {
    let (_, stdout, _) = output(huleedu(&["config", "--markdown"]));
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let start = page.find("\n## ").unwrap();
    assert!(
        page.get(start..).unwrap().trim() == stdout.trim(),
        "docs/configuration.md is out of date: run scripts/update-docs"
    );
}

#[test]
fn every_command_has_help() {
    for command in ["assess", "up", "run", "config"] {
        let (code, stdout, _) = output(huleedu(&[command, "--help"]));
        assert_eq!(code, 0);
        assert!(stdout.lines().count() > 8, "{stdout}");
    }
    let (code, stdout, _) = output(huleedu(&["--help"]));
    assert_eq!(code, 0);
    assert!(stdout.contains("Examples:"), "{stdout}");
}
