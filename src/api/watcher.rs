//! Webhooks: who is told of events by an HTTP request.

use serde_json::value::RawValue;

use super::{
    json::Json,
    limits,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    registration::{absolute_url, name},
    warnings::Warnings,
};
use crate::model::{EventKind, ServiceName, Timestamp};

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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatcherShape {
    /// Its identity.
    pub id: Box<str>,
    /// The service it follows; none follows all.
    pub service_name: Option<ServiceName>,
    /// Where events are sent to.
    pub callback_url: Box<str>,
    /// The kinds it wants; none wants all.
    pub events: Box<[EventKind]>,
    /// Whether what is sent is signed.
    pub signed: bool,
    /// Whether it gets the events of the migration's canary.
    pub canary: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// How far it has come, as a cursor.
    pub cursor: String,
    /// How many changes of what it follows it has not had.
    pub lag: u64,
    /// `active`, or in a word why nothing is sent to it now.
    pub state: &'static str,
    /// Events it took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl WatcherShape {
    /// Appends its JSON.
    pub fn write(&self, json: &mut Json) {
        let service = self.service_name.as_ref().map(|name| name.as_str());
        json.open(b'{');
        json.key("id").text(&self.id);
        json.key("service_name").text(service.unwrap_or("*"));
        json.key("callback_url").text(&self.callback_url);
        json.key("events")
            .texts(self.events.iter().map(|kind| kind.as_str()));
        json.key("signed").flag(self.signed);
        json.key("canary").flag(self.canary);
        json.key("created_at").time(self.created_at);
        json.key("cursor").text(&self.cursor);
        json.key("lag").number(self.lag);
        json.key("state").text(self.state);
        json.key("delivered").number(self.delivered);
        json.key("failed").number(self.failed);
        json.key("last_error")
            .text_or_null(self.last_error.as_deref());
        json.close(b'}');
    }
}

/// `{"watchers":[watcher, …],"total_count":n}`.
pub fn watchers(list: &[WatcherShape]) -> Vec<u8> {
    let mut json = Json::with_capacity(64 + 320 * list.len());
    json.open(b'{');
    json.key("watchers").open(b'[');
    for watcher in list {
        watcher.write(json.item());
    }
    json.close(b']');
    json.key("total_count").size(list.len());
    json.close(b'}');
    json.into_bytes()
}

#[cfg(test)]
mod tests;
