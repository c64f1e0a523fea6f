//! The file of circuit settings: read at start, and looked at again while the service runs.
//!
//! The file is compared by its content, because times and sizes can stay the same over a change. A
//! change counts once two looks in a row have seen it: a file that an editor is still writing is
//! also a file. What is refused is refused whole, said once, and the old settings stay.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fusebox::{CircuitSettings, Registry};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{consumer::chain, metrics::Metrics, service::ServiceId};

/// The longest file that is read.
const LONGEST: u64 = 1024 * 1024;

/// Where the settings of circuits are, how often to look, and what was found at start.
#[derive(Debug, Clone)]
pub struct CircuitFile {
    path: PathBuf,
    every: Duration,
    text: Arc<str>,
    settings: CircuitSettings,
}

/// A file of circuit settings cannot be used.
#[derive(Debug, Error)]
#[error("the circuit settings of {} cannot be used", path.display())]
pub struct CircuitFileError {
    path: PathBuf,
    #[source]
    source: Cause,
}

#[derive(Debug, Error)]
enum Cause {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Settings(#[from] fusebox::SettingsError),
}

impl CircuitFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be read, or holds what are no settings.
    pub fn open(path: impl Into<PathBuf>, every: Duration) -> Result<Self, CircuitFileError> {
        let path = path.into();
        let read = || -> Result<_, Cause> {
            let text = read(&path)?;
            let settings = CircuitSettings::from_toml(&text)?;
            Ok((text, settings))
        };
        match read() {
            Ok((text, settings)) => Ok(Self {
                path,
                every,
                text: text.into(),
                settings,
            }),
            Err(source) => Err(CircuitFileError { path, source }),
        }
    }

    /// What the file said at start.
    pub fn settings(&self) -> &CircuitSettings {
        &self.settings
    }

    /// Looks at the file until `stop`, and puts in force what it says.
    pub(crate) async fn watch(
        self,
        service: ServiceId,
        registry: Registry,
        metrics: FileMetrics,
        stop: CancellationToken,
    ) {
        let path = self.path.clone();
        let mut timer = tokio::time::interval(self.every);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut watcher = Watcher::new(self.text);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timer.tick() => {}
            }
            let from = path.clone();
            let seen = tokio::task::spawn_blocking(move || read(&from)).await;
            let Ok(seen) = seen else { return };
            let file = path.display();
            match watcher.look(seen, |settings| registry.apply_settings(settings)) {
                Look::Same => {}
                Look::Applied(circuits) => {
                    metrics.applied();
                    let circuits = circuits.join(" ");
                    info!(service = service.name(), %file, circuits, "circuit settings reloaded");
                }
                Look::Refused(cause) => {
                    metrics.refused();
                    let error = chain(&cause);
                    error!(service = service.name(), %file, error, "circuit settings refused, the old ones stay");
                }
            }
        }
    }
}

/// What a look at the file came to.
#[derive(Debug)]
enum Look {
    /// Nothing new, or nothing that has been seen twice yet.
    Same,
    /// New settings are in force; the circuits that they changed.
    Applied(Vec<String>),
    /// The file cannot be used. Said once for the same content.
    Refused(Cause),
}

/// What a file holds, as far as looks are compared: its text, or why there is none.
type Content = Result<Arc<str>, io::ErrorKind>;

/// Decides about the content of successive looks. Knows no disk and no clock.
struct Watcher {
    /// What the last decision was about.
    decided: Content,
    /// What the last look saw.
    seen: Content,
}

impl Watcher {
    fn new(text: Arc<str>) -> Self {
        Self {
            decided: Ok(Arc::clone(&text)),
            seen: Ok(text),
        }
    }

    fn look(
        &mut self,
        now: io::Result<String>,
        apply: impl FnOnce(CircuitSettings) -> Result<Vec<String>, fusebox::SettingsError>,
    ) -> Look {
        let content: Content = match &now {
            Ok(text) => Ok(text.as_str().into()),
            Err(error) => Err(error.kind()),
        };
        let settled = content == self.seen;
        self.seen.clone_from(&content);
        if content == self.decided || !settled {
            return Look::Same;
        }
        self.decided = content;
        let result = now.map_err(Cause::Read).and_then(|text| {
            let settings = CircuitSettings::from_toml(&text)?;
            Ok(apply(settings)?)
        });
        match result {
            Ok(circuits) => Look::Applied(circuits),
            Err(cause) => Look::Refused(cause),
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is longer than 1 MiB",
        ));
    }
    Ok(text)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(
    non_camel_case_types,
    reason = "the variants are the label values on the wire"
)]
enum Reload {
    applied,
    refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: Reload,
}

