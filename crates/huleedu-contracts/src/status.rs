//! The states of essays, batches, phases and processing steps.

use crate::macros::{read_strictly, wire_enum};

wire_enum! {
    /// Where an essay stands.
    pub enum EssayStatus {
        /// The slot exists and waits for its file.
        Uploaded = "uploaded",
        /// Text was taken out of the file.
        TextExtracted = "text_extracted",
        /// The text is being stored.
        ContentIngesting = "content_ingesting",
        /// The file cannot be assessed.
        ContentIngestionFailed = "content_ingestion_failed",
        /// The text is stored and no phase has begun.
        ReadyForProcessing = "ready_for_processing",
        /// Spell-checking is asked for.
        AwaitingSpellcheck = "awaiting_spellcheck",
        /// Spell-checking runs.
        SpellcheckingInProgress = "spellchecking_in_progress",
        /// Spell-checked.
        SpellcheckedSuccess = "spellchecked_success",
        /// Spell-checking has failed.
        SpellcheckFailed = "spellcheck_failed",
        /// Language analysis is asked for.
        AwaitingNlp = "awaiting_nlp",
        /// Language analysis runs.
        NlpInProgress = "nlp_processing_in_progress",
        /// Analysed.
        NlpSuccess = "nlp_success",
        /// Language analysis has failed.
        NlpFailed = "nlp_failed",
        /// Feedback is asked for.
        AwaitingAiFeedback = "awaiting_ai_feedback",
        /// Feedback is being written.
        AiFeedbackInProgress = "ai_feedback_processing_in_progress",
        /// Feedback is written.
        AiFeedbackSuccess = "ai_feedback_success",
        /// Feedback has failed.
        AiFeedbackFailed = "ai_feedback_failed",
        /// An editor's revision is asked for.
        AwaitingEditorRevision = "awaiting_editor_revision",
        /// An editor's revision is being made.
        EditorRevisionInProgress = "editor_revision_processing_in_progress",
        /// Revised.
        EditorRevisionSuccess = "editor_revision_success",
        /// Revision has failed.
        EditorRevisionFailed = "editor_revision_failed",
        /// A grammar check is asked for.
        AwaitingGrammarCheck = "awaiting_grammar_check",
        /// A grammar check runs.
        GrammarCheckInProgress = "grammar_check_processing_in_progress",
        /// Grammar is checked.
        GrammarCheckSuccess = "grammar_check_success",
        /// The grammar check has failed.
        GrammarCheckFailed = "grammar_check_failed",
        /// Comparative judgement is asked for.
        AwaitingCjAssessment = "awaiting_cj_assessment",
        /// Comparative judgement runs.
        CjAssessmentInProgress = "cj_assessment_processing_in_progress",
        /// Ranked.
        CjAssessmentSuccess = "cj_assessment_success",
        /// Comparative judgement has failed.
        CjAssessmentFailed = "cj_assessment_failed",
        /// Every phase of the pipeline is done.
        AllProcessingCompleted = "all_processing_completed",
        /// Nothing more can be done for this essay.
        EssayCriticalFailure = "essay_critical_failure",
    }
}
read_strictly!(EssayStatus);

wire_enum! {
    /// Where a batch stands, as the services see it.
    pub enum BatchStatus {
        /// Files are awaited and checked.
        AwaitingContentValidation = "awaiting_content_validation",
        /// No file could be taken in.
        ContentIngestionFailed = "content_ingestion_failed",
        /// Files are in, the pipeline is not yet set up.
        AwaitingPipelineConfiguration = "awaiting_pipeline_configuration",
        /// A pipeline may be asked for.
        ReadyForPipelineExecution = "ready_for_pipeline_execution",
        /// A pipeline runs.
        ProcessingPipelines = "processing_pipelines",
        /// The teacher is to say who wrote what.
        AwaitingStudentValidation = "awaiting_student_validation",
        /// The teacher has said who wrote what.
        StudentValidationCompleted = "student_validation_completed",
        /// The teacher did not answer in time; the best guesses stand.
        ValidationTimeoutProcessed = "validation_timeout_processed",
        /// Done, every essay.
        CompletedSuccessfully = "completed_successfully",
        /// Done, with essays that failed.
        CompletedWithFailures = "completed_with_failures",
        /// Over without a result.
        FailedCritically = "failed_critically",
        /// Called off.
        Cancelled = "cancelled",
    }
}
read_strictly!(BatchStatus);

impl BatchStatus {
    /// Whether nothing will change any more.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::ContentIngestionFailed
                | Self::CompletedSuccessfully
                | Self::CompletedWithFailures
                | Self::FailedCritically
                | Self::Cancelled
        )
    }
}

