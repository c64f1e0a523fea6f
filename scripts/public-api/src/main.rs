//! Compares the public interface of our crates with the one that is written down in `docs/api`.
//!
//! `public-api-check [--update] DOCS_API CHANGELOG CRATE=RUSTDOC_JSON...`
//!
//! An item that is written down and gone is a breaking change: it fails, unless the changelog's
//! unreleased section names the item, or one that contains it, in backquotes under `Changed` or
//! `Removed`. New items are told. `--update` writes the interface down anew, under the same rule.
//! Ends with 0 when all is well, 1 when something is gone, 3 when a file could not be understood.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let update = arguments.first().is_some_and(|first| first == "--update");
    if update {
        arguments.remove(0);
    }
    let [folder, changelog, crates @ ..] = arguments.as_slice() else {
        eprintln!("usage: public-api-check [--update] DOCS_API CHANGELOG CRATE=RUSTDOC_JSON...");
        return ExitCode::from(2);
    };
    let allowed = match fs::read_to_string(changelog) {
        Ok(text) => announced(&text),
        Err(error) => {
            eprintln!("{changelog}: {error}");
            return ExitCode::from(3);
        }
    };
    let mut broken = false;
    for pair in crates {
        let Some((name, json)) = pair.split_once('=') else {
            eprintln!("{pair}: CRATE=RUSTDOC_JSON is needed");
            return ExitCode::from(2);
        };
        let now = match interface(json) {
            Ok(now) => now,
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::from(3);
            }
        };
        let page = Path::new(folder).join(format!("{name}.txt"));
        let written = fs::read_to_string(&page).unwrap_or_default();
        let before: BTreeSet<&str> = written.lines().collect();
        let after: BTreeSet<&str> = now.lines().collect();
        let gone: Vec<&str> = before
            .difference(&after)
            .copied()
            .filter(|item| !is_announced(item, &allowed))
            .collect();
        for item in &gone {
            println!("{name}: GONE {item}");
        }
        let new = after.difference(&before).count();
        println!("{name}: {} items, {} gone, {new} new", after.len(), gone.len());
        broken |= !gone.is_empty();
        if update
            && gone.is_empty()
            && let Err(error) = fs::write(&page, now)
        {
            eprintln!("{}: {error}", page.display());
            return ExitCode::from(3);
        }
    }
    if broken {
        println!(
            "\nWhat others may use is gone or different. Say so in CHANGELOG.md, under Unreleased in \
             `### Changed` or `### Removed`, with the item's path in backquotes."
        );
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}

fn interface(json: &str) -> Result<String, public_api::Error> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let mut text = api.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// What stands in backquotes under `Changed` and `Removed` of the unreleased section.
fn announced(changelog: &str) -> Vec<String> {
    let mut unreleased = false;
    let mut breaking = false;
    let mut found = Vec::new();
    for line in changelog.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            unreleased = title.starts_with("[Unreleased]");
            breaking = false;
        } else if let Some(title) = line.strip_prefix("### ") {
            breaking = matches!(title.trim(), "Changed" | "Removed");
        } else if unreleased && breaking {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Whether the line of an item names an announced path, or one within it.
fn is_announced(line: &str, announced: &[String]) -> bool {
    announced.iter().any(|path| {
        path.contains("::")
            && line.match_indices(path.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + path.len()..].chars().next();
                let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                !part(before) && before != Some(':') && !part(after)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "## [Unreleased]\n### Added\n- `a::New`\n### Removed\n- `a::Old`, gone\n\
                             ## [0.1.0]\n### Removed\n- `a::Older`\n";

    #[test]
    fn only_what_the_unreleased_section_takes_away_is_announced() {
        assert_eq!(announced(CHANGELOG), ["a::Old"]);
    }

    #[test]
    fn an_announcement_covers_the_item_and_what_is_in_it() {
        let announced = announced(CHANGELOG);
        assert!(is_announced("pub struct a::Old", &announced));
        assert!(is_announced("pub fn a::Old::len(&self) -> usize", &announced));
        assert!(is_announced("impl core::clone::Clone for a::Old", &announced));
        assert!(!is_announced("pub struct a::Older", &announced));
        assert!(!is_announced("pub struct b::a::Old", &announced));
        assert!(!is_announced("pub fn a::New::x()", &announced));
    }
}
