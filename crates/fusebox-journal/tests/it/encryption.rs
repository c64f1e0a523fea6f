//! Encryption at rest.

use fusebox_journal::{Burial, FindingKind, Journal, JournalConfig, KeyRing, Position};

use crate::support::{all, entry, fill, numbers, picture, scribble, segments, small};

const OLD: [u8; 16] = *b"key of May\0\0\0\0\0\0";
const NEW: [u8; 16] = *b"key of June\0\0\0\0\0";

fn with(keys: KeyRing) -> JournalConfig {
    let mut config = small();
    config.keys = Some(keys);
    config
}

fn old() -> KeyRing {
    KeyRing::new(OLD, &[1; 32])
}

fn holds(dir: &std::path::Path, text: &[u8]) -> bool {
    let mut files = picture(dir).into_iter();
    files.any(|(_, bytes)| bytes.windows(text.len()).any(|w| w == text))
}

#[test]
fn nothing_of_a_record_is_on_disk_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = entry(1, 0);
    record.label = "a label to look for".into();
    record.data = "a text to look for".into();
    let clear = Journal::open(dir.path(), small()).unwrap();
    clear.append(record.clone()).wait().unwrap();
    drop(clear);
    assert!(
        holds(dir.path(), b"a text to look for"),
        "the test can see it"
    );

    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), with(old())).unwrap();
    let position = journal.append(record.clone()).wait().unwrap();
    let burial = Burial {
        reason: "a reason to look for".into(),
        ..Burial::default()
    };
    journal.bury(position, &burial).unwrap();
    journal.append(record.clone()).wait().unwrap();
    drop(journal);
    for text in ["a label to", "a text to", "a reason to"] {
        assert!(!holds(dir.path(), text.as_bytes()), "{text}");
    }
    let journal = Journal::open(dir.path(), with(old())).unwrap();
    assert_eq!(all(&journal)[0].entry, record);
    let letter = journal.dead_letter(Position(1)).unwrap();
    assert_eq!((letter.entry, letter.burial), (record, burial));
}

/// Recovery has no key, so it must tell torn and damaged records from whole ones without.
#[test]
fn damage_to_an_encrypted_record_is_found_without_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), with(old())).unwrap();
    for n in 0..5 {
        fill(&journal, n, n + 1, 1000);
    }
    drop(journal);
    // Groups of one record, 1536 bytes each.
    let file = segments(dir.path()).remove(0);
    scribble(&file, 512 + 1536 + 100, b"no record");
    let report = Journal::inspect(dir.path())
        .unwrap()
        .verify(|_| ())
        .unwrap();
    let damage: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.kind == FindingKind::Damage)
        .map(|f| (f.file.clone(), f.bytes.start, f.positions, f.lost))
        .collect();
    let second = Some((Position(2), Position(2)));
    assert_eq!(damage, [(file, 512 + 1536, second, 1)]);
}

#[test]
fn keys_are_changed_and_a_missing_one_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), small()).unwrap();
    fill(&journal, 0, 5, 100);
    drop(journal);
    // Encryption is switched on: what comes next is encrypted although the tail has room.
    let journal = Journal::open(dir.path(), with(old())).unwrap();
    fill(&journal, 5, 10, 100);
    drop(journal);
    let both = KeyRing::new(NEW, &[2; 32]).with_old(OLD, &[1; 32]);
    let journal = Journal::open(dir.path(), with(both.clone())).unwrap();
    fill(&journal, 10, 15, 100);
    assert_eq!(numbers(&all(&journal)), (0..15).collect::<Vec<_>>());
    drop(journal);
    assert_eq!(segments(dir.path()).len(), 3);

    for keys in [
        None,
        Some(KeyRing::new(NEW, &[2; 32])),
        Some(KeyRing::new(OLD, &[9; 32]).with_old(NEW, &[2; 32])),
    ] {
        let mut config = small();
        config.keys = keys;
        let journal = Journal::open(dir.path(), config).unwrap();
        assert_eq!(journal.stats().waiting, 15);
        let refused = journal.peek(Position::START, 100, usize::MAX);
        assert!(refused.is_err(), "read without the key");
        assert_eq!(journal.stats().lost_records, 0);
    }
    let look = Journal::inspect(dir.path()).unwrap();
    let report = look.verify(|_| ()).unwrap();
    assert!(report.is_sound());
    assert_eq!((report.journal.records, report.lost), (15, 0));
    assert!(
        report
            .findings
            .iter()
            .all(|f| f.kind == FindingKind::Encrypted)
    );
    assert!(!report.findings.is_empty());
    let look = look.with_keys(both.clone());
    assert_eq!(look.verify(|_| ()).unwrap().findings, []);
    assert_eq!(
        look.peek(Position::START, 100, usize::MAX).unwrap().len(),
        15
    );
    let journal = Journal::open(dir.path(), with(both)).unwrap();
    assert_eq!(numbers(&all(&journal)), (0..15).collect::<Vec<_>>());
}

#[test]
fn keys_do_not_print() {
    let text = format!(
        "{:?}",
        with(KeyRing::new(OLD, b"a key of 32 bytes, to look for.."))
    );
    assert!(text.contains("key of May"));
    assert!(!text.contains("look for") && !text.contains("97, 32, 107"));
}
