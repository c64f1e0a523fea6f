//! The word lists of the sandbox, written for it: what ties an argument together, what belongs to
//! written argument, and what learners get wrong.

/// A language that the sandbox can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Swedish,
}

/// The lists of one language. Every list is sorted, in lower case.
#[derive(Debug)]
pub(super) struct Lexicon {
    pub(super) language: Language,
    /// The mean length of words, in letters, that gets full marks.
    pub(super) long_words: f64,
    /// Very common words by which the language is told.
    pub(super) common: &'static [&'static str],
    /// Words that tie an argument together.
    pub(super) connectives: &'static [&'static str],
    /// Words of written argument.
    pub(super) register: &'static [&'static str],
    /// Misspellings and words of speech and chat.
    pub(super) slips: &'static [&'static str],
    /// Two words that never follow each other in correct writing.
    pub(super) wrong_pairs: &'static [(&'static str, &'static str)],
    /// Words after which, at the head of a sentence, the verb must come before its subject.
    pub(super) inverting: &'static [&'static str],
    /// Subjects that are one word.
    pub(super) subjects: &'static [&'static str],
}

#[rustfmt::skip]
pub(super) static ENGLISH: Lexicon = Lexicon {
    language: Language::English,
    long_words: 5.0,
    common: &[
        "a", "and", "are", "but", "for", "have", "i", "in", "is", "it", "not", "of", "on", "that",
        "the", "they", "this", "to", "we", "with", "you",
    ],
    connectives: &[
        "admittedly", "although", "because", "besides", "consequently", "conversely", "despite",
        "finally", "first", "firstly", "furthermore", "hence", "however", "instead", "likewise",
        "meanwhile", "moreover", "nevertheless", "nonetheless", "otherwise", "rather", "second",
        "secondly", "similarly", "since", "still", "therefore", "though", "thus", "unless",
        "whereas", "whether", "while", "yet",
    ],
    register: &[
        "academic", "access", "acknowledge", "advantage", "allow", "appropriate", "argue",
        "argument", "aspect", "assume", "assumption", "attention", "attitude", "behaviour",
        "benefit", "capacity", "choice", "circumstances", "claim", "clarity", "complex",
        "concentrate", "concentration", "concern", "conclude", "conclusion", "confidence",
        "consequence", "consider", "constant", "context", "contrary", "convincing", "crucial",
        "debate", "decision", "demand", "develop", "development", "digital", "discipline",
        "discussion", "distinguish", "distraction", "distractions", "education", "effect",
        "effective", "encourage", "environment", "essential", "evidence", "evident", "example",
        "exist", "experience", "explain", "extent", "fundamental", "generation", "genuine",
        "habit", "ignore", "immediate", "impact", "imply", "importance", "increase",
        "independent", "individual", "inevitable", "influence", "instance", "judgement",
        "knowledge", "lack", "legitimate", "limit", "matter", "merely", "moderate", "moral",
        "necessary", "obvious", "opponents", "opportunity", "original", "particular",
        "perspective", "policy", "position", "potential", "practice", "precisely", "presence",
        "principle", "prohibit", "prohibition", "purpose", "question", "reason", "reasonable",
        "recognise", "reduce", "reflect", "require", "research", "resource", "responsibility",
        "responsible", "result", "risk", "significant", "simply", "skill", "society", "solution",
        "structure", "suggest", "supporters", "surely", "technology", "tempt", "temptation",
        "tool", "trust", "ultimately", "undermine", "valuable", "value", "view",
    ],
    slips: &[
        "acording", "allso", "allthough", "allways", "alot", "alwas", "anoying", "arguement",
        "basicly", "bcs", "bcuz", "beacause", "beacuse", "beautifull", "becaus", "becouse",
        "becuase", "beleive", "belive", "cant", "classrom", "comunicate", "coz", "definately",
        "definatly", "didnt", "diffrent", "dificult", "distrub", "doesnt", "dont", "dosent",
        "eachother", "enviroment", "everbody", "everyting", "exampel", "exemple", "finaly",
        "foward", "freinds", "friens", "gonna", "goverment", "happend", "hav", "havent", "im",
        "imidiately", "importent", "infront", "intrested", "intresting", "isnt", "knowlege",
        "lern", "lisen", "lissen", "mabye", "mobil", "mobils", "neccesary", "nessecary", "opinon",
        "oppinion", "peaple", "peolpe", "peoples", "pepole", "phons", "pls", "poeple", "posible",
        "probaly", "problably", "realy", "recieve", "rigth", "sais", "scool", "seperate", "shold",
        "should'nt", "shure", "skool", "somthing", "stuf", "succesful", "sudenly", "teached",
        "teatcher", "techer", "tecnology", "tehnology", "thats", "thay", "thear", "thease",
        "theese", "thier", "thinked", "thougt", "togehter", "togheter", "tommorow", "tomorow",
        "untill", "ur", "usefull", "usualy", "verry", "wanna", "whit", "wich", "wierd", "wont",
        "wouldnt", "writting", "youre",
    ],
    wrong_pairs: &[
        ("a", "a"), ("and", "and"), ("can", "to"), ("could", "of"), ("did", "went"),
        ("didn't", "had"), ("didn't", "went"), ("everybody", "are"), ("everybody", "have"),
        ("everyone", "are"), ("everyone", "have"), ("have", "went"), ("he", "are"), ("he", "do"),
        ("he", "don't"), ("he", "have"), ("he", "say"), ("he", "think"), ("i", "are"),
        ("i", "has"), ("i", "is"), ("is", "are"), ("it", "are"), ("it", "don't"), ("it", "have"),
        ("it", "make"), ("many", "time"), ("more", "better"), ("more", "easier"),
        ("more", "worse"), ("most", "best"), ("much", "people"), ("much", "phones"),
        ("much", "students"), ("much", "things"), ("must", "to"), ("people", "has"),
        ("people", "is"), ("people", "thinks"), ("phone", "are"), ("phones", "has"),
        ("phones", "is"), ("phones", "makes"), ("she", "are"), ("she", "do"), ("she", "don't"),
        ("she", "have"), ("she", "say"), ("should", "of"), ("should", "to"), ("students", "has"),
        ("students", "is"), ("students", "was"), ("teacher", "are"), ("teacher", "have"),
        ("teacher", "say"), ("teachers", "has"), ("teachers", "is"), ("the", "the"),
        ("they", "does"), ("they", "has"), ("they", "is"), ("they", "was"), ("to", "to"),
        ("we", "has"), ("we", "is"), ("we", "was"), ("would", "of"), ("you", "has"),
        ("you", "is"), ("you", "was"),
    ],
    inverting: &[],
    subjects: &["he", "i", "it", "she", "they", "we", "you"],
};

