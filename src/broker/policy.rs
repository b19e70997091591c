//! Policies: settings that an operator gives to all queues whose names match a pattern. Pure.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::{
    queue::arguments::{LIFE_MS_MAX, Overflow, QueueKind, Settings},
    wire::ShortStr,
};

/// The longest pattern, in bytes, and the memory that it may take.
const PATTERN_BYTES_MAX: usize = 1024;
const PATTERN_MEMORY_MAX: usize = 1 << 20;
/// The most policies of a vhost.
pub const POLICIES_MAX: usize = 1000;

/// Steps that it costs to try one pattern, and the bytes of a name that cost one more.
const STEPS_EACH: usize = 2;
const BYTES_PER_STEP: usize = 64;

/// Which queues a policy is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AppliesTo {
    /// `queues` and `all`.
    Queues,
    Classic,
    Quorum,
}

impl AppliesTo {
    fn kind(self, kind: QueueKind) -> bool {
        match self {
            Self::Queues => true,
            Self::Classic => kind == QueueKind::Classic,
            Self::Quorum => kind == QueueKind::Quorum,
        }
    }
}

/// The settings of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
struct PolicySettings {
    message_ttl: Option<u64>,
    expires: Option<u64>,
    max_length: Option<u64>,
    max_length_bytes: Option<u64>,
    overflow: Option<Overflow>,
    dead_letter_exchange: Option<ShortStr>,
    dead_letter_routing_key: Option<ShortStr>,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct QueuePolicy {
    pattern: Regex,
    applies: AppliesTo,
    settings: PolicySettings,
    /// As it was given.
    source: PolicySource,
}

/// A policy as an operator gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySource {
    /// A regular expression that is found anywhere in a name.
    pub pattern: String,
    /// `queues`, `classic_queues`, `quorum_queues` or `all`.
    pub apply_to: String,
    /// Of several policies, the one with the highest number counts.
    pub priority: i64,
    /// The settings.
    pub definition: Map<String, Value>,
}

/// Why a policy is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyFault(pub String);

fn fault(message: impl Into<String>) -> PolicyFault {
    PolicyFault(message.into())
}

impl PolicySource {
    /// Reads a policy's JSON: `pattern`, `definition`, and, where they are there, `apply-to` and `priority`.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn read(fields: &Map<String, Value>) -> Result<Self, PolicyFault> {
        let Some(pattern) = fields.get("pattern").and_then(Value::as_str) else {
            return Err(fault("\"pattern\" must be a regular expression"));
        };
        let Some(Value::Object(definition)) = fields.get("definition") else {
            return Err(fault("\"definition\" must be an object"));
        };
        let apply_to = match fields.get("apply-to") {
            None | Some(Value::Null) => "all",
            Some(Value::String(apply_to)) => apply_to,
            Some(_) => return Err(fault("\"apply-to\" must be text")),
        };
        let priority = match fields.get("priority") {
            None | Some(Value::Null) => 0,
            Some(Value::String(digits)) => digits
                .parse()
                .map_err(|_| fault("\"priority\" must be a whole number"))?,
            Some(priority) => priority
                .as_i64()
                .ok_or_else(|| fault("\"priority\" must be a whole number"))?,
        };
        Ok(Self {
            pattern: pattern.to_owned(),
            apply_to: apply_to.to_owned(),
            priority,
            definition: definition.clone(),
        })
    }

    /// The same JSON, with what names it.
    pub fn to_json(&self, vhost: Option<&str>, name: &str) -> Value {
        let mut shown = json!({
            "name": name,
            "pattern": self.pattern,
            "apply-to": self.apply_to,
            "priority": self.priority,
            "definition": self.definition,
        });
        if let Some(vhost) = vhost {
            shown["vhost"] = vhost.into();
        }
        shown
    }
}

