//! Which stores and journals a command is about.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use fusebox_journal::{Journal, OpenError};
use huleedu_kit::{
    ServiceId,
    admin::{Home, SocketPath},
    settings::{CommonSettings, Env, PaceSettings, PoisonSettings, SettingsReader},
};

use super::args::WhereArgs;
use crate::platform;

/// A store or a journal, by the name it has in identifiers.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    name: String,
    pub(crate) kept: Kept,
    /// Where its owner is found; `None` for a database on a server that has no admin socket.
    pub(crate) owner_at: Option<SocketPath>,
    /// Most events that may wait in a database.
    pub(crate) limit: u64,
    /// What happens behind an event that Kafka refuses for good.
    pub(crate) poison: PoisonSettings,
    /// How fast they may be handed to Kafka.
    pub(crate) pace: PaceSettings,
    /// How long services remember what they have applied.
    pub(crate) retention: Duration,
}

/// What holds the events.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    /// The database of a service.
    Store { service: ServiceId, url: String },
    /// A journal, by its folder.
    Journal(PathBuf),
}

impl Place {
    /// Of a service, by its settings and where it keeps its events.
    fn new(name: String, kept: Kept, common: &CommonSettings, setting: Option<&str>) -> Self {
        let home = match &kept {
            Kept::Store { service, url } => Home::Database(*service, url),
            Kept::Journal(dir) => Home::Journal(dir),
        };
        let kafka = common.kafka.as_ref();
        Self {
            owner_at: SocketPath::of(setting, home),
            limit: kafka.map_or(0, |kafka| kafka.fallback_queue_size),
            poison: kafka.map(|kafka| kafka.poison.clone()).unwrap_or_default(),
            pace: kafka.map(|kafka| kafka.pace).unwrap_or_default(),
            retention: kafka.map_or(Duration::MAX, |kafka| kafka.inbox_retention),
            name,
            kept,
        }
    }

    /// A journal that may be any service's.
    fn journal(name: String, dir: PathBuf, env: &Env) -> Self {
        let common = settings(ServiceId::ApiGateway, env);
        Self::new(name, Kept::Journal(dir), &common, None)
    }

    /// Whether a process has it now.
    pub(crate) fn has_owner(&self) -> anyhow::Result<bool> {
        let owner = self.owner_at.as_ref().map(SocketPath::owner);
        Ok(owner.transpose()?.flatten().is_some())
    }

    /// Whether events are sent from here.
    pub(crate) fn sends(&self) -> bool {
        match self.kept {
            Kept::Store { service, .. } => service.uses_kafka(),
            Kept::Journal(_) => true,
        }
    }

    /// Its name in identifiers.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// All places that are meant.
pub(crate) fn find(args: &WhereArgs) -> anyhow::Result<Vec<Place>> {
    find_in(args, &Env::from_process())
}

fn find_in(args: &WhereArgs, env: &Env) -> anyhow::Result<Vec<Place>> {
    if let Some(dir) = &args.journal {
        if !is_journal(dir)? {
            bail!("there is no journal in {}", dir.display());
        }
        let dir = dir.clone();
        return Ok(vec![Place::journal(name_of(&dir), dir, env)]);
    }
    match (&args.data_dir, args.service) {
        (Some(dir), service) => in_folder(dir, service, env),
        (None, Some(service)) => Ok(vec![from_env(service, env)?]),
        (None, None) => bail!(
            "say where: --data-dir DIR (the directory of `huleedu up`), --service SERVICE (with its \
             DATABASE_URL or KAFKA_JOURNAL_DIR in the environment) or --journal DIR"
        ),
    }
}

fn in_folder(folder: &Path, service: Option<ServiceId>, env: &Env) -> anyhow::Result<Vec<Place>> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot use {}", folder.display()))?;
    let mut places = Vec::new();
    let mut journals = Vec::new();
    for id in ServiceId::ALL {
        if service.is_some_and(|only| only != id) {
            continue;
        }
        let name = id.slug().to_owned();
        let common = settings(id, env);
        // `up` gives each its socket beside what it keeps, whatever the environment says.
        if id.publishes_without_state() {
            let dir = platform::journal_dir(&folder, id);
            let place = Place::new(name, Kept::Journal(dir.clone()), &common, None);
            // One that runs answers also when it keeps nothing on disk (KAFKA_PUBLISH_MODE=memory).
            if place.has_owner()? || is_journal(&dir)? {
                places.push(place);
            }
            journals.push(dir);
        } else if platform::database_file(&folder, id).is_file() {
            let url = platform::database_url(&folder, id);
            let kept = Kept::Store { service: id, url };
            places.push(Place::new(name, kept, &common, None));
        }
    }
    if service.is_none() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut dirs: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir() && !journals.contains(path))
            .collect();
        dirs.push(folder.clone());
        dirs.sort();
        for dir in dirs {
            if is_journal(&dir)? {
                places.push(Place::journal(name_of(&dir), dir, env));
            }
        }
    }
    if places.is_empty() {
        let what = service.map_or_else(
            || "a store of a service or a journal".to_owned(),
            |id| {
                let place = if id.publishes_without_state() {
                    platform::journal_dir(&folder, id)
                } else {
                    platform::database_file(&folder, id)
                };
                name_of(&place)
            },
        );
        bail!(
            "{} has no {what}; --data-dir is the directory that `huleedu up` was given",
            folder.display()
        );
    }
    Ok(places)
}