#[rustfmt::skip]
pub(super) static SWEDISH: Lexicon = Lexicon {
    language: Language::Swedish,
    long_words: 5.6,
    common: &[
        "att", "av", "de", "den", "det", "en", "ett", "för", "har", "i", "inte", "jag", "kan",
        "man", "med", "men", "och", "om", "på", "som", "till", "är",
    ],
    connectives: &[
        "alltså", "annars", "dessutom", "dock", "därför", "därmed", "eftersom", "emellertid",
        "fast", "följaktligen", "först", "förutom", "huruvida", "ifall", "istället", "likaså",
        "medan", "nämligen", "omvänt", "samtidigt", "sedan", "slutligen", "snarare", "således",
        "trots", "tvärtom", "varken", "vidare", "visserligen", "ändå", "även",
    ],
    register: &[
        "ansvar", "ansvaret", "argument", "argumentera", "aspekt", "avgöra", "avgörande", "behov",
        "beslut", "betona", "betydelse", "betydelsefull", "bidra", "bidrar", "debatt",
        "diskussion", "effekt", "egentligen", "enskild", "enskilda", "erfarenhet", "exempel",
        "forskning", "fostra", "främja", "fråga", "frågan", "fördel", "fördelar", "föreställning",
        "förhålla", "förhållande", "förmåga", "förmågan", "försvara", "förtroende",
        "förutsättning", "förutsättningar", "generation", "grundläggande", "hantera", "hinder",
        "hänsyn", "hävda", "hävdar", "inflytande", "innebär", "inse", "invändning",
        "invändningen", "koncentration", "konsekvens", "konsekvenser", "kritiskt", "kunskap",
        "kunskaper", "källor", "lockelse", "lösning", "lösningen", "makt", "motsatsen",
        "motverka", "möjliggör", "möjlighet", "möjligheten", "möjligheter", "nackdel",
        "nackdelar", "nödvändig", "nödvändigt", "omdöme", "omfattande", "omständigheter",
        "orimligt", "perspektiv", "påstående", "påverka", "påverkan", "påverkar", "rimlig",
        "rimligt", "rättighet", "rättvisa", "samhälle", "samhället", "samspel", "självklart",
        "skäl", "slutsats", "slutsatsen", "snarast", "ställning", "syfte", "syftet", "tendens",
        "tillgång", "tillit", "tvivel", "undervisning", "undervisningen", "uppenbart",
        "uppmärksamhet", "uppmärksamheten", "utbildning", "uteslutande", "utsträckning",
        "utveckla", "utvecklas", "utveckling", "verktyg", "verktyget", "väsentlig", "åsikt",
        "åtgärd", "överdriven",
    ],
    slips: &[
        "aldri", "asså", "baraa", "bero", "dehär", "dom", "eftersåm", "egentlien", "elr",
        "faktist", "fårtfarande", "föresten", "förstog", "iaf", "iallafall", "intresant",
        "intressangt", "istellet", "isället", "jätte", "kanse", "kansje", "konsentration",
        "konsentrera", "kåmmer", "lektjon", "lektjoner", "lr", "lärarn", "maste", "mej", "mkt",
        "mobilar", "mobiln", "myke", "måst", "ngt", "nån", "nåra", "nåt", "o", "oxo", "oxå",
        "pga", "problemt", "sej", "sen", "sjelv", "sluttat", "säjer", "sån", "såna",
        "sånna", "tex", "tillslut", "tyker", "typ", "viktit", "vist", "väll",
    ],
    wrong_pairs: &[
        ("att", "att"), ("den", "problem"), ("en", "barn"), ("en", "exempel"), ("en", "problem"),
        ("en", "sätt"), ("ett", "anledning"), ("ett", "elev"), ("ett", "lektion"),
        ("ett", "mobil"), ("ett", "sak"), ("ett", "skola"), ("har", "gick"), ("kommer", "får"),
        ("mer", "bättre"), ("mer", "större"), ("mycket", "elever"), ("mycket", "mobiler"),
        ("och", "och"), ("är", "är"),
    ],
    inverting: &[
        "dessutom", "därefter", "därför", "då", "först", "ibland", "idag", "kanske", "nu",
        "sedan", "sen", "slutligen",
    ],
    subjects: &[
        "de", "den", "det", "dom", "eleven", "eleverna", "han", "hon", "jag", "läraren", "man",
        "ni", "vi",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists are searched by halving, and counted on to hold lower-case words.
    #[test]
    fn lists_are_sorted_and_in_lower_case() {
        for lexicon in [&ENGLISH, &SWEDISH] {
            for list in [
                lexicon.common,
                lexicon.connectives,
                lexicon.register,
                lexicon.slips,
                lexicon.inverting,
                lexicon.subjects,
            ] {
                assert!(list.windows(2).all(|two| two[0] < two[1]), "{list:?}");
                assert!(
                    list.iter().all(|word| word.to_lowercase() == *word),
                    "{list:?}"
                );
            }
            assert!(lexicon.wrong_pairs.windows(2).all(|two| two[0] < two[1]));
        }
    }
}
