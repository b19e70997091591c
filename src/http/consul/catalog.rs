//! The catalog: nodes, services and where they run; and registrations that name their node.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use serde_json::{Map, Value, json};

use super::{
    answer::{self, ConsulError, ConsulResult},
    call::ConsulCall,
    definitions::{self, OtherNode},
    fields::BodyFields,
    nodes::{self, NODE_SERVICE, SeenInstance, ShownNode, registry_id},
    query::{ConsulQuery, shown},
    reading::{ReadBody, ReadScope},
    state::ConsulState,
};
use crate::catalog::{self, Deregister, Refusal};

/// The service that every Consul server is.
pub(super) const CONSUL: &str = "consul";
/// The most checks of one registration.
const CHECKS_MAX: usize = 64;

/// `GET /v1/catalog/datacenters`
pub(super) async fn datacenters(
    State(state): State<ConsulState>,
    call: ConsulCall,
) -> ConsulResult {
    let show = || Ok(ReadBody::json(json!([state.config.datacenter])));
    state.read(&call, ReadScope::All, show).await
}

/// `GET /v1/catalog/nodes`
pub(super) async fn nodes(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        let nodes = state.nodes(&call);
        let matching = nodes.iter().filter(|node| has_meta(node, &call.query));
        let list = matching.map(|node| state.node_json(node)).collect();
        Ok(ReadBody::list(list, &call.query))
    };
    state.read(&call, ReadScope::All, show).await
}

/// `GET /v1/catalog/services`: the names with the tags of each.
pub(super) async fn services(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let filter = call.query.filter.as_ref();
        if has_meta(&state.local_node(), &call.query)
            && filter.is_none_or(|filter| filter.is_true(&state.consul_entry_json()))
        {
            tags.entry(CONSUL.to_owned()).or_default();
        }
        for seen in state.services(&call) {
            let matches = has_meta(&state.node_of(&seen), &call.query)
                && filter.is_none_or(|filter| filter.is_true(&state.catalog_entry_json(&seen)));
            if matches {
                let registration = &seen.instance.registration;
                let of_service = tags
                    .entry(registration.service_name.to_string())
                    .or_default();
                of_service.extend(registration.tags.iter().map(|tag| tag.to_string()));
            }
        }
        Ok(ReadBody::json(json!(tags)))
    };
    state.read(&call, ReadScope::Names, show).await
}

/// `GET /v1/catalog/service/{name}`
pub(super) async fn service(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let scope = ReadScope::Services(vec![call.name().into()]);
    let show = || {
        let mut list = Vec::new();
        if call.name() == CONSUL
            && call.query.get("tag").is_none()
            && has_meta(&state.local_node(), &call.query)
        {
            list.push(state.consul_entry_json());
        }
        for seen in state.matching(&call, call.name()) {
            list.push(state.catalog_entry_json(&seen));
        }
        Ok(ReadBody::list(list, &call.query))
    };
    state.read(&call, scope, show).await
}

/// `GET /v1/catalog/connect/{name}`: there is no service mesh.
pub(super) async fn none(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || Ok(ReadBody::json(json!([])));
    state
        .read(&call, ReadScope::Services(Vec::new()), show)
        .await
}

/// `GET /v1/catalog/node/{node}`
pub(super) async fn node(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let show = || {
        let Some((node, services)) = state.of_node(&call, call.name()) else {
            return Ok(ReadBody::json(Value::Null));
        };
        let filter = call.query.filter.as_ref();
        let shown = services.iter().map(|seen| {
            let service = state.catalog_service_json(seen);
            (seen.id.clone(), service)
        });
        let kept = shown.filter(|(_, service)| filter.is_none_or(|one| one.is_true(service)));
        let services: Map<String, Value> = kept.collect();
        Ok(ReadBody::json(
            json!({"Node": state.node_json(&node), "Services": services}),
        ))
    };
    state.read(&call, ReadScope::All, show).await
}

/// `GET /v1/catalog/node-services/{node}`
pub(super) async fn node_services(
    State(state): State<ConsulState>,
    call: ConsulCall,
) -> ConsulResult {
    let show = || {
        let Some((node, services)) = state.of_node(&call, call.name()) else {
            return Ok(ReadBody::json(json!({"Node": null, "Services": []})));
        };
        let filter = call.query.filter.as_ref();
        let shown = services.iter().map(|seen| state.catalog_service_json(seen));
        let kept: Vec<_> = shown
            .filter(|service| filter.is_none_or(|one| one.is_true(service)))
            .collect();
        Ok(ReadBody::json(
            json!({"Node": state.node_json(&node), "Services": kept}),
        ))
    };
    state.read(&call, ReadScope::All, show).await
}

