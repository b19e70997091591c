//! What a definitions file may have that is not imported: named, with the reason.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Something in a definitions file that is not imported.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerIgnoredDefinition)]
pub struct IgnoredDefinition {
    /// What it is: user, permission, policy …
    pub what: String,
    /// Its name; of a permission that of its user.
    pub name: String,
    /// Its virtual host, where it has one.
    pub vhost: Option<String>,
    /// Why.
    pub reason: String,
}

impl IgnoredDefinition {
    /// Names something, and why it is ignored.
    pub fn new(what: &str, name: &str, vhost: Option<&str>, reason: &str) -> Self {
        Self {
            what: what.to_owned(),
            name: name.to_owned(),
            vhost: vhost.map(str::to_owned),
            reason: reason.to_owned(),
        }
    }

    fn of(what: &str, item: &Value, reason: &str) -> Self {
        let text = |key: &str| item[key].as_str();
        let name = text("name").or_else(|| text("user")).unwrap_or_default();
        Self::new(what, name, text("vhost"), reason)
    }
}

/// The lists that are ignored: the key, what each item is, and why.
const LISTS: [(&str, &str, &str); 2] = [
    (
        "parameters",
        "parameter",
        "there are no runtime parameters, such as those of shovels and federation",
    ),
    (
        "global_parameters",
        "global parameter",
        "there are no runtime parameters",
    ),
];

/// The keys of a file that say where it is from.
const ORIGIN: [&str; 11] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "description",
    "metadata",
    "limits",
];

/// What is ignored of a file as a whole.
pub(super) fn of_file(file: &Map<String, Value>) -> Vec<IgnoredDefinition> {
    let mut ignored = Vec::new();
    for (key, what, reason) in LISTS {
        let items = file.get(key).and_then(Value::as_array);
        let items = items.into_iter().flatten();
        ignored.extend(items.map(|item| IgnoredDefinition::of(what, item, reason)));
    }
    let known = [
        "vhosts",
        "queues",
        "exchanges",
        "bindings",
        "users",
        "permissions",
        "topic_permissions",
        "policies",
    ];
    let lists = LISTS.map(|(key, ..)| key);
    let unknown = file.keys().filter(|key| {
        let key = key.as_str();
        !known.contains(&key) && !lists.contains(&key) && !ORIGIN.contains(&key)
    });
    ignored.extend(
        unknown.map(|key| IgnoredDefinition::new("field", key, None, "it is not known here")),
    );
    ignored
}

/// What is ignored of an entry in the list of vhosts.
pub(super) fn of_vhost(vhost: &Value) -> Vec<IgnoredDefinition> {
    let mut ignored = Vec::new();
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !["", "undefined", "classic"].contains(&text.as_str()),
        Value::Bool(_) | Value::Number(_) => true,
    };
    if is_set(&vhost["limits"]) {
        let reason = "limits are set in the configuration: broker.limits";
        ignored.push(IgnoredDefinition::of("limits of a vhost", vhost, reason));
    }
    let kinds = [
        &vhost["default_queue_type"],
        &vhost["metadata"]["default_queue_type"],
    ];
    if kinds.into_iter().any(is_set) {
        let reason = "a queue without x-queue-type is a classic one";
        let what = "default queue type of a vhost";
        ignored.push(IgnoredDefinition::of(what, vhost, reason));
    }
    ignored
}