fn settings(service: ServiceId, env: &Env) -> CommonSettings {
    // What is missing for running the service is none of our business here.
    CommonSettings::load(&mut SettingsReader::new(service, env))
}

fn from_env(service: ServiceId, env: &Env) -> anyhow::Result<Place> {
    let common = settings(service, env);
    let missing = |name: &str| {
        format!(
            "{name} is not set; set {name} or {}{name} as for `huleedu run {service}`, or give --data-dir",
            service.env_prefix()
        )
    };
    let kept = match common.home() {
        Some(Home::Database(_, "")) => bail!(missing("DATABASE_URL")),
        Some(Home::Database(service, url)) => Kept::Store {
            service,
            url: url.to_owned(),
        },
        Some(Home::Journal(dir)) if dir.as_os_str().is_empty() => {
            bail!(missing("KAFKA_JOURNAL_DIR"))
        }
        Some(Home::Journal(dir)) => Kept::Journal(dir.to_owned()),
        None => bail!("{service} keeps no events"),
    };
    let setting = common.admin_socket.as_deref();
    let name = service.slug().to_owned();
    let place = Place::new(name, kept, &common, setting);
    if let Kept::Journal(dir) = &place.kept
        && !place.has_owner()?
        && !is_journal(dir)?
    {
        bail!("there is no journal in {}", dir.display());
    }
    Ok(place)
}

fn name_of(dir: &Path) -> String {
    dir.file_name().map_or_else(
        || "journal".to_owned(),
        |n| n.to_string_lossy().into_owned(),
    )
}

pub(crate) fn is_journal(dir: &Path) -> anyhow::Result<bool> {
    match Journal::inspect(dir) {
        Ok(_) => Ok(true),
        Err(OpenError::NoJournal { .. }) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", dir.display())),
    }
}

/// Splits `PLACE/REST`; without a place there must be only one.
pub(crate) fn pick<'a, 'b>(
    places: &'a [Place],
    id: &'b str,
) -> anyhow::Result<(&'a Place, &'b str)> {
    if let Some((name, rest)) = id.rsplit_once('/') {
        let place = places.iter().find(|place| place.name() == name);
        let place = place.with_context(|| {
            let names: Vec<_> = places.iter().map(Place::name).collect();
            format!(
                "`{name}` of `{id}` is not here; here are: {}",
                names.join(", ")
            )
        })?;
        return Ok((place, rest));
    }
    match places {
        [only] => Ok((only, id)),
        _ => bail!(
            "`{id}` could be in {} places; write PLACE/{id}",
            places.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(data_dir: Option<&Path>, service: Option<ServiceId>) -> WhereArgs {
        WhereArgs {
            data_dir: data_dir.map(Path::to_owned),
            service,
            journal: None,
            json: false,
        }
    }

    #[test]
    fn a_folder_without_stores_and_a_missing_setting_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let env = Env::empty();
        let error = |args: &WhereArgs| find_in(args, &env).unwrap_err().to_string();
        let text = error(&at(Some(folder.path()), None));
        assert!(text.contains("--data-dir is the directory that"), "{text}");
        let text = error(&at(None, Some(ServiceId::File)));
        assert!(text.contains("FILE_SERVICE_DATABASE_URL"), "{text}");
        let text = error(&at(None, Some(ServiceId::ApiGateway)));
        assert!(text.contains("API_GATEWAY_KAFKA_JOURNAL_DIR"), "{text}");
        let text = error(&at(Some(folder.path()), Some(ServiceId::ApiGateway)));
        assert!(text.contains("has no api-gateway.journal"), "{text}");
        assert!(error(&at(None, None)).contains("say where"));
    }

    #[test]
    fn an_identifier_names_its_place_or_there_is_but_one() {
        let place = |name: &str| Place::journal(name.to_owned(), PathBuf::new(), &Env::empty());
        let two = [place("a"), place("b")];
        let (found, rest) = pick(&two, "b/17").unwrap();
        assert_eq!((found.name(), rest), ("b", "17"));
        assert!(pick(&two, "c/17").unwrap_err().to_string().contains("a, b"));
        assert!(
            pick(&two, "17")
                .unwrap_err()
                .to_string()
                .contains("PLACE/17")
        );
        assert_eq!(pick(&two[..1], "17").unwrap().1, "17");
    }
}
