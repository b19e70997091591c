//! Reading JSON as callers write it: numbers as text, text as numbers, flags in many words.
//!
//! A first walk finds the fields of an object and proves that it is JSON; values are read when asked for.

use std::{borrow::Cow, fmt, time::Duration};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{FieldError, Problem};
use crate::model::Span;

/// At most so many unknown fields are named in an answer.
pub(super) const WARNINGS_MAX: usize = 20;
/// At most so many characters of a wrong value are repeated in an answer.
pub(super) const QUOTED_MAX: usize = 40;

/// Which fields an object may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Those that are read.
    pub(super) known: &'static [&'static str],
    /// Those that are passed over without a word.
    pub(super) own: &'static [&'static str],
}

/// The fields of one JSON object. A field that comes twice has its last value.
#[derive(Debug, Default)]
pub(super) struct Object<'a> {
    fields: Vec<(&'static str, &'a RawValue)>,
    /// Names that are neither read nor passed over.
    pub(super) unknown: Vec<String>,
}

impl<'a> Object<'a> {
    /// Reads the body of a request.
    pub(super) fn body(body: &'a [u8], shape: Shape) -> Result<Self, Problem> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(Problem::field(
                "body",
                "is empty, a JSON object is expected",
            ));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let object = shape
            .deserialize(&mut deserializer)
            .and_then(|object| deserializer.end().map(|()| object));
        object.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Problem::field("body", "must be a JSON object"),
            _ => Problem::field("body", format!("is not JSON: {error}")),
        })
    }

    /// Reads an object inside of a body.
    pub(super) fn value(value: &'a RawValue, shape: Shape) -> Result<Self, String> {
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        shape
            .deserialize(&mut deserializer)
            .map_err(|_| format!("must be a JSON object, not {}", quoted(value)))
    }

    /// The value of a field; null counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.fields.iter().rev().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }

    /// The fields of the object that are not null.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let given = self
            .fields
            .iter()
            .filter(|(_, value)| value.get() != "null");
        given.map(|(name, _)| *name)
    }

    /// True when the field is there, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| *known == name)
    }

    /// True when the field is there and null.
    pub(super) fn is_null(&self, name: &str) -> bool {
        let found = self.fields.iter().rev().find(|(known, _)| *known == name);
        found.is_some_and(|(_, value)| value.get() == "null")
    }
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Object<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = Object {
            fields: Vec::with_capacity(12),
            unknown: Vec::new(),
        };
        while let Some(key) = entries.next_key_seed(Key(self))? {
            let value = entries.next_value()?;
            match key {
                Named::Known(name) => object.fields.push((name, value)),
                Named::Own => {}
                Named::Unknown(name) if object.unknown.len() < WARNINGS_MAX => {
                    object.unknown.push(name);
                }
                Named::Unknown(_) => {}
            }
            // The same name a million times is no reason to keep a million values.
            if object.fields.len() > 4 * self.known.len() {
                return Err(A::Error::custom("too many fields of one name"));
            }
        }
        Ok(object)
    }
}

/// Compares a field's name with those known, without keeping it.
struct Key(Shape);

enum Named {
    Known(&'static str),
    Own,
    Unknown(String),
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Named, E> {
        let same = |known: &&&'static str| **known == name;
        Ok(match self.0.known.iter().find(same) {
            Some(known) => Named::Known(known),
            None if self.0.own.contains(&name) => Named::Own,
            None => Named::Unknown(name.chars().take(QUOTED_MAX).collect()),
        })
    }
}

/// What was wrong, field by field.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// In the order in which they were found.
    pub(super) errors: Vec<FieldError>,
    /// Where in the body the fields are: empty, or such as `checks[0].`.
    pub(super) prefix: String,
    /// A sentence for each field that was passed over.
    pub(super) warnings: Vec<String>,
}

impl Faults {
    pub(super) fn add(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: format!("{}{field}", self.prefix),
            message: message.into(),
        });
    }

    /// Notes that these fields are not read.
    pub(super) fn pass_over(&mut self, unknown: &[String]) {
        let left = WARNINGS_MAX.saturating_sub(self.warnings.len());
        let prefix = &self.prefix;
        let sentence = |name| format!("unknown field \"{prefix}{name}\" was ignored");
        self.warnings
            .extend(unknown.iter().take(left).map(sentence));
    }

    /// Notes that a field is not followed to the letter.
    pub(super) fn warn(&mut self, field: &str, message: &str) {
        if self.warnings.len() < WARNINGS_MAX {
            let prefix = &self.prefix;
            self.warnings.push(format!("\"{prefix}{field}\" {message}"));
        }
    }

    /// The value, or a note of what is wrong with the field.
    pub(super) fn take<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.add(field, message)).ok()
    }

    /// The value of a field that may be absent, or a note of what is wrong with it.
    pub(super) fn optional<'a, T>(
        &mut self,
        object: &Object<'a>,
        field: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Option<T> {
        let value = object.get(field)?;
        self.take(field, read(value))
    }

    /// The value of a field that must be there, or a note of what is wrong with it.
    pub(super) fn required<'a, T>(
        &mut self,
        object: &Object<'a>,
        field: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Option<T> {
        let Some(value) = object.get(field) else {
            self.add(field, "is required");
            return None;
        };
        self.take(field, read(value))
    }
}

