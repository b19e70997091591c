//! A webhook as it is stored, with its secret.

use serde::{Deserialize, Serialize};

use super::WatcherDraft;
use crate::{
    api::vocabulary::encode,
    model::{EventKind, ServiceName, Timestamp},
};

/// A webhook as it is stored: what its caller asked for, and when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredWatcher {
    /// The properties that its caller asked for.
    pub draft: WatcherDraft,
    /// When it was made.
    pub created_at: Timestamp,
    /// The identity that added it.
    pub owner: Option<Box<str>>,
    /// When the token of that identity was made at run time: another token may have the same name later.
    pub owner_made: Option<Timestamp>,
}

#[derive(Deserialize, Serialize)]
struct WatcherRow {
    service_name: Option<String>,
    callback_url: Box<str>,
    events: Vec<String>,
    secret: Option<Box<str>>,
    canary: bool,
    created_ms: i64,
    /// Absent without one, and in rows of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Box<str>>,
    /// Absent for an owner from the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner_made_ms: Option<i64>,
}

impl StoredWatcher {
    /// Its row.
    pub fn encode(&self) -> Vec<u8> {
        let draft = &self.draft;
        let kinds = draft.events.iter();
        let row = WatcherRow {
            service_name: draft.service_name.as_ref().map(|name| name.to_string()),
            callback_url: draft.callback_url.clone(),
            events: kinds.map(|kind| kind.as_str().to_owned()).collect(),
            secret: draft.secret.clone(),
            canary: draft.canary,
            created_ms: self.created_at.0,
            owner: self.owner.clone(),
            owner_made_ms: self.owner_made.map(|made| made.0),
        };
        encode(&row)
    }

    /// Reads a row; none when it is not one of this version.
    pub fn read(row: &[u8]) -> Option<Self> {
        let row: WatcherRow = serde_json::from_slice(row).ok()?;
        let name = row.service_name.map(|name| ServiceName::parse(&name));
        let kinds = row.events.iter().map(|word| EventKind::parse(word));
        Some(Self {
            draft: WatcherDraft {
                service_name: name.transpose().ok()?,
                callback_url: row.callback_url,
                events: kinds.collect::<Option<_>>()?,
                secret: row.secret,
                canary: row.canary,
            },
            created_at: Timestamp(row.created_ms),
            owner: row.owner,
            owner_made: row.owner_made_ms.map(Timestamp),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mut stored = StoredWatcher {
            draft: WatcherDraft {
                service_name: None,
                callback_url: "http://127.0.0.1:9/hook?a=\"b\"".into(),
                events: Box::default(),
                secret: None,
                canary: true,
            },
            created_at: Timestamp(1_700_000_000_123),
            owner: None,
            owner_made: None,
        };
        assert_eq!(StoredWatcher::read(&stored.encode()), Some(stored.clone()));
        stored.draft.service_name = Some(ServiceName::parse("a \u{fc}").unwrap());
        stored.draft.events = EventKind::ALL.into();
        stored.draft.secret = Some("\u{1f511}".into());
        stored.draft.canary = false;
        stored.owner = Some("ci".into());
        assert_eq!(StoredWatcher::read(&stored.encode()), Some(stored.clone()));
        stored.owner_made = Some(Timestamp(1_700_000_000_001));
        assert_eq!(StoredWatcher::read(&stored.encode()), Some(stored.clone()));
        let text = String::from_utf8(stored.encode()).unwrap();
        let later = text.replace("\"registered\"", "\"later\"");
        assert_eq!(StoredWatcher::read(later.as_bytes()), None);
        assert_eq!(StoredWatcher::read(b"{}"), None);
    }
}
