//! Free-form data of a registration: a JSON object kept as compact text.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

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
    /// Takes a JSON object's text, numbers kept digit by digit.
    ///
    /// # Errors
    /// The text is not JSON, is nested too deep or is not an object.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        // Walking through all of it proves that later look-ups can't fail.
        serde_json::from_str::<Walked>(text)?;
        if !text.trim_start().starts_with('{') {
            return Err(MetadataError::NotAnObject);
        }
        Ok(Self(compact(text)))
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

/// Proof that a JSON value can be parsed: every token is looked at as a parsed value would have it,
/// and nothing is kept.
struct Walked;

impl<'de> Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Walked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
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
