//! Changes of a registration in part: RFC 7396.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{
    json::Json,
    limits::Defaults,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    registration::{metadata, tags, weight},
    warnings::Warnings,
};
use crate::model::{Metadata, Registration};

/// What is to become of one field.
#[derive(Clone, Debug)]
enum Edit<T> {
    Keep,
    Reset,
    Set(T),
}

/// Changes of metadata, tags and weight.
#[derive(Clone, Debug)]
pub struct Patch {
    metadata: Edit<Metadata>,
    tags: Edit<Box<[Box<str>]>>,
    weight: Edit<u16>,
    bytes_max: usize,
}

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
        "registered_at",
        "last_heartbeat",
        "revision",
        "incarnation",
        "warnings",
        "message",
        "timestamp",
    ],
};

impl Patch {
    /// Reads the body of a patch of the instance `service_id`, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field, and every field of a registration that can't be patched.
    pub fn read(
        service_id: &str,
        body: &[u8],
        defaults: &Defaults,
    ) -> Result<(Self, Warnings), Problem> {
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        for field in LASTING.into_iter().filter(|field| object.has(field)) {
            faults.add(
                field,
                "can't be patched: only metadata, tags and weight can, register again for the others",
            );
        }
        faults.optional(&object, "service_id", |value| same_id(value, service_id));
        let patch = Self {
            metadata: edit(&object, "metadata", &mut faults, |value| {
                metadata(value, defaults.metadata_bytes_max)
            }),
            tags: edit(&object, "tags", &mut faults, |value| {
                tags(value, defaults.tags_max)
            }),
            weight: edit(&object, "weight", &mut faults, weight),
            bytes_max: defaults.metadata_bytes_max,
        };
        if faults.errors.is_empty() {
            Ok((patch, Warnings::of(&object)))
        } else {
            Err(Problem::invalid(faults.errors))
        }
    }

    /// The registration as it is after the patch; null removes a key of metadata or resets a field.
    ///
    /// # Errors
    /// A 422 when the metadata has become too large.
    pub fn apply(&self, to: &Registration) -> Result<Registration, Problem> {
        let mut patched = to.clone();
        match &self.metadata {
            Edit::Keep => {}
            Edit::Reset => patched.metadata = Metadata::default(),
            Edit::Set(changes) => {
                let wrong = |message: String| Problem::field("metadata", message);
                let text = merged(Some(to.metadata.as_str()), changes.as_str());
                if text.len() > self.bytes_max {
                    return Err(wrong(format!(
                        "would be {} bytes long, at most {} are allowed",
                        text.len(),
                        self.bytes_max
                    )));
                }
                patched.metadata =
                    Metadata::parse(&text).map_err(|error| wrong(error.to_string()))?;
            }
        }
        match &self.tags {
            Edit::Keep => {}
            Edit::Reset => patched.tags = Box::default(),
            Edit::Set(tags) => patched.tags.clone_from(tags),
        }
        match self.weight {
            Edit::Keep => {}
            Edit::Reset => patched.weight = 1,
            Edit::Set(weight) => patched.weight = weight,
        }
        Ok(patched)
    }
}

fn same_id(value: &RawValue, service_id: &str) -> Result<(), String> {
    if read::text(value)? == service_id {
        return Ok(());
    }
    let quoted = read::quoted(value);
    Err(format!(
        "can't be patched: {quoted} is not the id in the path, register it as an instance of its own"
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

type Entries<'a> = BTreeMap<String, &'a RawValue>;

/// RFC 7396, section 2, on texts: numbers keep their digits. Both texts are valid JSON that is
/// nested no deeper than a parser allows, which bounds the recursion.
fn merged(target: Option<&str>, patch: &str) -> String {
    let Some(changes) = entries(patch) else {
        return patch.to_owned();
    };
    let mut result: BTreeMap<String, String> = target
        .and_then(entries)
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.get().to_owned()))
        .collect();
    for (key, change) in changes {
        if change.get() == "null" {
            result.remove(&key);
        } else {
            let changed = merged(result.get(&key).map(String::as_str), change.get());
            result.insert(key, changed);
        }
    }
    let mut json = Json::with_capacity(patch.len());
    json.open(b'{');
    for (key, value) in &result {
        json.key(key).raw(value.as_bytes());
    }
    json.close(b'}');
    String::from_utf8(json.into_bytes()).unwrap_or_default()
}

/// The entries of an object; none when the text is anything else.
fn entries(text: &str) -> Option<Entries<'_>> {
    if !text.starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests;