wire_enum! {
    /// Where a batch stands, as a client sees it.
    pub enum BatchClientStatus {
        /// Files are awaited or being taken in.
        PendingContent = "pending_content",
        /// A pipeline may be asked for.
        Ready = "ready",
        /// Work is under way.
        Processing = "processing",
        /// Done, every essay.
        CompletedSuccessfully = "completed_successfully",
        /// Done, with essays that failed.
        CompletedWithFailures = "completed_with_failures",
        /// Over without a result.
        Failed = "failed",
        /// Called off.
        Cancelled = "cancelled",
    }
}
read_strictly!(BatchClientStatus);

impl BatchClientStatus {
    /// Whether nothing will change any more.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::CompletedSuccessfully
                | Self::CompletedWithFailures
                | Self::Failed
                | Self::Cancelled
        )
    }
}

impl From<BatchStatus> for BatchClientStatus {
    fn from(status: BatchStatus) -> Self {
        match status {
            BatchStatus::AwaitingContentValidation | BatchStatus::AwaitingPipelineConfiguration => {
                Self::PendingContent
            }
            BatchStatus::ReadyForPipelineExecution => Self::Ready,
            BatchStatus::ProcessingPipelines
            | BatchStatus::AwaitingStudentValidation
            | BatchStatus::ValidationTimeoutProcessed
            | BatchStatus::StudentValidationCompleted => Self::Processing,
            BatchStatus::CompletedSuccessfully => Self::CompletedSuccessfully,
            BatchStatus::CompletedWithFailures => Self::CompletedWithFailures,
            BatchStatus::ContentIngestionFailed | BatchStatus::FailedCritically => Self::Failed,
            BatchStatus::Cancelled => Self::Cancelled,
        }
    }
}

wire_enum! {
    /// A phase of a pipeline.
    pub enum PhaseName {
        /// Spell-checking.
        Spellcheck = "spellcheck",
        /// Feedback by an AI.
        AiFeedback = "ai_feedback",
        /// Ranking by comparative judgement.
        CjAssessment = "cj_assessment",
        /// Analysis of the language.
        Nlp = "nlp",
        /// Finding out who wrote what.
        StudentMatching = "student_matching",
    }
}
read_strictly!(PhaseName);

wire_enum! {
    /// How a phase has ended for a batch: the three endings among the batch states.
    pub enum PhaseStatus {
        /// Every essay that entered the phase succeeded.
        CompletedSuccessfully = "completed_successfully",
        /// Some did.
        CompletedWithFailures = "completed_with_failures",
        /// None did.
        FailedCritically = "failed_critically",
    }
}
read_strictly!(PhaseStatus);

impl PhaseStatus {
    /// The ending that these numbers of essays mean; no essay at all is a failure.
    pub const fn of(successful: usize, failed: usize) -> Self {
        match (successful, failed) {
            (0, _) => Self::FailedCritically,
            (_, 0) => Self::CompletedSuccessfully,
            _ => Self::CompletedWithFailures,
        }
    }

    /// Whether at least one essay can go on to the next phase.
    pub const fn has_survivors(self) -> bool {
        !matches!(self, Self::FailedCritically)
    }
}

impl From<PhaseStatus> for BatchStatus {
    fn from(status: PhaseStatus) -> Self {
        match status {
            PhaseStatus::CompletedSuccessfully => Self::CompletedSuccessfully,
            PhaseStatus::CompletedWithFailures => Self::CompletedWithFailures,
            PhaseStatus::FailedCritically => Self::FailedCritically,
        }
    }
}

impl From<PhaseStatus> for PipelineExecutionStatus {
    fn from(status: PhaseStatus) -> Self {
        match status {
            PhaseStatus::CompletedSuccessfully => Self::CompletedSuccessfully,
            PhaseStatus::CompletedWithFailures => Self::CompletedWithPartialSuccess,
            PhaseStatus::FailedCritically => Self::Failed,
        }
    }
}

wire_enum! {
    /// Where a phase of a running pipeline stands.
    pub enum PipelineExecutionStatus {
        /// Asked for.
        RequestedByUser = "requested_by_user",
        /// Waits for the phases before it.
        PendingDependencies = "pending_dependencies",
        /// Its command is on the way.
        DispatchInitiated = "dispatch_initiated",
        /// Runs.
        InProgress = "in_progress",
        /// Done, every essay.
        CompletedSuccessfully = "completed_successfully",
        /// Done, with essays that failed.
        CompletedWithPartialSuccess = "completed_with_partial_success",
        /// Over without a result.
        Failed = "failed",
        /// Left out because a phase before it failed.
        SkippedDueToDependencyFailure = "skipped_due_to_dependency_failure",
        /// Left out because it is not wanted or was done before.
        SkippedByUserConfig = "skipped_by_user_config",
        /// Called off.
        Cancelled = "cancelled",
    }
}
read_strictly!(PipelineExecutionStatus);

