//! Changes to parts of a registration: RFC 7396 for metadata, plain replacement for tags and weight.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{Metadata, MetadataError, Registration};

/// The change of one field.
#[derive(Clone, Debug, Default)]
pub enum Edit<T> {
    /// It stays.
    #[default]
    Keep,
    /// It gets its default.
    Reset,
    /// It gets this value; metadata is merged.
    Set(T),
}

/// Changes to metadata, tags and weight.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// Merged as in RFC 7396: null removes a key.
    pub metadata: Edit<Metadata>,
    /// Replaces all tags.
    pub tags: Edit<Box<[Box<str>]>>,
    /// The weight.
    pub weight: Edit<u16>,
}

impl Patch {
    /// The registration with the changes made.
    ///
    /// # Errors
    /// The merged metadata is nested too deep.
    pub fn apply(self, to: &Registration) -> Result<Registration, MetadataError> {
        let mut patched = to.clone();
        match self.metadata {
            Edit::Keep => {}
            Edit::Reset => patched.metadata = Metadata::default(),
            Edit::Set(changes) => {
                let text = merged(Some(to.metadata.as_str()), changes.as_str());
                patched.metadata = Metadata::parse(&text)?;
            }
        }
        match self.tags {
            Edit::Keep => {}
            Edit::Reset => patched.tags = Box::default(),
            Edit::Set(tags) => patched.tags = tags,
        }
        match self.weight {
            Edit::Keep => {}
            Edit::Reset => patched.weight = 1,
            Edit::Set(weight) => patched.weight = weight,
        }
        Ok(patched)
    }
}

/// RFC 7396, section 2, on texts, so that numbers keep their digits. Both texts are valid JSON, and the
/// parser's limit of nesting bounds the recursion.
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
    let mut text = String::with_capacity(patch.len());
    text.push('{');
    for (at, (key, value)) in result.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(key.as_str()).to_string());
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

/// The entries of an object; none when the text is anything else.
fn entries(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    if !text.starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests;
