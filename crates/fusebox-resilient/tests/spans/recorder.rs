//! A subscriber that keeps what protected calls tell about themselves; for the tests of every crate that
//! makes such spans.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// What a span tells. One that has ended has the field [`CLOSED`].
pub(crate) type Fields = BTreeMap<&'static str, String>;

/// The field of a span that has ended.
pub(crate) const CLOSED: &str = "closed";

/// Keeps the fields of all protected calls, with those of a span `event` around them, in order of their
/// beginning.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<(Id, Fields)>>>);

impl Recorder {
    /// Listens on this thread as long as the guard lives.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        // While only one subscriber is alive, a place in the code that another test's thread
        // reaches first asks that thread's subscriber, which is none, and stays silent for good.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let recorder = Self::default();
        let subscriber = tracing_subscriber::registry().with(recorder.clone());
        (recorder, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn spans(&self) -> Vec<Fields> {
        let spans = self.0.lock().unwrap();
        spans.iter().map(|(_, fields)| fields.clone()).collect()
    }

    fn change(&self, id: &Id, change: impl FnOnce(&mut Fields)) {
        let mut spans = self.0.lock().unwrap();
        // Ids are used again: the latest is meant.
        if let Some((_, fields)) = spans.iter_mut().rev().find(|(known, _)| known == id) {
            change(fields);
        }
    }
}

/// Demands these fields and values of a span; it may have others.
pub(crate) fn check(fields: &Fields, expected: &[(&'static str, &str)]) {
    for (name, value) in expected {
        assert_eq!(fields.get(name).map(String::as_str), Some(*value), "{name}");
    }
}

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut fields = Fields::new();
        match attributes.metadata().name() {
            "event" => {
                attributes.record(&mut Collect(&mut fields));
                span.extensions_mut().insert(fields);
            }
            "protected_call" => {
                if let Some(event) = span.parent()
                    && let Some(around) = event.extensions().get::<Fields>()
                {
                    fields.clone_from(around);
                }
                attributes.record(&mut Collect(&mut fields));
                self.0.lock().unwrap().push((id.clone(), fields));
            }
            _ => {}
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.change(id, |fields| values.record(&mut Collect(fields)));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.change(&id, |fields| {
            fields.insert(CLOSED, String::new());
        });
    }
}
