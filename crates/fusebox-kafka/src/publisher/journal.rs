//! Journal first: an event is safe when the journal has it.

use fusebox_journal::{AppendError, Entry, Journal};

use super::line::{Line, wait_for_room};
use crate::backlog::{BacklogError, JournalBacklog, entry};
use crate::bus::PublishError;
use crate::drainer::DrainerHandle;
use crate::receipt::Accepted;
use crate::record::Record;

#[derive(Debug)]
pub(super) struct JournalFirst {
    backlog: JournalBacklog,
    line: Line,
}

impl JournalFirst {
    pub(super) fn new(backlog: JournalBacklog, line: Line) -> Self {
        Self { backlog, line }
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn journal(&self) -> &Journal {
        self.backlog.journal()
    }

    pub(super) async fn publish(
        &self,
        record: &Record,
        drainer: &DrainerHandle,
    ) -> Result<Accepted, PublishError> {
        let event_id = record.event_id;
        let entry = encoded(record, &self.backlog)?;
        // Before it can be sent, or its acknowledgement could be missed.
        let receipt = drainer.expect(event_id);
        let position = self.append(entry).await?;
        let position = crate::backlog::to_kafka(position);
        Ok(Accepted::expecting(event_id, Some(position), receipt))
    }

    async fn append(&self, entry: Entry) -> Result<fusebox_journal::Position, PublishError> {
        let journal = self.journal();
        let deadline = self.line.deadline();
        let mut turn = None;
        let mut room = None;
        loop {
            if turn.is_none() && self.line.is_formed() {
                let deadline = deadline.ok_or(PublishError::Full)?;
                turn = Some(self.line.turn(deadline).await.ok_or(PublishError::Full)?);
            }
            let refusal = match journal.append(entry.clone()).await {
                Ok(position) => return Ok(position),
                Err(error) => refused(error),
            };
            let Some(deadline) = deadline else {
                return Err(refusal);
            };
            if !matches!(refusal, PublishError::Full | PublishError::NoSpace) {
                return Err(refusal);
            }
            if turn.is_none() {
                let Some(mine) = self.line.turn(deadline).await else {
                    return Err(refusal);
                };
                turn = Some(mine);
            }
            // Listen first, then try once more: what is freed in between is not overheard.
            match room.take() {
                None => room = Some(journal.room()),
                Some(room) => {
                    if !wait_for_room(room, deadline).await {
                        return Err(refusal);
                    }
                }
            }
        }
    }
}

pub(super) fn encoded(record: &Record, backlog: &JournalBacklog) -> Result<Entry, PublishError> {
    entry(record, backlog.now_ms())
        .map_err(|_| PublishError::Invalid("it has more headers, or longer ones, than can be kept"))
}

/// What a refusal of the journal means to the publisher's caller.
pub(super) fn refused(error: AppendError) -> PublishError {
    match error {
        AppendError::Full => PublishError::Full,
        AppendError::NoSpace => PublishError::NoSpace,
        AppendError::TooLarge { size, limit } => PublishError::TooLarge {
            size: usize::try_from(size).unwrap_or(usize::MAX),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        },
        AppendError::Label => PublishError::Invalid("its topic is longer than 255 bytes"),
        other => PublishError::Backlog(BacklogError::new("keep the event", other)),
    }
}
