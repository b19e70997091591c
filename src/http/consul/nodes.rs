//! The nodes that instances belong to, and how an instance says so. Every instance that names no node belongs to the
//! local one.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::state::ConsulState;
use crate::model::{CANARY, Instance};

/// The key of an instance's metadata with what only this door shows. No key that a Consul client sends has a colon.
pub(in crate::http) const EXTRA: &str = "consul:service";
/// The service whose instances hold the checks of nodes, and nodes without services.
pub(in crate::http) const NODE_SERVICE: &str = "consul-node";

/// The node that the daemon itself is.
#[derive(Clone, Debug)]
pub(in crate::http) struct LocalNode {
    pub(in crate::http) name: String,
    pub(in crate::http) address: String,
    pub(in crate::http) id: String,
}

impl LocalNode {
    pub(super) fn new(name: String, address: String, datacenter: &str) -> Self {
        let id = uuid_of(&format!("{datacenter}/{name}"));
        Self { name, address, id }
    }
}

/// A node as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::http) struct ShownNode {
    pub(in crate::http) name: String,
    pub(in crate::http) address: String,
    id: String,
    meta: Map<String, Value>,
    tagged: Map<String, Value>,
}

/// An instance as this door sees it: its node, its id there, and its metadata without what is only for this door.
#[derive(Clone, Debug)]
pub(in crate::http) struct SeenInstance {
    pub(in crate::http) instance: Arc<Instance>,
    /// None for the local node.
    pub(in crate::http) node: Option<ShownNode>,
    pub(in crate::http) id: String,
    pub(in crate::http) meta: Map<String, Value>,
    pub(in crate::http) extra: Map<String, Value>,
}

impl SeenInstance {
    pub(in crate::http) fn of(instance: &Arc<Instance>) -> Self {
        let Value::Object(mut metadata) = instance.registration.metadata.to_value() else {
            return Self::plain(instance);
        };
        let extra = match metadata.remove(EXTRA) {
            Some(Value::Object(extra)) => extra,
            _ => Map::new(),
        };
        let text = |key: &str| extra.get(key).and_then(Value::as_str);
        let node = text("node").map(|name| ShownNode {
            name: name.to_owned(),
            address: text("node_address").unwrap_or_default().to_owned(),
            id: text("node_id").unwrap_or_default().to_owned(),
            meta: object(&extra, "node_meta"),
            tagged: object(&extra, "node_tagged_addresses"),
        });
        let id = text("id")
            .unwrap_or_else(|| instance.id().as_str())
            .to_owned();
        Self {
            instance: Arc::clone(instance),
            node,
            id,
            meta: metadata.into_iter().map(as_text).collect(),
            extra,
        }
    }

    fn plain(instance: &Arc<Instance>) -> Self {
        Self {
            instance: Arc::clone(instance),
            node: None,
            id: instance.id().to_string(),
            meta: Map::new(),
            extra: Map::new(),
        }
    }

    /// Whether it belongs to a node.
    pub(in crate::http) fn is_on(&self, node: &str, local: &LocalNode) -> bool {
        match &self.node {
            Some(own) => own.name == node,
            None => local.name == node,
        }
    }
}

/// Values that are no texts are shown as their JSON.
fn as_text((key, value): (String, Value)) -> (String, Value) {
    match value {
        Value::String(_) => (key, value),
        other => (key, Value::String(other.to_string())),
    }
}

fn object(extra: &Map<String, Value>, key: &str) -> Map<String, Value> {
    let found = extra.get(key).and_then(Value::as_object);
    found.cloned().unwrap_or_default()
}

/// The id in the registry of a service on a node.
pub(in crate::http) fn registry_id(node: Option<&str>, id: &str) -> String {
    match node {
        None => id.to_owned(),
        Some(node) => format!("{node}/{id}"),
    }
}

/// The id in the registry of the entry of a node.
pub(in crate::http) fn node_entry_id(node: &str) -> String {
    format!("{NODE_SERVICE}:{node}")
}

/// True for a service that this door shows in no list of services.
pub(in crate::http) fn is_hidden(service: &str) -> bool {
    service == NODE_SERVICE || service == CANARY
}

impl ShownNode {
    fn local(node: &LocalNode) -> Self {
        Self {
            name: node.name.clone(),
            address: node.address.clone(),
            id: node.id.clone(),
            meta: Map::from_iter([("consul-network-segment".to_owned(), "".into())]),
            tagged: Map::new(),
        }
    }

    pub(in crate::http) fn meta(&self) -> &Map<String, Value> {
        &self.meta
    }

    /// The addresses by network.
    pub(in crate::http) fn tagged(&self) -> Value {
        if !self.tagged.is_empty() {
            return Value::Object(self.tagged.clone());
        }
        let address = &self.address;
        json!({"lan": address, "lan_ipv4": address, "wan": address, "wan_ipv4": address})
    }

    pub(in crate::http) fn id(&self) -> &str {
        &self.id
    }
}

impl ConsulState {
    /// The node of an instance.
    pub(in crate::http) fn node_of(&self, seen: &SeenInstance) -> ShownNode {
        match &seen.node {
            Some(node) => node.clone(),
            None => self.local_node(),
        }
    }

    /// The local node.
    pub(in crate::http) fn local_node(&self) -> ShownNode {
        ShownNode::local(&self.node)
    }

    /// The node as registrations hold it: none for the local one.
    pub(in crate::http) fn other_node<'n>(&self, name: &'n str) -> Option<&'n str> {
        (name != self.node.name).then_some(name)
    }
}

/// An id in the form of a UUID, always the same for a text.
pub(in crate::http) fn uuid_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}
