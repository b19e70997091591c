//! Webhooks: subscribers that get events as HTTP requests.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    limits,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    registration::{absolute_url, name},
    warnings::Warnings,
};
use crate::model::{Cursor, EventKind, ServiceName, Timestamp};

const SHAPE: Shape = Shape {
    known: &["service_name", "callback_url", "events", "secret", "canary"],
    own: &[
        "id",
        "watcher_id",
        "signed",
        "created_at",
        "cursor",
        "lag",
        "state",
        "delivered",
        "failed",
        "last_error",
        "message",
        "warnings",
    ],
};

/// What a caller asks of a new webhook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatcherDraft {
    /// The service it follows; none follows all.
    pub service_name: Option<ServiceName>,
    /// Where events are sent to.
    pub callback_url: Box<str>,
    /// The kinds it wants; none wants all.
    pub events: Box<[EventKind]>,
    /// The key that signs what is sent; never answered.
    pub secret: Option<Box<str>>,
    /// Whether it wants the events of the migration's canary too; true where the body does not say.
    pub canary: bool,
}

impl WatcherDraft {
    /// Reads the body of a new webhook, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let service_name = faults.optional(&object, "service_name", service);
        let callback_url = faults.required(&object, "callback_url", |value| {
            let url = read::line(value, limits::URL_BYTES_MAX)?;
            absolute_url(&url).map(|()| url)
        });
        let events = faults.optional(&object, "events", events);
        let secret = faults.optional(&object, "secret", secret);
        let canary = faults.optional(&object, "canary", read::flag);
        match callback_url {
            Some(callback_url) if faults.errors.is_empty() => {
                let draft = Self {
                    service_name: service_name.flatten(),
                    callback_url,
                    events: events.unwrap_or_default(),
                    secret,
                    canary: canary.unwrap_or(true),
                };
                Ok((draft, Warnings::of(&object)))
            }
            _ => Err(Problem::invalid(faults.errors)),
        }
    }
}

/// A name, or "*" for all.
fn service(value: &RawValue) -> Result<Option<ServiceName>, String> {
    if read::text(value)? == "*" {
        return Ok(None);
    }
    name(value, ServiceName::parse).map(Some)
}

/// An empty one, as an unset variable gives, would mean that nothing is signed.
fn secret(value: &RawValue) -> Result<Box<str>, String> {
    let secret = read::line(value, limits::SECRET_BYTES_MAX)?;
    if secret.trim().is_empty() {
        return Err("is empty: leave it out if deliveries shall not be signed".to_owned());
    }
    Ok(secret)
}

fn events(value: &RawValue) -> Result<Box<[EventKind]>, String> {
    let mut kinds = Vec::new();
    for item in read::list(value, 4 * EventKind::ALL.len())? {
        let word = read::text(item)?;
        if word == "*" {
            return Ok(Box::default());
        }
        let Some(kind) = EventKind::parse(&word) else {
            let known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
            let quoted = read::quoted(item);
            return Err(format!("{quoted} is not one of {}", known.join(", ")));
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds.into())
}

/// A webhook as it is answered.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[schema(as = Watcher)]
pub struct WatcherAnswer {
    /// Its identity.
    pub id: String,
    /// The service that it follows, "*" for all.
    #[serde(serialize_with = "name_or_star")]
    #[schema(value_type = String)]
    pub service_name: Option<ServiceName>,
    /// Where events are sent to.
    pub callback_url: Box<str>,
    /// The kinds of events that it gets; an empty list means all.
    pub events: Box<[EventKind]>,
    /// Whether deliveries are signed.
    pub signed: bool,
    /// Whether it gets the events of the migration's canary.
    pub canary: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last change that it has received, or that was not for it.
    pub cursor: Cursor,
    /// How many changes for it are not delivered yet.
    pub lag: u64,
    /// "active", or why nothing is sent to it now: "retrying", "open" or "half_open".
    pub state: &'static str,
    /// Events delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

fn name_or_star<S: Serializer>(
    name: &Option<ServiceName>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_ref().map_or("*", ServiceName::as_str))
}

/// Every webhook.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Watchers)]
pub struct WatcherList {
    /// Oldest first.
    pub watchers: Vec<WatcherAnswer>,
    /// How many.
    pub total_count: usize,
}

#[cfg(test)]
mod tests;
