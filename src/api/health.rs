//! What is known of the health of an instance, and of the daemon itself.

use super::json::Json;
use crate::model::{Status, Timestamp};

/// The health of one instance, check by check.
#[derive(Clone, Debug)]
pub struct HealthReport {
    /// Whose.
    pub service_id: Box<str>,
    /// The effective status.
    pub status: Status,
    /// Every check of the instance.
    pub checks: Vec<CheckReport>,
}

/// What is known of one check.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Its name.
    pub name: Box<str>,
    /// `http`, `tcp`, `grpc` or `ttl`.
    pub kind: &'static str,
    /// Its verdict.
    pub status: Status,
    /// Since when the verdict stands.
    pub since: Option<Timestamp>,
    /// True while its flips are held down.
    pub flapping: bool,
    /// The last outcomes, newest first.
    pub results: Vec<ProbeOutcome>,
}

/// How one probe went.
#[derive(Clone, Debug)]
pub struct ProbeOutcome {
    /// When it ended.
    pub at: Timestamp,
    /// True when it passed.
    pub passed: bool,
    /// How long it took.
    pub latency_ms: f64,
    /// What was found, for people.
    pub message: Box<str>,
}

impl HealthReport {
    /// Its JSON.
    pub fn to_json(&self, timestamp: Timestamp) -> Vec<u8> {
        let mut json = Json::with_capacity(512);
        json.open(b'{');
        json.key("service_id").text(&self.service_id);
        json.key("status").text(self.status.as_str());
        json.key("timestamp").time(timestamp);
        json.key("checks").open(b'[');
        for check in &self.checks {
            check.write(json.item());
        }
        json.close(b']');
        json.close(b'}');
        json.into_bytes()
    }
}

impl CheckReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("name").text(&self.name);
        json.key("type").text(self.kind);
        json.key("status").text(self.status.as_str());
        json.key("since");
        time_or_null(json, self.since);
        json.key("flapping").flag(self.flapping);
        json.key("latency_ms");
        match self.results.first() {
            Some(last) => json.decimal(last.latency_ms),
            None => json.null(),
        }
        json.key("results").open(b'[');
        for result in &self.results {
            result.write(json.item());
        }
        json.close(b']');
        json.close(b'}');
    }
}

impl ProbeOutcome {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("at").time(self.at);
        json.key("passed").flag(self.passed);
        json.key("latency_ms").decimal(self.latency_ms);
        json.key("message").text(&self.message);
        json.close(b'}');
    }
}

fn time_or_null(json: &mut Json, time: Option<Timestamp>) {
    match time {
        Some(time) => json.time(time),
        None => json.null(),
    }
}

/// Whether one part of the daemon can do its work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ready {
    /// The part.
    pub name: &'static str,
    /// True when it can.
    pub ok: bool,
    /// What it waits for, or how it is.
    pub detail: String,
}

impl Ready {
    /// The JSON of all parts: `{"status":"ready"|"not ready","checks":[…],"timestamp"}`.
    pub fn to_json(parts: &[Self], timestamp: Timestamp) -> Vec<u8> {
        let ready = parts.iter().all(|part| part.ok);
        let mut json = Json::with_capacity(256);
        json.open(b'{');
        json.key("status")
            .text(if ready { "ready" } else { "not ready" });
        json.key("timestamp").time(timestamp);
        json.key("checks").open(b'[');
        for part in parts {
            json.item().open(b'{');
            json.key("name").text(part.name);
            json.key("ok").flag(part.ok);
            json.key("detail").text(&part.detail);
            json.close(b'}');
        }
        json.close(b']');
        json.close(b'}');
        json.into_bytes()
    }
}
