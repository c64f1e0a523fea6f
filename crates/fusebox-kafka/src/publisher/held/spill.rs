//! Moving what memory holds into the journal, and back to direct when all is well.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Appended, Held, Kept, LOOK_EVERY, Phase, State};
use crate::backlog::{BacklogError, entry};
use crate::bus::PublishError;
use crate::drainer::DrainerHandle;
use crate::publisher::journal::refused;
use crate::record::Position;

impl Held {
    /// Appends everything that only memory holds to the journal, in order; the appends are awaited by
    /// [`tend`](Self::tend). What is published after this call comes behind.
    pub(super) fn begin_spill(&self, state: &mut State) {
        let Some(journal) = &self.journal else { return };
        if state.phase != Phase::Direct {
            return;
        }
        state.enter(Phase::Spilling);
        state.places.end_direct();
        let mut spilling = Vec::new();
        for (position, event) in &mut state.events {
            if event.kept != Kept::Memory {
                continue;
            }
            match entry(&event.parked.record, event.parked.admitted_at_ms) {
                Ok(entry) => {
                    event.kept = Kept::Appending;
                    spilling.push((*position, journal.journal().append(entry)));
                }
                Err(error) => {
                    event.kept = Kept::Refused;
                    if let Some(publisher) = event.publisher.take() {
                        let refusal = BacklogError::new("keep the event", error);
                        drop(publisher.send(Err(refusal.into())));
                    }
                }
            }
        }
        tracing::warn!(
            events = spilling.len(),
            "events go to the journal: Kafka does not take them"
        );
        state.spilled += spilling.len() as u64;
        state.spilling = spilling;
        self.work.notify_one();
    }

    /// Does what must be done beside publishers and drainer, until `ended` is cancelled; afterwards
    /// nothing is left that only memory holds. `shutdown` ends the direct phase.
    pub(in crate::publisher) async fn tend(
        self: Arc<Self>,
        drainer: DrainerHandle,
        shutdown: CancellationToken,
        ended: CancellationToken,
    ) {
        if self.journal.is_none() {
            ended.cancelled().await;
            let mut state = self.lock();
            state.closing = true;
            let lost = state.events.len();
            if lost > 0 {
                tracing::error!(lost, "events in memory lost: the process stops");
            }
            return;
        }
        let mut last = false;
        let mut look_at = Instant::now();
        loop {
            {
                let mut state = self.lock();
                state.closing |= last || shutdown.is_cancelled();
                if state.phase == Phase::Direct && (!self.is_well(&state) || self.is_late(&state)) {
                    self.begin_spill(&mut state);
                }
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + LOOK_EVERY;
                self.leave_direct_if_not_empty().await;
            }
            if self.finish_spill().await {
                // What was published meanwhile can be read only now.
                drainer.wake();
            }
            self.finish_orphans().await;
            if last {
                return;
            }
            let at = self.next_look().min(look_at);
            tokio::select! {
                () = self.work.notified() => {}
                () = sleep_until(at) => {}
                () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
                () = ended.cancelled() => last = true,
            }
        }
    }

    /// Whether Kafka has taken too long for the oldest event.
    fn is_late(&self, state: &State) -> bool {
        let oldest = state
            .events
            .values()
            .find(|event| event.kept == Kept::Memory);
        oldest.is_some_and(|event| event.since.elapsed() >= self.config.direct_timeout)
    }

    fn next_look(&self) -> Instant {
        let look = Instant::now() + LOOK_EVERY;
        let state = self.lock();
        let oldest = state
            .events
            .values()
            .find(|event| event.kept == Kept::Memory);
        match oldest {
            Some(event) if state.phase == Phase::Direct => {
                look.min(event.since + self.config.direct_timeout)
            }
            _ => look,
        }
    }

