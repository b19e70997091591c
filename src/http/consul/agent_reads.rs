//! What the agent shows: its services and checks, their health, and itself.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{extract::State, http::StatusCode};
use serde_json::{Map, Value, json};

use super::{
    answer::{self, ConsulError, ConsulResult},
    call::ConsulCall,
    checks,
    nodes::{self, NODE_SERVICE, SeenInstance},
    query::shown,
    reading::{ReadBody, ReadScope},
    state::ConsulState,
};
use crate::{
    model::Standing,
    security::{Protected, Right},
};

/// The port that Consul's servers have for each other; nothing listens on it here.
const SERVER_PORT: u16 = 8300;
/// The version of the API that is spoken.
const API_VERSION: &str = "1.20.0";

/// `GET /v1/agent/services`
pub(super) async fn services(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        let services = state.local_services(&call).into_iter();
        let shown = services.map(|seen| (seen.id.clone(), state.agent_service_json(&seen)));
        Ok(filtered_map(shown, &call))
    };
    state.read_hashed(&call, ReadScope::All, show).await
}

/// `GET /v1/agent/service/{id}`
pub(super) async fn service(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        let seen = state.agent_service(&call, call.name());
        let seen = seen.map_err(|_| {
            ConsulError::unknown(format!("unknown service ID: {}", shown(call.name())))
        })?;
        let mut service = state.agent_service_json(&seen);
        let mut hasher = DefaultHasher::new();
        service.to_string().hash(&mut hasher);
        service["ContentHash"] = answer::hash_text(hasher.finish()).into();
        Ok(ReadBody::json(service))
    };
    state.read_hashed(&call, ReadScope::All, show).await
}

/// `GET /v1/agent/checks`
pub(super) async fn checks(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        let mut list = Vec::new();
        for seen in state.local_instances(&call) {
            for check in checks::all(&seen) {
                list.push((check.id.clone(), state.check_json(&seen, &check)));
            }
        }
        Ok(filtered_map(list.into_iter(), &call))
    };
    state.read_hashed(&call, ReadScope::All, show).await
}

/// An object without the entries that the filter leaves out.
fn filtered_map(entries: impl Iterator<Item = (String, Value)>, call: &ConsulCall) -> ReadBody {
    let filter = call.query.filter.as_ref();
    let kept = entries.filter(|(_, value)| filter.is_none_or(|filter| filter.is_true(value)));
    ReadBody::json(Value::Object(kept.collect()))
}

/// `GET /v1/agent/health/service/name/{name}`
pub(super) async fn health_by_name(
    State(state): State<ConsulState>,
    call: ConsulCall,
) -> ConsulResult {
    let show = || {
        let services = state.local_services(&call);
        let named = services
            .iter()
            .filter(|seen| seen.instance.name().as_str() == call.name());
        let healths: Vec<_> = named.map(|seen| state.agent_health(&call, seen)).collect();
        let Some(worst) = healths.iter().map(|(state, _)| *state).max() else {
            return Ok(unknown(&call, "ServiceName", json!([])));
        };
        let list = healths.into_iter().map(|(_, shown)| shown).collect();
        Ok(health_body(&call, worst, list))
    };
    state.read_hashed(&call, ReadScope::All, show).await
}

/// `GET /v1/agent/health/service/id/{id}`
pub(super) async fn health_by_id(
    State(state): State<ConsulState>,
    call: ConsulCall,
) -> ConsulResult {
    let show = || {
        let Ok(seen) = state.agent_service(&call, call.name()) else {
            let nothing = json!({
                "AggregatedStatus": "critical", "Service": null, "Checks": null,
            });
            return Ok(unknown(&call, "ServiceId", nothing));
        };
        let (state, shown) = state.agent_health(&call, &seen);
        Ok(health_body(&call, state, shown))
    };
    state.read_hashed(&call, ReadScope::All, show).await
}

/// The health of a service as the agent adds it up, the best first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum AgentHealth {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl AgentHealth {
    fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Passing => StatusCode::OK,
            Self::Warning => StatusCode::TOO_MANY_REQUESTS,
            Self::Critical | Self::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

fn wants_text(call: &ConsulCall) -> bool {
    call.query.get("format") == Some("text")
}

