//! Tests of the whole engine on texts, and of the data it is built with.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

fn english() -> &'static Engine {
    engine(Language::English).unwrap()
}

fn swedish() -> &'static Engine {
    engine(Language::Swedish).unwrap()
}

fn en(text: &str) -> String {
    checked(english(), text).corrected
}

fn sv(text: &str) -> String {
    checked(swedish(), text).corrected
}

/// Corrects, and holds what every correction must keep.
fn checked(engine: &Engine, text: &str) -> Correction {
    let result = engine.correct(text);
    let chars: Vec<char> = text.chars().collect();
    let mut rebuilt = String::new();
    let mut from = 0;
    for record in &result.corrections {
        assert_eq!(text.get(record.bytes.clone()), Some(&*record.original_word));
        let by_chars: String = chars[record.start..=record.end].iter().collect();
        assert_eq!(by_chars, record.original_word);
        assert_ne!(record.original_word, record.corrected_word);
        rebuilt.push_str(text.get(from..record.bytes.start).unwrap());
        rebuilt.push_str(&record.corrected_word);
        from = record.bytes.end;
    }
    rebuilt.push_str(text.get(from..).unwrap());
    assert_eq!(rebuilt, result.corrected);
    let metrics = result.metrics;
    assert_eq!(metrics.total_corrections, result.corrections.len());
    assert_eq!(
        metrics.total_corrections,
        metrics.l2_dictionary_corrections + metrics.spellchecker_corrections
    );
    assert!(metrics.total_corrections <= metrics.word_count);
    result
}

/// The replacement of a repeated error used to be put where the word had stood before the first
/// replacement changed the text's length, which garbled everything behind it.
#[test]
fn a_repeated_error_of_another_length_is_replaced_where_it_stands() {
    let text = "I like it alot, she likes it alot and becouse of that alot.";
    let result = checked(english(), text);
    assert_eq!(
        result.corrected,
        "I like it a lot, she likes it a lot and because of that a lot."
    );
    let starts: Vec<_> = result
        .corrections
        .iter()
        .map(|record| (record.start, record.end, record.rule))
        .collect();
    assert_eq!(
        starts,
        [
            (10, 13, Rule::Learners),
            (29, 32, Rule::Learners),
            (38, 44, Rule::Learners),
            (54, 57, Rule::Learners)
        ]
    );
    assert_eq!(result.metrics.word_count, 13);
    assert!((result.metrics.correction_density - 400.0 / 13.0).abs() < 1e-9);
}

#[test]
fn casing_is_taken_over() {
    assert_eq!(
        en("Becouse of this, BECOUSE of that. Alot. ALOT."),
        "Because of this, BECAUSE of that. A lot. A LOT."
    );
    assert_eq!(
        en("He spoke swedich and Englich."),
        "He spoke Swedish and English."
    );
}

#[test]
fn unknown_words_become_the_nearest_word() {
    for (wrong, right) in [
        ("the hapiest moment", "the happiest moment"),
        ("a remarkabel story", "a remarkable story"),
        ("they were arguin loudly", "they were arguing loudly"),
        ("my favouritest thingz", "my favourites things"),
        ("the laboratry was dark", "the laboratory was dark"),
        ("an unforgetable jurnalist", "an unforgettable journalist"),
        ("the elefant and the giraff", "the elephant and the giraffe"),
        ("the cafeteria was klosed", "the cafeteria was closed"),
    ] {
        assert_eq!(en(wrong), right);
    }
    // Nothing is near enough: the word stays.
    assert_eq!(en("a xqzzkvb thing"), "a xqzzkvb thing");
}

#[test]
fn both_kinds_of_english_are_right() {
    let text = "The colour and the color, to organise and to organize, travelled and traveled, \
                the theatre and the theater, my favourite neighbour, my favorite neighbor, grey \
                and gray, defence, defense, programme, catalogue, cheque, realise, analyse.";
    assert_eq!(en(text), text);
}

