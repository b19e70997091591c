//! Definitions of services and checks, from bodies to the registry's types.

mod kinds;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    answer::ConsulError,
    fields::BodyFields,
    nodes::{EXTRA, registry_id},
    state::ConsulState,
};
use crate::model::{
    Check, CheckKind, CheckOptions, LeaseKind, Metadata, Registration, ServiceId, ServiceName,
    Standing,
};

/// The limits of a service's metadata, as Consul has them.
const META_PAIRS_MAX: usize = 64;
const META_KEY_BYTES_MAX: usize = 128;
const META_VALUE_BYTES_MAX: usize = 512;
/// The longest tag, in bytes, and the longest name or note of a check.
const LABEL_BYTES_MAX: usize = 200;
const NOTES_BYTES_MAX: usize = 1000;
/// The longest run of results that a threshold may name.
const RUN_MAX: u64 = 100;
/// How long a probe may take that names no timeout.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The longest interval, TTL and timeout.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);
/// The shortest time until a critical service is removed; Consul raises shorter ones too.
const REMOVE_AFTER_MIN: Duration = Duration::from_secs(60);
const REMOVE_AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The node that a definition belongs to, where it is not the local one.
#[derive(Clone, Debug, Default)]
pub(super) struct OtherNode {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) id: String,
    pub(super) meta: Map<String, Value>,
    pub(super) tagged: Map<String, Value>,
}

impl OtherNode {
    /// As an instance's metadata holds it.
    pub(super) fn extra(&self) -> Map<String, Value> {
        let mut extra = Map::new();
        extra.insert("node".to_owned(), self.name.as_str().into());
        extra.insert("node_address".to_owned(), self.address.as_str().into());
        if !self.id.is_empty() {
            extra.insert("node_id".to_owned(), self.id.as_str().into());
        }
        if !self.meta.is_empty() {
            extra.insert("node_meta".to_owned(), Value::Object(self.meta.clone()));
        }
        if !self.tagged.is_empty() {
            let tagged = Value::Object(self.tagged.clone());
            extra.insert("node_tagged_addresses".to_owned(), tagged);
        }
        extra
    }
}

/// A service as a body defines it, on a node.
pub(super) fn service(
    state: &ConsulState,
    fields: &BodyFields,
    node: Option<&OtherNode>,
) -> Result<Registration, ConsulError> {
    // The catalog says "Service" where the agent says "Name".
    let name = match fields.text("Name")? {
        name if name.is_empty() => fields.text("Service")?,
        name => name,
    };
    if name.is_empty() {
        return Err(ConsulError::bad("Missing service name"));
    }
    let id = match fields.text("ID")? {
        id if id.is_empty() => name.clone(),
        id => id,
    };
    refuse_unsupported(fields)?;
    let service_name = ServiceName::parse(&name);
    let service_name = service_name.map_err(|why| fields.invalid("Name", &why.to_string()))?;
    if super::nodes::is_hidden(&name) {
        return Err(fields.invalid("Name", &format!("\"{name}\" is reserved")));
    }
    let own_id = registry_id(node.map(|node| node.name.as_str()), &id);
    let service_id = ServiceId::parse(&own_id);
    let service_id = service_id.map_err(|why| fields.invalid("ID", &why.to_string()))?;
    let given = fields.text("Address")?;
    let default = node.map_or(state.node.address.as_str(), |node| node.address.as_str());
    let host = host(match given.as_str() {
        "" => default,
        given => given,
    });
    let host = host.map_err(|why| fields.invalid("Address", &why))?;
    let mut extra = node.map(OtherNode::extra).unwrap_or_default();
    if node.is_some() {
        extra.insert("id".to_owned(), id.as_str().into());
    }
    // Only what an answer could not tell apart otherwise.
    if given.is_empty() && host != state.node.address {
        extra.insert("address".to_owned(), "".into());
    }
    let weight = weights(fields, &mut extra)?;
    let tagged = fields.map("TaggedAddresses")?;
    if !tagged.is_empty() {
        extra.insert("tagged_addresses".to_owned(), Value::Object(tagged));
    }
    if fields.flag("EnableTagOverride")? {
        extra.insert("enable_tag_override".to_owned(), true.into());
    }
    let limits = &state.app.defaults;
    let port = fields.whole("Port", 65_535)?.unwrap_or(0);
    Ok(Registration {
        metadata: metadata(fields, extra, limits.metadata_bytes_max)?,
        tags: tags(fields, limits.tags_max)?,
        checks: checks(state, fields, &id)?,
        service_id,
        service_name,
        host: host.into(),
        port: u16::try_from(port).unwrap_or_default(),
        health_check_url: None,
        version: "1.0.0".into(),
        ttl: limits.ttl,
        lease: LeaseKind::Unlimited,
        weight,
        zone: None,
    })
}

