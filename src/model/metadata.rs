//! Free-form data of a registration: a JSON object kept as compact text.

mod once;
mod walked;

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, value::RawValue};

use self::walked::Walked;

/// A JSON object, kept as the compact text it is answered with; a parsed map costs five times the memory.
#[derive(Clone, Eq, PartialEq)]
pub struct Metadata(Box<str>);

/// Why metadata was refused.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Another JSON type.
    #[error("must be a JSON object")]
    NotAnObject,
    /// JSON nested more than 128 deep, or not JSON.
    #[error("is not usable JSON: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl Metadata {
    /// Takes a JSON object's text, numbers kept digit by digit. Of a key that comes twice the last value
    /// counts, as with most readers of JSON.
    ///
    /// # Errors
    /// The text is not JSON, is nested too deep or is not an object.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        // Walking through all of it proves that later look-ups can't fail.
        let walked: Walked = serde_json::from_str(text)?;
        if !text.trim_start().starts_with('{') {
            return Err(MetadataError::NotAnObject);
        }
        if walked.repeats {
            let mut once = String::with_capacity(text.len());
            once::write(serde_json::from_str(text)?, &mut once)?;
            return Ok(Self(once.into()));
        }
        Ok(Self(compact(text)))
    }

    /// Takes a text that [`Self::as_str`] gave, and checks only that it is an object.
    pub fn stored(text: &str) -> Option<Self> {
        let object: Option<&RawValue> = serde_json::from_str(text).ok();
        let is_object = object.is_some_and(|object| object.get().starts_with('{'));
        is_object.then(|| Self(text.into()))
    }

    /// The compact JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The object as a parsed value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// True when the object says the same, whatever the order of its keys. Values are compared as they
    /// are written, so that no digit of a number gets lost.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.len() == other.0.len() && self.written() == other.written())
    }

    /// True when the top-level `key` has `text` as its value: a string's content, anything else's JSON.
    pub fn has(&self, key: &str, text: &str) -> bool {
        let values = self.values();
        let Some(value) = values.get(key).map(|value| value.get()) else {
            return false;
        };
        if value.starts_with('"') {
            return serde_json::from_str::<String>(value).is_ok_and(|value| value == text);
        }
        value == text
    }

    fn values(&self) -> BTreeMap<String, &RawValue> {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    fn written(&self) -> BTreeMap<String, &str> {
        let values = self.values().into_iter();
        values.map(|(key, value)| (key, value.get())).collect()
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// JSON text without the white space between its tokens.
fn compact(text: &str) -> Box<str> {
    let mut out = String::new();
    let (mut in_string, mut escaped) = (false, false);
    // From where on the text is not yet in `out`; it is copied in as few pieces as there are gaps.
    let mut pending = 0;
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            out.push_str(&text[pending..at]);
            pending = at + 1;
        } else {
            in_string = byte == b'"';
        }
    }
    if out.is_empty() {
        return text[pending..].into();
    }
    out.push_str(&text[pending..]);
    out.into()
}

#[cfg(test)]
mod tests;
