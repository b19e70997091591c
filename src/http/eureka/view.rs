//! One instance as Eureka's clients see it. Pure.

use serde_json::{Map, Value};

use super::{
    draft::{OWN, word},
    writer::BodyWriter,
};
use crate::model::{Instance, Status, Timestamp};

const PLACE_CLASS: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";
const EMPTY_CLASS: &str = "java.util.Collections$EmptyMap";
const SECURE_PORT_DEFAULT: u16 = 7002;
/// How often clients renew a lease whose registration does not say it.
const INTERVAL_SECONDS: i64 = 30;

/// An instance with its metadata read.
#[derive(Debug)]
pub(super) struct InstanceView<'a> {
    instance: &'a Instance,
    metadata: Map<String, Value>,
    /// What its registration over Eureka said beyond the fields of an instance.
    own: Map<String, Value>,
}

/// The times and the change of an instance in one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViewMoment {
    pub(super) renewed: Timestamp,
    pub(super) action: &'static str,
}

impl<'a> InstanceView<'a> {
    pub(super) fn new(instance: &'a Instance) -> Self {
        let metadata = instance.registration.metadata.to_value();
        let Value::Object(mut metadata) = metadata else {
            return Self {
                instance,
                metadata: Map::new(),
                own: Map::new(),
            };
        };
        let own = match metadata.remove(OWN) {
            Some(Value::Object(own)) => own,
            Some(other) => {
                metadata.insert(OWN.to_owned(), other);
                Map::new()
            }
            None => Map::new(),
        };
        Self {
            instance,
            metadata,
            own,
        }
    }

    /// The name of its app.
    pub(super) fn app(&self) -> String {
        self.instance.name().as_str().to_uppercase()
    }

    /// When it last changed, by its own clock: what it said itself, or when it was registered.
    pub(super) fn dirty(&self) -> i64 {
        let said = self.own("lastDirtyTimestamp");
        let said = said.and_then(|said| said.parse().ok());
        said.unwrap_or(self.instance.registered_at.0)
    }

    /// Whether one of its virtual addresses is this one.
    pub(super) fn has_vip(&self, field: &str, vip: &str) -> bool {
        let of_service = self.instance.name().as_str();
        let list = self.own(field).unwrap_or(of_service);
        list.split(',').any(|one| one.trim() == vip)
    }

    fn own(&self, field: &str) -> Option<&str> {
        self.own.get(field).and_then(Value::as_str)
    }

    fn own_port(&self, field: &str) -> Option<(u16, bool)> {
        let port = self.own.get(field)?;
        let number = u16::try_from(port.get("number")?.as_u64()?).ok()?;
        Some((number, port.get("enabled")?.as_bool()?))
    }

    /// Writes its members into an element that is open.
    pub(super) fn write(&self, out: &mut BodyWriter, moment: ViewMoment) {
        let registration = &*self.instance.registration;
        let id = self.own("instanceId");
        out.text("instanceId", id.unwrap_or(registration.service_id.as_str()));
        out.text("hostName", &registration.host);
        out.text("app", &self.app());
        out.text("ipAddr", self.own("ipAddr").unwrap_or(&registration.host));
        self.write_kept(out, &["sid", "appGroupName", "asgName"]);
        out.text("status", word(self.instance.status()));
        let overridden = self.instance.overridden.as_ref();
        let overridden = overridden.map_or(Status::Unknown, |set| set.status.into());
        out.overridden(word(overridden));
        let (port, enabled) = self.own_port("port").unwrap_or((registration.port, true));
        out.port("port", port, enabled);
        let secure = self.own_port("securePort");
        let (port, enabled) = secure.unwrap_or((SECURE_PORT_DEFAULT, false));
        out.port("securePort", port, enabled);
        let country = self
            .own("countryId")
            .and_then(|country| country.parse().ok());
        out.number("countryId", country.unwrap_or(1));
        self.write_place(out);
        self.write_lease(out, moment);
        self.write_metadata(out);
        self.write_kept(out, &["homePageUrl", "statusPageUrl"]);
        let check = registration.health_check_url.as_deref();
        if let Some(url) = self.own("healthCheckUrl").or(check) {
            out.text("healthCheckUrl", url);
        }
        self.write_kept(out, &["secureHealthCheckUrl"]);
        let name = registration.service_name.as_str();
        for field in ["vipAddress", "secureVipAddress"] {
            out.text(field, self.own(field).unwrap_or(name));
        }
        let coordinates = self.own("isCoordinatingDiscoveryServer");
        out.text(
            "isCoordinatingDiscoveryServer",
            coordinates.unwrap_or("false"),
        );
        let updated = self.dirty().max(self.instance.registered_at.0);
        out.text("lastUpdatedTimestamp", &updated.to_string());
        out.text("lastDirtyTimestamp", &self.dirty().to_string());
        out.text("actionType", moment.action);
    }

    fn write_kept(&self, out: &mut BodyWriter, fields: &[&str]) {
        for field in fields {
            if let Some(value) = self.own(field) {
                out.text(field, value);
            }
        }
    }

    fn write_place(&self, out: &mut BodyWriter) {
        let place = self.own.get("dataCenterInfo");
        let text = |key: &str| place.and_then(|place| place.get(key)?.as_str());
        out.open_class("dataCenterInfo", text("class").unwrap_or(PLACE_CLASS));
        out.text("name", text("name").unwrap_or("MyOwn"));
        let metadata = place.and_then(|place| place.get("metadata")?.as_object());
        if let Some(metadata) = metadata {
            out.open("metadata");
            for (key, value) in metadata {
                out.text(key, value.as_str().unwrap_or_default());
            }
            out.close("metadata");
        }
        out.close("dataCenterInfo");
    }

    fn write_lease(&self, out: &mut BodyWriter, moment: ViewMoment) {
        let interval = self
            .own
            .get("renewalIntervalInSecs")
            .and_then(Value::as_i64);
        let ttl = self.instance.registration.ttl.as_secs();
        let registered = self.instance.registered_at.0;
        out.open("leaseInfo");
        out.number(
            "renewalIntervalInSecs",
            interval.unwrap_or(INTERVAL_SECONDS),
        );
        out.number("durationInSecs", i64::try_from(ttl).unwrap_or(i64::MAX));
        out.number("registrationTimestamp", registered);
        out.number("lastRenewalTimestamp", moment.renewed.0);
        out.number("evictionTimestamp", 0);
        let is_up = self.instance.is_healthy();
        out.number("serviceUpTimestamp", if is_up { registered } else { 0 });
        out.close("leaseInfo");
    }

    /// Values that are no text are shown as their JSON: Eureka's metadata is text.
    fn write_metadata(&self, out: &mut BodyWriter) {
        if self.metadata.is_empty() {
            out.open_class("metadata", EMPTY_CLASS);
        } else {
            out.open("metadata");
        }
        for (key, value) in &self.metadata {
            match value.as_str() {
                Some(text) => out.text(key, text),
                None => out.text(key, &value.to_string()),
            }
        }
        out.close("metadata");
    }
}