/// What this door has no meaning for is refused, not ignored.
fn refuse_unsupported(fields: &BodyFields) -> Result<(), ConsulError> {
    let kind = fields.text("Kind")?;
    if !matches!(kind.as_str(), "" | "typical") {
        let message = format!("\"{kind}\" is not supported: services have no kind here");
        return Err(fields.invalid("Kind", &message));
    }
    for name in ["Namespace", "Partition"] {
        let text = fields.text(name)?;
        if !matches!(text.as_str(), "" | "default" | "-") {
            return Err(fields.invalid(name, "only \"default\" is supported"));
        }
    }
    if !fields.text("SocketPath")?.is_empty() {
        return Err(fields.invalid("SocketPath", "is not supported: use Address and Port"));
    }
    if let Some(connect) = fields.object("Connect")?
        && connect.get("SidecarService").is_some()
    {
        return Err(connect.invalid("SidecarService", "is not supported"));
    }
    Ok(())
}

/// A host name or an address, without a port.
pub(super) fn host(text: &str) -> Result<&str, String> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let stray = |c: char| c.is_whitespace() || c.is_control() || "/?#@[]\\\"<>".contains(c);
    let is_name = !bare.contains(':') || bare.parse::<std::net::Ipv6Addr>().is_ok();
    match bare.is_empty() || bare.len() > 253 || bare.contains(stray) || !is_name {
        true => Err("must be a host name or an address".to_owned()),
        false => Ok(bare),
    }
}

fn weights(fields: &BodyFields, extra: &mut Map<String, Value>) -> Result<u16, ConsulError> {
    let Some(weights) = fields.object("Weights")? else {
        return Ok(1);
    };
    let passing = weights.whole("Passing", 65_535)?.unwrap_or(1);
    if passing == 0 {
        return Err(ConsulError::bad(
            "Invalid Weights.Passing: must be greater than 0",
        ));
    }
    let warning = weights.whole("Warning", 65_535)?.unwrap_or(1);
    if warning != 1 {
        extra.insert("weight_warning".to_owned(), warning.into());
    }
    Ok(u16::try_from(passing).unwrap_or(u16::MAX))
}

fn tags(fields: &BodyFields, max: usize) -> Result<Box<[Box<str>]>, ConsulError> {
    let tags = fields.texts(&["Tags"], max)?;
    if let Some(long) = tags.iter().find(|tag| tag.len() > LABEL_BYTES_MAX) {
        let shown: String = long.chars().take(40).collect();
        let message = format!("\"{shown}…\" is longer than {LABEL_BYTES_MAX} bytes");
        return Err(fields.invalid("Tags", &message));
    }
    Ok(tags.into_iter().map(Into::into).collect())
}

/// Consul's metadata: texts only, with bounds of their own.
pub(super) fn texts_of(fields: &BodyFields, name: &str) -> Result<Map<String, Value>, ConsulError> {
    let meta = fields.map(name)?;
    if meta.len() > META_PAIRS_MAX {
        let message = format!("has more than {META_PAIRS_MAX} pairs");
        return Err(fields.invalid(name, &message));
    }
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for (key, value) in &meta {
        let shown: String = key.chars().take(40).collect();
        if key.is_empty() || key.len() > META_KEY_BYTES_MAX || !key.chars().all(is_of_key) {
            let message = format!(
                "the key \"{shown}\" is not 1 to {META_KEY_BYTES_MAX} letters, digits, \"-\" and \"_\""
            );
            return Err(fields.invalid(name, &message));
        }
        match value.as_str() {
            Some(text) if text.len() <= META_VALUE_BYTES_MAX => (),
            Some(_) => {
                let message =
                    format!("the value of \"{shown}\" is longer than {META_VALUE_BYTES_MAX} bytes");
                return Err(fields.invalid(name, &message));
            }
            None => {
                let message = format!("the value of \"{shown}\" must be a string");
                return Err(fields.invalid(name, &message));
            }
        }
    }
    Ok(meta)
}

