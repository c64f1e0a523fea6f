//! Answers the comparisons of a wave, one by one, through the judges.

use std::{collections::HashMap, time::Duration};

use fusebox::backoff::Backoff;
use fusebox_llm::{Failover, FailoverError, JudgeRequest, ModelChoice, PromptBlock, prompt};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use huleedu_contracts::{bounds::Temperature, events::cj::LLMConfigOverrides};
use sha2::{Digest, Sha256};

use super::{Engine, Obstacle, Step};
use crate::store::{Answer, Comparison, ComparisonState, Essay, Job};

/// First wait of a parked comparison.
const PARK_MIN: Duration = Duration::from_millis(250);

/// What all comparisons of a job have in common.
struct Bench<'a> {
    job: &'a Job,
    judge: Failover,
    model: Option<ModelChoice>,
    texts: HashMap<usize, &'a str>,
    salt: [u8; 32],
}

impl Engine {
    /// Answers what is pending; each result is stored as it comes.
    ///
    /// Comparisons that nobody can answer now are parked and tried again, until the job is too old.
    pub(super) async fn answer_pending(
        &self,
        job: &Job,
        essays: &[Essay],
        comparisons: &[Comparison],
    ) -> Result<Step, Obstacle> {
        let (judge, model) = self
            .judges
            .for_request(job.request.llm_config_overrides.as_ref());
        let texts = essays
            .iter()
            .filter_map(|essay| Some((essay.node?, essay.text.as_deref()?)))
            .collect();
        // Unknown to whoever wrote an essay, the same after a restart.
        let salt = Sha256::digest(job.id.as_bytes()).into();
        let bench = Bench {
            job,
            judge,
            model,
            texts,
            salt,
        };
        let bench = &bench;
        // Boxed, because the compiler cannot see that a stream of borrowing futures may be sent.
        let answers: Vec<BoxFuture<'_, Result<(), Obstacle>>> = comparisons
            .iter()
            .filter_map(|comparison| match comparison.state {
                ComparisonState::Pending { attempts } => {
                    Some(self.answer(bench, comparison, attempts).boxed())
                }
                _ => None,
            })
            .collect();
        stream::iter(answers)
            .buffer_unordered(self.settings.max_concurrent_comparisons)
            .try_collect::<()>()
            .await?;
        Ok(Step::GoOn)
    }

    /// Answers one comparison, or leaves it pending when the job has become too old.
    async fn answer(
        &self,
        bench: &Bench<'_>,
        comparison: &Comparison,
        mut attempts: u32,
    ) -> Result<(), Obstacle> {
        let request = self.request(bench, comparison);
        let backoff = Backoff::new(PARK_MIN, self.settings.park_max);
        let mut parked = 0_u32;
        loop {
            let result = {
                let _place = self.places.acquire().await;
                bench.judge.judge(&request).await
            };
            let error = match result {
                Ok(judged) => {
                    let answer = Answer::Judged(&judged);
                    self.jobs.record(&bench.job.id, comparison, &answer).await?;
                    return Ok(());
                }
                Err(error) => error,
            };
            if error.may_pass_later() {
                if self.is_too_old(bench.job) {
                    return Ok(());
                }
                if parked == 0 {
                    note_parked(bench.job, comparison, &error);
                }
                let own = backoff.delay(parked, rand::random());
                let asked = error
                    .retry_after
                    .unwrap_or_default()
                    .min(self.settings.park_max);
                tokio::time::sleep(own.max(asked)).await;
                parked = parked.saturating_add(1);
                continue;
            }
            attempts += 1;
            let unreadable = error
                .attempts
                .iter()
                .any(|attempt| attempt.kind() == fusebox_llm::Kind::InvalidOutput);
            if unreadable && attempts < self.settings.comparison_attempts {
                self.jobs
                    .record(&bench.job.id, comparison, &Answer::Unreadable)
                    .await?;
                tokio::time::sleep(backoff.delay(attempts, rand::random())).await;
                continue;
            }
            let why = said(&error);
            tracing::warn!(
                job_id = bench.job.id,
                wave = comparison.wave,
                seq = comparison.seq,
                why,
                "a comparison is given up"
            );
            self.jobs
                .record(&bench.job.id, comparison, &Answer::GivenUp(why))
                .await?;
            return Ok(());
        }
    }

    fn request(&self, bench: &Bench<'_>, comparison: &Comparison) -> JudgeRequest {
        let default = LLMConfigOverrides::default();
        let overrides = bench
            .job
            .request
            .llm_config_overrides
            .as_ref()
            .unwrap_or(&default);
        let mut request = JudgeRequest::new(
            prompt::system(overrides.system_prompt_override.as_deref()),
            blocks(bench, comparison, overrides),
        );
        request.model.clone_from(&bench.model);
        request.temperature = Some(
            overrides
                .temperature_override
                .map_or(self.settings.temperature, Temperature::get),
        );
        request.max_tokens = overrides
            .max_tokens_override
            .map_or(self.settings.max_tokens, std::num::NonZero::get);
        request
    }
}

fn blocks(
    bench: &Bench<'_>,
    comparison: &Comparison,
    overrides: &LLMConfigOverrides,
) -> Vec<PromptBlock> {
    let text = |node: usize| bench.texts.get(&node).copied().unwrap_or_default();
    let context = prompt::Context {
        assignment: bench.job.assignment_text.as_deref(),
        criteria: overrides.judge_rubric_override.as_deref(),
        instructions: None,
    };
    prompt::comparison(
        context,
        text(comparison.pair.a),
        text(comparison.pair.b),
        &bench.salt,
    )
}

fn note_parked(job: &Job, comparison: &Comparison, error: &FailoverError) {
    tracing::info!(
        job_id = job.id,
        wave = comparison.wave,
        seq = comparison.seq,
        held_back = error.held_back(),
        why = said(error),
        "a comparison is parked: no provider can answer now"
    );
}

/// What each provider said, in a few words.
fn said(error: &FailoverError) -> String {
    let words: Vec<String> = error
        .attempts
        .iter()
        .map(|attempt| format!("{}: {}", attempt.provider, attempt.kind().as_str()))
        .collect();
    words.join(", ")
}
