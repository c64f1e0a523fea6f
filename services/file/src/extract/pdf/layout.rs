//! Puts placed pieces of text together: pieces to lines, lines to paragraphs.
//!
//! A PDF knows neither spaces nor lines nor paragraphs, only where letters stand. The rules,
//! all in units of the letter size or of the page's own usual line distance:
//!
//! | seen | taken as |
//! |---|---|
//! | gap in a line wider than 0.15 letter sizes | a space |
//! | other height by more than 0.4 letter sizes, or a step back | a new line |
//! | line distance over 1.35 times the usual, another letter size, an indent | a new paragraph after an empty line |
//! | the next line's first word would have fitted on this line | a line end that the writer meant |
//! | otherwise | the line goes on: joined by a space |

/// One shown string and its place, along and across the direction of writing.
pub(super) struct Piece<'a> {
    /// Its letters.
    pub(super) letters: &'a str,
    /// Where it begins along the line.
    pub(super) start: f64,
    /// Where it ends along the line.
    pub(super) end: f64,
    /// Its height across the lines; larger is further up.
    pub(super) height: f64,
    /// Its letter size.
    pub(super) size: f64,
}

struct Line {
    text: String,
    start: f64,
    end: f64,
    height: f64,
    size: f64,
}

/// The lines of a document, page by page.
#[derive(Default)]
pub(super) struct Lines {
    page: Vec<Line>,
    out: String,
    characters: usize,
    unreadable: usize,
}

const SPACE_GAP: f64 = 0.15;
const SAME_LINE: f64 = 0.4;
const STEP_BACK: f64 = 1.0;
const PARAGRAPH_DISTANCE: f64 = 1.35;
const OTHER_SIZE: f64 = 0.15;
const INDENT: f64 = 0.8;
/// A letter's usual width; fits words of unknown fonts well enough.
const LETTER_WIDTH: f64 = 0.5;

impl Lines {
    /// Characters taken so far.
    pub(super) fn characters(&self) -> usize {
        self.characters
    }

    /// Adds a piece in drawing order.
    pub(super) fn add(&mut self, piece: &Piece<'_>) {
        self.characters += piece.letters.chars().count();
        self.unreadable += piece.letters.matches('\u{FFFD}').count();
        if let Some(line) = self.page.last_mut() {
            let gap = piece.start - line.end;
            let is_same = (piece.height - line.height).abs()
                <= SAME_LINE * line.size.max(piece.size)
                && gap > -STEP_BACK * line.size;
            if is_same {
                let is_apart = gap > SPACE_GAP * line.size.min(piece.size)
                    && !line.text.ends_with(char::is_whitespace)
                    && !piece.letters.starts_with(char::is_whitespace);
                if is_apart {
                    line.text.push(' ');
                }
                line.text.push_str(piece.letters);
                line.end = line.end.max(piece.end);
                return;
            }
        }
        self.page.push(Line {
            text: piece.letters.to_owned(),
            start: piece.start,
            end: piece.end,
            height: piece.height,
            size: piece.size,
        });
    }

    /// Ends a page: its lines become paragraphs.
    pub(super) fn end_page(&mut self) {
        let mut lines = std::mem::take(&mut self.page);
        // Lines of blanks only still show that an empty line was meant, through the distance.
        lines.retain(|line| !line.text.trim().is_empty());
        let usual = usual_distance(&lines);
        let margin = right_margin(&lines);
        if let Some(first) = lines.first() {
            join_pages(&mut self.out, first.text.trim());
        }
        for (index, line) in lines.iter().enumerate() {
            let text = line.text.trim();
            self.out.push_str(text);
            let Some(next) = lines.get(index + 1) else {
                break;
            };
            match ending(line, next, usual, margin) {
                Ending::Paragraph => self.out.push_str("\n\n"),
                Ending::Line => self.out.push('\n'),
                // A hyphen at the margin stays: it may be the word's own.
                Ending::None if text.ends_with('-') => {}
                Ending::None if text.ends_with('\u{AD}') => {
                    self.out.pop();
                }
                Ending::None => self.out.push(' '),
            }
        }
    }

    /// The text, and how many of its characters no font could name.
    pub(super) fn into_text(self) -> (String, usize) {
        (self.out, self.unreadable)
    }
}

/// A sentence may run over the page's end.
fn join_pages(out: &mut String, next: &str) {
    let Some(last) = out.chars().last() else {
        return;
    };
    let runs_on = next.starts_with(char::is_lowercase) && !matches!(last, '.' | '!' | '?' | ':');
    out.push_str(if runs_on { " " } else { "\n\n" });
}

enum Ending {
    None,
    Line,
    Paragraph,
}

fn ending(line: &Line, next: &Line, usual: f64, margin: f64) -> Ending {
    let distance = line.height - next.height;
    let other_size = (line.size - next.size).abs() > OTHER_SIZE * line.size.max(next.size);
    let is_indented = next.start - line.start > INDENT * next.size;
    if distance <= 0.0 || distance > PARAGRAPH_DISTANCE * usual || other_size || is_indented {
        return Ending::Paragraph;
    }
    let word = next.text.split_whitespace().next().unwrap_or_default();
    let letters = f64::from(u16::try_from(word.chars().count()).unwrap_or(u16::MAX));
    if line.end + (letters + 1.0) * LETTER_WIDTH * line.size < margin {
        Ending::Line
    } else {
        Ending::None
    }
}

/// The usual distance from a line to the one below within a paragraph.
fn usual_distance(lines: &[Line]) -> f64 {
    let mut distances: Vec<f64> = lines
        .windows(2)
        .filter_map(|pair| match pair {
            [above, below] => Some(above.height - below.height),
            _ => None,
        })
        .filter(|distance| *distance > 0.0)
        .collect();
    distances.sort_by(f64::total_cmp);
    // The lower third is within paragraphs even on a page of short ones.
    distances
        .get(distances.len().saturating_sub(1) / 3)
        .copied()
        .unwrap_or(f64::MAX)
}

/// Where full lines end. One line that sticks out, such as a date in a corner, does not count.
fn right_margin(lines: &[Line]) -> f64 {
    let mut ends: Vec<f64> = lines.iter().map(|line| line.end).collect();
    ends.sort_by(f64::total_cmp);
    let skipped = usize::from(ends.len() >= 5);
    ends.get(ends.len().saturating_sub(1 + skipped))
        .copied()
        .unwrap_or(f64::MAX)
}