fn metadata(
    fields: &BodyFields,
    extra: Map<String, Value>,
    bytes_max: usize,
) -> Result<Metadata, ConsulError> {
    let mut meta = texts_of(fields, "Meta")?;
    if !extra.is_empty() {
        meta.insert(EXTRA.to_owned(), Value::Object(extra));
    }
    stored(meta, bytes_max).map_err(|why| fields.invalid("Meta", &why))
}

/// Metadata of the registry, bounded as that of any other door.
pub(super) fn stored(meta: Map<String, Value>, bytes_max: usize) -> Result<Metadata, String> {
    let text = Value::Object(meta).to_string();
    if text.len() > bytes_max {
        return Err(format!(
            "is {} bytes long as JSON, at most {bytes_max} are allowed (registry.metadata_max)",
            text.len()
        ));
    }
    Metadata::parse(&text).map_err(|error| error.to_string())
}

/// The checks of a service's definition: `Check`, then `Checks`.
fn checks(
    state: &ConsulState,
    fields: &BodyFields,
    service_id: &str,
) -> Result<Box<[Check]>, ConsulError> {
    let max = state.app.defaults.checks_max;
    let mut definitions: Vec<_> = fields.object("Check")?.into_iter().collect();
    definitions.extend(fields.objects("Checks", max)?);
    definitions.retain(kinds::has_kind);
    let mut checks: Vec<Check> = Vec::with_capacity(definitions.len());
    let several = definitions.len() > 1;
    for (at, definition) in definitions.iter().enumerate() {
        let default = match several {
            false => format!("service:{service_id}"),
            true => format!("service:{service_id}:{}", at + 1),
        };
        let check = check(state, definition, &default)?;
        if checks.iter().any(|one| one.name == check.name) {
            let message = format!("\"{}\" is the id of another check", check.name);
            return Err(definition.invalid("CheckID", &message));
        }
        checks.push(check);
    }
    if checks.len() > max {
        let message = format!("has more than {max} items (registry.checks_max)");
        return Err(fields.invalid("Checks", &message));
    }
    Ok(checks.into())
}

/// The id that a check's definition names.
pub(super) fn check_id(fields: &BodyFields) -> Result<String, ConsulError> {
    match fields.text("CheckID")? {
        id if id.is_empty() => fields.text("ID"),
        id => Ok(id),
    }
}

/// One check; `default` is its id where the definition names none.
pub(super) fn check(
    state: &ConsulState,
    fields: &BodyFields,
    default: &str,
) -> Result<Check, ConsulError> {
    let id = match check_id(fields)? {
        id if id.is_empty() => default.to_owned(),
        id => id,
    };
    let (title, notes) = labels(fields, &id)?;
    let (kind, interval) = kinds::kind(state, fields)?;
    let timeout = fields
        .duration("Timeout")?
        .filter(|timeout| !timeout.is_zero());
    let run = |name| fields.whole(name, RUN_MAX);
    let critical_after = run("FailuresBeforeCritical")?.unwrap_or(0);
    let warning_after = run("FailuresBeforeWarning")?.unwrap_or(critical_after);
    if warning_after > critical_after {
        let message = "must not be greater than FailuresBeforeCritical";
        return Err(fields.invalid("FailuresBeforeWarning", message));
    }
    let options = CheckOptions {
        initial: standing(fields, Standing::Critical)?,
        warning_after: match warning_after < critical_after {
            true => after(warning_after),
            false => 0,
        },
        remove_after: remove_after(fields)?,
        title,
        notes,
    };
    Ok(Check {
        name: id.into(),
        kind,
        interval: interval.min(SPAN_MAX),
        timeout: timeout.unwrap_or(TIMEOUT_DEFAULT).min(SPAN_MAX),
        healthy_after: after(run("SuccessBeforePassing")?.unwrap_or(0)),
        unhealthy_after: after(critical_after),
        options: Some(Box::new(options)),
    })
}