impl QueuePolicy {
    /// Checks a policy.
    ///
    /// # Errors
    /// The pattern is no expression, or a setting is not supported here.
    pub fn new(source: PolicySource) -> Result<Self, PolicyFault> {
        if source.pattern.len() > PATTERN_BYTES_MAX {
            return Err(fault(format!(
                "\"pattern\" is longer than {PATTERN_BYTES_MAX} bytes"
            )));
        }
        let pattern = RegexBuilder::new(&source.pattern)
            .size_limit(PATTERN_MEMORY_MAX)
            .build()
            .map_err(|_| fault("\"pattern\" is not a regular expression"))?;
        let applies = match &*source.apply_to {
            "all" | "queues" => AppliesTo::Queues,
            "classic_queues" => AppliesTo::Classic,
            "quorum_queues" => AppliesTo::Quorum,
            "exchanges" => {
                return Err(fault(
                    "\"apply-to\": policies of exchanges are not supported: give the exchange the argument \
                     alternate-exchange",
                ));
            }
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(fault(format!(
                    "\"apply-to\" is \"{other}\": queues, classic_queues, quorum_queues and all are supported"
                )));
            }
        };
        if source.definition.is_empty() {
            return Err(fault("\"definition\" is empty"));
        }
        let mut settings = PolicySettings::default();
        for (key, value) in &source.definition {
            settings.read(key, value)?;
        }
        if settings.dead_letter_routing_key.is_some() && settings.dead_letter_exchange.is_none() {
            return Err(fault(
                "\"dead-letter-routing-key\" needs \"dead-letter-exchange\"",
            ));
        }
        Ok(Self {
            pattern,
            applies,
            settings,
            source,
        })
    }

    /// As it was given.
    pub fn source(&self) -> &PolicySource {
        &self.source
    }

    fn matches(&self, name: &[u8], kind: QueueKind) -> bool {
        let name = String::from_utf8_lossy(name);
        self.applies.kind(kind) && self.pattern.is_match(&name)
    }

    /// The settings of a queue with this policy. As in RabbitMQ, of two limits the lower one counts, and dead-lettering
    /// as the queue declares it wins.
    fn apply(&self, to: &mut Settings) {
        let lower = |own: Option<u64>, other: Option<u64>| match (own, other) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        let of = &self.settings;
        to.message_ttl = lower(to.message_ttl, of.message_ttl);
        to.expires = lower(to.expires, of.expires);
        to.max_length = lower(to.max_length, of.max_length);
        to.max_length_bytes = lower(to.max_length_bytes, of.max_length_bytes);
        if let (Overflow::DropHead, Some(overflow)) = (to.overflow, of.overflow) {
            to.overflow = overflow;
        }
        if to.dead_letter_exchange.is_none() && of.dead_letter_exchange.is_some() {
            to.dead_letter_exchange.clone_from(&of.dead_letter_exchange);
            if to.dead_letter_routing_key.is_none() {
                to.dead_letter_routing_key
                    .clone_from(&of.dead_letter_routing_key);
            }
        }
    }
}

impl PolicySettings {
    fn read(&mut self, key: &str, value: &Value) -> Result<(), PolicyFault> {
        let number = |max: u64, min: u64| {
            let number = value.as_u64().filter(|number| (min..=max).contains(number));
            let wrong = || {
                fault(format!(
                    "\"{key}\" must be a whole number from {min} to {max}"
                ))
            };
            number.map(Some).ok_or_else(wrong)
        };
        let name = || {
            let name = value
                .as_str()
                .and_then(|text| ShortStr::copied(text.as_bytes()));
            let wrong = || fault(format!("\"{key}\" must be a name of at most 255 bytes"));
            name.map(Some).ok_or_else(wrong)
        };
        match key {
            "message-ttl" => self.message_ttl = number(LIFE_MS_MAX, 0)?,
            "expires" => self.expires = number(LIFE_MS_MAX, 1)?,
            "max-length" => self.max_length = number(u64::MAX, 0)?,
            "max-length-bytes" => self.max_length_bytes = number(u64::MAX, 0)?,
            "dead-letter-exchange" => self.dead_letter_exchange = name()?,
            "dead-letter-routing-key" => self.dead_letter_routing_key = name()?,
            "overflow" => {
                self.overflow = Some(match value.as_str() {
                    Some("drop-head") => Overflow::DropHead,
                    Some("reject-publish") => Overflow::RejectPublish,
                    Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
                    _ => {
                        return Err(fault(
                            "\"overflow\" must be drop-head, reject-publish or reject-publish-dlx",
                        ));
                    }
                });
            }
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(fault(format!(
                    "\"{other}\" is not supported in a policy: message-ttl, expires, max-length, max-length-bytes, \
                     overflow, dead-letter-exchange and dead-letter-routing-key are"
                )));
            }
        }
        Ok(())
    }
}

/// The policies of a vhost.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    by_name: BTreeMap<String, QueuePolicy>,
}

impl PolicySet {
    /// The same with one policy set or removed.
    ///
    /// # Errors
    /// There are too many.
    pub fn with(&self, name: &str, policy: Option<QueuePolicy>) -> Result<Self, PolicyFault> {
        let mut by_name = self.by_name.clone();
        match policy {
            Some(policy) => {
                by_name.insert(name.to_owned(), policy);
            }
            None => {
                by_name.remove(name);
            }
        }
        match by_name.len() > POLICIES_MAX {
            true => Err(fault(format!("there are {POLICIES_MAX} policies already"))),
            false => Ok(Self { by_name }),
        }
    }

    /// Each with its name, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &QueuePolicy)> {
        self.by_name.iter()
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Option<&QueuePolicy> {
        self.by_name.get(name)
    }

    /// Steps that it costs to look for the policy of a queue with this name.
    pub fn steps(&self, name: &[u8]) -> usize {
        self.by_name.len() * (STEPS_EACH + name.len() / BYTES_PER_STEP)
    }

    /// The policy that counts for a queue, with its name: of those that match, the one with the highest priority.
    pub fn of_queue(&self, name: &[u8], kind: QueueKind) -> Option<(&String, &QueuePolicy)> {
        let matching = self.iter().filter(|(_, policy)| policy.matches(name, kind));
        // Of several with the same priority, the first by name.
        matching.reduce(
            |best, other| match other.1.source.priority > best.1.source.priority {
                true => other,
                false => best,
            },
        )
    }

    /// Changes the settings that a queue has by its arguments.
    pub fn apply(&self, name: &[u8], settings: &mut Settings) {
        if let Some((_, policy)) = self.of_queue(name, settings.kind) {
            policy.apply(settings);
        }
    }
}

#[cfg(test)]
mod tests;
