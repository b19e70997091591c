//! Discovery: which instances a caller asks for, and the answer.

use std::{borrow::Cow, fmt::Write, sync::Arc, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use super::{
    instance::instance,
    json::Json,
    limits,
    problem::Problem,
    query::pairs,
    read::{self, ObjectFields},
    seen::Seen,
    warnings::Warnings,
};
use crate::model::{Instance, InstanceFilter, Span, Timestamp};

/// The longest a caller may wait for a change.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A discovery: which instances of a service, and whether to wait for a change.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Discover {
    /// Which instances.
    pub filter: InstanceFilter,
    /// Answer when the service is no longer as the caller has seen it. None when it does not wait.
    pub index: Option<Seen>,
    /// At the latest after this time.
    pub wait: Option<Duration>,
}

impl Discover {
    /// Reads the query of a request. Parameters that it does not know are not its matter.
    ///
    /// # Errors
    /// A 422 that names every wrong parameter.
    pub fn from_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        let mut faults = ObjectFields::default();
        for (key, value) in pairs(query.unwrap_or_default()) {
            let set = wanted.set(&key, value);
            faults.take(&key, set);
        }
        let filters = wanted.filter.tags.len() + wanted.filter.metadata.len();
        if filters > limits::FILTERS_MAX {
            faults.add("query", too_many_filters());
        }
        if faults.errors.is_empty() {
            Ok(wanted)
        } else {
            Err(Problem::invalid(faults.errors))
        }
    }

    /// The query of a request for the same instances; waiting is not in it.
    pub fn to_query(&self) -> String {
        let mut query = format!("healthy_only={}", self.filter.healthy_only);
        let mut add = |key: &str, value: &str| {
            let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
            // Writing to a string can't fail.
            let _ = write!(query, "&{}={}", encode(key), encode(value));
        };
        for tag in &self.filter.tags {
            add("tag", tag);
        }
        let texts = [
            ("version", &self.filter.version),
            ("zone", &self.filter.zone),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                add(key, value);
            }
        }
        for (key, value) in &self.filter.metadata {
            add(&format!("metadata.{key}"), value);
        }
        if let Some(limit) = self.filter.limit {
            add("limit", &limit.to_string());
        }
        query
    }

    fn set(&mut self, key: &str, value: Cow<'_, str>) -> Result<(), String> {
        match key {
            "healthy_only" => self.filter.healthy_only = flag(&value)?,
            "tag" | "tags" => self.filter.tags.push(value.into_owned()),
            "version" => self.filter.version = Some(value.into_owned()),
            "zone" => self.filter.zone = Some(value.into_owned()),
            "limit" => self.filter.limit = Some(limit(&value)?),
            "index" => self.index = Some(Seen::parse(&value)),
            "wait" => self.wait = Some(wait(&value)?),
            _ => {
                if let Some(key) = key.strip_prefix("metadata.") {
                    self.filter
                        .metadata
                        .push((key.to_owned(), value.into_owned()));
                }
            }
        }
        Ok(())
    }

    /// Reads a discovery that came as a message; answers with the service's name too, and with what was passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn from_json(body: &[u8]) -> Result<(String, Self, Warnings), Problem> {
        let read = read::request(body, &[], |fields| {
            let service_name = fields.required("service_name", owned);
            let healthy_only = fields.optional("healthy_only", read::flag);
            let tags = fields.optional("tags", texts).unwrap_or_default();
            let tag = fields.optional("tag", texts).unwrap_or_default();
            let filter = InstanceFilter {
                healthy_only: healthy_only.unwrap_or(true),
                tags: [tags, tag].concat(),
                version: fields.optional("version", owned),
                zone: fields.optional("zone", owned),
                metadata: fields.optional("metadata", entries).unwrap_or_default(),
                limit: fields.optional("limit", |value| limit(&read::text(value)?)),
            };
            let wanted = Self {
                filter,
                ..Self::default()
            };
            Some((service_name?, wanted))
        });
        read.map(|((name, wanted), warnings)| (name, wanted, warnings))
    }
}

/// The answer to a discovery: `{"services":[instance, …],"total_count":n}`.
pub fn discovered<'a>(
    instances: impl Iterator<Item = &'a Arc<Instance>>,
    last_heartbeat: impl Fn(&Instance) -> Timestamp,
) -> Vec<u8> {
    let mut json = Json::with_capacity(1024);
    json.open(b'{');
    json.key("services").open(b'[');
    let mut count = 0_usize;
    for one in instances {
        instance(json.item().bytes_mut(), one, last_heartbeat(one));
        count += 1;
    }
    json.close(b']');
    json.key("total_count").value(count);
    json.close(b'}');
    json.into_bytes()
}

/// The most items of an answer. 0 is refused, because such an answer would not advance the cursor.
///
/// # Errors
/// Says what is wrong with the text.
pub fn limit(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(limit @ 1..) => Ok(limit),
        _ => Err(format!(
            "must be a whole number of at least 1, not \"{text}\""
        )),
    }
}

/// A parameter that is true or false.
///
/// # Errors
/// Says what is wrong with the text.
pub fn flag(text: &str) -> Result<bool, String> {
    read::flag_word(text).ok_or_else(|| format!("must be true or false, not \"{text}\""))
}

/// How long a caller is ready to wait: a duration, or a number of seconds.
///
/// # Errors
/// Says what is wrong with the text.
pub fn wait(text: &str) -> Result<Duration, String> {
    let Span(span) = text.parse().map_err(|error| format!("{error}"))?;
    Ok(span.min(WAIT_MAX))
}

fn too_many_filters() -> String {
    format!("at most {} filters are allowed", limits::FILTERS_MAX)
}

fn owned(value: &RawValue) -> Result<String, String> {
    read::text(value).map(Cow::into_owned)
}

/// A list of texts, or one alone.
fn texts(value: &RawValue) -> Result<Vec<String>, String> {
    if !value.get().starts_with('[') {
        return owned(value).map(|text| vec![text]);
    }
    let items = read::list(value, limits::FILTERS_MAX)?;
    items.into_iter().map(owned).collect()
}

fn entries(value: &RawValue) -> Result<Vec<(String, String)>, String> {
    let map: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(value.get())
        .map_err(|_| format!("must be an object, not {}", read::quoted(value)))?;
    if map.len() > limits::FILTERS_MAX {
        return Err(too_many_filters());
    }
    let texts = map.into_iter().map(|(key, value)| {
        // Anything but a string is compared by its JSON.
        let text = read::text(value).map_or_else(|_| value.get().to_owned(), Cow::into_owned);
        (key, text)
    });
    Ok(texts.collect())
}

#[cfg(test)]
mod tests;
