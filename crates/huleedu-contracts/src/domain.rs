//! Words of the school: courses, languages, kinds of class and of stored content.

use serde::{Deserialize, Serialize};

use crate::ids::LanguageTag;
use crate::macros::{read_strictly, wire_enum};

wire_enum! {
    /// A course of the Swedish upper secondary school.
    pub enum CourseCode {
        /// English 5.
        Eng5 = "ENG5",
        /// English 6.
        Eng6 = "ENG6",
        /// English 7.
        Eng7 = "ENG7",
        /// Swedish 1.
        Sv1 = "SV1",
        /// Swedish 2.
        Sv2 = "SV2",
        /// Swedish 3.
        Sv3 = "SV3",
    }
}
read_strictly!(CourseCode);

impl CourseCode {
    /// The language in which essays of this course are written.
    pub const fn language(self) -> Language {
        match self {
            Self::Eng5 | Self::Eng6 | Self::Eng7 => Language::English,
            Self::Sv1 | Self::Sv2 | Self::Sv3 => Language::Swedish,
        }
    }
}

wire_enum! {
    /// A language the platform has courses in.
    pub enum Language {
        /// English.
        English = "en",
        /// Swedish.
        Swedish = "sv",
    }
}
read_strictly!(Language);

impl LanguageTag {
    /// The language, when it is one of the platform's.
    pub fn known(&self) -> Option<Language> {
        self.as_str().parse().ok()
    }
}

wire_enum! {
    /// Whether a batch belongs to a class.
    pub enum ClassType {
        /// No class: essays are assessed without knowing who wrote them.
        Guest = "GUEST",
        /// A class: students are matched before a pipeline may run.
        Regular = "REGULAR",
    }
}
read_strictly!(ClassType);

wire_enum! {
    /// What a stored content is.
    pub enum ContentType {
        /// The text as it came out of the file.
        OriginalEssay = "original_essay",
        /// The text after spell-checking.
        CorrectedText = "corrected_text",
        /// A log of a processing step.
        ProcessingLog = "processing_log",
        /// Figures of the language analysis.
        NlpMetricsJson = "nlp_metrics_json",
        /// Feedback for the student.
        StudentFacingAiFeedbackText = "student_facing_ai_feedback_text",
        /// A revision by an AI editor.
        AiEditorRevisionText = "ai_editor_revision_text",
        /// A detailed analysis by an AI.
        AiDetailedAnalysisJson = "ai_detailed_analysis_json",
        /// Findings of the grammar check.
        GrammarAnalysisJson = "grammar_analysis_json",
        /// Results of a comparative judgement.
        CjResultsJson = "cj_results_json",
        /// The uploaded file, byte for byte.
        RawUploadBlob = "raw_upload_blob",
        /// The plain text of an uploaded file.
        ExtractedPlaintext = "extracted_plaintext",
        /// The assignment as the students got it.
        StudentPromptText = "student_prompt_text",
    }
}
read_strictly!(ContentType);

/// The name of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonName {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// The full name in law, when it is more than the two.
    pub legal_full_name: Option<String>,
}

impl PersonName {
    /// The name to show: the full name in law, or first and last name.
    pub fn full_name(&self) -> String {
        match &self.legal_full_name {
            Some(name) if !name.trim().is_empty() => name.clone(),
            _ => format!("{} {}", self.first_name, self.last_name)
                .trim()
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_taught_in_its_language() {
        for course in CourseCode::ALL {
            let language = course.language();
            let expected = if course.as_str().starts_with("ENG") {
                "en"
            } else {
                "sv"
            };
            assert_eq!(language.as_str(), expected);
            assert_eq!(LanguageTag::from(language).known(), Some(language));
        }
    }

    #[test]
    fn an_unknown_language_can_be_read_but_is_not_known() {
        let tag: LanguageTag = serde_json::from_str("\"xx\"").unwrap();
        assert_eq!(tag.known(), None);
    }

    #[test]
    fn a_blank_legal_name_does_not_hide_the_others() {
        let mut name = PersonName {
            first_name: "Maja".into(),
            last_name: "Lind".into(),
            legal_full_name: Some(" ".into()),
        };
        assert_eq!(name.full_name(), "Maja Lind");
        name.legal_full_name = Some("Maja Karin Lind".into());
        assert_eq!(name.full_name(), "Maja Karin Lind");
    }
}
