//! Joining a request's path to the base URL, without ever leaving the base.

use std::fmt::Write as _;

use url::Url;

/// Percent-encodes one path segment, so that text from outside cannot add segments or a query.
///
/// A segment made of dots only is encoded whole, because `.` and `..` would otherwise walk.
pub fn encode_segment(segment: &str) -> String {
    let walks = !segment.is_empty() && segment.bytes().all(|b| b == b'.');
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'.');
        if plain && !walks {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    out
}

/// Joins `path` (with an optional query) to `base`; `None` when it holds a segment `.` or `..`.
pub(crate) fn join(base: &Url, path: &str) -> Option<Url> {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    if path.split(['/', '\\']).any(walks) {
        return None;
    }
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!(
        "{prefix}/{}",
        path.strip_prefix('/').unwrap_or(path)
    ));
    url.set_query(query);
    Some(url)
}

/// Says whether a URL parser would read the segment as "here" or "up", also when it is encoded.
fn walks(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(plain.as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, path: &str) -> Option<String> {
        join(&Url::parse(base).unwrap(), path).map(String::from)
    }

    #[test]
    fn a_path_goes_behind_the_prefix_of_the_base() {
        assert_eq!(joined("http://h:1", "/v1/x").unwrap(), "http://h:1/v1/x");
        assert_eq!(joined("http://h:1/", "v1/x").unwrap(), "http://h:1/v1/x");
        assert_eq!(
            joined("http://h:1/api/", "/v1/x?a=b").unwrap(),
            "http://h:1/api/v1/x?a=b"
        );
    }

    #[test]
    fn unicode_is_encoded_once() {
        assert_eq!(
            joined("http://h", "/å b/%20").unwrap(),
            "http://h/%C3%A5%20b/%20"
        );
        assert_eq!(encode_segment("å/?#%"), "%C3%A5%2F%3F%23%25");
    }

    #[test]
    fn no_path_climbs_out_of_the_base() {
        for bad in [
            "/v1/../admin",
            "..",
            "/./x",
            "/%2e%2E/x",
            "/.%2e/x",
            "/a\\..\\b",
        ] {
            assert_eq!(joined("http://h/v1", bad), None, "{bad}");
        }
        assert_eq!(encode_segment(".."), "%2E%2E");
        assert_eq!(
            joined("http://h", "/v1.2/a..b").unwrap(),
            "http://h/v1.2/a..b"
        );
    }
}