/// A wrong value, short enough to be repeated.
pub(super) fn quoted(value: &RawValue) -> String {
    let text = value.get();
    if text.chars().count() <= QUOTED_MAX {
        return text.to_owned();
    }
    let short: String = text.chars().take(QUOTED_MAX).collect();
    format!("{short}…")
}

/// A string; a number counts as its digits.
pub(super) fn text(value: &RawValue) -> Result<Cow<'_, str>, String> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => match raw.get(1..raw.len() - 1) {
            Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
            _ => serde_json::from_str(raw)
                .map(Cow::Owned)
                .map_err(|_| format!("is not readable text: {}", quoted(value))),
        },
        Some(b'-' | b'0'..=b'9') => Ok(Cow::Borrowed(raw)),
        _ => Err(format!("must be a string, not {}", quoted(value))),
    }
}

/// A string of at most `bytes_max` bytes without control characters.
pub(super) fn line(value: &RawValue, bytes_max: usize) -> Result<Box<str>, String> {
    let text = text(value)?;
    if text.len() > bytes_max {
        return Err(format!(
            "is {} bytes long, at most {bytes_max} are allowed",
            text.len()
        ));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(format!(
            "must not contain control characters (found {control:?})"
        ));
    }
    Ok(text.into())
}

/// A whole number from `least` to `most`; a string with one counts.
pub(super) fn whole(value: &RawValue, least: i64, most: i64) -> Result<i64, String> {
    let text = text(value).map_err(|_| format!("must be a number, not {}", quoted(value)))?;
    let text = text.trim();
    // 8080.0 is how some languages write 8080.
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if zeros.bytes().all(|byte| byte == b'0') => digits,
        _ => text,
    };
    let Ok(number) = digits.parse::<i64>() else {
        let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if numeric {
            format!("{} is out of range {least}-{most}", quoted(value))
        } else {
            format!("{} is not a whole number", quoted(value))
        });
    };
    if number < least || number > most {
        return Err(format!("{number} is out of range {least}-{most}"));
    }
    Ok(number)
}

/// A number that counts something, as an incarnation does.
pub(super) fn count(value: &RawValue) -> Result<u64, String> {
    let text = text(value).map_err(|_| format!("must be a number, not {}", quoted(value)))?;
    let text = text.trim();
    text.parse()
        .map_err(|_| format!("{} is not a whole number", quoted(value)))
}

/// True or false in one of the many words for them.
pub(super) fn flag(value: &RawValue) -> Result<bool, String> {
    let raw = value.get().trim_matches('"');
    flag_word(raw).ok_or_else(|| format!("must be true or false, not {}", quoted(value)))
}

/// True or false in one of the many words for them.
pub(super) fn flag_word(text: &str) -> Option<bool> {
    let is = |words: [&str; 6]| {
        words
            .iter()
            .any(|word| word.eq_ignore_ascii_case(text.trim()))
    };
    if is(["true", "1", "yes", "on", "y", "t"]) {
        Some(true)
    } else if is(["false", "0", "no", "off", "n", "f"]) {
        Some(false)
    } else {
        None
    }
}

/// A duration, as text or as a number of seconds.
pub(super) fn span(value: &RawValue, range: [Duration; 2]) -> Result<Duration, String> {
    let text = text(value).map_err(|_| {
        format!(
            "must be a duration such as \"30s\" or a number of seconds, not {}",
            quoted(value)
        )
    })?;
    span_within(&text, range)
}

/// A duration as text, within a range.
pub(super) fn span_within(text: &str, [least, most]: [Duration; 2]) -> Result<Duration, String> {
    let Span(span) = text.parse().map_err(|error| format!("{error}"))?;
    if span < least || span > most {
        return Err(format!(
            "{} is out of range {}-{}",
            Span(span),
            Span(least),
            Span(most)
        ));
    }
    Ok(span)
}

/// The items of a list.
pub(super) fn list(value: &RawValue, items_max: usize) -> Result<Vec<&RawValue>, String> {
    let items: Vec<&RawValue> = serde_json::from_str(value.get())
        .map_err(|_| format!("must be a list, not {}", quoted(value)))?;
    if items.len() > items_max {
        return Err(format!(
            "has {} items, at most {items_max} are allowed",
            items.len()
        ));
    }
    Ok(items)
}

#[cfg(test)]
mod tests;