fn health_body(call: &ConsulCall, health: AgentHealth, shown: Value) -> ReadBody {
    match wants_text(call) {
        true => ReadBody::text(health.status(), health.as_str()),
        false => ReadBody::json_as(health.status(), shown),
    }
}

fn unknown(call: &ConsulCall, what: &str, nothing: Value) -> ReadBody {
    match wants_text(call) {
        true => ReadBody::text(
            StatusCode::NOT_FOUND,
            format!("{what} {} not found", shown(call.name())),
        ),
        false => ReadBody::json_as(StatusCode::NOT_FOUND, nothing),
    }
}

/// `GET /v1/agent/self`
pub(super) async fn own(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        Ok(ReadBody::json(json!({
            "Config": {
                "Datacenter": state.config.datacenter,
                "PrimaryDatacenter": state.config.datacenter,
                "NodeName": state.node.name,
                "NodeID": state.node.id,
                "Server": true,
                "Revision": "musterd",
                "Version": API_VERSION,
            },
            "DebugConfig": {
                "EnableLocalScriptChecks": state.config.enable_script_checks,
                "EnableRemoteScriptChecks": state.config.enable_script_checks,
            },
            "Coord": null,
            "Member": state.member_json(),
            "Meta": {"consul-network-segment": ""},
            "Stats": {
                "agent": {"check_monitors": "0"},
                "consul": {"server": "true", "leader": "true", "known_datacenters": "1"},
                "musterd": {"version": env!("CARGO_PKG_VERSION")},
            },
        })))
    };
    state.read_hashed(&call, ReadScope::All, show).await
}

/// `GET /v1/agent/members`
pub(super) async fn members(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || Ok(ReadBody::list(vec![state.member_json()], &call.query));
    state.read_hashed(&call, ReadScope::All, show).await
}

/// `GET /v1/agent/version`
pub(super) async fn version(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        Ok(ReadBody::json(json!({
            "SHA": "", "BuildDate": "", "HumanVersion": API_VERSION, "FIPS": "",
        })))
    };
    state.read_hashed(&call, ReadScope::All, show).await
}

/// `GET /v1/agent/host`: about the machine, as far as the daemon knows it.
pub(super) async fn host(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    state.require(&call, Protected::System, Right::Read)?;
    let uptime = state.app.started.elapsed().as_secs();
    let value = json!({
        "Memory": null,
        "CPU": null,
        "Disk": null,
        "Host": {
            "hostname": state.node.name,
            "os": if cfg!(target_os = "linux") { "linux" } else { "other" },
            "uptime": uptime,
        },
        "CollectionTime": state.app.now().0.max(0).unsigned_abs().saturating_mul(1_000_000),
        "Errors": null,
    });
    Ok(answer::ok(&value, &call.query))
}

/// `GET /v1/agent/metrics`: JSON, or `?format=prometheus`.
pub(super) async fn metrics(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    state.require(&call, Protected::System, Right::Read)?;
    let page = state.app.metrics.page().await;
    if call.query.get("format") == Some("prometheus") {
        return Ok(answer::text(200, page));
    }
    let (mut gauges, mut counters) = (Vec::new(), Vec::new());
    for (name, labels, value) in samples(&page) {
        let labels: Map<String, Value> = labels;
        match name.ends_with("_total") {
            true => counters.push(json!({
                "Name": name, "Count": value, "Rate": 0, "Sum": value, "Min": value,
                "Max": value, "Mean": value, "Stddev": 0, "Labels": labels,
            })),
            false => gauges.push(json!({"Name": name, "Value": value, "Labels": labels})),
        }
    }
    let value = json!({
        "Timestamp": state.app.now().to_string(),
        "Gauges": gauges,
        "Points": [],
        "Counters": counters,
        "Samples": [],
    });
    Ok(answer::ok(&value, &call.query))
}

/// The lines of the Prometheus text format that have a value.
fn samples(page: &str) -> impl Iterator<Item = (&str, Map<String, Value>, f64)> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let value: f64 = value.parse().ok()?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let pairs = labels.trim_end_matches('}').split("\",");
        let pairs = pairs.filter_map(|pair| pair.split_once("=\""));
        let labels = pairs.map(|(key, value)| {
            let value = value.trim_end_matches('"');
            (key.to_owned(), Value::from(value))
        });
        value.is_finite().then(|| (name, labels.collect(), value))
    })
}

