//! Which stores and journals a command is about.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use fusebox_journal::{Journal, OpenError};
use huleedu_kit::{
    ServiceId,
    admin::SocketPath,
    settings::{CommonSettings, Env, SettingsReader},
};

use super::args::WhereArgs;
use crate::platform;

/// A store or a journal, by the name it has in identifiers.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// The database of a service.
    Store(StorePlace),
    /// A journal directory.
    Journal {
        /// Its name.
        name: String,
        /// The directory.
        dir: PathBuf,
    },
}

/// The database of a service.
#[derive(Debug, Clone)]
pub(crate) struct StorePlace {
    pub(crate) service: ServiceId,
    pub(crate) url: String,
    pub(crate) socket: Option<SocketPath>,
    /// Most events that may wait.
    pub(crate) limit: u64,
}

impl Place {
    /// Its name in identifiers.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Store(store) => store.service.slug(),
            Self::Journal { name, .. } => name,
        }
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
        let name = name_of(dir);
        let dir = dir.clone();
        return Ok(vec![Place::Journal { name, dir }]);
    }
    match (&args.data_dir, args.service) {
        (Some(dir), service) => in_folder(dir, service, env),
        (None, Some(service)) => Ok(vec![Place::Store(from_env(service, env)?)]),
        (None, None) => bail!(
            "say where: --data-dir DIR (the directory of `huleedu up`), --service SERVICE (with its \
             DATABASE_URL in the environment) or --journal DIR"
        ),
    }
}

fn in_folder(folder: &Path, service: Option<ServiceId>, env: &Env) -> anyhow::Result<Vec<Place>> {
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot use {}", folder.display()))?;
    let mut places = Vec::new();
    for id in ServiceId::ALL {
        if service.is_some_and(|only| only != id) {
            continue;
        }
        let file = platform::database_file(&folder, id);
        if file.is_file() {
            let url = platform::database_url(&folder, id);
            let common = settings(id, env);
            places.push(Place::Store(StorePlace {
                service: id,
                socket: SocketPath::of(id, None, &url),
                url,
                limit: limit(&common),
            }));
        }
    }
    if service.is_none() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut dirs: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
            .collect();
        dirs.push(folder.clone());
        dirs.sort();
        for dir in dirs {
            if is_journal(&dir)? {
                let name = name_of(&dir);
                places.push(Place::Journal { name, dir });
            }
        }
    }
    if places.is_empty() {
        let what = service.map_or_else(
            || "a store of a service or a journal".to_owned(),
            |id| format!("{}.db", id.slug()),
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

fn limit(common: &CommonSettings) -> u64 {
    common.kafka.as_ref().map_or(0, |k| k.fallback_queue_size)
}

fn from_env(service: ServiceId, env: &Env) -> anyhow::Result<StorePlace> {
    let common = settings(service, env);
    if common.database_url.is_empty() {
        bail!(
            "DATABASE_URL is not set; set DATABASE_URL or {}DATABASE_URL as for `huleedu run {service}`, or \
             give --data-dir",
            service.env_prefix()
        );
    }
    let setting = common.admin_socket.as_deref();
    Ok(StorePlace {
        service,
        socket: SocketPath::of(service, setting, &common.database_url),
        limit: limit(&common),
        url: common.database_url,
    })
}

fn name_of(dir: &Path) -> String {
    dir.file_name().map_or_else(
        || "journal".to_owned(),
        |n| n.to_string_lossy().into_owned(),
    )
}

fn is_journal(dir: &Path) -> anyhow::Result<bool> {
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
        assert!(error(&at(None, None)).contains("say where"));
    }

    #[test]
    fn an_identifier_names_its_place_or_there_is_but_one() {
        let place = |name: &str| Place::Journal {
            name: name.to_owned(),
            dir: PathBuf::new(),
        };
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
