//! Extraction from real files made by other programs, from hostile ones, and from noise.

use std::path::{Path, PathBuf};

use file::extract::{ExtractError, ExtractedText, Format, TextRules, extract};
use proptest::prelude::*;

/// What `plain.docx` and the files made by other programs all say.
const PARAGRAPHS: [&str; 3] = [
    "En dag i maj gick vi ut i skogen för att räkna fåglar, och ingen av oss trodde att det \
     skulle bli den bästa lektionen på hela året. Läraren hade lånat sex kikare, och vi delade \
     på dem.",
    "“It was quiet,” Åsa said afterwards, “but not empty – there were sounds everywhere.” We \
     counted nineteen kinds of birds in two hours; the well-known blackbird was the loudest of \
     them all.",
    "Nästa vår vill vi göra om det, fast då ska vi börja klockan fyra på morgonen.",
];

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str) -> Result<ExtractedText, ExtractError> {
    extract(name, &fixture(name))
}

fn text_of(name: &str, bytes: &[u8]) -> String {
    extract(name, bytes).expect("the file holds text").text
}

#[test]
fn a_word_document_gives_its_paragraphs() {
    let read = read("plain.docx").expect("readable");
    assert_eq!(read.format, Format::Docx);
    assert_eq!(read.text, PARAGRAPHS.join("\n"));
    assert_eq!(read.characters, read.text.chars().count());
}

#[test]
fn a_word_document_gives_what_a_reader_sees_and_no_more() {
    let text = read("rich.docx").expect("readable").text;
    let expected = "Fåglar & träd\nbefore\ttab\nafter break inserted\nfågel\tantal\nkoltrast\t7\n\
                    hyphen-ated";
    assert_eq!(text, expected);
}

#[test]
fn pdfs_of_different_programs_and_fonts_give_the_same_paragraphs() {
    for name in [
        "standard-font.pdf",
        "embedded-font.pdf",
        "libreoffice.pdf",
        "restricted.pdf",
    ] {
        let read = read(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.format, Format::Pdf, "{name}");
        let found: Vec<&str> = read
            .text
            .split('\n')
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(found, PARAGRAPHS, "{name}");
    }
}

#[test]
fn words_placed_one_by_one_on_a_turned_page_become_lines() {
    let text = read("sideways.pdf").expect("readable").text;
    assert_eq!(
        text.replace('\n', " "),
        "Varje ord står för sig självt på en sida som ligger ner."
    );
}

