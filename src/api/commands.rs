//! Small bodies: a command that names an instance, an override, a batch of heartbeats.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::{limits, problem::Problem, read, vocabulary::encode, warnings::Warnings};
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
    /// Reads `{"service_id", "incarnation"?}`; other fields are passed over, with a warning.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &[], |fields| {
            let service_id = fields.required("service_id", read::text);
            let incarnation = fields.optional("incarnation", read::count);
            Some(Self {
                service_id: service_id?.into_owned(),
                incarnation,
            })
        })
    }
}

/// An operator's override of the status.
#[derive(Clone, Debug, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideDraft {
    /// unhealthy or stopping.
    #[schema(value_type = String)]
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
        const STATUSES: [(&str, OverrideStatus); 2] = [
            ("stopping", OverrideStatus::Stopping),
            ("unhealthy", OverrideStatus::Unhealthy),
        ];
        read::request(body, &["since", "warnings"], |fields| {
            let status = fields.required("status", |value| read::word(value, &STATUSES));
            let reason = fields.optional("reason", |v| read::line(v, limits::REASON_BYTES_MAX));
            Some(Self {
                status: status?,
                reason: reason.filter(|reason| !reason.is_empty()),
            })
        })
    }
}

/// Many heartbeats.
#[derive(Clone, Debug, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchHeartbeat {
    /// Whose; at most 10,000.
    pub service_ids: Vec<String>,
}

impl BatchHeartbeat {
    /// Reads `{"service_ids": [id, …]}`, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names what is wrong.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        const ANSWERED: [&str; 5] = ["results", "received", "refused", "timestamp", "warnings"];
        read::request(body, &ANSWERED, |fields| {
            let ids = fields.required("service_ids", |v| read::list(v, limits::BATCH_MAX));
            let mut service_ids = Vec::new();
            for (at, item) in ids?.into_iter().enumerate() {
                let id = fields.take(&format!("service_ids[{at}]"), read::text(item));
                service_ids.extend(id.map(Cow::into_owned));
            }
            fields.errors.truncate(20);
            Some(Self { service_ids })
        })
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