impl PipelineExecutionStatus {
    /// Whether the phase has reached its end, well or not.
    pub const fn is_terminal(self) -> bool {
        !matches!(
            self,
            Self::RequestedByUser
                | Self::PendingDependencies
                | Self::DispatchInitiated
                | Self::InProgress
        )
    }

    /// Whether the phase is being worked on now.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::DispatchInitiated | Self::InProgress)
    }
}

wire_enum! {
    /// Where one processing step stands.
    pub enum ProcessingStage {
        /// Not begun.
        Pending = "pending",
        /// Set up.
        Initialized = "initialized",
        /// Under way.
        Processing = "processing",
        /// Done.
        Completed = "completed",
        /// Failed.
        Failed = "failed",
        /// Called off.
        Cancelled = "cancelled",
    }
}
read_strictly!(ProcessingStage);

wire_enum! {
    /// How the processing of one essay stands, in thin events.
    pub enum ProcessingStatus {
        /// Not begun.
        Pending = "pending",
        /// Under way.
        InProgress = "in_progress",
        /// Done.
        Completed = "completed",
        /// Failed.
        Failed = "failed",
    }
}
read_strictly!(ProcessingStatus);

wire_enum! {
    /// How sure a result is.
    pub enum ConfidenceLabel {
        /// Sure.
        High = "HIGH",
        /// Fairly sure.
        Mid = "MID",
        /// Unsure.
        Low = "LOW",
    }
}
read_strictly!(ConfidenceLabel);

wire_enum! {
    /// How a comparative judgement stands or has ended.
    pub enum CjBatchStatus {
        /// Accepted.
        Pending = "PENDING",
        /// Texts are being fetched.
        FetchingContent = "FETCHING_CONTENT",
        /// Pairs are being judged.
        PerformingComparisons = "PERFORMING_COMPARISONS",
        /// Done: the ranking no longer changes.
        CompleteStable = "COMPLETE_STABLE",
        /// Done: the budget of comparisons is used up.
        CompleteMaxComparisons = "COMPLETE_MAX_COMPARISONS",
        /// Done without comparing: fewer than two essays.
        CompleteInsufficientEssays = "COMPLETE_INSUFFICIENT_ESSAYS",
        /// Done by force after a long silence.
        CompleteForcedRecovery = "COMPLETE_FORCED_RECOVERY",
        /// Failed.
        ErrorProcessing = "ERROR_PROCESSING",
        /// Failed because of its essays.
        ErrorEssayProcessing = "ERROR_ESSAY_PROCESSING",
    }
}
read_strictly!(CjBatchStatus);

impl CjBatchStatus {
    /// Whether nothing will change any more.
    pub const fn is_terminal(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::FetchingContent | Self::PerformingComparisons
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_see_the_documented_states() {
        use BatchClientStatus as Client;
        let expected = [
            ("awaiting_content_validation", Client::PendingContent),
            ("awaiting_pipeline_configuration", Client::PendingContent),
            ("ready_for_pipeline_execution", Client::Ready),
            ("processing_pipelines", Client::Processing),
            ("awaiting_student_validation", Client::Processing),
            ("validation_timeout_processed", Client::Processing),
            ("student_validation_completed", Client::Processing),
            ("completed_successfully", Client::CompletedSuccessfully),
            ("completed_with_failures", Client::CompletedWithFailures),
            ("content_ingestion_failed", Client::Failed),
            ("failed_critically", Client::Failed),
            ("cancelled", Client::Cancelled),
        ];
        assert_eq!(expected.len(), BatchStatus::ALL.len());
        for (text, client) in expected {
            let status: BatchStatus = text.parse().unwrap();
            assert_eq!(Client::from(status), client, "{text}");
            assert_eq!(status.is_terminal(), client.is_terminal(), "{text}");
        }
    }

    #[test]
    fn the_ending_of_a_phase_follows_from_its_essays() {
        assert_eq!(PhaseStatus::of(3, 0), PhaseStatus::CompletedSuccessfully);
        assert_eq!(PhaseStatus::of(3, 1), PhaseStatus::CompletedWithFailures);
        assert_eq!(PhaseStatus::of(0, 2), PhaseStatus::FailedCritically);
        assert_eq!(PhaseStatus::of(0, 0), PhaseStatus::FailedCritically);
        for status in PhaseStatus::ALL {
            assert_eq!(BatchStatus::from(*status).as_str(), status.as_str());
            assert!(PipelineExecutionStatus::from(*status).is_terminal());
        }
    }

    #[test]
    fn an_unknown_state_is_refused_by_name() {
        let error = serde_json::from_str::<EssayStatus>("\"lost\"").unwrap_err();
        assert!(error.to_string().contains("EssayStatus"), "{error}");
    }
}
