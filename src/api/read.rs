//! Reading JSON as callers write it: numbers as text, text as numbers, flags in many words.
//!
//! A first walk finds the fields of an object and proves that it is JSON; values are read when they are asked for.
//! A field that nothing has asked for is unknown.

use std::{borrow::Cow, fmt, time::Duration};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{error::Category, value::RawValue};

use super::{
    problem::{FieldError, Problem},
    warnings::Warnings,
};
use crate::model::{NameError, Span};

/// At most so many unknown fields are named in an answer.
pub(super) const WARNINGS_MAX: usize = 20;
/// At most so many characters of a wrong value are repeated in an answer.
pub(super) const QUOTED_MAX: usize = 40;
/// An object with more fields is refused.
const FIELDS_MAX: usize = 4096;

/// Reads the body of a request, and says what it ignored. `read` reads every field, also behind a wrong one,
/// so that the answer names all faults. Fields in `answered` are those of the daemon's answers; they may be
/// sent again.
///
/// # Errors
/// A 422 that names every wrong field.
pub(super) fn request<'a, T>(
    body: &'a [u8],
    answered: &[&str],
    read: impl FnOnce(&mut ObjectFields<'a>) -> Option<T>,
) -> Result<(T, Warnings), Problem> {
    let mut fields = ObjectFields::body(body)?;
    match read(&mut fields) {
        Some(request) if fields.errors.is_empty() => {
            fields.warn_of_unread(answered);
            fields.warnings.truncate(WARNINGS_MAX);
            Ok((request, Warnings(fields.warnings)))
        }
        _ => Err(Problem::invalid(fields.errors)),
    }
}

/// The fields of one JSON object, and what is wrong with them. A field that comes twice has its last value.
#[derive(Debug, Default)]
pub(super) struct ObjectFields<'a> {
    entries: Entries<'a>,
    /// Whether each entry was asked for.
    asked: Vec<bool>,
    /// Where in the body the object is: empty, or such as `checks[0].`.
    prefix: String,
    /// In the order in which they were found.
    pub(super) errors: Vec<FieldError>,
    warnings: Vec<String>,
}

impl<'a> ObjectFields<'a> {
    fn new(entries: Entries<'a>) -> Self {
        Self {
            asked: vec![false; entries.0.len()],
            entries,
            ..Self::default()
        }
    }