#[test]
fn right_text_stays_byte_for_byte() {
    let text = "\u{feff}It's well-known\tthat  \u{201c}she'd\u{201d} said: don\u{2019}t!\r\n\r\n\
                She read 1,000 pages (e.g. at 5 p.m.) on www.example.org/teh?q=wich or \
                wrote to wich@skola.se, NATO, USA, UNESCO. The dog's bone. The dogs' bones. \
                i am english on monday. 🙂👩\u{200d}👩\u{200d}👧 שלום مرحبا привет 你好 #becouse @alot 4teh x2\n";
    let result = checked(english(), text);
    assert_eq!(result.corrected, text);
    assert_eq!(result.corrections, []);
}

#[test]
fn swedish_is_corrected_and_its_letters_never_split_a_word() {
    assert_eq!(
        sv("Jag tyker att det är jätebra becouse på ön, och männskor är intresserade."),
        "Jag tycker att det är jättebra becouse på ön, och människor är intresserade."
    );
    assert_eq!(
        sv("Ungdommar i samhälet behöver hjelp, därförat skolan är vicktig."),
        "Ungdomar i samhället behöver hjälp, därför att skolan är viktig."
    );
    let right = "Iallafall åkte vi till Åre över påsken. Sjuksköterskans arbetsuppgifter är \
                 många, bl.a. provtagning osv. Hon är t.ex. bra på kaféer. Nån måste göra det!";
    assert_eq!(sv(right), right);
    // A difference in dots and rings alone is found first.
    assert_eq!(
        sv("en flygplats for manniskor"),
        "en flygplats for människor"
    );
}

#[test]
fn decomposed_letters_are_read_and_offsets_count_them() {
    let text = "Va\u{308}dret a\u{308}r fint och ma\u{308}nniskorr a\u{308}r glada.";
    let result = checked(swedish(), text);
    assert_eq!(
        result.corrected,
        "Va\u{308}dret a\u{308}r fint och människor a\u{308}r glada."
    );
    assert_eq!(result.corrections[0].original_word, "ma\u{308}nniskorr");
    assert_eq!(
        (result.corrections[0].start, result.corrections[0].end),
        (21, 31)
    );
}

#[test]
fn apostrophes_keep_their_kind() {
    assert_eq!(
        en("I dont know. I did'nt. I did\u{2019}nt."),
        "I don't know. I didn't. I didn\u{2019}t."
    );
}

#[test]
fn names_are_left_alone() {
    // In the list, in any place and casing, with its genitives.
    let listed =
        "Tindra met Zlatans brother in växjö. Zlatan\u{2019}s ball. Anna-Karin left. Svante ran.";
    assert_eq!(en(listed), listed);
    // Capitalised inside a sentence.
    let inside = "Then we met Brombaz and Mr. Wichter at Restorant Bellavista.";
    assert_eq!(
        en("Then we met Brombaz, Mr. Holdenn and J. K. Rowlling."),
        "Then we met Brombaz, Mr. Holdenn and J. K. Rowlling."
    );
    assert!(en(inside).starts_with("Then we met Brombaz and Mr. Wichter at "));
    // The same name at the start of a sentence, or in small letters, although it looks like an
    // error there.
    assert_eq!(
        en("We saw Brotherr. Brotherr smiled. I like brotherr and Brotherr's dog."),
        "We saw Brotherr. Brotherr smiled. I like brotherr and Brotherr's dog."
    );
    // Alone at the start of a sentence it is a misspelt common word.
    assert_eq!(en("Brotherr smiled."), "Brother smiled.");
    // And a name that is no common word's neighbour stays.
    assert_eq!(en("Xiulanga smiled."), "Xiulanga smiled.");
}

#[test]
fn the_list_of_learners_errors_goes_before_the_rule_of_names() {
    assert_eq!(en("She speaks Swedich Well."), "She speaks Swedish Well.");
}

#[test]
fn acronyms_brands_and_mixed_words_stay() {
    let text = "The ADHD test by SVT on my iPhone from McDonnaldX was in B2B and mp3 format.";
    assert_eq!(en(text), text);
}

