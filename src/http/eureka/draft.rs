//! A registration as Eureka's clients send it, and the instance that it means here. Pure.
//!
//! What an instance has no field for is kept in the member `eureka` of its metadata, and shown again from there.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{is_app, tree::BodyNode};
use crate::{
    api::{self, Defaults, FieldError, Problem},
    model::{Registration, Status},
};

/// The member of the metadata that keeps what is Eureka's own.
pub(super) const OWN: &str = "eureka";

/// The fields that are kept as they were sent.
const KEPT: [&str; 13] = [
    "ipAddr",
    "sid",
    "appGroupName",
    "homePageUrl",
    "statusPageUrl",
    "healthCheckUrl",
    "secureHealthCheckUrl",
    "vipAddress",
    "secureVipAddress",
    "asgName",
    "countryId",
    "isCoordinatingDiscoveryServer",
    "lastDirtyTimestamp",
];

/// The port of an instance that names none.
const PORT_DEFAULT: u16 = 7001;
/// The longest version or zone that is taken from the metadata, in bytes.
const LABEL_BYTES_MAX: usize = 200;

/// A port, and whether clients may use it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EurekaPort {
    pub(super) number: u16,
    pub(super) enabled: bool,
}

/// A registration that was read.
#[derive(Clone, Debug)]
pub struct EurekaDraft {
    /// The instance id, or what Eureka takes in its place: the host name.
    pub(super) id: String,
    /// The status that the instance reports.
    pub(super) status: Status,
    /// When it last changed, by its own clock.
    pub(super) dirty: Option<i64>,
    /// The fields of a registration over REST, but for the id.
    fields: Map<String, Value>,
}

/// The faults of a body.
#[derive(Debug, Default)]
struct FieldFaults(Vec<FieldError>);

impl FieldFaults {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    /// The number in a field; none if there is none, or it is wrong.
    fn number<T: std::str::FromStr>(&mut self, field: &str, text: Option<&str>) -> Option<T> {
        let text = text?;
        let read = text.parse().ok();
        if read.is_none() {
            let text: String = text.chars().take(40).collect();
            self.add(field, format!("must be a whole number, not \"{text}\""));
        }
        read
    }
}

impl EurekaDraft {
    /// Reads the body of a registration of `app`.
    ///
    /// # Errors
    /// A 400 that names every wrong field.
    pub fn read(app: &str, body: &[u8]) -> Result<Self, Problem> {
        let wrong = |message: String| refused(vec![field_error("body", message)]);
        let instance = BodyNode::read(body).map_err(wrong)?;
        if instance.name != "instance" {
            let found: String = instance.name.chars().take(40).collect();
            return Err(wrong(format!("must be an \"instance\", not \"{found}\"")));
        }
        let mut faults = FieldFaults::default();
        let draft = read_instance(&instance, app, &mut faults);
        match draft {
            Some(draft) if faults.0.is_empty() => Ok(draft),
            _ => Err(refused(faults.0)),
        }
    }

    /// The registration under an id of the registry.
    ///
    /// # Errors
    /// A 400 that names every field that does not fit.
    pub fn registration(
        &self,
        service_id: &str,
        defaults: &Defaults,
    ) -> Result<Registration, Problem> {
        let mut fields = self.fields.clone();
        fields.insert("service_id".to_owned(), service_id.into());
        if let (Some(own), true) = (own_of(&mut fields), service_id != self.id) {
            own.insert("instanceId".to_owned(), self.id.as_str().into());
        }
        let body = Value::Object(fields).to_string();
        match api::registration(body.as_bytes(), defaults) {
            Ok(parsed) => Ok(parsed.registration),
            Err(problem) => Err(refused(problem.errors.into_iter().map(renamed).collect())),
        }
    }
}

fn own_of(fields: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    fields.get_mut("metadata")?.get_mut(OWN)?.as_object_mut()
}

fn field_error(field: &str, message: String) -> FieldError {
    FieldError {
        field: field.to_owned(),
        message,
    }
}

/// A 400, which is what clients of Eureka know.
fn refused(errors: Vec<FieldError>) -> Problem {
    let invalid = Problem::invalid(errors);
    let mut problem = Problem::new(400, invalid.detail);
    problem.errors = invalid.errors;
    problem
}

/// A fault of a field of ours, as one of Eureka's field.
fn renamed(error: FieldError) -> FieldError {
    let field = match &*error.field {
        "service_id" => "instanceId",
        "service_name" => "app",
        "host" => "hostName",
        "ttl" => "leaseInfo.durationInSecs",
        _ => return error,
    };
    field_error(field, error.message)
}