/// `PUT /v1/catalog/register`
pub(super) async fn register(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let fields = call.fields()?;
    state.is_here(&fields)?;
    let node = state.node_of_body(&fields)?;
    let service = fields.object("Service")?;
    let mut checks: Vec<_> = fields.object("Check")?.into_iter().collect();
    checks.extend(fields.objects("Checks", CHECKS_MAX)?);
    let mut registered_id = None;
    if let Some(service) = &service {
        let registration = definitions::service(&state, service, node.as_ref())?;
        registered_id = Some(registration.service_id.to_string());
        state.register(&call, registration, false).await?;
    }
    // The local node is always there.
    if service.is_none() && checks.is_empty() && node.is_some() {
        state.ensure_node_entry(&call, node.as_ref()).await?;
    }
    for check in &checks {
        state
            .register_check(&call, node.as_ref(), check, registered_id.as_deref())
            .await?;
    }
    Ok(answer::ok(&Value::Bool(true), &call.query))
}

/// `PUT /v1/catalog/deregister`
pub(super) async fn deregister(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    let fields = call.fields()?;
    state.is_here(&fields)?;
    let name = fields.text("Node")?;
    if name.is_empty() {
        return Err(ConsulError::bad("Must provide node"));
    }
    let other = state.other_node(&name);
    let (service, check) = (fields.text("ServiceID")?, fields.text("CheckID")?);
    if !check.is_empty() {
        let of_service = match service.is_empty() {
            true => state.place_of(&call, &name, &check),
            false => Some(registry_id(other, &service)),
        };
        if let Some(id) = of_service {
            gone(state.remove_check(&call, &id, &check).await)?;
            state.drop_empty_node_entry(&call, &id).await?;
        }
    } else if !service.is_empty() {
        state
            .deregister_one(&call, &registry_id(other, &service))
            .await?;
    } else if other.is_some() {
        let mut of_node = state.instances(&call);
        of_node.retain(|seen| seen.is_on(&name, &state.node));
        for seen in of_node {
            state
                .deregister_one(&call, seen.instance.id().as_str())
                .await?;
        }
    } else {
        return Err(ConsulError::bad(
            "the local node cannot be deregistered: name a ServiceID or a CheckID",
        ));
    }
    Ok(answer::ok(&Value::Bool(true), &call.query))
}

