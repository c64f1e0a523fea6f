//! docs/metrics.md against what the nine services export, in both directions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use huleedu_contracts::topics::Topic;
use huleedu_kit::{
    ServiceId,
    testing::{eventually, http_client},
};

use crate::{
    page::{code, table},
    run::{Up, root},
};

/// One family as the page describes it.
struct Family {
    kind: String,
    /// Label names; with all values there can be, where the page lists them.
    labels: BTreeMap<String, Option<BTreeSet<String>>>,
    services: BTreeSet<ServiceId>,
}

struct Page {
    families: BTreeMap<String, Family>,
    circuits: BTreeMap<ServiceId, BTreeSet<String>>,
}

fn owned(cell: &str) -> BTreeSet<String> {
    code(cell).into_iter().map(str::to_owned).collect()
}

fn services(cell: &str) -> BTreeSet<ServiceId> {
    if cell == "all" {
        return ServiceId::ALL.into();
    }
    if let Some(other) = cell.strip_prefix("all but ") {
        let other: ServiceId = other.parse().unwrap();
        return ServiceId::ALL.into_iter().filter(|s| *s != other).collect();
    }
    cell.split(',').map(|slug| slug.parse().unwrap()).collect()
}

fn page() -> Page {
    let text = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let families = table(&text, "## Families").into_iter().map(|row| {
        let labels = row[2].split(';').map(|label| {
            let (name, values) = label
                .split_once('=')
                .map_or((label, None), |(name, values)| (name, Some(owned(values))));
            (code(name)[0].to_owned(), values)
        });
        let family = Family {
            kind: row[1].to_owned(),
            labels: labels.collect(),
            services: services(row[3]),
        };
        (code(row[0])[0].to_owned(), family)
    });
    let circuits = table(&text, "## Circuits")
        .into_iter()
        .map(|row| (row[0].parse().unwrap(), owned(row[1])));
    let page = Page {
        families: families.collect(),
        circuits: circuits.collect(),
    };
    assert!(page.families.len() > 10 && page.circuits.len() == ServiceId::ALL.len());
    page
}

impl Page {
    /// Name and type of what a service should export.
    fn expected(&self, service: ServiceId) -> BTreeSet<(String, String)> {
        self.families
            .iter()
            .filter(|(_, family)| family.services.contains(&service))
            .map(|(name, family)| (name.clone(), family.kind.clone()))
            .collect()
    }
}

/// Name and type of every family in a scrape.
fn exported(scrape: &str) -> BTreeSet<(String, String)> {
    scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// A sample's name and labels.
fn sample(line: &str) -> (&str, BTreeMap<&str, &str>) {
    let Some((name, rest)) = line.split_once('{') else {
        return (line.split(' ').next().unwrap(), BTreeMap::new());
    };
    let labels = rest.rsplit_once('}').unwrap().0;
    let pairs = labels.trim_end_matches('"').split("\",");
    let pairs = pairs.map(|pair| pair.split_once("=\"").unwrap());
    (name, pairs.collect())
}

/// Whether a label may hold this value, by the rules of the page.
fn bounded(page: &Page, service: ServiceId, label: &str, value: &str) -> bool {
    match label {
        "service_name" => value == service.name(),
        "circuit_name" => page.circuits[&service].contains(value),
        "topic" => value == "other" || value.parse::<Topic>().is_ok(),
        "partition" => value.parse::<u16>().is_ok(),
        "method" => {
            value == "other"
                || ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].contains(&value)
        }
        "status_code" => value.len() == 3 && value.bytes().all(|b| b.is_ascii_digit()),
        "route" => value == "unmatched" || value.starts_with('/'),
        _ => false,
    }
}

fn check_samples(page: &Page, service: ServiceId, scrape: &str) {
    for line in scrape.lines().filter(|l| !l.starts_with('#')) {
        let (name, mut labels) = sample(line);
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .filter(|base| page.families.contains_key(*base));
        let family = &page.families[base.unwrap_or(name)];
        if base.is_some() {
            labels.remove("le");
        }
        let names: BTreeSet<_> = labels.keys().copied().collect();
        let documented: BTreeSet<_> = family.labels.keys().map(String::as_str).collect();
        assert_eq!(names, documented, "{service}: {line}");
        for (label, value) in labels {
            let allowed = match &family.labels[label] {
                Some(values) => values.contains(value),
                None => bounded(page, service, label, value),
            };
            assert!(allowed, "{service}: {label} must not be {value}: {line}");
        }
    }
    let circuits: BTreeSet<_> = scrape
        .lines()
        .filter(|line| line.starts_with("circuit_breaker_state{"))
        .map(|line| sample(line).1["circuit_name"].to_owned())
        .collect();
    assert_eq!(circuits, page.circuits[&service], "{service}");
}

#[test]
fn the_metrics_page_and_what_is_exported_are_the_same() {
    let page = page();
    let up = Up::start();
    let scrapes: BTreeMap<ServiceId, &str> = up
        .lines
        .iter()
        .filter_map(|line| {
            let address = line
                .split_whitespace()
                .find(|word| word.ends_with("/metrics"))?;
            let slug = line.split_whitespace().next()?;
            Some((slug.parse().unwrap(), address))
        })
        .collect();
    assert_eq!(scrapes.len(), ServiceId::ALL.len(), "{:?}", up.lines);
    let (gateway, token) = (up.word("gateway:"), up.word("token:"));
    // Both forms in which ids occur on the platform.
    let id = uuid::Uuid::new_v4();
    let (dashed, plain) = (id.to_string(), id.simple().to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let http = http_client();
        // Requests that would show if a label were made of what the caller sent.
        for path in [
            format!("/v1/batches/{dashed}/status"),
            format!("/v1/classes/{dashed}"),
            format!("/no/such/{plain}"),
        ] {
            let url = format!("{gateway}{path}");
            let status = http.get(url).bearer_auth(&token).send().await.unwrap();
            assert_eq!(status.status(), 404, "{path}");
        }
        let invented = reqwest::Method::from_bytes(b"INVENTED").unwrap();
        let url = format!("{gateway}/v1/batches");
        http.request(invented, url).send().await.unwrap();
        for (service, address) in scrapes {
            let expected = page.expected(service);
            let read = async || {
                let response = http.get(address).send().await.unwrap();
                response.text().await.unwrap()
            };
            // The first answer is one itself, and consumers begin after the addresses are printed.
            let all = eventually("every family", Duration::from_secs(30), async || {
                let text = read().await;
                (exported(&text) == expected).then_some(text)
            });
            let Ok(scrape) = all.await else {
                assert_eq!(exported(&read().await), expected, "{service}");
                return;
            };
            check_samples(&page, service, &scrape);
            for id in [&dashed, &plain] {
                assert!(!scrape.contains(id), "{service}: {scrape}");
            }
            if service == ServiceId::ApiGateway {
                for label in [
                    r#"route="/v1/batches/{batch_id}/status""#,
                    r#"route="unmatched""#,
                    r#"method="other""#,
                ] {
                    assert!(scrape.contains(label), "{label} in {scrape}");
                }
            }
        }
    });
}
