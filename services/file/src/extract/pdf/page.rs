//! Interprets the drawing commands of one page as far as they place text.

use std::collections::HashMap;
use std::rc::Rc;

use lopdf::content::Content;
use lopdf::{Dictionary, Document, Object, ObjectId};

use super::font::Font;
use super::layout::{Lines, Piece};
use crate::extract::{ExtractError, Format, MAX_EXTRACTED_CHARS};

/// Deepest nesting of reusable forms that is followed; a form may name itself.
const MAX_FORM_DEPTH: usize = 6;
/// Deepest stack of saved graphics states.
const MAX_SAVED_STATES: usize = 256;

/// More fonts than any essay uses; each costs a look-up of all its codes.
const MAX_FONTS: usize = 128;

/// The fonts of a document by the address of their dictionary, which lives as long as the
/// document does.
pub(super) type Fonts = HashMap<*const Dictionary, Rc<Font>>;

/// Reads one page into `lines`. `budget` is what all pages together may still unpack to.
pub(super) fn read(
    document: &Document,
    page_id: ObjectId,
    budget: &mut usize,
    fonts: &mut Fonts,
    lines: &mut Lines,
) -> Result<(), ExtractError> {
    let content = document
        .get_page_content_with_limit(page_id, *budget)
        .map_err(|error| ExtractError::damaged_by(Format::Pdf, "a page is unreadable", error))?;
    let resources = page_resources(document, page_id);
    let mut interpreter = Interpreter {
        document,
        budget,
        lines,
        fonts,
    };
    interpreter.run(&content, &resources, State::default(), 0)
}

/// A page's resources, nearest first, up the page tree.
fn page_resources(document: &Document, page_id: ObjectId) -> Vec<&Dictionary> {
    let mut found = Vec::new();
    let mut node = document.get_dictionary(page_id).ok();
    // Page trees are shallow; a cycle must end.
    for _ in 0..64 {
        let Some(dictionary) = node else { break };
        found.extend(
            dictionary
                .get_deref(b"Resources", document)
                .and_then(Object::as_dict),
        );
        node = dictionary
            .get_deref(b"Parent", document)
            .and_then(Object::as_dict)
            .ok();
    }
    found
}

/// A two-dimensional affine map: `[a b c d e f]` as the format writes it.
#[derive(Clone, Copy)]
struct Matrix([f64; 6]);

impl Matrix {
    const ONE: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// The map that applies `self` first and `then` second.
    #[expect(
        clippy::many_single_char_names,
        reason = "the format's own names of the cells"
    )]
    fn then(self, then: Self) -> Self {
        let ([a, b, c, d, e, f], [p, q, r, s, t, u]) = (self.0, then.0);
        Self([
            a * p + b * r,
            a * q + b * s,
            c * p + d * r,
            c * q + d * s,
            e * p + f * r + t,
            e * q + f * s + u,
        ])
    }

    fn moved(x: f64, y: f64) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    fn from_operands(document: &Document, operands: &[Object]) -> Option<Self> {
        let mut numbers = [0.0; 6];
        for (number, operand) in numbers.iter_mut().zip(operands.get(..6)?) {
            *number = f64::from(document.dereference(operand).ok()?.1.as_float().ok()?);
        }
        Some(Self(numbers))
    }
}

/// The part of the graphics state that places text.
#[derive(Clone)]
struct State {
    page: Matrix,
    text: Matrix,
    line: Matrix,
    font: Option<Rc<Font>>,
    size: f64,
    char_space: f64,
    word_space: f64,
    stretch: f64,
    leading: f64,
    rise: f64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            page: Matrix::ONE,
            text: Matrix::ONE,
            line: Matrix::ONE,
            font: None,
            size: 0.0,
            char_space: 0.0,
            word_space: 0.0,
            stretch: 1.0,
            leading: 0.0,
            rise: 0.0,
        }
    }
}

impl State {
    fn next_line(&mut self, x: f64, y: f64) {
        self.line = Matrix::moved(x, y).then(self.line);
        self.text = self.line;
    }
}

struct Interpreter<'a> {
    document: &'a Document,
    budget: &'a mut usize,
    lines: &'a mut Lines,
    fonts: &'a mut Fonts,
}

