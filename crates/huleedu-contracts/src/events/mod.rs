//! The events of the platform: one payload type per topic.
//!
//! A payload's key decides the order: on one topic, events with the same key stay in order. The
//! key is the batch, except where one essay is the unit of work.

pub mod batch;
pub mod cj;
pub mod class;
pub mod command;
pub mod essay;
pub mod file;
pub mod nlp;
pub mod notification;
pub mod pipeline;
pub mod spellcheck;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::UnknownName;
use crate::topics::Topic;

/// The payload of an event.
pub trait Event: Serialize + DeserializeOwned {
    /// The topic on which it travels.
    const TOPIC: Topic;

    /// The event's short name, which most payloads repeat in a field of their own.
    const NAME: &'static str;

    /// The message key: events with the same key on one topic keep their order.
    fn key(&self) -> String;
}

/// The field in which a payload repeats the event's short name.
///
/// It takes no room: the type is the name. Reading refuses another name, so that a message that
/// strayed onto the wrong topic is not taken for something it is not.
pub struct EventName<T>(PhantomData<fn() -> T>);

impl<T> EventName<T> {
    /// The name.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for EventName<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for EventName<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for EventName<T> {}

impl<T> PartialEq for EventName<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for EventName<T> {}

impl<T: Event> fmt::Debug for EventName<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(T::NAME, f)
    }
}

impl<T: Event> Serialize for EventName<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(T::NAME)
    }
}

impl<'de, T: Event> Deserialize<'de> for EventName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        if name == T::NAME {
            Ok(Self::new())
        } else {
            Err(D::Error::custom(UnknownName::new(T::NAME, &name)))
        }
    }
}

/// Ties a payload to its topic, its name and its key.
macro_rules! event {
    ($payload:ident, $topic:ident, $name:literal, $key:expr) => {
        impl $crate::events::Event for $payload {
            const TOPIC: $crate::topics::Topic = $crate::topics::Topic::$topic;
            const NAME: &'static str = $name;

            fn key(&self) -> String {
                let key: fn(&Self) -> String = $key;
                key(self)
            }
        }
    };
}

pub(crate) use event;
