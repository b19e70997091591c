//! Changes of a registration in part: RFC 7396.

use serde_json::value::RawValue;

use super::{
    limits::Defaults,
    problem::Problem,
    read::{self, ObjectFields},
    registration::{ANSWERED, metadata, tags, weight},
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

/// Reads the body of a patch of the instance `service_id`, and says what it passed over.
///
/// # Errors
/// A 422 that names every wrong field, and every field of a registration that can't be patched.
pub fn patch(
    service_id: &str,
    body: &[u8],
    defaults: &Defaults,
) -> Result<(Patch, Warnings), Problem> {
    let answered = [&ANSWERED[..], &["incarnation"]].concat();
    read::request(body, &answered, |fields| {
        for field in LASTING {
            if fields.has(field) {
                fields.add(field, LASTS);
            }
        }
        fields.optional("service_id", |value| same_id(value, service_id));
        let metadata_max = defaults.metadata_bytes_max;
        Some(Patch {
            metadata: edit(fields, "metadata", |value| metadata(value, metadata_max)),
            tags: edit(fields, "tags", |value| tags(value, defaults.tags_max)),
            weight: edit(fields, "weight", weight),
        })
    })
}

const LASTS: &str =
    "can't be patched: only metadata, tags and weight can, register again for the others";

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
    fields: &mut ObjectFields<'a>,
    field: &str,
    read: impl FnOnce(&'a RawValue) -> Result<T, String>,
) -> Edit<T> {
    if fields.is_null(field) {
        return Edit::Reset;
    }
    fields.optional(field, read).map_or(Edit::Keep, Edit::Set)
}

#[cfg(test)]
mod tests;
