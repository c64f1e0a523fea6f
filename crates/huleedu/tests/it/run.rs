//! Running the binary in an environment of the test's own.

use std::{
    io::{BufRead as _, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use huleedu_kit::testing::http_client;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

/// The binary with these arguments; settings of whoever runs the tests do not reach it.
pub(crate) fn huleedu(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huleedu"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn output(mut command: Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A child that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Sends a signal by name, as a shell would.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `huleedu up` that has printed all its addresses.
pub(crate) struct Up {
    pub(crate) running: Running,
    /// What it printed.
    pub(crate) lines: Vec<String>,
    /// Kept open: a platform whose reader has gone could not print any more.
    _rest: Lines<BufReader<ChildStdout>>,
}

impl Up {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut running = Running::start(huleedu(&[&["up"], arguments].concat()));
        let mut rest = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let mut lines = Vec::new();
        loop {
            let line = rest.next().unwrap().unwrap();
            let last = line.contains("Ctrl-C");
            lines.push(line);
            if last {
                break;
            }
        }
        Self {
            running,
            lines,
            _rest: rest,
        }
    }

    /// The word behind this one at the start of a line.
    pub(crate) fn word(&self, start: &str) -> String {
        let line = self.lines.iter().find(|l| l.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no {start} in {:?}", self.lines));
        line.split_whitespace().nth(1).unwrap().to_owned()
    }
}

/// Makes a class in the class management at that address, which publishes an event.
pub(crate) async fn make_class(address: &str, name: &str) {
    let answer = http_client()
        .post(format!("http://{address}/v1/classes"))
        .header("X-User-ID", "teacher")
        .json(&serde_json::json!({ "name": name, "course_codes": ["ENG5"] }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
}
