//! The whole platform is killed in the middle of a batch, and started again on the same folder.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::ChildStderr,
    time::Duration,
};

use huleedu_kit::{
    ServiceId,
    testing::{eventually, http_client},
};
use serde_json::Value;

use crate::{
    assess::undisturbed,
    run::{Running, Up, huleedu, root},
};

/// `huleedu assess --against` a platform, as a program of its own.
struct Client {
    running: Running,
    said: BufReader<ChildStderr>,
    /// All lines so far.
    lines: Vec<String>,
}

impl Client {
    fn start(up: &Up, token: &str, arguments: &[&str]) -> Self {
        let gateway = up.word("gateway:");
        let mut command = huleedu(&["assess", "--against", &gateway]);
        // Where nobody sees it in a list of processes.
        command.args(arguments).env("HULEEDU_TOKEN", token);
        let mut running = Running::start(command);
        let said = BufReader::new(running.0.stderr.take().unwrap());
        Self {
            running,
            said,
            lines: Vec::new(),
        }
    }

    /// Waits for a line that begins like this or like a later phase, and returns it.
    fn until(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let bytes = self.said.read_line(&mut line).unwrap();
            assert_ne!(bytes, 0, "it ended before {start}: {:?}", self.lines);
            self.lines.push(line.trim().to_owned());
            // On a quick machine a phase may pass unseen.
            if line.starts_with(start) || line.starts_with("comparing essays: ") {
                return line.trim().to_owned();
            }
        }
    }

    /// Waits for its end.
    fn end(mut self) {
        let mut rest = self.said.lines();
        let said: Vec<String> = rest.by_ref().map_while(Result::ok).collect();
        let code = self.running.0.wait().unwrap().code();
        assert_eq!(code, Some(0), "{:?} {said:?}", self.lines);
    }
}

fn up(data_dir: &Path) -> Up {
    Up::start_with(&["--seed", "7", "--data-dir", data_dir.to_str().unwrap()])
}

fn kill(mut up: Up) {
    up.running.0.kill().unwrap();
    up.running.0.wait().unwrap();
}

#[test]
fn killed_three_times_in_one_batch_the_platform_completes_it_with_the_same_ranking() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let json = folder.path().join("out.json");
    let samples = root().join("samples/essays");

    let platform = up(&data_dir);
    // It is good for all three: the platform keeps the secret with its data.
    let token = platform.word("token:");
    let mut client = Client::start(&platform, &token, &[samples.to_str().unwrap()]);
    let batch = client.until("batch: ").replace("batch: ", "");
    client.until("reading files: ");
    kill(platform);

    // The platform has another address now, and the client is another program.
    let again = ["--batch", &batch];
    drop(client);
    let platform = up(&data_dir);
    let mut client = Client::start(&platform, &token, &again);
    client.until("checking spelling: ");
    kill(platform);

    drop(client);
    let platform = up(&data_dir);
    let mut client = Client::start(&platform, &token, &again);
    // Some comparisons are in, and more to come.
    while client.until("comparing essays: ").contains(" 0/") {}
    kill(platform);

    drop(client);
    let platform = up(&data_dir);
    let with_json = [&again[..], &["--json", json.to_str().unwrap()]].concat();
    Client::start(&platform, &token, &with_json).end();
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["batch"]["status"], "completed_successfully");
    assert_eq!(report["ranking"], undisturbed()["ranking"]);
    nothing_waits_and_nothing_is_dead(&platform);
}

fn nothing_waits_and_nothing_is_dead(platform: &Up) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let words = platform.lines.iter().flat_map(|l| l.split_whitespace());
    let pages: Vec<&str> = words.filter(|w| w.ends_with("/metrics")).collect();
    assert_eq!(pages.len(), ServiceId::ALL.len());
    for page in pages {
        // Both are looked at once a second.
        let all_zero = async || {
            let text = http_client()
                .get(page)
                .send()
                .await
                .ok()?
                .text()
                .await
                .ok()?;
            let families = [
                "circuit_breaker_fallback_queue_size{",
                "outbox_dead_events{",
            ];
            let mut samples = text
                .lines()
                .filter(|line| families.iter().any(|family| line.starts_with(family)));
            samples.all(|sample| sample.ends_with(" 0")).then_some(())
        };
        let zero = eventually(page, Duration::from_secs(30), all_zero);
        runtime.block_on(zero).unwrap();
    }
}

#[test]
fn a_client_waits_for_a_gateway_that_comes_back_at_the_same_address() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let json = folder.path().join("out.json");
    let platform = up(&data_dir);
    let port = platform
        .word("gateway:")
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let samples = root().join("samples/essays");
    let arguments = [samples.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let token = platform.word("token:");
    let mut client = Client::start(&platform, &token, &arguments);
    client.until("checking spelling: ");
    kill(platform);
    let data_dir = data_dir.to_str().unwrap();
    let _platform = Up::start_with(&["--seed", "7", "--data-dir", data_dir, "--port", &port]);
    client.end();
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["ranking"], undisturbed()["ranking"]);
}
