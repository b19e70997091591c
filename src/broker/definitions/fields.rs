//! Reads the objects of a definitions file, and names each field that is wrong.

use serde_json::{Map, Value};

use super::{DefinitionFault, values};
use crate::broker::wire::{ShortStr, Table};

/// One object of the file.
#[derive(Debug)]
pub(super) struct DefinitionFields<'a> {
    /// Such as `queues[3]`.
    pub(super) place: String,
    fields: &'a Map<String, Value>,
    read: Vec<&'static str>,
    takes_all: bool,
    pub(super) faults: Vec<DefinitionFault>,
}

impl<'a> DefinitionFields<'a> {
    pub(super) fn new(place: String, fields: &'a Map<String, Value>) -> Self {
        Self {
            place,
            fields,
            read: Vec::new(),
            takes_all: false,
            faults: Vec::new(),
        }
    }

    /// A field, if it is there. Fields that were never asked for are unknown ones.
    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.read.push(key);
        self.fields.get(key)
    }

    /// A field of any type.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.get(key)
    }

    /// A field that has no meaning here and is not worth a mention.
    pub(super) fn skip(&mut self, key: &'static str) {
        self.read.push(key);
    }

    /// All fields; none of them is unknown.
    pub(super) fn all(&mut self) -> &'a Map<String, Value> {
        self.takes_all = true;
        self.fields
    }

    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let field = format!("{}.{key}", self.place);
        self.faults.push(DefinitionFault::invalid(field, message));
    }

    /// Text that may be missing.
    pub(super) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            other => {
                self.fault(key, format!("must be text, not {other}"));
                None
            }
        }
    }

    /// A name that may be missing.
    pub(super) fn optional_name(&mut self, key: &'static str) -> Option<ShortStr> {
        let text = self.text(key)?;
        let name = ShortStr::copied(text.as_bytes());
        if name.is_none() {
            let message = format!("is longer than {} bytes", ShortStr::MAX_LEN);
            self.fault(key, message);
        }
        name
    }

    /// A name that must be there.
    pub(super) fn name(&mut self, key: &'static str) -> Option<ShortStr> {
        if !self.fields.contains_key(key) {
            self.fault(key, "is missing");
        }
        self.optional_name(key)
    }

    /// True or false; `default` where it is missing.
    pub(super) fn flag(&mut self, key: &'static str, default: Option<bool>) -> Option<bool> {
        match (self.get(key), default) {
            (Some(Value::Bool(value)), _) => Some(*value),
            (None, Some(default)) => Some(default),
            (None, None) => {
                self.fault(key, "is missing: true or false");
                None
            }
            (Some(other), _) => {
                self.fault(key, format!("must be true or false, not {other}"));
                None
            }
        }
    }

    /// The arguments, none where they are missing.
    pub(super) fn arguments(&mut self) -> Option<Map<String, Value>> {
        match self.get("arguments") {
            None => Some(Map::new()),
            Some(Value::Object(fields)) => Some(fields.clone()),
            // An empty table of Erlang may be written so.
            Some(Value::Array(items)) if items.is_empty() => Some(Map::new()),
            Some(_) => {
                self.fault("arguments", "must be an object");
                None
            }
        }
    }

    pub(super) fn table(&mut self, fields: &Map<String, Value>) -> Option<Table> {
        let table = values::table(fields);
        table.map_err(|why| self.fault("arguments", why)).ok()
    }

    /// The names of the fields that were not asked for.
    pub(super) fn unread(&self) -> impl Iterator<Item = &'a String> {
        let keys = self.fields.keys();
        keys.filter(|key| !self.takes_all && !self.read.contains(&key.as_str()))
    }
}
