//! Small bodies: a command that names an instance, an override, a batch of heartbeats.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    limits,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    vocabulary::encode,
    warnings::Warnings,
};
use crate::model::{OverrideStatus, Timestamp};

/// A deregistration or a heartbeat that came as a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InstanceCommand {
    /// The id of the instance; any text, since an unknown id is answered with 404.
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

/// The answer to one of many heartbeats.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
pub struct BatchVerdict<'a> {
    /// The instance.
    pub service_id: &'a str,
    /// True when the lease was renewed.
    pub ok: bool,
    /// In words; "Service not found" means: register again.
    pub detail: Cow<'static, str>,
}

/// The answer to many heartbeats.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchVerdicts)]
pub struct BatchAnswer<'a> {
    /// One for each id, in their order.
    results: Vec<BatchVerdict<'a>>,
    /// How many leases were renewed.
    received: usize,
    /// How many were not.
    refused: usize,
    /// When.
    timestamp: Timestamp,
}

/// The answer to a batch: `{"results":[{"service_id","ok","detail"}],"received","refused","timestamp"}`.
pub fn batch_verdicts<'a>(
    verdicts: impl Iterator<Item = (&'a str, Result<(), String>)>,
    timestamp: Timestamp,
) -> Vec<u8> {
    let verdict = |(service_id, verdict): (&'a str, Result<(), String>)| BatchVerdict {
        service_id,
        ok: verdict.is_ok(),
        detail: match verdict {
            Ok(()) => "Heartbeat received".into(),
            Err(message) => message.into(),
        },
    };
    let results: Vec<_> = verdicts.map(verdict).collect();
    let received = results.iter().filter(|one| one.ok).count();
    encode(&BatchAnswer {
        received,
        refused: results.len() - received,
        results,
        timestamp,
    })
}

#[cfg(test)]
mod tests;
