//! Targets for Prometheus: what a caller asks for, and the list that its http_sd and file_sd read.

use std::{borrow::Cow, collections::BTreeMap, net::Ipv6Addr};

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{json::Json, limits, problem::Problem, query::pairs, read::ObjectFields};
use crate::model::{CANARY, Instance, InstanceFilter, ServiceName, Status};

/// The word for instances of any health.
const ANY_HEALTH: &str = "any";
/// Before the name of each label: Prometheus drops those with `__meta_` before it stores anything.
const LABEL: &str = "__meta_musterd_";

/// Which instances are targets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TargetQuery {
    /// Of these services; of all when there is none.
    pub services: Vec<ServiceName>,
    /// With these tags and in this zone.
    filter: InstanceFilter,
    /// In this state; in any without it.
    status: Option<Status>,
}

impl TargetQuery {
    /// Reads the query of a request. Parameters that it does not know are not its matter.
    ///
    /// # Errors
    /// A 422 that names every wrong parameter.
    pub fn from_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        wanted.filter.healthy_only = false;
        let mut faults = ObjectFields::default();
        for (key, value) in pairs(query.unwrap_or_default()) {
            let set = wanted.set(&key, value);
            faults.take(&key, set);
        }
        if wanted.services.len() + wanted.filter.tags.len() > limits::FILTERS_MAX {
            let message = format!("at most {} filters are allowed", limits::FILTERS_MAX);
            faults.add("query", message);
        }
        if faults.errors.is_empty() {
            Ok(wanted)
        } else {
            Err(Problem::invalid(faults.errors))
        }
    }

    fn set(&mut self, key: &str, value: Cow<'_, str>) -> Result<(), String> {
        match key {
            "service" => {
                let name = ServiceName::parse(&value).map_err(|error| error.to_string())?;
                self.services.push(name);
            }
            "tag" => self.filter.tags.push(value.into_owned()),
            "zone" => self.filter.zone = Some(value.into_owned()),
            "health" => self.status = health(&value)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether an instance is a target. The migration's canary never is.
    pub fn matches(&self, instance: &Instance) -> bool {
        let status = self.status.is_none_or(|wanted| wanted == instance.status());
        status && instance.name().as_str() != CANARY && self.filter.matches(instance)
    }
}

fn health(word: &str) -> Result<Option<Status>, String> {
    if word == ANY_HEALTH {
        return Ok(None);
    }
    let found = Status::ALL.into_iter().find(|one| one.as_str() == word);
    found.map(Some).ok_or_else(|| {
        let words: Vec<_> = Status::ALL.iter().map(|one| one.as_str()).collect();
        let words = words.join(", ");
        format!("\"{word}\" is not one of {ANY_HEALTH}, {words}")
    })
}

/// A target as it is answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TargetGroup)]
pub struct TargetGroupJson {
    /// One address, `host:port`.
    pub targets: Vec<String>,
    /// `__meta_musterd_*`: service, service_id, host, port, version, health, weight, tags, zone, `metadata_<key>`.
    pub labels: BTreeMap<String, String>,
}

/// Writes the list of targets, in the order of the calls: each target, then the end.
#[derive(Debug, Default)]
pub struct TargetWriter {
    targets: usize,
}

impl TargetWriter {
    /// Appends a target: `{"targets":["host:port"],"labels":{…}}`.
    pub fn target(&mut self, out: &mut Vec<u8>, instance: &Instance) {
        out.push(if self.targets == 0 { b'[' } else { b',' });
        self.targets += 1;
        let mut json = Json::on(std::mem::take(out));
        let registration = &*instance.registration;
        json.open(b'{');
        json.key("targets").open(b'[');
        let address = address(&registration.host, registration.port);
        json.item().text(&address);
        json.close(b']');
        json.key("labels").open(b'{');
        for (name, value) in labels(instance) {
            json.key(&name).text(&value);
        }
        json.close(b'}');
        json.close(b'}');
        *out = json.into_bytes();
    }

    /// Appends what is behind the last target.
    pub fn end(&self, out: &mut Vec<u8>) {
        if self.targets == 0 {
            out.push(b'[');
        }
        out.push(b']');
    }
}

/// `host:port`, an IPv6 address in brackets.
fn address(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

/// The labels of a target, by name.
fn labels(instance: &Instance) -> BTreeMap<String, Cow<'_, str>> {
    let registration = &*instance.registration;
    let mut labels = BTreeMap::new();
    // First, so that no key of the metadata replaces another label.
    let metadata = serde_json::from_str(registration.metadata.as_str());
    let metadata: BTreeMap<String, &RawValue> = metadata.unwrap_or_default();
    for (key, value) in metadata {
        let text: Result<String, _> = serde_json::from_str(value.get());
        let text = text.unwrap_or_else(|_| value.get().to_owned());
        let name = format!("{LABEL}metadata_{}", label_name(&key));
        labels.insert(name, Cow::Owned(text));
    }
    let mut add = |name: &str, value: Cow<'_, str>| {
        labels.insert(format!("{LABEL}{name}"), Cow::Owned(value.into_owned()));
    };
    add("service", registration.service_name.as_str().into());
    add("service_id", registration.service_id.as_str().into());
    add("host", (&*registration.host).into());
    add("port", registration.port.to_string().into());
    add("version", (&*registration.version).into());
    add("health", instance.status().as_str().into());
    add("weight", registration.weight.to_string().into());
    // With a comma on each side, so that ",v1," finds a whole tag.
    let tags: String = registration
        .tags
        .iter()
        .map(|tag| format!("{tag},"))
        .collect();
    add("tags", format!(",{tags}").into());
    if let Some(zone) = &registration.zone {
        add("zone", (&**zone).into());
    }
    labels
}

/// A key as a part of a label's name: other characters than letters, digits and `_` become `_`.
fn label_name(key: &str) -> String {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    key.chars()
        .map(|c| if valid(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, fields: &[&str]) {
        let read = TargetQuery::from_query(Some(query));
        let named: Vec<_> = match &read {
            Ok(_) => Vec::new(),
            Err(problem) => problem
                .errors
                .iter()
                .map(|one| one.field.as_str())
                .collect(),
        };
        assert_eq!(named, fields, "{query}");
    }

    #[test]
    fn wrong_parameters_are_named() {
        check("", &[]);
        check("service=a&service=b&tag=x&zone=eu&health=any", &[]);
        check("health=healthy", &[]);
        check("health=passing", &["health"]);
        check("service=a%2Fb&health=", &["service", "health"]);
        check(&"tag=a&".repeat(limits::FILTERS_MAX + 1), &["query"]);
    }

    #[test]
    fn addresses_and_names_are_as_prometheus_reads_them() {
        assert_eq!(address("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(address("fd00::1", 80), "[fd00::1]:80");
        assert_eq!(address("db.example.com", 80), "db.example.com:80");
        assert_eq!(label_name("team-name.x"), "team_name_x");
    }
}