#[test]
fn a_locked_document_is_refused_as_encrypted() {
    for name in ["password.pdf", "password.docx"] {
        let error = read(name).expect_err("locked");
        assert!(
            matches!(error, ExtractError::Encrypted { .. }),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let refused = |name: &str, bytes: &[u8]| match extract(name, bytes) {
        Err(ExtractError::Unsupported { what }) => what,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        refused("a.doc", &fixture("legacy.doc")),
        "Word 97–2003 document (.doc)"
    );
    assert_eq!(
        refused("a.odt", &fixture("text.odt")),
        "OpenDocument text (.odt)"
    );
    assert_eq!(
        refused("a.txt", b"{\\rtf1\\ansi Hello}"),
        "rich text file (.rtf)"
    );
    assert_eq!(
        refused("a.txt", b"\n<!DOCTYPE html><p>Hello"),
        "web page (.html)"
    );
    assert_eq!(
        refused("a.docx", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        "picture"
    );
}

#[test]
fn content_wins_over_the_name() {
    assert_eq!(
        extract("essay.txt", &fixture("plain.docx"))
            .expect("docx")
            .format,
        Format::Docx
    );
    assert_eq!(
        extract("essay.docx", &fixture("libreoffice.pdf"))
            .expect("pdf")
            .format,
        Format::Pdf
    );
    assert_eq!(
        extract("essay.pdf", b"Just plain words.")
            .expect("text")
            .format,
        Format::PlainText
    );
}

#[test]
fn text_in_every_usual_encoding_reads_the_same() {
    let words = "Jag går på en skola i Åmål – den är röd.\r\n”Ja”, sa han.";
    let expected = "Jag går på en skola i Åmål – den är röd.\n”Ja”, sa han.";
    let utf16 = |mark: u16, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(mark)
            .chain(words.encode_utf16())
            .flat_map(bytes)
            .collect()
    };
    let windows = encoding_rs::WINDOWS_1252.encode(words).0.into_owned();
    assert!(
        std::str::from_utf8(&windows).is_err(),
        "the sample must need the legacy way"
    );
    let marked = [b"\xEF\xBB\xBF", words.as_bytes()].concat();
    assert_eq!(text_of("a.txt", words.as_bytes()), expected);
    assert_eq!(text_of("a.txt", &marked), expected);
    assert_eq!(text_of("a.txt", &utf16(0xFEFF, u16::to_le_bytes)), expected);
    assert_eq!(text_of("a.txt", &utf16(0xFEFF, u16::to_be_bytes)), expected);
    assert_eq!(text_of("a.txt", &windows), expected);
}

#[test]
fn any_script_is_text() {
    for words in [
        "Школа начинается в восемь утра.",
        "学校は八時に始まります。",
        "המדרסה נפתחת בשמונה",
        "المدرسة تبدأ في الثامنة",
    ] {
        assert_eq!(text_of("a.txt", words.as_bytes()), words);
    }
    let legacy = encoding_rs::WINDOWS_1251
        .encode("Школа начинается в восемь утра, и мы идём туда.")
        .0;
    assert_eq!(
        text_of("a.txt", &legacy),
        "Школа начинается в восемь утра, и мы идём туда."
    );
}

#[test]
fn empty_files_are_empty_and_say_what_is() {
    let what = |name: &str, bytes: &[u8]| match extract(name, bytes) {
        Err(ExtractError::Empty { what }) => what,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(what("a.txt", b""), "file");
    assert_eq!(what("a.txt", b" \n\t\r\n "), "file");
    assert_eq!(what("a.txt", b"\xEF\xBB\xBF"), "file");
    assert_eq!(what("a.txt", b"... --- !!!"), "file");
    assert_eq!(what("scan.pdf", &fixture("scanned.pdf")), "PDF");
}

#[test]
fn binary_data_is_not_text() {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(4096)
    .collect();
    for bytes in [
        noise.as_slice(),
        b"text\0with a hole",
        &[0xFF; 64],
        &[7; 64],
    ] {
        let error = extract("essay.docx", bytes).expect_err("binary");
        assert!(
            matches!(
                error,
                ExtractError::NotText {
                    expected: Some(Format::Docx)
                }
            ),
            "{error:?}"
        );
    }
    let message = extract("essay.docx", b"\0\x01")
        .expect_err("binary")
        .to_string();
    assert_eq!(
        message,
        "the file is neither a document nor text, although its name says Word document"
    );
}

#[test]
fn a_document_cut_off_anywhere_fails_or_reads_but_never_panics() {
    for name in [
        "plain.docx",
        "rich.docx",
        "libreoffice.pdf",
        "standard-font.pdf",
        "password.pdf",
    ] {
        let whole = fixture(name);
        for part in 1..40 {
            let cut = whole
                .get(..whole.len() * part / 40)
                .expect("within the file");
            if let Err(error) = extract(name, cut) {
                assert!(
                    !error.to_string().contains("gave up"),
                    "{name} cut at {part}/40: {error}"
                );
            }
        }
    }
}

#[test]
fn a_bomb_is_refused_within_its_bound() {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive
        .start_file(
            "word/document.xml",
            zip::write::SimpleFileOptions::default(),
        )
        .expect("in memory");
    for _ in 0..70 {
        archive
            .write_all(&vec![b' '; 1024 * 1024])
            .expect("in memory");
    }
    let bomb = archive.finish().expect("in memory").into_inner();
    assert!(bomb.len() < 200_000, "the bomb is small: {}", bomb.len());
    let error = extract("bomb.docx", &bomb).expect_err("refused");
    assert!(
        matches!(
            error,
            ExtractError::Damaged {
                format: Format::Docx,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn deep_nesting_ends_in_an_error_not_in_the_stack() {
    let mut pdf = b"%PDF-1.4\n1 0 obj\n".to_vec();
    pdf.extend(std::iter::repeat_n(b'[', 200_000));
    pdf.extend(b"\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF");
    assert!(extract("deep.pdf", &pdf).is_err());
}

#[test]
fn length_rules_count_characters_not_bytes() {
    let rules = TextRules::default();
    let check = |count: usize| {
        let read = extract("a.txt", "å".repeat(count).as_bytes()).expect("text");
        rules.check(&read)
    };
    assert!(matches!(
        check(49),
        Err(ExtractError::TooShort {
            characters: 49,
            min: 50
        })
    ));
    assert!(check(50).is_ok());
    assert!(check(50_000).is_ok());
    assert!(matches!(
        check(50_001),
        Err(ExtractError::TooLong {
            characters: 50_001,
            max: 50_000
        })
    ));
}

#[test]
fn every_sample_essay_reads_as_its_author_wrote_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sources = root.join("scripts/make-samples/sources");
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("samples/essays"))
        .expect("samples are part of the project")
        .map(|entry| entry.expect("listable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 16, "only {} samples", files.len());
    for path in files {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let read = extract(&name, &std::fs::read(&path).expect("readable"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        TextRules::default()
            .check(&read)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let source = std::fs::read_to_string(sources.join(format!("{stem}.txt"))).expect("source");
        let lines = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| !line.trim().is_empty())
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(lines(&read.text), lines(&source), "{name}");
    }
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        assert_sound(&bytes)?;
    }

    #[test]
    fn a_spoiled_document_never_panics(
        pdf in any::<bool>(),
        spoils in proptest::collection::vec((any::<u32>(), any::<u8>()), 1..24),
    ) {
        let mut bytes = fixture(if pdf { "standard-font.pdf" } else { "plain.docx" });
        for (place, byte) in spoils {
            let place = usize::try_from(place).expect("fits") % bytes.len();
            if let Some(target) = bytes.get_mut(place) {
                *target = byte;
            }
        }
        assert_sound(&bytes)?;
    }
}

/// Whatever comes out is clean text or a reason that can be told to a teacher.
fn assert_sound(bytes: &[u8]) -> Result<(), TestCaseError> {
    match extract("essay.docx", bytes) {
        Ok(read) => {
            prop_assert!(read.text.chars().any(char::is_alphanumeric));
            prop_assert!(
                !read
                    .text
                    .chars()
                    .any(|c| c.is_control() && c != '\n' && c != '\t')
            );
        }
        Err(error) => {
            let message = error.to_string();
            prop_assert!(!message.is_empty());
            prop_assert!(!message.contains("gave up"), "a reader panicked: {message}");
        }
    }
    Ok(())
}
