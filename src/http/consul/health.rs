//! Health: the instances of a service with their checks, and checks by service, node and state.

use std::collections::HashMap;

use axum::extract::State;
use serde_json::{Value, json};

use super::{
    answer::{ConsulError, ConsulResult},
    call::ConsulCall,
    catalog::{CONSUL, has_meta},
    nodes::NODE_SERVICE,
    query::{go_bool, shown},
    reading::{ReadBody, ReadScope},
    state::ConsulState,
};
use crate::model::Standing;

/// `GET /v1/health/service/{name}`
pub(super) async fn service(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let passing = match call.query.get("passing") {
        None => false,
        Some("") => true,
        Some(text) => go_bool(text).ok_or_else(|| {
            let text = shown(text);
            ConsulError::bad(format!(
                "Invalid value for ?passing: \"{text}\"; it must be true or false"
            ))
        })?,
    };
    // The checks of nodes are shown with each service.
    let scope = ReadScope::Services(vec![call.name().into(), NODE_SERVICE.into()]);
    let show = || {
        let mut list = Vec::new();
        if call.name() == CONSUL
            && call.query.get("tag").is_none()
            && has_meta(&state.local_node(), &call.query)
        {
            list.push(state.consul_health_json());
        }
        // Many instances are on the same node.
        let mut of_nodes = HashMap::new();
        for seen in state.matching(&call, call.name()) {
            let node = seen.node.as_ref().map(|node| node.name.clone());
            let of_node = of_nodes.entry(node);
            let of_node = of_node.or_insert_with_key(|node| state.node_checks(&call, node));
            let mut checks = of_node.clone();
            checks.extend(state.checks_json(&seen));
            let passes = checks
                .iter()
                .all(|(standing, _)| *standing == Standing::Passing);
            if passing && !passes {
                continue;
            }
            let checks: Vec<_> = checks.into_iter().map(|(_, check)| check).collect();
            let node = state.node_of(&seen);
            list.push(json!({
                "Node": state.node_json(&node),
                "Service": state.catalog_service_json(&seen),
                "Checks": checks,
            }));
        }
        Ok(ReadBody::list(list, &call.query))
    };
    state.read(&call, scope, show).await
}

/// `GET /v1/health/checks/{name}`
pub(super) async fn checks(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let scope = ReadScope::Services(vec![call.name().into()]);
    let show = || {
        let mut list = Vec::new();
        for seen in state.matching(&call, call.name()) {
            list.extend(state.checks_json(&seen).into_iter().map(|(_, check)| check));
        }
        Ok(ReadBody::list(list, &call.query))
    };
    state.read(&call, scope, show).await
}

/// `GET /v1/health/node/{node}`
pub(super) async fn node(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        let mut list = Vec::new();
        if call.name() == state.node.name {
            list.push(state.serf_json());
        }
        for seen in state.instances(&call) {
            if seen.is_on(call.name(), &state.node) {
                list.extend(state.checks_json(&seen).into_iter().map(|(_, check)| check));
            }
        }
        Ok(ReadBody::list(list, &call.query))
    };
    state.read(&call, ReadScope::All, show).await
}

/// `GET /v1/health/state/{state}`
pub(super) async fn by_state(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let wanted = match call.name() {
        "any" => None,
        word => match Standing::parse(word) {
            Some(standing) => Some(standing),
            None => {
                let word = shown(word);
                return Err(ConsulError::bad(format!(
                    "Invalid state \"{word}\": it must be any, passing, warning or critical"
                )));
            }
        },
    };
    let show = || {
        let is_wanted = |standing: Standing| wanted.is_none_or(|wanted| wanted == standing);
        let mut list = Vec::new();
        if is_wanted(Standing::Passing) && has_meta(&state.local_node(), &call.query) {
            list.push(state.serf_json());
        }
        for seen in state.instances(&call) {
            if !has_meta(&state.node_of(&seen), &call.query) {
                continue;
            }
            let checks = state.checks_json(&seen).into_iter();
            let matching = checks.filter(|(standing, _)| is_wanted(*standing));
            list.extend(matching.map(|(_, check)| check));
        }
        Ok(ReadBody::list(list, &call.query))
    };
    state.read(&call, ReadScope::All, show).await
}

impl ConsulState {
    /// The checks of a node; none is the local one.
    fn node_checks(&self, call: &ConsulCall, node: &Option<String>) -> Vec<(Standing, Value)> {
        let mut checks = Vec::new();
        let name = match node {
            Some(node) => node,
            None => {
                checks.push((Standing::Passing, self.serf_json()));
                self.node.name.as_str()
            }
        };
        if let Some(entry) = self.node_entry(call, name) {
            checks.extend(self.checks_json(&entry));
        }
        checks
    }

    /// The service that every Consul server is.
    fn consul_health_json(&self) -> Value {
        let entry = self.consul_entry_json();
        json!({
            "Node": self.node_json(&self.local_node()),
            "Service": {
                "ID": CONSUL, "Service": CONSUL, "Tags": [], "Meta": {},
                "Port": entry["ServicePort"], "Address": "",
                "TaggedAddresses": {}, "Weights": entry["ServiceWeights"],
                "EnableTagOverride": false,
                "CreateIndex": entry["CreateIndex"], "ModifyIndex": entry["ModifyIndex"],
            },
            "Checks": [self.serf_json()],
        })
    }
}
