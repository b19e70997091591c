//! Discovery: which instances a caller wants, and the answer.

use std::{borrow::Cow, fmt::Write, sync::Arc, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use super::{
    instance, limits,
    problem::{FieldError, Problem},
    query::Query,
    read::{self, Faults, Object, Shape},
    seen::Seen,
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
    /// The parameters of [`Self::from_query`].
    pub const PARAMETERS: &[&str] = &[
        "healthy_only",
        "tag",
        "tags",
        "version",
        "zone",
        "metadata.",
        "limit",
        "index",
        "wait",
    ];

    /// Reads the query of a request; the caller warns of parameters that are not in
    /// [`Self::PARAMETERS`].
    ///
    /// # Errors
    /// A 422 that names every wrong parameter.
    pub fn from_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        let mut errors = Vec::new();
        for (key, value) in Query::new(query, Self::PARAMETERS).pairs() {
            if let Err(message) = wanted.set(&key, value) {
                let field = key.into_owned();
                errors.push(FieldError { field, message });
            }
        }
        let filters = wanted.filter.tags.len() + wanted.filter.metadata.len();
        if filters > limits::FILTERS_MAX {
            let message = format!("at most {} filters are allowed", limits::FILTERS_MAX);
            let field = "query".to_owned();
            errors.push(FieldError { field, message });
        }
        if errors.is_empty() {
            Ok(wanted)
        } else {
            Err(Problem::invalid(errors))
        }
    }

    /// The query of a request that wants the same; waiting is not in it.
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
            "healthy_only" => {
                self.filter.healthy_only = read::flag_word(&value)
                    .ok_or_else(|| format!("must be true or false, not \"{value}\""))?;
            }
            "tag" | "tags" => self.filter.tags.push(value.into_owned()),
            "version" => self.filter.version = Some(value.into_owned()),
            "zone" => self.filter.zone = Some(value.into_owned()),
            "limit" => self.filter.limit = Some(limit(&value)?),
            "index" => {
                self.index = Some(Seen::parse(&value));
            }
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

    /// Reads a discovery that came as a message; answers with the service's name too.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn from_json(body: &[u8]) -> Result<(String, Self), Problem> {
        const SHAPE: Shape = Shape {
            known: &[
                "service_name",
                "healthy_only",
                "tags",
                "tag",
                "version",
                "zone",
                "metadata",
                "limit",
            ],
            own: &[],
        };
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let service_name = faults.required(&object, "service_name", owned);
        let healthy_only = faults.optional(&object, "healthy_only", read::flag);
        let tags = faults.optional(&object, "tags", texts);
        let tag = faults.optional(&object, "tag", texts);
        let version = faults.optional(&object, "version", owned);
        let zone = faults.optional(&object, "zone", owned);
        let metadata = faults.optional(&object, "metadata", entries);
        let limit = faults.optional(&object, "limit", |value| {
            read::text(value).and_then(|text| limit(&text))
        });
        match service_name {
            Some(service_name) if faults.errors.is_empty() => {
                let mut filter = InstanceFilter {
                    healthy_only: healthy_only.unwrap_or(true),
                    tags: tags.unwrap_or_default(),
                    version,
                    zone,
                    metadata: metadata.unwrap_or_default(),
                    limit,
                };
                filter.tags.extend(tag.unwrap_or_default());
                let wanted = Self {
                    filter,
                    ..Self::default()
                };
                Ok((service_name, wanted))
            }
            _ => Err(Problem::invalid(faults.errors)),
        }
    }
}

/// The answer to a discovery: `{"services":[instance, …],"total_count":n}`.
pub fn discovered<'a>(
    instances: impl Iterator<Item = &'a Arc<Instance>>,
    last_heartbeat: impl Fn(&Instance) -> Timestamp,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"services\":");
    let mut count: usize = 0;
    let counted = instances.inspect(|_| count += 1);
    instance::instances(&mut out, counted, last_heartbeat);
    out.extend_from_slice(b",\"total_count\":");
    out.extend_from_slice(count.to_string().as_bytes());
    out.push(b'}');
    out
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
        return Err(format!(
            "at most {} filters are allowed",
            limits::FILTERS_MAX
        ));
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
