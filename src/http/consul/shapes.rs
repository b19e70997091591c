//! Consul's JSON of nodes, services and checks.

use serde_json::{Map, Value, json};

use super::{
    checks::{self, SeenCheck},
    nodes::{SeenInstance, ShownNode},
    state::ConsulState,
};
use crate::model::Standing;

impl ConsulState {
    /// When an instance changed last, as an index.
    fn modified(&self, seen: &SeenInstance) -> u64 {
        let stamp = seen.instance.last_seen.stamp();
        stamp.max(self.app.registry.stamps().first())
    }

    /// When an instance was first registered, as an index.
    fn created(&self, seen: &SeenInstance) -> u64 {
        let registered_us = seen.instance.registered_at.0.max(0).unsigned_abs() * 1000;
        registered_us.clamp(1, self.modified(seen))
    }

    /// The address and the weights of a service, under this door's names.
    fn address(&self, seen: &SeenInstance) -> Value {
        let extra = seen.extra.get("address");
        extra
            .cloned()
            .unwrap_or_else(|| (&*seen.instance.registration.host).into())
    }

    fn weights(seen: &SeenInstance) -> Value {
        let warning = seen.extra.get("weight_warning").cloned();
        json!({
            "Passing": seen.instance.registration.weight,
            "Warning": warning.unwrap_or_else(|| 1.into()),
        })
    }

    fn tagged(seen: &SeenInstance) -> Value {
        let tagged = seen.extra.get("tagged_addresses").cloned();
        tagged.unwrap_or_else(|| Value::Object(Map::new()))
    }

    fn tag_override(seen: &SeenInstance) -> bool {
        let flag = seen.extra.get("enable_tag_override");
        flag.and_then(Value::as_bool).unwrap_or(false)
    }

    /// A service as the agent and the health endpoints show it.
    pub(in crate::http) fn service_json(&self, seen: &SeenInstance) -> Value {
        let registration = &seen.instance.registration;
        json!({
            "ID": seen.id,
            "Service": registration.service_name.as_str(),
            "Tags": registration.tags,
            "Meta": seen.meta,
            "Port": registration.port,
            "Address": self.address(seen),
            "TaggedAddresses": Self::tagged(seen),
            "Weights": Self::weights(seen),
            "EnableTagOverride": Self::tag_override(seen),
        })
    }

    /// The same with what only the agent says.
    pub(in crate::http) fn agent_service_json(&self, seen: &SeenInstance) -> Value {
        let mut service = self.service_json(seen);
        service["Datacenter"] = self.config.datacenter.as_str().into();
        service
    }

    /// The same with what only the catalog says.
    pub(in crate::http) fn catalog_service_json(&self, seen: &SeenInstance) -> Value {
        let mut service = self.service_json(seen);
        service["Proxy"] = json!({"Mode": "", "MeshGateway": {}, "Expose": {}});
        service["Connect"] = json!({});
        service["CreateIndex"] = self.created(seen).into();
        service["ModifyIndex"] = self.modified(seen).into();
        service
    }

    /// A service together with its node, as the catalog lists it.
    pub(in crate::http) fn catalog_entry_json(&self, seen: &SeenInstance) -> Value {
        let (registration, node) = (&seen.instance.registration, self.node_of(seen));
        json!({
            "ID": node.id(),
            "Node": node.name,
            "Address": node.address,
            "Datacenter": self.config.datacenter,
            "TaggedAddresses": node.tagged(),
            "NodeMeta": node.meta(),
            "ServiceKind": "",
            "ServiceID": seen.id,
            "ServiceName": registration.service_name.as_str(),
            "ServiceTags": registration.tags,
            "ServiceAddress": self.address(seen),
            "ServiceTaggedAddresses": Self::tagged(seen),
            "ServiceWeights": Self::weights(seen),
            "ServiceMeta": seen.meta,
            "ServicePort": registration.port,
            "ServiceSocketPath": "",
            "ServiceEnableTagOverride": Self::tag_override(seen),
            "ServiceProxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
            "ServiceConnect": {},
            "CreateIndex": self.created(seen),
            // Not `modified`: it also moves with what the checks say, which is not in this list.
            "ModifyIndex": self.created(seen),
        })
    }

    /// A node.
    pub(in crate::http) fn node_json(&self, node: &ShownNode) -> Value {
        let first = self.app.registry.stamps().first();
        json!({
            "ID": node.id(),
            "Node": node.name,
            "Address": node.address,
            "Datacenter": self.config.datacenter,
            "TaggedAddresses": node.tagged(),
            "Meta": node.meta(),
            "CreateIndex": first,
            "ModifyIndex": first,
        })
    }

    /// A check of an instance.
    pub(in crate::http) fn check_json(&self, seen: &SeenInstance, check: &SeenCheck) -> Value {
        let registration = &seen.instance.registration;
        let node = self.node_of(seen);
        let mut json = check_of_node(&node.name, check);
        if !super::nodes::is_hidden(registration.service_name.as_str()) {
            json["ServiceID"] = seen.id.as_str().into();
            json["ServiceName"] = registration.service_name.as_str().into();
            json["ServiceTags"] = json!(registration.tags);
        }
        json["CreateIndex"] = self.created(seen).into();
        json["ModifyIndex"] = self.modified(seen).into();
        json
    }

    /// The check that every node has: the local one answers, so it is alive.
    pub(in crate::http) fn serf_json(&self) -> Value {
        let check = SeenCheck {
            output: "Agent alive and reachable".to_owned(),
            ..SeenCheck::synthetic("serfHealth", "Serf Health Status", Standing::Passing)
        };
        let mut json = check_of_node(&self.node.name, &check);
        let first = self.app.registry.stamps().first();
        json["CreateIndex"] = first.into();
        json["ModifyIndex"] = first.into();
        json
    }

    /// Every check of an instance.
    pub(in crate::http) fn checks_json(&self, seen: &SeenInstance) -> Vec<(Standing, Value)> {
        let checks = checks::all(seen);
        let shown = checks
            .iter()
            .map(|check| (check.standing, self.check_json(seen, check)));
        shown.collect()
    }
}

fn check_of_node(node: &str, check: &SeenCheck) -> Value {
    json!({
        "Node": node,
        "CheckID": check.id,
        "Name": check.name,
        "Status": check.standing.as_str(),
        "Notes": check.notes,
        "Output": check.output,
        "ServiceID": "",
        "ServiceName": "",
        "ServiceTags": [],
        "Type": check.kind,
        "Interval": check.interval,
        "Timeout": check.timeout,
        "ExposedPort": 0,
        "Definition": {},
    })
}