impl Interpreter<'_> {
    fn run(
        &mut self,
        content: &[u8],
        resources: &[&Dictionary],
        mut state: State,
        depth: usize,
    ) -> Result<(), ExtractError> {
        *self.budget = self.budget.saturating_sub(content.len());
        let mut saved: Vec<State> = Vec::new();
        // One command at a time: a page of nothing but commands would not fit in memory.
        for operation in Content::decode_iter(content) {
            let operation = operation.map_err(|error| {
                ExtractError::damaged_by(Format::Pdf, "a page is garbled", error)
            })?;
            if self.lines.characters() > MAX_EXTRACTED_CHARS {
                return Ok(());
            }
            let operands = operation.operands.as_slice();
            let number = |index: usize| {
                operands
                    .get(index)
                    .and_then(|operand| operand.as_float().ok())
                    .map_or(0.0, f64::from)
            };
            match operation.operator.as_str() {
                "q" if saved.len() < MAX_SAVED_STATES => saved.push(state.clone()),
                "Q" => {
                    if let Some(earlier) = saved.pop() {
                        state = earlier;
                    }
                }
                "cm" => {
                    if let Some(matrix) = Matrix::from_operands(self.document, operands) {
                        state.page = matrix.then(state.page);
                    }
                }
                "BT" => {
                    state.text = Matrix::ONE;
                    state.line = Matrix::ONE;
                }
                "Tf" => {
                    let name = operands.first().and_then(|name| name.as_name().ok());
                    state.font = name.and_then(|name| self.font(resources, name));
                    state.size = number(1);
                }
                "Tc" => state.char_space = number(0),
                "Tw" => state.word_space = number(0),
                "Tz" => state.stretch = number(0) / 100.0,
                "TL" => state.leading = number(0),
                "Ts" => state.rise = number(0),
                "Td" => state.next_line(number(0), number(1)),
                "TD" => {
                    state.leading = -number(1);
                    state.next_line(number(0), number(1));
                }
                "Tm" => {
                    if let Some(matrix) = Matrix::from_operands(self.document, operands) {
                        state.text = matrix;
                        state.line = matrix;
                    }
                }
                "T*" => state.next_line(0.0, -state.leading),
                "Tj" => self.show(&mut state, operands.first()),
                "'" => {
                    state.next_line(0.0, -state.leading);
                    self.show(&mut state, operands.first());
                }
                "\"" => {
                    state.word_space = number(0);
                    state.char_space = number(1);
                    state.next_line(0.0, -state.leading);
                    self.show(&mut state, operands.get(2));
                }
                "TJ" => self.show_spaced(&mut state, operands.first()),
                "Do" => self.form(resources, operands.first(), &state, depth)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs a reusable form in its own resources; pictures are passed over.
    fn form(
        &mut self,
        resources: &[&Dictionary],
        name: Option<&Object>,
        state: &State,
        depth: usize,
    ) -> Result<(), ExtractError> {
        let document = self.document;
        let Some(name) = name.and_then(|name| name.as_name().ok()) else {
            return Ok(());
        };
        let stream = resources.iter().find_map(|resources| {
            let forms = resources
                .get_deref(b"XObject", document)
                .ok()?
                .as_dict()
                .ok()?;
            forms.get_deref(name, document).ok()?.as_stream().ok()
        });
        let Some(stream) = stream else { return Ok(()) };
        let is_form = stream
            .dict
            .get_deref(b"Subtype", document)
            .and_then(Object::as_name)
            .is_ok_and(|subtype| subtype == b"Form");
        if !is_form || depth >= MAX_FORM_DEPTH {
            return Ok(());
        }
        let content = stream
            .get_plain_content_with_limit(*self.budget)
            .map_err(|error| {
                ExtractError::damaged_by(Format::Pdf, "a page is unreadable", error)
            })?;
        let mut state = state.clone();
        let matrix = stream
            .dict
            .get_deref(b"Matrix", document)
            .and_then(Object::as_array)
            .ok()
            .and_then(|operands| Matrix::from_operands(document, operands));
        if let Some(matrix) = matrix {
            state.page = matrix.then(state.page);
        }
        let mut own: Vec<&Dictionary> = stream
            .dict
            .get_deref(b"Resources", document)
            .and_then(Object::as_dict)
            .into_iter()
            .collect();
        own.extend(resources);
        self.run(&content, &own, state, depth + 1)
    }

    fn font(&mut self, resources: &[&Dictionary], name: &[u8]) -> Option<Rc<Font>> {
        let dictionary = resources.iter().find_map(|resources| {
            let fonts = resources
                .get_deref(b"Font", self.document)
                .ok()?
                .as_dict()
                .ok()?;
            fonts.get_deref(name, self.document).ok()?.as_dict().ok()
        })?;
        let key = std::ptr::from_ref(dictionary);
        if let Some(font) = self.fonts.get(&key) {
            return Some(Rc::clone(font));
        }
        if self.fonts.len() >= MAX_FONTS {
            return None;
        }
        let font = Rc::new(Font::read(self.document, dictionary, *self.budget));
        self.fonts.insert(key, Rc::clone(&font));
        Some(font)
    }

    fn show_spaced(&mut self, state: &mut State, operand: Option<&Object>) {
        let Some(parts) = operand.and_then(|operand| operand.as_array().ok()) else {
            return;
        };
        for part in parts {
            if let Ok(kern) = part.as_float() {
                let shift = -f64::from(kern) / 1000.0 * state.size * state.stretch;
                state.text = Matrix::moved(shift, 0.0).then(state.text);
            } else {
                self.show(state, Some(part));
            }
        }
    }

    /// Shows one string: advances the text position and hands the letters on.
    #[expect(
        clippy::many_single_char_names,
        reason = "the format's own names of the cells"
    )]
    fn show(&mut self, state: &mut State, operand: Option<&Object>) {
        let Some(bytes) = operand.and_then(|operand| operand.as_str().ok()) else {
            return;
        };
        let Some(font) = state.font.clone() else {
            return;
        };
        let mut letters = String::new();
        let mut advance = 0.0;
        for glyph in font.glyphs(bytes) {
            letters.push_str(glyph.letters);
            let space = if glyph.is_word_space {
                state.word_space
            } else {
                0.0
            };
            advance +=
                (glyph.width / 1000.0 * state.size + state.char_space + space) * state.stretch;
        }
        let start = Matrix::moved(0.0, state.rise)
            .then(state.text)
            .then(state.page)
            .0;
        state.text = Matrix::moved(advance, 0.0).then(state.text);
        let end = Matrix::moved(0.0, state.rise)
            .then(state.text)
            .then(state.page)
            .0;
        let [a, b, c, d, x, y] = start;
        let scale = a.hypot(b);
        let size = state.size.abs() * c.hypot(d);
        if letters.is_empty() || !(scale.is_normal() && size.is_normal()) {
            return;
        }
        // Places are measured along and across the direction of writing, so that a page lying
        // on its side reads like an upright one.
        let (along, across) = (a / scale, b / scale);
        self.lines.add(&Piece {
            letters: &letters,
            start: x * along + y * across,
            end: end[4] * along + end[5] * across,
            height: y * along - x * across,
            size,
        });
    }
}
