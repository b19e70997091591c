//! Definitions as they are written: sorted, so that the same topology is always the same text.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::users::{DefinedPermission, DefinedTopicPermission, DefinedUser};
use crate::broker::{
    server::DIALECT,
    vhost::{BindingView, ExchangeView, QueueView, json_table},
};

/// A topology as RabbitMQ's definitions file has it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinitions)]
pub struct Definitions {
    /// The version of RabbitMQ that this broker behaves like.
    pub rabbit_version: &'static str,
    /// The same.
    pub rabbitmq_version: &'static str,
    /// "musterd".
    pub product_name: &'static str,
    /// Its version.
    pub product_version: &'static str,
    /// The users that were made at run time, with the hashes of their passwords, for callers who may see these; those of
    /// the configuration are left out. Missing for one vhost, like everything that belongs to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<DefinedUser>>,
    /// The virtual hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhosts: Option<Vec<DefinedVhost>>,
    /// The permissions of these users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<DefinedPermission>>,
    /// Their permissions of topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_permissions: Option<Vec<DefinedTopicPermission>>,
    /// Empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub global_parameters: Option<[Value; 0]>,
    /// Empty.
    #[schema(value_type = Vec<Object>)]
    pub parameters: [Value; 0],
    /// The policies of queues.
    #[schema(value_type = Vec<Object>)]
    pub policies: Vec<Value>,
    /// All queues but exclusive ones and transient ones that the broker has named.
    pub queues: Vec<DefinedQueue>,
    /// All exchanges but the predeclared ones.
    pub exchanges: Vec<DefinedExchange>,
    /// The bindings of these queues and of exchanges.
    pub bindings: Vec<DefinedBinding>,
    /// What JSON cannot carry: names and arguments that are no UTF-8.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// A virtual host.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinedVhost)]
pub struct DefinedVhost {
    /// Its name.
    pub name: String,
}

/// A queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinedQueue)]
pub struct DefinedQueue {
    /// Its virtual host; missing in the definitions of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<String>,
    /// Its name.
    pub name: String,
    /// classic or quorum.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: Value,
}

/// An exchange.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinedExchange)]
pub struct DefinedExchange {
    /// Its virtual host; missing in the definitions of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<String>,
    /// Its name.
    pub name: String,
    /// direct, fanout, topic or headers.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Survives the broker.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges publish to it.
    pub internal: bool,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: Value,
}

/// A binding.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinedBinding)]
pub struct DefinedBinding {
    /// Its virtual host; missing in the definitions of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<String>,
    /// The exchange that feeds.
    pub source: String,
    /// What is fed.
    pub destination: String,
    /// queue or exchange.
    pub destination_type: &'static str,
    /// The key.
    pub routing_key: String,
    /// Its arguments.
    #[schema(value_type = Object)]
    pub arguments: Value,
}

/// What a text has in the place of bytes that are no UTF-8.
const NO_TEXT: char = '\u{fffd}';

fn is_text(names: &[&str], arguments: &Value) -> bool {
    !names.iter().any(|name| name.contains(NO_TEXT)) && !arguments.to_string().contains(NO_TEXT)
}

impl Definitions {
    /// The definitions of these vhosts, or of a single one.
    pub fn new(vhosts: Vec<String>, is_single: bool) -> Self {
        let mut vhosts: Vec<_> = vhosts
            .into_iter()
            .map(|name| DefinedVhost { name })
            .collect();
        vhosts.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            rabbit_version: DIALECT,
            rabbitmq_version: DIALECT,
            product_name: "musterd",
            product_version: env!("CARGO_PKG_VERSION"),
            users: (!is_single).then(Vec::new),
            vhosts: (!is_single).then_some(vhosts),
            permissions: (!is_single).then(Vec::new),
            topic_permissions: (!is_single).then(Vec::new),
            global_parameters: (!is_single).then_some([]),
            parameters: [],
            policies: Vec::new(),
            queues: Vec::new(),
            exchanges: Vec::new(),
            bindings: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn vhost(&self, name: String) -> Option<String> {
        self.vhosts.is_some().then_some(name)
    }

    /// Adds everything that is exported.
    #[must_use]
    pub fn with(
        mut self,
        exchanges: Vec<ExchangeView>,
        queues: Vec<QueueView>,
        bindings: Vec<BindingView>,
    ) -> Self {
        for exchange in exchanges {
            self.add_exchange(exchange);
        }
        let mut named = HashSet::new();
        for queue in queues {
            let end = (queue.vhost.clone(), queue.name.clone());
            if self.add_queue(queue) {
                named.insert(end);
            }
        }
        for binding in bindings {
            let end = (binding.vhost.clone(), binding.destination.clone());
            if binding.destination_type == "exchange" || named.contains(&end) {
                self.add_binding(binding);
            }
        }
        self.sort();
        self
    }

    fn add_exchange(&mut self, exchange: ExchangeView) {
        let arguments = json_table(&exchange.arguments.0);
        if exchange.name.is_empty() || exchange.name.starts_with("amq.") {
            return;
        }
        if !is_text(&[&exchange.name], &arguments) {
            self.leave_out("exchange", &exchange.name, &exchange.vhost);
            return;
        }
        self.exchanges.push(DefinedExchange {
            vhost: self.vhost(exchange.vhost),
            name: exchange.name,
            kind: exchange.kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            arguments,
        });
    }

    /// Whether a queue is exported.
    fn add_queue(&mut self, queue: QueueView) -> bool {
        let arguments = json_table(&queue.arguments.0);
        let is_brief = !queue.durable && queue.name.starts_with("amq.gen-");
        if queue.exclusive || is_brief {
            return false;
        }
        if !is_text(&[&queue.name], &arguments) {
            self.leave_out("queue", &queue.name, &queue.vhost);
            return false;
        }
        self.queues.push(DefinedQueue {
            vhost: self.vhost(queue.vhost),
            name: queue.name,
            kind: queue.kind,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            arguments,
        });
        true
    }

    fn add_binding(&mut self, binding: BindingView) {
        let arguments = json_table(&binding.arguments.0);
        let names = [&*binding.source, &binding.destination, &binding.routing_key];
        if !is_text(&names, &arguments) {
            self.leave_out("binding of", &binding.destination, &binding.vhost);
            return;
        }
        self.bindings.push(DefinedBinding {
            vhost: self.vhost(binding.vhost),
            source: binding.source,
            destination: binding.destination,
            destination_type: binding.destination_type,
            routing_key: binding.routing_key,
            arguments,
        });
    }

    fn leave_out(&mut self, what: &str, name: &str, vhost: &str) {
        let text = format!("{what} \"{name}\" in vhost \"{vhost}\" is no UTF-8");
        self.left_out.push(text);
    }

    fn sort(&mut self) {
        self.exchanges
            .sort_by(|one, other| (&one.vhost, &one.name).cmp(&(&other.vhost, &other.name)));
        self.queues
            .sort_by(|one, other| (&one.vhost, &one.name).cmp(&(&other.vhost, &other.name)));
        self.bindings.sort_by_cached_key(|one| {
            let names = [&one.source, &one.destination, &one.routing_key].map(Clone::clone);
            let arguments = one.arguments.to_string();
            (one.vhost.clone(), names, one.destination_type, arguments)
        });
        self.left_out.sort_unstable();
    }
}
