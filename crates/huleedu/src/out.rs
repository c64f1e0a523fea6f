//! What the user sees: results on standard output, everything else on standard error.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// Writes one line of the result. A reader that has gone away (`| head`) is no error of ours.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes one line about what is going on.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Reports a failure with its causes.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    note(&format!("error: {error:#}"));
    ExitCode::FAILURE
}

/// A table with columns as wide as their widest cell; numbers are right-aligned.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| console_width(text);
    let mut widths: Vec<usize> = head.iter().map(|h| width(h)).collect();
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = (*w).max(width(cell));
        }
    }
    let number = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || ".-+ ".contains(c))
            && text.chars().any(|c| c.is_ascii_digit())
    };
    let right: Vec<bool> = (0..head.len())
        .map(|i| {
            !rows.is_empty()
                && rows
                    .iter()
                    .all(|row| row.get(i).is_some_and(|c| c == "-" || number(c)))
        })
        .collect();
    let mut text = String::new();
    let mut push = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (i, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[i].saturating_sub(width(cell)));
            if i > 0 {
                line.push_str("  ");
            }
            if right[i] {
                line.push_str(&pad);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&pad);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    push(&mut head.iter().copied());
    for row in rows {
        push(&mut row.iter().map(String::as_str));
    }
    text.pop();
    text
}

/// Columns that a text takes on a terminal.
fn console_width(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let rows = vec![
            vec!["1".into(), "Åsa.txt".into()],
            vec!["10".into(), "b".into()],
        ];
        assert_eq!(
            table(&["rank", "file"], &rows),
            "rank  file\n   1  Åsa.txt\n  10  b"
        );
    }
}
