//! Small bodies: a command that names an instance, an override, a batch of heartbeats.

use serde_json::value::RawValue;

use super::{
    json::Json,
    limits,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    warnings::Warnings,
};
use crate::model::{OverrideStatus, Timestamp};

/// A deregistration or a heartbeat that came as a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InstanceCommand {
    /// Whom it is about; any text, as nobody but a registered instance answers to it.
    pub service_id: String,
    /// Which registration of the id the caller takes itself for.
    pub incarnation: Option<u64>,
}

impl InstanceCommand {
    /// Reads `{"service_id", "incarnation"?}`; other fields are passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<Self, Problem> {
        const SHAPE: Shape = Shape {
            known: &["service_id", "incarnation"],
            own: &[],
        };
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let service_id = faults.required(&object, "service_id", read::text);
        let incarnation = faults.optional(&object, "incarnation", read::count);
        match service_id {
            Some(service_id) if faults.errors.is_empty() => Ok(Self {
                service_id: service_id.into_owned(),
                incarnation,
            }),
            _ => Err(Problem::invalid(faults.errors)),
        }
    }
}

/// What an operator wants to stand for an instance's status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OverrideDraft {
    /// Unhealthy or stopping.
    pub status: OverrideStatus,
    /// Why.
    pub reason: Option<Box<str>>,
}

impl OverrideDraft {
    /// Reads `{"status", "reason"?}`, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        const SHAPE: Shape = Shape {
            known: &["status", "reason"],
            own: &["since", "warnings"],
        };
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let status = faults.required(&object, "status", override_status);
        let reason = faults.optional(&object, "reason", |value| {
            read::line(value, limits::REASON_BYTES_MAX)
        });
        match status {
            Some(status) if faults.errors.is_empty() => {
                let reason = reason.filter(|reason| !reason.is_empty());
                Ok((Self { status, reason }, Warnings::of(&object)))
            }
            _ => Err(Problem::invalid(faults.errors)),
        }
    }
}

fn override_status(value: &RawValue) -> Result<OverrideStatus, String> {
    match &*read::text(value)?.to_ascii_lowercase() {
        "stopping" => Ok(OverrideStatus::Stopping),
        "unhealthy" => Ok(OverrideStatus::Unhealthy),
        _ => {
            let quoted = read::quoted(value);
            Err(format!("{quoted} is not one of stopping, unhealthy"))
        }
    }
}

/// Many heartbeats in one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BatchHeartbeat {
    /// Whose; any text.
    pub service_ids: Vec<String>,
}

impl BatchHeartbeat {
    /// Reads `{"service_ids": [id, …]}`, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names what is wrong.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        const SHAPE: Shape = Shape {
            known: &["service_ids"],
            own: &["results", "received", "refused", "timestamp", "warnings"],
        };
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let ids = faults.required(&object, "service_ids", |value| {
            read::list(value, limits::BATCH_MAX)
        });
        let mut service_ids = Vec::new();
        for (at, item) in ids.unwrap_or_default().into_iter().enumerate() {
            match read::text(item) {
                Ok(id) => service_ids.push(id.into_owned()),
                Err(message) => faults.add(&format!("service_ids[{at}]"), message),
            }
        }
        if faults.errors.is_empty() {
            Ok((Self { service_ids }, Warnings::of(&object)))
        } else {
            faults.errors.truncate(20);
            Err(Problem::invalid(faults.errors))
        }
    }
}

/// The answer to a batch: `{"results":[{"service_id","ok","detail"}],"received","refused","timestamp"}`.
pub fn batch_verdicts<'a>(
    verdicts: impl ExactSizeIterator<Item = (&'a str, Result<(), String>)>,
    timestamp: Timestamp,
) -> Vec<u8> {
    let mut json = Json::with_capacity(96 + 64 * verdicts.len());
    let (mut received, mut refused) = (0, 0);
    json.open(b'{');
    json.key("results").open(b'[');
    for (service_id, verdict) in verdicts {
        json.item().open(b'{');
        json.key("service_id").text(service_id);
        json.key("ok").flag(verdict.is_ok());
        let detail = match &verdict {
            Ok(()) => {
                received += 1;
                "Heartbeat received"
            }
            Err(message) => {
                refused += 1;
                message
            }
        };
        json.key("detail").text(detail);
        json.close(b'}');
    }
    json.close(b']');
    json.key("received").size(received);
    json.key("refused").size(refused);
    json.key("timestamp").time(timestamp);
    json.close(b'}');
    json.into_bytes()
}

#[cfg(test)]
mod tests;
