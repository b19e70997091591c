//! Webhooks: subscribers that get events as HTTP requests.

mod stored;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use self::stored::StoredWatcher;
use super::{limits, problem::Problem, read, registration::absolute_url, warnings::Warnings};
use crate::model::{Cursor, EventKind, ServiceName, Timestamp};

/// Fields of answers about a webhook that are no fields of a request.
const ANSWERED: [&str; 13] = [
    "owner",
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
];

/// The properties of a new webhook.
#[derive(Clone, Debug, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatcherDraft {
    /// A service, or "*" (default) for all.
    #[schema(value_type = Option<String>)]
    pub service_name: Option<ServiceName>,
    /// An absolute http or https URL.
    pub callback_url: Box<str>,
    /// The kinds of events that it gets; default all.
    #[schema(value_type = Option<Vec<String>>)]
    pub events: Box<[EventKind]>,
    /// Signs what is sent; never answered. Must not be empty.
    pub secret: Option<Box<str>>,
    /// Whether the events of the migration's canary are sent; default true.
    #[schema(value_type = Option<bool>)]
    pub canary: bool,
}

impl WatcherDraft {
    /// Reads the body of a new webhook, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &ANSWERED, |fields| {
            let service_name = fields.optional("service_name", service).flatten();
            let callback_url = fields.required("callback_url", absolute_url);
            let events = fields.optional("events", events);
            let secret = fields.optional("secret", secret);
            let canary = fields.optional("canary", read::flag);
            Some(Self {
                service_name,
                callback_url: callback_url?,
                events: events.unwrap_or_default(),
                secret,
                canary: canary.unwrap_or(true),
            })
        })
    }
}

/// A name, or "*" for all.
fn service(value: &RawValue) -> Result<Option<ServiceName>, String> {
    if read::text(value)? == "*" {
        return Ok(None);
    }
    read::name(value, ServiceName::parse).map(Some)
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
    let words = EventKind::ALL.map(|kind| (kind.as_str(), kind));
    let mut kinds = Vec::new();
    for item in read::list(value, 4 * EventKind::ALL.len())? {
        let word = read::text(item)?;
        if word == "*" {
            return Ok(Box::default());
        }
        let kind = read::meaning(item, &word, &words)?;
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
    /// The identity that added it: it gets what that may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<str>>,
    /// When that identity's token was made at run time; not answered.
    #[serde(skip)]
    pub owner_made: Option<Timestamp>,
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
