//! Changes of a registration in part: RFC 7396.

use serde_json::value::RawValue;

use super::{
    limits::Defaults,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    registration::{metadata, tags, weight},
    warnings::Warnings,
};
use crate::model::{Edit, Patch};

/// Fields of a registration that only registering again changes.
const LASTING: [&str; 9] = [
    "service_name",
    "host",
    "port",
    "health_check_url",
    "version",
    "ttl",
    "lease",
    "zone",
    "checks",
];

const SHAPE: Shape = Shape {
    known: &[
        "metadata",
        "tags",
        "weight",
        "service_id",
        "service_name",
        "host",
        "port",
        "health_check_url",
        "version",
        "ttl",
        "lease",
        "zone",
        "checks",
    ],
    own: &[
        "status",
        "observed_status",
        "override",
        "reason",
        "registered_at",
        "last_heartbeat",
        "revision",
        "incarnation",
        "warnings",
        "message",
        "timestamp",
    ],
};

/// Reads the body of a patch of the instance `service_id`, and says what it passed over.
///
/// # Errors
/// A 422 that names every wrong field, and every field of a registration that can't be patched.
pub fn patch(
    service_id: &str,
    body: &[u8],
    defaults: &Defaults,
) -> Result<(Patch, Warnings), Problem> {
    let object = Object::body(body, SHAPE)?;
    let mut faults = Faults::default();
    for field in LASTING.into_iter().filter(|field| object.has(field)) {
        faults.add(
            field,
            "can't be patched: only metadata, tags and weight can, register again for the others",
        );
    }
    faults.optional(&object, "service_id", |value| same_id(value, service_id));
    let patch = Patch {
        metadata: edit(&object, "metadata", &mut faults, |value| {
            metadata(value, defaults.metadata_bytes_max)
        }),
        tags: edit(&object, "tags", &mut faults, |value| {
            tags(value, defaults.tags_max)
        }),
        weight: edit(&object, "weight", &mut faults, weight),
    };
    if faults.errors.is_empty() {
        Ok((patch, Warnings::of(&object)))
    } else {
        Err(Problem::invalid(faults.errors))
    }
}

fn same_id(value: &RawValue, service_id: &str) -> Result<(), String> {
    if read::text(value)? == service_id {
        return Ok(());
    }
    let quoted = read::quoted(value);
    Err(format!(
        "can't be patched: {quoted} is not the id in the path, register it as another instance"
    ))
}

fn edit<'a, T>(
    object: &Object<'a>,
    field: &str,
    faults: &mut Faults,
    read: impl FnOnce(&'a RawValue) -> Result<T, String>,
) -> Edit<T> {
    if object.is_null(field) {
        return Edit::Reset;
    }
    faults
        .optional(object, field, read)
        .map_or(Edit::Keep, Edit::Set)
}

#[cfg(test)]
mod tests;