/// The name and the notes of a check, both bounded, and its id too.
fn labels(fields: &BodyFields, id: &str) -> Result<(Box<str>, Box<str>), ConsulError> {
    let (title, notes) = (fields.text("Name")?, fields.text("Notes")?);
    for (name, text, max) in [
        ("CheckID", id, 2 * LABEL_BYTES_MAX),
        ("Name", &title, 2 * LABEL_BYTES_MAX),
        ("Notes", &notes, NOTES_BYTES_MAX),
    ] {
        if text.len() > max || text.contains(char::is_control) {
            let message = format!("is longer than {max} bytes or has control characters");
            return Err(fields.invalid(name, &message));
        }
    }
    Ok((title.into(), notes.into()))
}

/// How many results in a row it takes; without a threshold the first one counts.
fn after(results: u64) -> u32 {
    u32::try_from(results).unwrap_or(u32::MAX).max(1)
}

/// The field `Status`.
pub(super) fn standing(fields: &BodyFields, default: Standing) -> Result<Standing, ConsulError> {
    let text = fields.text("Status")?;
    if text.is_empty() {
        return Ok(default);
    }
    Standing::parse(&text)
        .ok_or_else(|| fields.invalid("Status", "must be \"passing\", \"warning\" or \"critical\""))
}

fn remove_after(fields: &BodyFields) -> Result<Option<Duration>, ConsulError> {
    let after = fields.duration("DeregisterCriticalServiceAfter")?;
    let after = after.filter(|after| !after.is_zero());
    Ok(after.map(|after| after.clamp(REMOVE_AFTER_MIN, REMOVE_AFTER_MAX)))
}

/// The entry of a node in the registry: its checks, or a node without services.
pub(super) fn node_entry(
    state: &ConsulState,
    node: Option<&OtherNode>,
    checks: Box<[Check]>,
) -> Result<Registration, ConsulError> {
    let name = node.map_or(state.node.name.as_str(), |node| node.name.as_str());
    let address = node.map_or(state.node.address.as_str(), |node| node.address.as_str());
    let id = super::nodes::node_entry_id(name);
    let meta = match node {
        Some(node) => Map::from_iter([(EXTRA.to_owned(), json!(node.extra()))]),
        None => Map::new(),
    };
    let metadata = stored(meta, state.app.defaults.metadata_bytes_max);
    let bad = |why: String| ConsulError::bad(format!("Invalid Node: {why}"));
    Ok(Registration {
        service_id: ServiceId::parse(&id).map_err(|why| bad(why.to_string()))?,
        service_name: ServiceName::parse(super::nodes::NODE_SERVICE)
            .map_err(|why| bad(why.to_string()))?,
        host: host(address).map_err(bad)?.into(),
        port: 0,
        metadata: metadata.map_err(bad)?,
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: state.app.defaults.ttl,
        lease: LeaseKind::Unlimited,
        weight: 1,
        zone: None,
        checks,
    })
}

/// A check that the catalog is given with its standing: nothing probes it.
pub(super) fn reported(id: &str, fields: &BodyFields) -> Result<(Check, Standing), ConsulError> {
    let (title, notes) = labels(fields, id)?;
    let initial = standing(fields, Standing::Critical)?;
    let options = CheckOptions {
        title,
        notes,
        initial,
        warning_after: 0,
        remove_after: None,
    };
    let check = Check {
        name: id.into(),
        kind: CheckKind::Ttl,
        // No later report can change it: it keeps its status.
        interval: Duration::from_secs(100 * 365 * 24 * 3600),
        timeout: TIMEOUT_DEFAULT,
        healthy_after: 1,
        unhealthy_after: 1,
        options: Some(Box::new(options)),
    };
    Ok((check, initial))
}
