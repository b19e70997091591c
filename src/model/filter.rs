//! Which instances of a service a caller asks for.

use super::Instance;

/// A filter of instances; a part that is empty matches all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InstanceFilter {
    /// Only healthy instances.
    pub healthy_only: bool,
    /// All of these tags.
    pub tags: Vec<String>,
    /// This version.
    pub version: Option<String>,
    /// This zone.
    pub zone: Option<String>,
    /// Values of top-level keys of the metadata: a string's content, anything else's JSON.
    pub metadata: Vec<(String, String)>,
    /// At most this many instances.
    pub limit: Option<usize>,
}

impl Default for InstanceFilter {
    fn default() -> Self {
        Self {
            healthy_only: true,
            tags: Vec::new(),
            version: None,
            zone: None,
            metadata: Vec::new(),
            limit: None,
        }
    }
}

impl InstanceFilter {
    /// True when it filters by nothing but health.
    pub fn is_plain(&self) -> bool {
        self.tags.is_empty()
            && self.version.is_none()
            && self.zone.is_none()
            && self.metadata.is_empty()
            && self.limit.is_none()
    }

    /// True when the filter lets `instance` through; the limit is the caller's to apply.
    pub fn matches(&self, instance: &Instance) -> bool {
        let registration = &*instance.registration;
        let has_tag = |tag: &String| registration.tags.iter().any(|own| **own == **tag);
        let has_value = |(key, value): &(String, String)| registration.metadata.has(key, value);
        (!self.healthy_only || instance.is_healthy())
            && self.tags.iter().all(has_tag)
            && (self.version.as_deref()).is_none_or(|version| *registration.version == *version)
            && (self.zone.as_deref()).is_none_or(|zone| registration.zone.as_deref() == Some(zone))
            && self.metadata.iter().all(has_value)
    }
}
