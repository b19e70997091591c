//! Writing JSON straight into bytes, in the order of the calls.

use std::{io::Write, time::Duration};

use crate::model::{Span, Timestamp};

/// JSON under construction. It adds the commas; the caller balances the brackets.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
}

impl Json {
    /// Room for `bytes` before the first reallocation.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    /// Goes on behind what `out` has.
    pub fn on(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Opens an object or a list.
    pub fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Closes an object or a list.
    pub fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Begins the next item of a list.
    pub fn item(&mut self) -> &mut Self {
        if !matches!(self.out.last(), None | Some(b'[' | b'{')) {
            self.out.push(b',');
        }
        self
    }

    /// Begins the next entry of an object.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.item().text(key);
        self.out.push(b':');
        self
    }

    /// A string.
    pub fn text(&mut self, value: &str) {
        text(&mut self.out, value);
    }

    /// A string, or null.
    pub fn text_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// A whole number.
    pub fn number(&mut self, value: impl Into<u64>) {
        // Writing to a vector can't fail.
        let _ = write!(self.out, "{}", value.into());
    }

    /// A whole number that may be negative.
    pub fn signed(&mut self, value: i32) {
        let _ = write!(self.out, "{value}");
    }

    /// How many there are.
    pub fn size(&mut self, value: usize) {
        let _ = write!(self.out, "{value}");
    }

    /// A number with a fraction, to three digits.
    pub fn decimal(&mut self, value: f64) {
        let finite = if value.is_finite() { value } else { 0.0 };
        let _ = write!(self.out, "{finite:.3}");
    }

    /// A number with as many digits as it needs.
    pub fn plain(&mut self, value: f64) {
        let finite = if value.is_finite() { value } else { 0.0 };
        let _ = write!(self.out, "{finite}");
    }

    /// True or false.
    pub fn flag(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    /// Null.
    pub fn null(&mut self) {
        self.raw(b"null");
    }

    /// A duration such as `"300s"`.
    pub fn span(&mut self, value: Duration) {
        let _ = write!(self.out, "\"{}\"", Span(value));
    }

    /// A point in time, RFC 3339.
    pub fn time(&mut self, value: Timestamp) {
        self.out.push(b'"');
        value.append_to(&mut self.out);
        self.out.push(b'"');
    }

    /// A list of strings.
    pub fn texts<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        self.open(b'[');
        for value in values {
            self.item().text(value);
        }
        self.close(b']');
    }

    /// JSON that is ready.
    pub fn raw(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    /// The bytes so far, for writers that append by themselves.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}

/// Appends `value` as a JSON string.
pub fn text(out: &mut Vec<u8>, value: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if value.bytes().all(plain) {
        out.reserve(value.len() + 2);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
        return;
    }
    // Writing a string to a vector can't fail.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests;