/// What is gone already counts as deregistered.
fn gone(result: Result<(), Refusal>) -> Result<(), ConsulError> {
    match result {
        Ok(()) | Err(Refusal::Unknown | Refusal::UnknownCheck) => Ok(()),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Whether a node has all of `node-meta=key:value`.
pub(super) fn has_meta(node: &ShownNode, query: &ConsulQuery) -> bool {
    query.all("node-meta").all(|pair| {
        let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
        node.meta().get(key).and_then(Value::as_str) == Some(value)
    })
}

impl ConsulState {
    /// The services of all nodes that the caller may see.
    pub(super) fn services(&self, call: &ConsulCall) -> Vec<SeenInstance> {
        let mut list = self.instances(call);
        list.retain(|seen| seen.instance.name().as_str() != NODE_SERVICE);
        list
    }

    /// The instances of a service that have all tags and all metadata of the node that a query names.
    pub(super) fn matching(&self, call: &ConsulCall, name: &str) -> Vec<SeenInstance> {
        let sight = self.app.catalog.sight(&call.caller());
        let service = self.app.registry.service(name);
        let service = service.filter(|_| sight.sees(name) && !nodes::is_hidden(name));
        let view = service.map(|service| service.view());
        let instances = view.iter().flat_map(|view| view.instances.values());
        let has_tags = |seen: &SeenInstance| {
            let tags = &seen.instance.registration.tags;
            let mut wanted = call.query.all("tag").filter(|tag| !tag.is_empty());
            wanted.all(|tag| tags.iter().any(|one| one.eq_ignore_ascii_case(tag)))
        };
        let seen = instances.map(SeenInstance::of).filter(has_tags);
        seen.filter(|seen| has_meta(&self.node_of(seen), &call.query))
            .collect()
    }

    /// Every node that the caller may see, by name.
    fn nodes(&self, call: &ConsulCall) -> Vec<ShownNode> {
        let local = self.local_node();
        let mut nodes = BTreeMap::from([(local.name.clone(), local)]);
        for seen in self.instances(call) {
            if let Some(node) = seen.node {
                // The entry of a node is newer than what its services said of it.
                let is_entry = seen.instance.name().as_str() == NODE_SERVICE;
                if is_entry || !nodes.contains_key(&node.name) {
                    nodes.insert(node.name.clone(), node);
                }
            }
        }
        nodes.into_values().collect()
    }

    /// A node and its services.
    fn of_node(&self, call: &ConsulCall, name: &str) -> Option<(ShownNode, Vec<SeenInstance>)> {
        let nodes = self.nodes(call).into_iter();
        let node = nodes.into_iter().find(|node| node.name == name)?;
        let mut services = self.services(call);
        services.retain(|seen| seen.is_on(name, &self.node));
        Some((node, services))
    }

    /// The service that every Consul server is, as the catalog lists it.
    pub(super) fn consul_entry_json(&self) -> Value {
        let node = self.local_node();
        let first = self.app.registry.stamps().first();
        json!({
            "ID": node.id(), "Node": node.name, "Address": node.address,
            "Datacenter": self.config.datacenter, "TaggedAddresses": node.tagged(),
            "NodeMeta": node.meta(), "ServiceKind": "", "ServiceID": CONSUL,
            "ServiceName": CONSUL, "ServiceTags": [], "ServiceAddress": "",
            "ServiceTaggedAddresses": {}, "ServiceWeights": {"Passing": 1, "Warning": 1},
            "ServiceMeta": {}, "ServicePort": self.port, "ServiceSocketPath": "",
            "ServiceEnableTagOverride": false,
            "ServiceProxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
            "ServiceConnect": {}, "CreateIndex": first, "ModifyIndex": first,
        })
    }

    /// Refuses a body for another datacenter.
    fn is_here(&self, fields: &BodyFields) -> Result<(), ConsulError> {
        let named = fields.text("Datacenter")?;
        match named.is_empty() || named == self.config.datacenter {
            true => Ok(()),
            false => {
                let text = format!("No path to datacenter \"{}\"", shown(&named));
                Err(ConsulError::new(500, text))
            }
        }
    }

    /// The node that a body names; none for the local one.
    fn node_of_body(&self, fields: &BodyFields) -> Result<Option<OtherNode>, ConsulError> {
        let name = fields.text("Node")?;
        if name.is_empty() {
            return Err(ConsulError::bad("Must provide node"));
        }
        let is_of_name = |c: char| !c.is_control() && c != '/';
        if name.len() > 128 || !name.chars().all(is_of_name) {
            let message = "must be at most 128 bytes without \"/\" and control characters";
            return Err(fields.invalid("Node", message));
        }
        if self.other_node(&name).is_none() {
            return Ok(None);
        }
        let known = self.app.registry.instance(&nodes::node_entry_id(&name));
        let known = known.and_then(|known| SeenInstance::of(&known).node);
        let address = match fields.text("Address")? {
            address if address.is_empty() => known.map_or_else(String::new, |node| node.address),
            address => address,
        };
        if address.is_empty() {
            return Err(ConsulError::bad(
                "Must provide address if SkipNodeUpdate is not set",
            ));
        }
        let checked = definitions::host(&address);
        checked.map_err(|why| fields.invalid("Address", &why))?;
        Ok(Some(OtherNode {
            id: fields.text("ID")?.chars().take(64).collect(),
            meta: definitions::texts_of(fields, "NodeMeta")?,
            tagged: fields.map("TaggedAddresses")?,
            name,
            address,
        }))
    }

    async fn register_check(
        &self,
        call: &ConsulCall,
        node: Option<&OtherNode>,
        fields: &BodyFields,
        registered: Option<&str>,
    ) -> Result<(), ConsulError> {
        let (named, title) = (definitions::check_id(fields)?, fields.text("Name")?);
        let check_id = match named.is_empty() {
            true => title,
            false => named,
        };
        if check_id.is_empty() {
            return Err(fields.invalid("CheckID", "must not be empty without a Name"));
        }
        let service = fields.text("ServiceID")?;
        let id = match (service.is_empty(), registered) {
            (false, _) => registry_id(node.map(|node| node.name.as_str()), &service),
            (true, Some(registered)) if fields.get("ServiceName").is_some() => {
                registered.to_owned()
            }
            (true, _) => {
                self.ensure_node_entry(call, node).await?;
                let local = self.node.name.as_str();
                nodes::node_entry_id(node.map_or(local, |node| node.name.as_str()))
            }
        };
        let (check, standing) = definitions::reported(&check_id, fields)?;
        let set = self.set_check(call, &id, check).await;
        set.map_err(|refusal| match refusal {
            Refusal::Unknown => ConsulError::bad(format!(
                "Missing service registration of \"{}\"",
                shown(&service)
            )),
            other => other.into(),
        })?;
        let output = fields.text("Output")?;
        self.app
            .probes
            .report_standing(&id, &check_id, standing, &output);
        Ok(())
    }

    /// The instance of a node that has a check.
    fn place_of(&self, call: &ConsulCall, node: &str, check: &str) -> Option<String> {
        let mut of_node = self.instances(call);
        of_node.retain(|seen| seen.is_on(node, &self.node));
        let has = |seen: &&SeenInstance| {
            let checks = &seen.instance.registration.checks;
            checks.iter().any(|one| *one.name == *check)
        };
        of_node
            .iter()
            .find(has)
            .map(|seen| seen.instance.id().to_string())
    }

    async fn deregister_one(&self, call: &ConsulCall, id: &str) -> Result<(), ConsulError> {
        let command = Deregister {
            service_id: id.into(),
            incarnation: None,
        };
        let caller = call.caller();
        match self.app.catalog.write(&caller, command).await {
            Ok(instance) => {
                catalog::log_deregistered(&caller, &instance);
                Ok(())
            }
            Err(refusal) => gone(Err(refusal)),
        }
    }
}
