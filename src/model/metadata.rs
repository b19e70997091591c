//! Free-form data of a registration: a JSON object kept as compact text.

use std::fmt;

use serde_json::Value;

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
        // Parsing proves that later look-ups can't fail.
        if !serde_json::from_str::<Value>(text)?.is_object() {
            return Err(MetadataError::NotAnObject);
        }
        Ok(Self(compact(text).into()))
    }

    /// The compact JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The object as a parsed value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// True when the object says the same, whatever the order of its keys.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.len() == other.0.len() && self.to_value() == other.to_value())
    }

    /// True when the top-level `key` has `text` as its value: a string's content, anything else's JSON.
    pub fn has(&self, key: &str, text: &str) -> bool {
        match self.to_value().get(key) {
            Some(Value::String(value)) => value == text,
            Some(value) => *text == *value.to_string(),
            None => false,
        }
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
fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests;
