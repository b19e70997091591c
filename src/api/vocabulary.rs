//! How the model's types are written in JSON and described in the OpenAPI document.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{KnownFormat, Schema, SchemaFormat, Type},
    },
};

use crate::model::{
    Channel, Cursor, Epoch, EventKind, Mode, Modes, Revision, ServiceId, ServiceName, Span, Status,
    Timestamp,
};

/// A schema for text with these words or, without words, for any text.
fn text(description: &str, words: &[&str]) -> ObjectBuilder {
    let words = (!words.is_empty()).then(|| words.to_vec());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(words)
}

/// Writes the types as text and describes them.
macro_rules! written_as_text {
    ($($type:ident, $description:literal, $words:expr;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                text($description, $words).into()
            }
        }

        impl ToSchema for $type {}
    )*};
}

written_as_text! {
    Channel, "A kind of traffic that has a mode.", &["health", "events", "discovery"];
    Mode, "How a channel travels.", &["direct", "dual", "queue"];
    Status, "The state of an instance.", &["starting", "healthy", "unhealthy", "stopping", "unknown"];
    EventKind, "What happened.", &EventKind::ALL.map(EventKind::as_str);
    ServiceId, "1-200 bytes of UTF-8, the identity of an instance.", &[];
    ServiceName, "1-200 bytes of UTF-8 without \"/\".", &[];
    Epoch, "The epoch of the revisions, in hexadecimal.", &[];
    Cursor, "The place of a reader among the changes: <epoch>-<revision>.", &[];
}

/// For the shapes of answers that are written by hand.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("\"{text}\" is not a time in RFC 3339"));
        Self::parse(&text).ok_or_else(wrong)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        text("RFC 3339, UTC.", &[]).format(Some(format)).into()
    }
}

impl ToSchema for Timestamp {}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl PartialSchema for Revision {
    fn schema() -> RefOr<Schema> {
        u64::schema()
    }
}

impl ToSchema for Revision {}

/// The mode of each channel.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(remote = "Modes")]
#[schema(as = Modes)]
pub(super) struct ModesJson {
    health: Mode,
    events: Mode,
    discovery: Mode,
}

/// For what is stored.
impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("\"{text}\" is not a mode")))
    }
}

/// Writes a duration such as `"300s"`.
pub(super) fn as_span<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Span(*span))
}

/// A duration in milliseconds, with three digits of a fraction.
fn millis(span: Duration) -> f64 {
    rounded(span.as_secs_f64() * 1e3)
}

/// Writes a duration in milliseconds.
pub(super) fn as_millis<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(millis(*span))
}

/// Writes a duration in milliseconds, or null.
pub(super) fn millis_or_null<S: Serializer>(
    span: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    span.map(millis).serialize(serializer)
}

/// Numbers rounded to three digits, for `#[serde(serialize_with = "decimal")]`.
pub(super) fn decimal<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*value))
}

/// The same for a number that may be absent: null.
pub(super) fn decimal_or_null<S: Serializer>(
    value: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.map(rounded).serialize(serializer)
}

/// The same to three digits.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The JSON of an answer.
pub fn encode(answer: &impl Serialize) -> Vec<u8> {
    // Every map of an answer has keys of text, so that it can always be written.
    serde_json::to_vec(answer).unwrap_or_default()
}
