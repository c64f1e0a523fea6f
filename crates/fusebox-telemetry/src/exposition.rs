//! The text of a scrape, in the format the scraper asked for.
//!
//! `prometheus_client` writes OpenMetrics. A scraper that does not ask for it reads the older text
//! format, version 0.0.4, in which the same lines mean something else: there a counter's family is
//! named with its `_total`, types `unknown` and `info` do not exist, and `# EOF`, `# UNIT` and
//! exemplars are no syntax. [`classic`] is that translation.

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The content type and the text that answer a scrape; `accept` is the request's `Accept` header.
///
/// OpenMetrics 1.0 when the scraper accepts it and does not prefer plain text, otherwise Prometheus
/// text 0.0.4.
///
/// A registry that cannot be written (a histogram with native buckets only has no text form) is
/// answered with a text no scraper accepts: the target then shows as down instead of healthy with
/// half of its metrics.
pub fn encode(registry: &Registry, accept: Option<&str>) -> (&'static str, String) {
    let open_metrics = accept.is_some_and(asks_for_open_metrics);
    let content_type = if open_metrics { OPEN_METRICS } else { CLASSIC };
    let mut body = String::new();
    if text::encode(&mut body, registry).is_err() {
        return (
            content_type,
            "a metric could not be written as text\n".into(),
        );
    }
    if open_metrics {
        (content_type, body)
    } else {
        (content_type, classic(&body))
    }
}

fn asks_for_open_metrics(accept: &str) -> bool {
    let (mut open_metrics, mut plain) = (0.0_f32, 0.0_f32);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let (mut quality, mut version) = (1.0, None);
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                // What is no number asks for nothing.
                "q" => quality = value.trim().parse().unwrap_or(0.0),
                "version" => version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            if version.is_none_or(|version| version == "1.0.0") {
                open_metrics = open_metrics.max(quality);
            }
        } else if media.eq_ignore_ascii_case("text/plain") {
            plain = plain.max(quality);
        }
    }
    open_metrics > 0.0 && open_metrics >= plain
}

/// OpenMetrics text as Prometheus text 0.0.4.
fn classic(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    // A family's HELP comes before its TYPE, but is written under the name the type decides.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest.split_once(' ').unwrap_or((rest, "")));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                push_all(&mut out, &["# HELP ", name, suffix, " ", text, "\n"]);
            }
            push_all(&mut out, &["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            push_all(&mut out, &[without_exemplar(line), "\n"]);
        }
    }
    out
}

fn push_all(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// A sample line up to its exemplar. Label values may hold anything, `" # {"` included, so the
/// search begins behind the labels.
fn without_exemplar(sample: &str) -> &str {
    let start = end_of_labels(sample);
    sample
        .get(start..)
        .and_then(|rest| rest.find(" # "))
        .and_then(|at| sample.get(..start + at))
        .unwrap_or(sample)
}

/// Where the value of a sample begins: behind its label block, or at its name's end.
fn end_of_labels(sample: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in sample.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return at + 1,
            // No labels: a space outside quotes ends the name.
            ' ' if !quoted => return at,
            _ => {}
        }
    }
    sample.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_only_when_asked_for() {
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0",
            "APPLICATION/OPENMETRICS-TEXT;version=\"1.0.0\";q=0.4,*/*;q=0.9",
            "application/openmetrics-text;version=1.0.0;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "text/plain;q=0.5, application/openmetrics-text;q=0.5",
        ] {
            assert!(asks_for_open_metrics(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html, */*;q=0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=much",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0.2,text/plain;q=0.9",
        ] {
            assert!(!asks_for_open_metrics(accept), "{accept}");
        }
    }

    #[test]
    fn exemplars_go_and_labels_that_look_like_them_stay() {
        for (line, kept) in [
            ("a_total 1", "a_total 1"),
            ("a_total 1 # {trace=\"x\"} 1 1.5", "a_total 1"),
            ("a{b=\"} # {\"} 1", "a{b=\"} # {\"} 1"),
            (
                "a{b=\"\\\" # {\",c=\"d e\"} 1 # {t=\"y\"} 2",
                "a{b=\"\\\" # {\",c=\"d e\"} 1",
            ),
        ] {
            assert_eq!(without_exemplar(line), kept);
        }
    }

    #[test]
    fn families_take_the_names_and_types_of_the_older_format() {
        let open_metrics = "# HELP c Calls.\n# TYPE c counter\nc_total 1 # {t=\"x\"} 1\n\
            # HELP t_seconds Time.\n# TYPE t_seconds counter\n# UNIT t_seconds seconds\nt_seconds_total 2.5\n\
            # HELP b Build.\n# TYPE b info\nb_info{v=\"1\"} 1\n\
            # HELP u Who knows.\n# TYPE u unknown\nu 3\n\
            # HELP h Sizes.\n# TYPE h histogram\nh_sum 1.0\nh_count 1\nh_bucket{le=\"+Inf\"} 1 # {t=\"y\"} 1\n\
            # EOF\n";
        assert_eq!(
            classic(open_metrics),
            "# HELP c_total Calls.\n# TYPE c_total counter\nc_total 1\n\
             # HELP t_seconds_total Time.\n# TYPE t_seconds_total counter\nt_seconds_total 2.5\n\
             # HELP b_info Build.\n# TYPE b_info gauge\nb_info{v=\"1\"} 1\n\
             # HELP u Who knows.\n# TYPE u untyped\nu 3\n\
             # HELP h Sizes.\n# TYPE h histogram\nh_sum 1.0\nh_count 1\nh_bucket{le=\"+Inf\"} 1\n"
        );
    }
}