#[test]
fn hyphenated_words_are_mended_in_their_wrong_part() {
    assert_eq!(
        en("a well-knwon, bad-tempered man"),
        "a well-known, bad-tempered man"
    );
    assert_eq!(en("a wlel-knwon man"), "a wlel-knwon man");
}

#[test]
fn insults_are_never_offered() {
    for wrong in ["fuckk", "shitt", "cuntt", "niggerr", "fukc", "bullshitt"] {
        let corrected = en(&format!("what a {wrong} day"));
        for insult in ["fuck ", "shit ", "cunt ", "nigger ", "bullshit "] {
            assert!(!corrected.contains(insult), "{corrected}");
        }
    }
}

#[test]
fn texts_without_words_have_no_density() {
    for text in ["", " ", "1 2 3", "🙂", "...", "https://example.org"] {
        let result = checked(english(), text);
        assert_eq!(result.corrected, text);
        assert_eq!(result.metrics, Metrics::default());
    }
}

#[test]
fn a_very_long_word_costs_no_lookup() {
    for language in Language::ALL {
        let engine = Engine::load(language).unwrap();
        for long in [
            "a".repeat(10_000),
            "wich-".repeat(2_000),
            "becouse".repeat(1_500),
        ] {
            assert_eq!(checked(&engine, &long).corrected, long);
        }
        assert_eq!(engine.answers().len(), 0);
    }
}

#[test]
fn the_number_of_lookups_is_bounded() {
    // More different unknown words than are looked up, four letters each.
    let letters = ['q', 'x', 'z', 'j', 'k', 'v', 'w'];
    let words: Vec<String> = (0..MAX_LOOKUPS + 400)
        .map(|n| {
            (0..4)
                .map(|place| letters[n / 7_usize.pow(place) % 7])
                .collect()
        })
        .filter(|word: &String| !english().lexicon.knows(word))
        .collect();
    assert!(words.len() > MAX_LOOKUPS + 100);
    let engine = Engine::load(Language::English).unwrap();
    let result = checked(&engine, &format!("{} remarkabel", words.join(" ")));
    assert!(result.limit_reached);
    assert!(result.corrected.ends_with(" remarkabel"));
    assert_eq!(engine.answers().len(), MAX_LOOKUPS);
    // The bound is one text's: the next one starts anew.
    let next = checked(&engine, "remarkabel remarkabel");
    assert!(!next.limit_reached);
    assert_eq!(next.corrected, "remarkable remarkable");
}

#[test]
fn a_long_essay_is_corrected_and_each_error_looked_up_once() {
    let sentence = "The remarkabel elefant liked it alot becouse the laboratry was klosed. ";
    let text = sentence.repeat(50_000 / sentence.len() + 1);
    let engine = Engine::load(Language::English).unwrap();
    let result = checked(&engine, &text);
    let once = checked(&engine, sentence);
    assert_eq!(engine.answers().len(), 4);
    assert_eq!(
        result.corrected,
        once.corrected.repeat(50_000 / sentence.len() + 1)
    );
    assert_eq!(once.metrics.l2_dictionary_corrections, 2);
    assert_eq!(once.metrics.spellchecker_corrections, 4);
}

#[test]
fn the_same_text_gives_the_same_result_whatever_came_before() {
    let text = "Teh remarkabel elefnat, wich whas verry beatifull, eated thingz. Recieving \
                lettters fron Brombaz makse me hapyy; accidently I forgetted tommorows excersize.";
    let shared = checked(english(), text);
    assert_eq!(checked(english(), text), shared);
    let elsewhere = std::thread::spawn(|| Engine::load(Language::English).unwrap().correct(text));
    assert_eq!(elsewhere.join().unwrap(), shared);
}

#[test]
fn language_tags_are_read() {
    for (tag, language) in [
        ("en", Language::English),
        ("EN-gb", Language::English),
        ("en_US", Language::English),
        ("sv", Language::Swedish),
        ("sv-SE", Language::Swedish),
    ] {
        assert_eq!(tag.parse::<Language>().unwrap(), language);
    }
    for tag in ["", "de", "eng", "svenska", " en", "-en"] {
        assert!(matches!(
            tag.parse::<Language>(),
            Err(EngineError::UnsupportedLanguage(named)) if named == tag
        ));
    }
}