fn read_instance(instance: &BodyNode, app: &str, faults: &mut FieldFaults) -> Option<EurekaDraft> {
    let host = instance.text_of("hostName");
    if host.is_none() {
        faults.add("hostName", "is required");
    }
    match instance.text_of("app") {
        None => faults.add("app", "is required"),
        Some(own) if !is_app(own, app) => {
            let own: String = own.chars().take(200).collect();
            faults.add("app", format!("is \"{own}\", but the path names \"{app}\""));
        }
        Some(_) => {}
    }
    let port = port(instance, "port", PORT_DEFAULT, true, faults);
    let secure = port_or_none(instance, "securePort", faults);
    let lease = instance.child("leaseInfo");
    let duration: Option<u32> = faults.number(
        "leaseInfo.durationInSecs",
        lease.and_then(|one| one.text_of("durationInSecs")),
    );
    let interval: Option<u32> = faults.number(
        "leaseInfo.renewalIntervalInSecs",
        lease.and_then(|one| one.text_of("renewalIntervalInSecs")),
    );
    let dirty = instance.text_of("lastDirtyTimestamp");
    let dirty = faults.number("lastDirtyTimestamp", dirty);
    let mut metadata = metadata(instance.child("metadata"), faults);
    let own = own(instance, port, secure, interval);
    let used = match secure {
        Some(secure) if secure.enabled && !port.enabled => secure.number,
        _ => port.number,
    };
    let mut fields = Map::new();
    for name in ["version", "zone"] {
        let value = metadata.get(name).and_then(Value::as_str);
        let value = value.map(str::trim).filter(|value| is_label(value));
        if let Some(value) = value {
            fields.insert(name.to_owned(), value.into());
        }
    }
    metadata.insert(OWN.to_owned(), Value::Object(own));
    fields.insert("service_name".to_owned(), app.to_lowercase().into());
    fields.insert("host".to_owned(), host?.into());
    fields.insert("port".to_owned(), used.into());
    fields.insert("metadata".to_owned(), Value::Object(metadata));
    fields.insert("ttl".to_owned(), duration.unwrap_or(90).into());
    Some(EurekaDraft {
        id: instance_id(instance).or(host)?.to_owned(),
        status: instance.text_of("status").map_or(Status::Healthy, status),
        dirty,
        fields,
    })
}

/// The id of an instance: its own, or that of its machine at Amazon.
fn instance_id(instance: &BodyNode) -> Option<&str> {
    let of_machine = || {
        let place = instance.child("dataCenterInfo")?.child("metadata")?;
        place.text_of("instance-id")
    };
    instance.text_of("instanceId").or_else(of_machine)
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= LABEL_BYTES_MAX && !text.contains(char::is_control)
}

fn port(
    instance: &BodyNode,
    name: &str,
    default: u16,
    enabled: bool,
    faults: &mut FieldFaults,
) -> EurekaPort {
    let node = instance.child(name);
    let number: Option<u16> = faults.number(name, node.and_then(BodyNode::text));
    let said = node.and_then(|node| node.attribute("enabled"));
    EurekaPort {
        number: number.unwrap_or(default),
        enabled: said.map_or(enabled, |said| said.eq_ignore_ascii_case("true")),
    }
}

fn port_or_none(instance: &BodyNode, name: &str, faults: &mut FieldFaults) -> Option<EurekaPort> {
    instance.child(name)?;
    Some(port(instance, name, 0, false, faults))
}

/// The instance's own metadata. Its text values stay; a class name of Java is no value.
fn metadata(node: Option<&BodyNode>, faults: &mut FieldFaults) -> Map<String, Value> {
    let mut metadata = Map::new();
    for child in node.map(|node| &*node.children).unwrap_or_default() {
        if child.name == OWN {
            faults.add(
                "metadata.eureka",
                "is reserved for Eureka's own fields: choose another key",
            );
            continue;
        }
        let value = child.text().unwrap_or_default();
        metadata.insert(child.name.clone(), value.into());
    }
    metadata
}

/// What an instance has no field for.
fn own(
    instance: &BodyNode,
    port: EurekaPort,
    secure: Option<EurekaPort>,
    interval: Option<u32>,
) -> Map<String, Value> {
    let mut own = Map::new();
    for name in KEPT {
        if let Some(text) = instance.text_of(name) {
            own.insert(name.to_owned(), text.into());
        }
    }
    own.insert("port".to_owned(), shown_port(port));
    if let Some(secure) = secure {
        own.insert("securePort".to_owned(), shown_port(secure));
    }
    if let Some(interval) = interval {
        own.insert("renewalIntervalInSecs".to_owned(), interval.into());
    }
    if let Some(place) = instance.child("dataCenterInfo") {
        let mut shown = Map::new();
        for (key, value) in [
            ("class", place.attribute("class")),
            ("name", place.text_of("name")),
        ] {
            shown.extend(value.map(|value| (key.to_owned(), value.into())));
        }
        let of_place = place.child("metadata");
        if let Some(of_place) = of_place.filter(|one| !one.children.is_empty()) {
            let entries = of_place.children.iter();
            let entries =
                entries.map(|one| (one.name.clone(), one.text().unwrap_or_default().into()));
            shown.insert("metadata".to_owned(), Value::Object(entries.collect()));
        }
        own.insert("dataCenterInfo".to_owned(), Value::Object(shown));
    }
    own
}

fn shown_port(port: EurekaPort) -> Value {
    json!({"number": port.number, "enabled": port.enabled})
}

/// The status that a word of Eureka means; any other word is unknown, as there.
pub(super) fn status(word: &str) -> Status {
    match &*word.to_ascii_uppercase() {
        "UP" => Status::Healthy,
        "DOWN" => Status::Unhealthy,
        "STARTING" => Status::Starting,
        "OUT_OF_SERVICE" => Status::Stopping,
        _ => Status::Unknown,
    }
}

/// Eureka's word for a status.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Healthy => "UP",
        Status::Unhealthy => "DOWN",
        Status::Starting => "STARTING",
        Status::Stopping => "OUT_OF_SERVICE",
        Status::Unknown => "UNKNOWN",
    }
}

/// The id in the registry for an instance whose own id another app has taken: ids of Eureka belong to an app.
pub(super) fn scoped_id(app: &str, id: &str) -> String {
    let mut scoped = app.to_lowercase();
    // Writing to a string cannot fail.
    let _ = write!(scoped, ":{id}");
    scoped
}
