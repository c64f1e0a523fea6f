//! `huleedu config`: every effective setting with value, source and meaning.

use std::process::ExitCode;

use huleedu_kit::{ServiceId, settings::Env};

use crate::{cli::ConfigArgs, out, services};

/// Prints the settings; exit code 1 when any value would stop the start.
pub(crate) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let env = Env::from_process();
    let mut bad = false;
    let wanted = args
        .service
        .map_or_else(|| ServiceId::ALL.to_vec(), |one| vec![one]);
    for service in wanted {
        let (rows, problems) = services::settings(service, &env);
        if args.markdown {
            out::line(&format!(
                "\n## {service}\n\nPrefix `{}`: {}.\n",
                service.env_prefix(),
                service.summary()
            ))?;
            out::line("| variable | default | meaning |\n|---|---|---|")?;
            for row in rows {
                out::line(&format!(
                    "| `{}` | `{}` | {} |",
                    row.name, row.value, row.meaning
                ))?;
            }
            continue;
        }
        out::line(&format!(
            "{service} (prefix {}): {}",
            service.env_prefix(),
            service.summary()
        ))?;
        let cells: Vec<_> = rows
            .into_iter()
            .map(|row| {
                vec![
                    row.name.to_owned(),
                    row.value,
                    row.source.to_string(),
                    row.meaning.to_owned(),
                ]
            })
            .collect();
        out::line(&out::table(
            &["setting", "value", "source", "meaning"],
            &cells,
        ))?;
        for problem in problems {
            bad = true;
            out::line(&format!("PROBLEM: {problem}"))?;
        }
        out::line("")?;
    }
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
