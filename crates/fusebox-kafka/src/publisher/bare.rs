//! Without circuit and journal: what a plain producer does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::broker::{Attempt, Broker, ErrorClass, SendError};
use crate::bus::PublishError;
use crate::receipt::Accepted;
use crate::record::Record;

/// How long a full producer is left alone.
const BACK_PRESSURE_WAIT: Duration = Duration::from_millis(5);

pub(super) struct Bare {
    broker: Arc<dyn Broker>,
    timeout: Duration,
}

impl Bare {
    pub(super) fn new(broker: Arc<dyn Broker>, timeout: Duration) -> Self {
        Self { broker, timeout }
    }

    pub(super) async fn publish(
        &self,
        record: &Record,
        now_ms: i64,
    ) -> Result<Accepted, PublishError> {
        let deadline = Instant::now() + self.timeout;
        let attempt = Attempt {
            number: 1,
            maybe_duplicate: false,
            admitted_at_ms: now_ms,
        };
        let delivery = loop {
            match self.broker.enqueue(record, attempt) {
                Ok(delivery) => break delivery,
                Err(error)
                    if error.class == ErrorClass::BackPressure && Instant::now() < deadline =>
                {
                    sleep(BACK_PRESSURE_WAIT).await;
                }
                Err(error) => {
                    self.replace_if_finished(&error);
                    return Err(error.into());
                }
            }
        };
        match timeout_at(deadline, delivery).await {
            Ok(Ok(delivered)) => Ok(Accepted::delivered(record.event_id, delivered)),
            Ok(Err(error)) => {
                self.replace_if_finished(&error);
                Err(error.into())
            }
            Err(_) => Err(SendError {
                class: ErrorClass::Unavailable,
                code: "_TIMED_OUT".to_owned(),
                text: format!("no acknowledgement within {:?}", self.timeout),
            }
            .into()),
        }
    }

    /// A producer that is finished fails every later event: even a plain one is replaced.
    fn replace_if_finished(&self, error: &SendError) {
        if error.class == ErrorClass::Fatal
            && let Err(error) = self.broker.rebuild()
        {
            tracing::error!(
                code = error.code,
                text = error.text,
                "Kafka producer not replaced"
            );
        }
    }
}