/// Words of real lists, noise and separators, mixed as no one would write them.
fn texts() -> impl Strategy<Value = String> {
    static PIECES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut pieces: Vec<_> = english()
            .learners
            .iter()
            .chain(swedish().learners.iter())
            .flat_map(|(wrong, right)| [wrong, right])
            .collect();
        // The lists are maps: an order of their own, for failures that can be repeated.
        pieces.sort_unstable();
        pieces
    });
    let word = (0..PIECES.len()).prop_map(|at| PIECES[at].to_owned());
    let shouted = (0..PIECES.len()).prop_map(|at| PIECES[at].to_uppercase());
    let titled = (0..PIECES.len()).prop_map(|at| casing::capitalised(PIECES[at]));
    let piece = prop_oneof![
        4 => word,
        1 => shouted,
        2 => titled,
        2 => "[a-zåäö]{1,9}",
        1 => "\\PC{0,6}",
        1 => "[\u{300}-\u{30a}'\u{2019}\u{ad}\u{200d}.@#_-]{1,3}",
    ];
    let separator = prop_oneof![
        6 => Just(" ".to_owned()),
        1 => "[ .,!?\"\r\n\t:;()-]{0,4}",
    ];
    proptest::collection::vec((piece, separator), 0..12).prop_map(|pairs| {
        pairs
            .into_iter()
            .flat_map(|(piece, separator)| [piece, separator])
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// `checked` holds the rules; here they meet everything.
    #[test]
    fn records_always_rebuild_the_corrected_text(text in texts()) {
        for engine in [english(), swedish()] {
            let result = checked(engine, &text);
            prop_assert_eq!(engine.correct(&text), result);
        }
    }
}

/// Wrong sides that are words after all, and why they are in the list.
const WORDS_AND_YET_ERRORS: [(&str, &str); 0] = [];

#[test]
fn no_learners_error_is_a_word_and_every_correction_is() {
    let mut faults = Vec::new();
    for engine in [english(), swedish()] {
        let language = engine.language();
        for (wrong, right) in engine.learners.iter() {
            if wrong != wrong.to_lowercase() {
                faults.push(format!("{language} {wrong}: not in small letters"));
            }
            let excused = WORDS_AND_YET_ERRORS.iter().any(|(word, _)| *word == wrong);
            if engine.lexicon.knows(wrong) && !excused {
                faults.push(format!("{language} {wrong}: is a word"));
            }
            if engine.names.contains(wrong) {
                faults.push(format!("{language} {wrong}: is a name"));
            }
            for word in right.split(' ') {
                if !engine.lexicon.knows(word) {
                    faults.push(format!("{language} {wrong}: {word} is no word"));
                }
                if engine.learners.meant(word).is_some() {
                    faults.push(format!("{language} {wrong}: {word} is an error itself"));
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn the_lists_are_as_long_as_promised_and_have_no_double_entries() {
    for (engine, data, least) in [
        (english(), include_str!("../../data/en/learners.tsv"), 500),
        (swedish(), include_str!("../../data/sv/learners.tsv"), 150),
    ] {
        let entries: Vec<_> = learners::entries(data).collect();
        let different: HashSet<_> = entries.iter().map(|(wrong, _)| wrong).collect();
        assert_eq!(different.len(), entries.len());
        assert_eq!(
            engine.learners.iter().count(),
            entries.len(),
            "the filter drops entries"
        );
        assert!(entries.len() >= least);
    }
}

#[test]
fn every_common_word_is_a_word_that_may_be_offered() {
    for engine in [english(), swedish()] {
        let faults: Vec<_> = engine
            .lexicon
            .frequent_words()
            .filter(|word| !engine.lexicon.offers(word))
            .collect();
        assert_eq!(faults, [""; 0]);
        assert!(engine.lexicon.frequent_words().count() > 15_000);
    }
}