    /// Awaits the appends of a spill; answers whether one has been completed.
    async fn finish_spill(&self) -> bool {
        loop {
            let spilling = {
                let mut state = self.lock();
                let spilling = std::mem::take(&mut state.spilling);
                if spilling.is_empty() {
                    let completed = state.phase == Phase::Spilling;
                    if completed {
                        state.enter(Phase::Journaling);
                    }
                    return completed;
                }
                spilling
            };
            let mut answers = Vec::with_capacity(spilling.len());
            for (position, pending) in spilling {
                answers.push((position, pending.await));
            }
            let (mut gone, mut settled) = (Vec::new(), Vec::new());
            {
                let mut state = self.lock();
                for (position, answer) in answers {
                    if state.note_kept(position, &answer) {
                        gone.push(position);
                        settled.extend(answer.ok());
                    }
                }
            }
            if let Some(journal) = &self.journal
                && !settled.is_empty()
                && let Err(error) = journal.settle_all(&settled).await
            {
                // They are sent again after a restart, no earlier.
                tracing::warn!(%error, "deliveries not settled");
            }
            {
                // Only now: until they are settled the journal would hand them out again.
                let mut state = self.lock();
                for position in gone {
                    state.remove(position);
                }
                state.changes += 1;
            }
            self.call_for_room();
        }
    }

    async fn finish_orphans(&self) {
        loop {
            let orphans = std::mem::take(&mut self.lock().orphans);
            if orphans.is_empty() {
                return;
            }
            for orphan in orphans {
                // Nobody wants to know; only that it is over.
                drop(orphan.await);
                self.appended(&mut self.lock());
            }
        }
    }

    /// Somebody else may have put something into the journal: an operator who requeues a dead letter.
    async fn leave_direct_if_not_empty(&self) {
        let Some(journal) = &self.journal else { return };
        let from = {
            let state = self.lock();
            if state.phase != Phase::Direct {
                return;
            }
            state.places.direct_from()
        };
        match journal.read(from.saturating_sub(1), 1).await {
            Ok(page) if !page.is_empty() => {
                let mut state = self.lock();
                if state.places.direct_from() == from {
                    self.begin_spill(&mut state);
                }
                return;
            }
            Ok(_) => {}
            // What cannot be read is not called empty.
            Err(_) => return,
        }
        let rest = journal.read(0, 1).await;
        if rest.is_ok_and(|page| page.is_empty()) {
            let mut state = self.lock();
            if state.phase == Phase::Direct && state.places.direct_from() == from {
                state.places.forget_old();
            }
        }
    }

    /// Puts one event into the journal; answers its place, or nothing when it is not held any more.
    pub(super) async fn keep(
        &self,
        position: Position,
    ) -> Result<Option<fusebox_journal::Position>, BacklogError> {
        let Some(journal) = &self.journal else {
            return Ok(None);
        };
        let kept = |error: PublishError| BacklogError::new("keep an event", error);
        let pending = {
            let mut state = self.lock();
            let Some(event) = state.events.get_mut(&position) else {
                return Ok(None);
            };
            let entry = entry(&event.parked.record, event.parked.admitted_at_ms)
                .map_err(|error| BacklogError::new("keep an event", error))?;
            event.kept = Kept::Appending;
            journal.journal().append(entry)
        };
        let answer = pending.await;
        let mut state = self.lock();
        match answer {
            Ok(place) => {
                state.places.note_spilled(place);
                if let Some(event) = state.events.get_mut(&position) {
                    event.kept = Kept::Journal;
                    event.place = Some(place);
                }
                Ok(Some(place))
            }
            Err(error) => {
                if let Some(event) = state.events.get_mut(&position) {
                    event.kept = Kept::Memory;
                }
                Err(kept(refused(error)))
            }
        }
    }
}

impl State {
    /// The journal has answered for an event: tells its publisher. Answers whether the event has been
    /// settled meanwhile.
    fn note_kept(&mut self, position: Position, answer: &Appended) -> bool {
        if let Ok(place) = answer {
            self.places.note_spilled(*place);
        }
        let Some(event) = self.events.get_mut(&position) else {
            return false;
        };
        let settled = event.kept == Kept::Settled;
        let told = match answer {
            Ok(_) => Ok(position),
            Err(error) => Err(refused(error.clone())),
        };
        event.place = answer.as_ref().ok().copied();
        if !settled {
            event.kept = match answer {
                Ok(_) => Kept::Journal,
                Err(_) => Kept::Refused,
            };
        }
        if let Some(publisher) = event.publisher.take() {
            // A publisher that has gone away does not want to know.
            drop(publisher.send(told));
        }
        settled
    }
}