/// Reloads of the file by result, and whether the file as it is now is refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileMetrics {
    reloads: Family<ReloadLabels, Counter>,
    refused: Gauge,
}

impl FileMetrics {
    pub(crate) fn register(service: ServiceId, metrics: &Metrics) -> Self {
        let made = Self::default();
        for result in [Reload::applied, Reload::refused] {
            drop(made.reloads.get_or_create(&ReloadLabels { result }));
        }
        metrics.register(|registry| {
            let of =
                registry.sub_registry_with_label(("service_name".into(), service.name().into()));
            of.register(
                "circuit_breaker_config_reloads",
                "Changes of the file of circuit settings, by what became of them",
                made.reloads.clone(),
            );
            of.register(
                "circuit_breaker_config_refused",
                "1 while the file of circuit settings is refused and older ones are in force",
                made.refused.clone(),
            );
        });
        made
    }

    fn applied(&self) {
        self.count(Reload::applied);
        self.refused.set(0);
    }

    fn refused(&self) {
        self.count(Reload::refused);
        self.refused.set(1);
    }

    fn count(&self, result: Reload) {
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "[defaults]\nfailure_rate = 0.4\n";
    const NEW: &str = "[defaults]\nfailure_rate = 0.6\n";

    const BAD: &str = "[defaults]\nfailure_rate = \"lots\"\n";

    /// What a look finds.
    type Found = io::Result<String>;
    type Applied = Result<Vec<String>, fusebox::SettingsError>;

    #[expect(clippy::unnecessary_wraps, reason = "the other case is `gone`")]
    fn text(text: &str) -> Found {
        Ok(text.to_owned())
    }

    fn gone() -> Found {
        Err(io::Error::new(io::ErrorKind::NotFound, "gone"))
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "what stands in for a registry may refuse"
    )]
    fn accept(_: CircuitSettings) -> Applied {
        Ok(vec!["one".to_owned()])
    }

    #[test]
    fn a_change_counts_when_it_was_seen_twice_and_then_once() {
        let mut watcher = Watcher::new(OLD.into());
        assert!(matches!(watcher.look(text(OLD), accept), Look::Same));
        assert!(
            matches!(watcher.look(text(""), accept), Look::Same),
            "being written"
        );
        assert!(
            matches!(watcher.look(text(NEW), accept), Look::Same),
            "seen once"
        );
        let look = watcher.look(text(NEW), accept);
        assert!(matches!(look, Look::Applied(circuits) if circuits == ["one"]));
        assert!(matches!(watcher.look(text(NEW), accept), Look::Same));
        // Back again is a change like any other.
        assert!(matches!(watcher.look(text(OLD), accept), Look::Same));
        assert!(matches!(watcher.look(text(OLD), accept), Look::Applied(_)));
    }

    #[test]
    fn what_is_refused_is_said_once() {
        let mut watcher = Watcher::new(OLD.into());
        let looks = |watcher: &mut Watcher, now: fn() -> Found| {
            (0..4)
                .filter(|_| matches!(watcher.look(now(), accept), Look::Refused(_)))
                .count()
        };
        assert_eq!(looks(&mut watcher, || text(BAD)), 1);
        assert_eq!(looks(&mut watcher, gone), 1);
        assert_eq!(looks(&mut watcher, || text(BAD)), 1);
        // What makes no sense for the circuits is refused like what is no setting at all.
        let refuse = |_| {
            let nonsense = CircuitSettings::from_toml("[defaults]\nfailure_rate = 7\n")?;
            nonsense.check(&fusebox::BreakerConfig::default())?;
            Ok(Vec::new())
        };
        assert!(matches!(watcher.look(text(NEW), refuse), Look::Same));
        let Look::Refused(cause) = watcher.look(text(NEW), refuse) else {
            panic!("refused by the circuits");
        };
        assert_eq!(
            chain(&cause),
            "defaults.failure_rate is 7.0; allowed is more than 0 and at most 1"
        );
        assert!(matches!(watcher.look(text(OLD), accept), Look::Same));
        assert!(matches!(watcher.look(text(OLD), accept), Look::Applied(_)));
    }

    #[test]
    fn a_file_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("circuits.toml");
        let longest = usize::try_from(LONGEST).unwrap();
        std::fs::write(&path, "#".repeat(longest)).unwrap();
        assert!(read(&path).is_ok());
        std::fs::write(&path, "#".repeat(longest + 1)).unwrap();
        let error = CircuitFile::open(&path, Duration::from_secs(1)).unwrap_err();
        let shown = chain(&error);
        assert!(
            shown.ends_with("it cannot be read: it is longer than 1 MiB"),
            "{shown}"
        );
        assert!(CircuitFile::open(folder.path().join("none"), Duration::from_secs(1)).is_err());
    }
}