/// `PUT /v1/agent/reload`
pub(super) async fn reload(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    state.require(&call, Protected::System, Right::Write)?;
    state.controls.reload();
    Ok(answer::done())
}

/// `PUT /v1/agent/leave`: stops the daemon in good order.
pub(super) async fn leave(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    state.require(&call, Protected::System, Right::Write)?;
    state.controls.leave();
    Ok(answer::done())
}

impl ConsulState {
    /// Judges a right on something without a name.
    pub(super) fn require(
        &self,
        call: &ConsulCall,
        resource: Protected,
        right: Right,
    ) -> Result<(), ConsulError> {
        Ok(self
            .app
            .catalog
            .require(&call.caller(), resource, "", right)?)
    }

    /// The instances of the local node that the caller may see, by service, with the entry of the node.
    pub(super) fn local_instances(&self, call: &ConsulCall) -> Vec<SeenInstance> {
        let mut list = self.instances(call);
        list.retain(|seen| seen.node.is_none());
        list
    }

    /// The services of the local node.
    fn local_services(&self, call: &ConsulCall) -> Vec<SeenInstance> {
        let mut list = self.local_instances(call);
        list.retain(|seen| seen.instance.name().as_str() != NODE_SERVICE);
        list
    }

    /// Every instance that the caller may see, by service.
    pub(super) fn instances(&self, call: &ConsulCall) -> Vec<SeenInstance> {
        let sight = self.app.catalog.sight(&call.caller());
        let services = self.app.registry.services();
        let services = services.iter().filter(|service| {
            let name = service.name().as_str();
            (name == NODE_SERVICE || !nodes::is_hidden(name)) && sight.sees(name)
        });
        let mut list = Vec::new();
        for service in services {
            list.extend(service.view().instances.values().map(SeenInstance::of));
        }
        list
    }

    fn agent_health(&self, call: &ConsulCall, seen: &SeenInstance) -> (AgentHealth, Value) {
        let mut worst = AgentHealth::Passing;
        let mut list = Vec::new();
        let node = self.node_entry(call, &self.node.name);
        for of in node.iter().chain([seen]) {
            for check in checks::all(of) {
                let health = match check.standing {
                    _ if check.id.starts_with("_service_maintenance:")
                        || check.id == "_node_maintenance" =>
                    {
                        AgentHealth::Maintenance
                    }
                    Standing::Passing => AgentHealth::Passing,
                    Standing::Warning => AgentHealth::Warning,
                    Standing::Critical => AgentHealth::Critical,
                };
                worst = worst.max(health);
                list.push(self.check_json(of, &check));
            }
        }
        let shown = json!({
            "AggregatedStatus": worst.as_str(),
            "Service": self.agent_service_json(seen),
            "Checks": list,
        });
        (worst, shown)
    }

    /// The entry of a node, if the caller may see it.
    pub(super) fn node_entry(&self, call: &ConsulCall, node: &str) -> Option<SeenInstance> {
        let id = nodes::node_entry_id(node);
        let entry = self.app.catalog.instance(&call.caller(), &id)?;
        // An instance of another service may have this id: it must not speak for the node.
        let entry = Some(entry).filter(|entry| entry.name().as_str() == NODE_SERVICE)?;
        Some(SeenInstance::of(&entry)).filter(|entry| entry.is_on(node, &self.node))
    }

    fn member_json(&self) -> Value {
        json!({
            "Name": self.node.name,
            "Addr": self.node.address,
            "Port": 8301,
            "Tags": {
                "role": "consul", "dc": self.config.datacenter, "id": self.node.id,
                "port": SERVER_PORT.to_string(), "build": API_VERSION, "vsn": "2",
                "bootstrap": "1",
            },
            "Status": 1,
            "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2,
            "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
        })
    }

    /// Where Consul's servers would meet.
    pub(super) fn server_address(&self) -> String {
        match self.node.address.contains(':') {
            true => format!("[{}]:{SERVER_PORT}", self.node.address),
            false => format!("{}:{SERVER_PORT}", self.node.address),
        }
    }
}
