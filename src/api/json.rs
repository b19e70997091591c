//! Writing JSON straight into bytes, in the order of the calls.

use std::{io::Write, time::Duration};

use serde::Serialize;

use crate::model::{Span, Timestamp};

/// JSON under construction, for answers on the fast paths and those that hold JSON which is encoded already; serde
/// writes all others. It adds the commas; the caller balances the brackets.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    /// Room for `bytes` before the first reallocation.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    /// Appends to `out`.
    pub(super) fn on(out: Vec<u8>) -> Self {
        Self { out }
    }

    /// The written bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Opens an object or a list.
    pub(super) fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Closes an object or a list.
    pub(super) fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Begins the next item of a list.
    pub(super) fn item(&mut self) -> &mut Self {
        if !matches!(self.out.last(), None | Some(b'[' | b'{')) {
            self.out.push(b',');
        }
        self
    }

    /// Begins the next entry of an object.
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.item().text(key);
        self.out.push(b':');
        self
    }

    /// A string.
    pub(super) fn text(&mut self, value: &str) {
        text(&mut self.out, value);
    }

    /// Anything that is no text alone.
    pub(super) fn value(&mut self, value: impl Serialize) {
        // Writing to a vector can't fail.
        let _ = serde_json::to_writer(&mut self.out, &value);
    }

    /// A duration such as `"300s"`.
    pub(super) fn span(&mut self, value: Duration) {
        let _ = write!(self.out, "\"{}\"", Span(value));
    }

    /// A point in time, RFC 3339.
    pub(super) fn time(&mut self, value: Timestamp) {
        self.out.push(b'"');
        value.append_to(&mut self.out);
        self.out.push(b'"');
    }

    /// JSON that is ready.
    pub(super) fn raw(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    /// The bytes so far, for writers that append by themselves.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}

/// Appends `value` as a JSON string.
pub(super) fn text(out: &mut Vec<u8>, value: &str) {
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