    fn body(body: &'a [u8]) -> Result<Self, Problem> {
        let wrong = |message: &str| Problem::field("body", message);
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(wrong("is empty, a JSON object is expected"));
        }
        let read = serde_json::from_slice(body).map(Self::new);
        read.map_err(|error| match error.classify() {
            Category::Data => wrong("must be a JSON object"),
            _ => wrong(&format!("is not JSON: {error}")),
        })
    }

    /// Reads an object inside of a body.
    pub(super) fn of(value: &'a RawValue) -> Result<Self, String> {
        let read = serde_json::from_str(value.get()).map(Self::new);
        read.map_err(|_| format!("must be a JSON object, not {}", quoted(value)))
    }

    /// The value of a field, also null.
    fn last(&mut self, name: &str) -> Option<&'a RawValue> {
        let mut last = None;
        for ((known, value), asked) in self.entries.0.iter().zip(&mut self.asked) {
            if known == name {
                *asked = true;
                last = Some(*value);
            }
        }
        last
    }

    /// The value of a field; null counts as absent.
    pub(super) fn get(&mut self, name: &str) -> Option<&'a RawValue> {
        self.last(name).filter(|value| value.get() != "null")
    }

    /// True when the field is there, whatever its value.
    pub(super) fn has(&mut self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// True when the field is there and null.
    pub(super) fn is_null(&mut self, name: &str) -> bool {
        self.last(name).is_some_and(|value| value.get() == "null")
    }

    /// The fields that nothing has asked for.
    pub(super) fn unread(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let entries = self.entries.0.iter().zip(&self.asked);
        let unread = entries.filter(|(_, asked)| !**asked);
        unread.map(|((name, value), _)| (&**name, *value))
    }

    pub(super) fn add(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: format!("{}{field}", self.prefix),
            message: message.into(),
        });
    }

    /// Notes that a field is not followed to the letter.
    pub(super) fn warn(&mut self, field: &str, message: &str) {
        let sentence = format!("\"{}{field}\" {message}", self.prefix);
        self.warnings.push(sentence);
    }

    /// Notes, before everything else, the fields that nothing has asked for, besides these.
    fn warn_of_unread(&mut self, besides: &[&str]) {
        let unknown = self.unread_names(besides).into_iter();
        let prefix = &self.prefix;
        let sentences = unknown.map(|name| format!("unknown field \"{prefix}{name}\" was ignored"));
        self.warnings.splice(..0, sentences);
    }

    /// The names of those fields, which are not too many and not too long.
    pub(super) fn unread_names(&self, besides: &[&str]) -> Vec<String> {
        let unread = self.unread().map(|(name, _)| name);
        let unknown = unread.filter(|name| !besides.contains(name));
        let short = unknown.map(|name| name.chars().take(QUOTED_MAX).collect());
        short.take(WARNINGS_MAX).collect()
    }

    /// The value, or a note of what is wrong with the field.
    pub(super) fn take<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|message| self.add(field, message)).ok()
    }

    /// The value of a field that may be absent, or a note of what is wrong with it.
    pub(super) fn optional<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.get(field)?;
        self.take(field, read(value))
    }

    /// The value of a field that must be there, or a note of what is wrong with it.
    pub(super) fn required<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.get(field).ok_or_else(|| "is required".to_owned());
        self.take(field, value.and_then(read))
    }

    /// Reads an object inside of this one, whose faults count as this one's. Fields in `besides` are not unknown.
    pub(super) fn nested<T>(
        &mut self,
        field: &str,
        value: &'a RawValue,
        besides: &[&str],
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let mut inner = self.take(field, Self::of(value))?;
        inner.prefix = format!("{}{field}.", self.prefix);
        let read = read(&mut inner);
        inner.warn_of_unread(besides);
        self.errors.append(&mut inner.errors);
        self.warnings.append(&mut inner.warnings);
        read
    }
}

/// The entries of an object in their order.
#[derive(Debug, Default)]
pub(super) struct Entries<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

/// A name that is copied only if it has escapes.
#[derive(serde::Deserialize)]
struct EntryName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(12);
        while let Some((EntryName(name), value)) = map.next_entry()? {
            if entries.len() == FIELDS_MAX {
                return Err(A::Error::custom("too many fields"));
            }
            entries.push((name, value));
        }
        Ok(Entries(entries))
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
pub(super) fn whole<T>(value: &RawValue, least: T, most: T) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + fmt::Display,
{
    let text = text(value).map_err(|_| format!("must be a number, not {}", quoted(value)))?;
    let text = text.trim();
    // 8080.0 is how some languages write 8080.
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if zeros.bytes().all(|byte| byte == b'0') => digits,
        _ => text,
    };
    let outside = |number: &str| format!("{number} is out of range {least}-{most}");
    let Ok(number) = digits.parse::<i64>() else {
        let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if numeric {
            outside(&quoted(value))
        } else {
            format!("{} is not a whole number", quoted(value))
        });
    };
    let number_in = T::try_from(number).ok();
    let number_in = number_in.filter(|number| *number >= least && *number <= most);
    number_in.ok_or_else(|| outside(&number.to_string()))
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

/// One of some words, in small or capital letters.
pub(super) fn word<T: Copy>(value: &RawValue, words: &[(&str, T)]) -> Result<T, String> {
    meaning(value, &text(value)?.to_ascii_lowercase(), words)
}

/// The meaning of a word that was made of a value.
pub(super) fn meaning<T: Copy>(
    value: &RawValue,
    word: &str,
    words: &[(&str, T)],
) -> Result<T, String> {
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("{} is not one of {}", quoted(value), words.join(", "))
    })
}

/// A name by the model's rules.
pub(super) fn name<T>(
    value: &RawValue,
    parse: impl FnOnce(&str) -> Result<T, NameError>,
) -> Result<T, String> {
    parse(&text(value)?).map_err(|error| error.to_string())
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
