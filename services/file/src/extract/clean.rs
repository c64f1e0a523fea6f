//! Normalises extracted text: one form of letters, one line end, no invisible characters.

use unicode_normalization::UnicodeNormalization;

/// Cleans text. Idempotent.
///
/// Unicode NFC; all line ends become `\n`; odd spaces become a space; ligatures become
/// letters; control, private-use and zero-width characters go (joiners stay, scripts need
/// them); blanks at line ends go; no more than one empty line in a row.
pub(super) fn clean(raw: &str) -> String {
    let unified = raw.replace("\r\n", "\n");
    let mut letters = String::with_capacity(unified.len());
    for character in unified.chars() {
        match character {
            '\r' | '\u{0B}' | '\u{0C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => letters.push('\n'),
            '\t' | '\n' => letters.push(character),
            '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' => {
                letters.push(' ');
            }
            '\u{2010}' | '\u{2011}' => letters.push('-'),
            '\u{F0B7}' => letters.push('•'),
            '\u{FB00}' => letters.push_str("ff"),
            '\u{FB01}' => letters.push_str("fi"),
            '\u{FB02}' => letters.push_str("fl"),
            '\u{FB03}' => letters.push_str("ffi"),
            '\u{FB04}' => letters.push_str("ffl"),
            '\u{FB05}' | '\u{FB06}' => letters.push_str("st"),
            other if is_invisible(other) => {}
            other => letters.push(other),
        }
    }
    let composed: String = letters.nfc().collect();
    let mut text = String::with_capacity(composed.len());
    let mut empty_lines = 0;
    for line in composed.split('\n') {
        let line = line.trim_end();
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str(if empty_lines > 0 { "\n\n" } else { "\n" });
        }
        text.push_str(line);
        empty_lines = 0;
    }
    text
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{AD}'
                | '\u{200B}'
                | '\u{2060}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFC}'
                | '\u{E000}'..='\u{F8FF}'
                | '\u{F0000}'..='\u{10FFFF}'
        )
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn line_ends_spaces_and_letters_become_one_form() {
        let raw = "\u{FEFF}Ka\u{308}ra v\u{E4}n,\r\n\r\n\r\n\r\nde\u{AD}n o\u{FB03}cer\u{A0}\u{2009}y\rx \u{7} \n";
        assert_eq!(clean(raw), "Kära vän,\n\nden officer  y\nx");
    }

    #[test]
    fn joiners_of_other_scripts_stay() {
        assert_eq!(clean("می\u{200C}خواهم"), "می\u{200C}خواهم");
    }
}
