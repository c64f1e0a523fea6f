//! Brokers as processes: ours, and those of `scripts/kafka-up`; and ours in this process, to be told to fail.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use fusebox_devbroker::DevBrokerConfig;
use rustix::process::{Pid, Signal, kill_process};

use super::LIMIT;

/// Our broker in this process, with its data below `folder`.
pub(crate) async fn broker_in(folder: &Path) -> fusebox_devbroker::DevBroker {
    let mut config = DevBrokerConfig::in_dir(folder.join("broker"));
    config.auto_create_topics = false;
    let start = move || fusebox_devbroker::DevBroker::start(config).unwrap();
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// A cluster whose brokers can be frozen and killed. Brokers are numbered from 1.
pub(crate) trait Cluster: Sync {
    fn bootstrap(&self) -> String;

    fn size(&self) -> i32;

    fn pid(&self, broker: i32) -> Pid;

    /// Kills it with `SIGKILL`, and waits until it is gone.
    fn kill(&self, broker: i32);

    /// Starts a killed one again, on its data and its port.
    fn start(&self, broker: i32);

    /// Whether it may answer that it has no broker, for a moment after all of them were away.
    fn forgets_brokers(&self) -> bool;

    fn freeze(&self, broker: i32) {
        kill_process(self.pid(broker), Signal::STOP).unwrap();
    }

    fn thaw(&self, broker: i32) {
        kill_process(self.pid(broker), Signal::CONT).unwrap();
    }

    fn each(&self, act: impl Fn(&Self, i32))
    where
        Self: Sized,
    {
        for broker in 1..=self.size() {
            act(self, broker);
        }
    }
}

/// A folder of `scripts/kafka-up`.
pub(crate) struct Kafka {
    folder: PathBuf,
}

impl Kafka {
    /// The cluster whose folder is named by `PROOF_KAFKA`.
    pub(crate) fn given() -> Self {
        let folder = std::env::var_os("PROOF_KAFKA").expect("run it by scripts/test-real-kafka");
        Self {
            folder: folder.into(),
        }
    }
}

impl Cluster for Kafka {
    fn forgets_brokers(&self) -> bool {
        true
    }

    fn bootstrap(&self) -> String {
        let servers = fs::read_to_string(self.folder.join("bootstrap")).unwrap();
        servers.trim().to_owned()
    }

    fn size(&self) -> i32 {
        let brokers = (1..).take_while(|n| self.folder.join(n.to_string()).exists());
        brokers.last().unwrap()
    }

    fn pid(&self, broker: i32) -> Pid {
        let path = self.folder.join(broker.to_string()).join("pid");
        let pid = fs::read_to_string(path).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }

    fn kill(&self, broker: i32) {
        let pid = self.pid(broker);
        kill_process(pid, Signal::KILL).unwrap();
        // No child of ours, so there is nothing to wait for but its absence; one whose parent has not
        // heard yet has no command line any more.
        let line = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        let deadline = Instant::now() + LIMIT;
        while fs::read(&line).is_ok_and(|line| !line.is_empty()) {
            assert!(Instant::now() < deadline, "it does not die");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn start(&self, broker: i32) {
        let script = self.folder.join(broker.to_string()).join("start");
        let status = Command::new(script).status().unwrap();
        assert!(status.success());
    }
}

/// Our own broker as a process.
pub(crate) struct DevBroker {
    folder: tempfile::TempDir,
    drop_ack_every: u64,
    process: Mutex<Process>,
}

struct Process {
    child: Child,
    bootstrap: String,
}

impl Process {
    fn start(listen: &str, folder: &Path, drop_ack_every: u64) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proof-broker"))
            .args(["--listen", listen, "--drop-ack-every"])
            .arg(drop_ack_every.to_string())
            .arg("--data-dir")
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut bootstrap = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut bootstrap)
            .unwrap();
        assert!(!bootstrap.is_empty(), "the broker did not start");
        Self {
            child,
            bootstrap: bootstrap.trim().to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed already, or the test is over; frozen ones die, too.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl DevBroker {
    pub(crate) fn start() -> Self {
        // Never: a rule that fits no request.
        Self::dropping_answers(0)
    }

    /// Every so many requests to produce are done, and their answers dropped.
    pub(crate) fn dropping_answers(every: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start("127.0.0.1:0", folder.path(), every);
        Self {
            folder,
            drop_ack_every: every,
            process: Mutex::new(process),
        }
    }
}

impl Cluster for DevBroker {
    fn forgets_brokers(&self) -> bool {
        false
    }

    fn bootstrap(&self) -> String {
        self.process.lock().unwrap().bootstrap.clone()
    }

    fn size(&self) -> i32 {
        1
    }

    fn pid(&self, _: i32) -> Pid {
        Pid::from_child(&self.process.lock().unwrap().child)
    }

    fn kill(&self, _: i32) {
        let mut process = self.process.lock().unwrap();
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    fn start(&self, _: i32) {
        let mut process = self.process.lock().unwrap();
        *process = Process::start(&process.bootstrap, self.folder.path(), self.drop_ack_every);
    }
}
