//! The requests to remote probers, and their answers.

use std::{borrow::Cow, time::Duration};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{
    checks,
    json::Json,
    limits,
    problem::Problem,
    read,
    vocabulary::{as_millis, encode},
};
use crate::model::{Check, CheckOutcome, ServiceId, Timestamp};

/// The longest message that is read, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;
/// The longest latency that is read.
const LATENCY_MS_MAX: f64 = 86_400_000.0;

/// A request for a probe, complete in itself.
#[derive(Clone, Debug)]
pub struct CheckRequest<'a> {
    /// Whose check it is.
    pub service_id: ServiceId,
    /// Which registration of this id it is of.
    pub incarnation: u64,
    /// The check.
    pub check: Cow<'a, Check>,
    /// After this time the verdict is not used.
    pub deadline: Timestamp,
}

impl CheckRequest<'_> {
    /// Reads `{"service_id","incarnation","check":{…},"deadline"}`, where the check is as in a registration,
    /// with a URL or address; other fields are ignored.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<CheckRequest<'static>, Problem> {
        let read = read::request(body, &[], |fields| {
            let service_id = fields.required("service_id", |v| read::name(v, ServiceId::parse));
            let incarnation = fields.required("incarnation", read::count);
            let deadline = fields.required("deadline", time);
            let check = fields.required("check", Ok);
            let check = check.and_then(|v| fields.nested("check", v, &[], checks::read_one));
            Some(CheckRequest {
                service_id: service_id?,
                incarnation: incarnation?,
                check: Cow::Owned(check?),
                deadline: deadline?,
            })
        });
        read.map(|(request, _)| request)
    }

    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Json::with_capacity(512);
        json.open(b'{');
        json.key("service_id").text(self.service_id.as_str());
        json.key("incarnation").value(self.incarnation);
        json.key("check");
        checks::write(&mut json, &self.check);
        json.key("deadline").time(self.deadline);
        json.close(b'}');
        json.into_bytes()
    }
}

/// A prober's verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckVerdict {
    /// Whose check it was.
    pub service_id: ServiceId,
    /// Which registration of this id it was of.
    pub incarnation: u64,
    /// The check's name.
    pub check: Box<str>,
    /// How the probe ended.
    #[serde(serialize_with = "as_word")]
    pub outcome: CheckOutcome,
    /// How long it took.
    #[serde(rename = "latency_ms", serialize_with = "as_millis")]
    pub latency: Duration,
    /// When it ended, by the prober's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The result, in words.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Box<str>,
}

impl CheckVerdict {
    /// Reads `{"service_id","incarnation","check","outcome","latency_ms"?,"at"?,"message"?}`; other
    /// fields are passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        let read = read::request(body, &[], |fields| {
            let service_id = fields.required("service_id", |v| read::name(v, ServiceId::parse));
            let incarnation = fields.required("incarnation", read::count);
            let check = fields.required("check", |v| read::line(v, limits::LABEL_BYTES_MAX));
            let outcome = fields.required("outcome", outcome);
            let latency = fields.optional("latency_ms", latency);
            let at = fields.optional("at", time);
            let message = fields.optional("message", message);
            Some(Self {
                service_id: service_id?,
                incarnation: incarnation?,
                check: check?,
                outcome: outcome?,
                latency: latency.unwrap_or_default(),
                at,
                message: message.unwrap_or_default(),
            })
        });
        read.map(|(verdict, _)| verdict)
    }

    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        encode(self)
    }
}

fn as_word<S: Serializer>(outcome: &CheckOutcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}

fn time(value: &RawValue) -> Result<Timestamp, String> {
    let wrong = || {
        let quoted = read::quoted(value);
        format!("{quoted} is not a time such as \"2026-11-23T14:39:00.123Z\"")
    };
    let text = read::text(value).map_err(|_| wrong())?;
    Timestamp::parse(&text).ok_or_else(wrong)
}

fn outcome(value: &RawValue) -> Result<CheckOutcome, String> {
    let word = read::text(value)?.to_ascii_lowercase().replace('-', "_");
    let words = CheckOutcome::ALL.map(|outcome| (outcome.as_str(), outcome));
    read::meaning(value, word.trim(), &words)
}

/// Milliseconds, with a fraction perhaps.
fn latency(value: &RawValue) -> Result<Duration, String> {
    let wrong = || format!("{} is not a number of milliseconds", read::quoted(value));
    let text = read::text(value).map_err(|_| wrong())?;
    let ms: f64 = text.trim().parse().map_err(|_| wrong())?;
    if !(0.0..=LATENCY_MS_MAX).contains(&ms) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(ms / 1000.0))
}

/// Text of whatever shape, cut off where it is too long.
fn message(value: &RawValue) -> Result<Box<str>, String> {
    let text = read::text(value)?;
    let mut end = text.len().min(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(text[..end].into())
}

#[cfg(test)]
mod tests;
