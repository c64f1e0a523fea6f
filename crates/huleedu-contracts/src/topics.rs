//! The Kafka topics: their names, who writes them and who reads them.
//!
//! "Outside" in a list of readers means a system that is no part of the nine services, for
//! example billing or a notification gateway.

use crate::macros::{read_strictly, wire_enum};

/// How many partitions a topic is made with, where nobody says otherwise.
pub const DEFAULT_PARTITIONS: u32 = 3;

wire_enum! {
    /// A topic, and with it the one kind of event that travels on it.
    pub enum Topic {
        /// A batch and its slots exist. Batch Orchestrator → Essay Lifecycle.
        BatchEssaysRegistered = "huleedu.batch.essays.registered.v1",
        /// A file was taken in. File Service → outside.
        BatchFileAdded = "huleedu.file.batch.file.added.v1",
        /// A file was withdrawn. File Service → outside.
        BatchFileRemoved = "huleedu.file.batch.file.removed.v1",
        /// The text of a file is stored. File Service → Essay Lifecycle.
        EssayContentProvisioned = "huleedu.file.essay.content.provisioned.v1",
        /// A file cannot be assessed. File Service → Essay Lifecycle.
        EssayValidationFailed = "huleedu.file.essay.validation.failed.v1",
        /// A file got its slot. Essay Lifecycle → outside.
        EssaySlotAssigned = "huleedu.els.essay.slot.assigned.v1",
        /// A file found no free slot. Essay Lifecycle → outside.
        ExcessContentProvisioned = "huleedu.els.excess.content.provisioned.v1",
        /// Every slot is filled or failed. Essay Lifecycle → Batch Orchestrator.
        BatchContentProvisioningCompleted = "huleedu.batch.content.provisioning.completed.v1",
        /// The slots that failed, with reasons. Essay Lifecycle → Batch Orchestrator.
        BatchValidationErrors = "huleedu.els.batch.validation.errors.v1",
        /// Students are matched, a regular batch may run. Essay Lifecycle → Batch Orchestrator.
        BatchEssaysReady = "huleedu.els.batch.essays.ready.v1",
        /// A client asks for a pipeline. API Gateway → Batch Orchestrator; the orchestrator itself
        /// sends a request again that came before the batch was ready.
        ClientBatchPipelineRequest = "huleedu.commands.batch.pipeline.v1",
        /// Spell-check a batch. Batch Orchestrator → Essay Lifecycle.
        SpellcheckInitiateCommand = "huleedu.els.spellcheck.initiate.command.v1",
        /// Spell-check one essay. Essay Lifecycle → Spell Checker.
        EssaySpellcheckRequested = "huleedu.essay.spellcheck.requested.v1",
        /// One essay is spell-checked or has failed; the thin event that moves states.
        /// Spell Checker → Essay Lifecycle.
        SpellcheckPhaseCompleted = "huleedu.batch.spellcheck.phase.completed.v1",
        /// The same with all figures. Spell Checker → Essay Lifecycle, outside.
        EssaySpellcheckResults = "huleedu.essay.spellcheck.results.v1",
        /// A phase is over for a whole batch. Essay Lifecycle → Batch Orchestrator, Batch
        /// Conductor.
        ElsBatchPhaseOutcome = "huleedu.els.batch.phase.outcome.v1",
        /// Rank a batch. Batch Orchestrator → Essay Lifecycle.
        CjAssessmentInitiateCommand = "huleedu.batch.cj_assessment.initiate.command.v1",
        /// Rank these essays. Essay Lifecycle → CJ Assessment.
        ElsCjAssessmentRequested = "huleedu.els.cj_assessment.requested.v1",
        /// A batch is ranked; the thin event. CJ Assessment → Essay Lifecycle.
        CjAssessmentCompleted = "huleedu.cj_assessment.completed.v1",
        /// A batch cannot be ranked. CJ Assessment → Essay Lifecycle.
        CjAssessmentFailed = "huleedu.cj_assessment.failed.v1",
        /// The ranking itself. CJ Assessment → outside.
        AssessmentResultPublished = "huleedu.assessment.result.published.v1",
        /// What was used up and who pays. CJ Assessment → outside.
        ResourceConsumption = "huleedu.resource.consumption.v1",
        /// Write feedback for a batch. Batch Orchestrator → Essay Lifecycle.
        AiFeedbackInitiateCommand = "huleedu.batch.ai_feedback.initiate.command.v1",
        /// Analyse the language of a batch. Batch Orchestrator → Essay Lifecycle.
        NlpInitiateCommand = "huleedu.batch.nlp.initiate.command.v2",
        /// Analyse these essays. Essay Lifecycle → outside (language analysis).
        BatchNlpProcessingRequested = "huleedu.batch.nlp.processing.requested.v2",
        /// A batch is analysed. Outside (language analysis) → Essay Lifecycle.
        BatchNlpAnalysisCompleted = "huleedu.batch.nlp.analysis.completed.v1",
        /// Find the authors of a batch. Batch Orchestrator → Essay Lifecycle.
        StudentMatchingInitiateCommand = "huleedu.batch.student.matching.initiate.command.v1",
        /// Find the authors of these essays. Essay Lifecycle → outside (language analysis).
        BatchStudentMatchingRequested = "huleedu.batch.student.matching.requested.v1",
        /// Who may have written what. Outside (language analysis) → Class Management.
        BatchAuthorMatchesSuggested = "huleedu.batch.author.matches.suggested.v1",
        /// Who wrote what. Class Management → Batch Orchestrator, Essay Lifecycle.
        StudentAssociationsConfirmed = "huleedu.class.student.associations.confirmed.v1",
        /// Nobody confirmed in time, the best guesses stand. Class Management → outside.
        ValidationTimeoutProcessed = "huleedu.class.validation.timeout.processed.v1",
        /// A class exists. Class Management → outside.
        ClassCreated = "huleedu.class.created.v1",
        /// A class has changed. Class Management → outside.
        ClassUpdated = "huleedu.class.updated.v1",
        /// A student exists. Class Management → outside.
        StudentCreated = "huleedu.class.student.created.v1",
        /// A student has changed. Class Management → outside.
        StudentUpdated = "huleedu.class.student.updated.v1",
        /// One essay got or lost its author. Class Management → outside.
        EssayStudentAssociationUpdated = "huleedu.class.essay.association.updated.v1",
        /// A pipeline has come to its end, well or not. Batch Orchestrator → outside.
        BatchPipelineCompleted = "huleedu.batch.pipeline.completed.v1",
        /// A phase was done before and is left out. Batch Conductor → outside.
        BatchPhaseSkipped = "huleedu.batch.phase.skipped.v1",
        /// A pipeline was refused. Batch Orchestrator → outside.
        PipelineDenied = "huleedu.pipeline.denied.v1",
        /// A teacher should hear of something. Batch Orchestrator → outside.
        TeacherNotificationRequested = "huleedu.notification.teacher.requested.v1",
    }
}

read_strictly!(Topic);

impl Topic {
    /// The topic that takes messages of this one which cannot be handled.
    pub fn dead_letter(self) -> String {
        format!("{}.DLQ", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_topic_is_read_back_and_no_two_are_alike() {
        let names: BTreeSet<&str> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
        assert_eq!(names.len(), Topic::ALL.len());
        for topic in Topic::ALL {
            assert_eq!(topic.as_str().parse::<Topic>().unwrap(), *topic);
        }
        assert!("huleedu.unknown.v1".parse::<Topic>().is_err());
    }

    #[test]
    fn names_follow_the_convention_of_the_platform() {
        for topic in Topic::ALL {
            let name = topic.as_str();
            assert!(name.starts_with("huleedu."), "{name}");
            let version = name.rsplit('.').next().unwrap();
            assert!(["v1", "v2"].contains(&version), "{name}");
            assert!(topic.dead_letter().len() <= 249, "Kafka's limit: {name}");
        }
    }
}
