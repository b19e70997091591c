//! Policies: which resources a set of rules allows, and with which right. A rule that denies wins.

use std::{fmt, sync::Arc};

use serde::Deserialize;

/// What is protected. The name that a rule's pattern is compared with depends on it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Protected {
    /// A service with its instances and events, by the service's name.
    Service,
    /// A gateway route, by its id.
    Route,
    /// A webhook, by the service that it follows; `*` for all services.
    Watcher,
    /// The transport modes; without a name.
    Transport,
    /// The migration; without a name.
    Migration,
    /// The embedded broker's pages, by vhost.
    Broker,
    /// Metrics, counts and backups; without a name.
    System,
    /// Keys and values, by key.
    Kv,
    /// Tokens, by name.
    Token,
}

impl Protected {
    /// Every resource.
    pub const ALL: [Self; 9] = [
        Self::Service,
        Self::Route,
        Self::Watcher,
        Self::Transport,
        Self::Migration,
        Self::Broker,
        Self::System,
        Self::Kv,
        Self::Token,
    ];

    /// Whether rules can be about some of its names.
    pub(super) fn has_names(self) -> bool {
        !matches!(self, Self::Transport | Self::Migration | Self::System)
    }

    /// The word for it in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Route => "route",
            Self::Watcher => "watcher",
            Self::Transport => "transport",
            Self::Migration => "migration",
            Self::Broker => "broker",
            Self::System => "system",
            Self::Kv => "kv",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Protected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What may be done. Each includes those before it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Right {
    /// See it.
    Read,
    /// Change it. Of instances: new ones, own ones, and those without an owner.
    Write,
    /// Change also the instances that another identity registered.
    WriteAny,
}

impl Right {
    /// The word for it in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::WriteAny => "write_any",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names that a rule is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamePattern {
    /// This name.
    Exact(Box<str>),
    /// Every name that begins with this.
    Prefix(Box<str>),
}

impl NamePattern {
    /// A text whose last character is `*` is a prefix, any other one is a name.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => **own == *name,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }

    fn is_any(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix.is_empty())
    }

    /// Whether it matches every name that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(prefix), Self::Exact(text) | Self::Prefix(text)) => {
                text.starts_with(&**prefix)
            }
            (Self::Exact(own), Self::Exact(name)) => own == name,
            (Self::Exact(_), Self::Prefix(_)) => false,
        }
    }
}

/// One rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyRule {
    /// What it is about.
    pub resource: Protected,
    /// Which names.
    pub pattern: NamePattern,
    /// What it allows; none denies everything.
    pub right: Option<Right>,
}

/// The rules of all policies of one identity.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: [Vec<(NamePattern, Option<Right>)>; Protected::ALL.len()],
}

impl RuleSet {
    /// Joins rules; their order has no meaning.
    pub fn new(rules: impl IntoIterator<Item = PolicyRule>) -> Self {
        let mut set = Self::default();
        for rule in rules {
            set.rules[rule.resource as usize].push((rule.pattern, rule.right));
        }
        set
    }

    fn of(&self, resource: Protected) -> &[(NamePattern, Option<Right>)] {
        &self.rules[resource as usize]
    }

    /// Whether the right is given for this name.
    pub fn allows(&self, resource: Protected, name: &str, wanted: Right) -> bool {
        let mut allowed = false;
        for (pattern, right) in self.of(resource) {
            if !pattern.matches(name) {
                continue;
            }
            match right {
                None => return false,
                Some(right) => allowed |= *right >= wanted,
            }
        }
        allowed
    }

    /// Whether the right is given for every name.
    pub fn allows_all(&self, resource: Protected, wanted: Right) -> bool {
        let rules = self.of(resource);
        let denies = rules.iter().any(|(_, right)| right.is_none());
        !denies
            && rules
                .iter()
                .any(|(pattern, right)| pattern.is_any() && *right >= Some(wanted))
    }

    /// Whether the right is given for every name that begins with a prefix.
    pub fn allows_under(&self, resource: Protected, prefix: &str, wanted: Right) -> bool {
        let under = NamePattern::Prefix(prefix.into());
        let rules = self.of(resource);
        let denies = rules
            .iter()
            .filter(|(_, right)| right.is_none())
            .any(|(pattern, _)| pattern.covers(&under) || under.covers(pattern));
        !denies
            && rules
                .iter()
                .any(|(pattern, right)| *right >= Some(wanted) && pattern.covers(&under))
    }

    /// Whether there can be a name for which the right is given.
    pub fn allows_some(&self, resource: Protected, wanted: Right) -> bool {
        let rules = self.of(resource);
        let is_denied = |allowed: &NamePattern| {
            let mut denied = rules.iter().filter(|(_, right)| right.is_none());
            denied.any(|(pattern, _)| pattern.covers(allowed))
        };
        rules
            .iter()
            .any(|(pattern, right)| *right >= Some(wanted) && !is_denied(pattern))
    }
}

/// The policies that are always there.
pub const BUILT_IN: [&str; 4] = ["reader", "writer", "operator", "admin"];

/// The rules of a built-in policy; none for another name.
pub(super) fn built_in(name: &str) -> Option<Arc<[PolicyRule]>> {
    use Protected as P;
    let any = |resource, right| PolicyRule {
        resource,
        pattern: NamePattern::Prefix("".into()),
        right: Some(right),
    };
    let read = |resource| any(resource, Right::Read);
    let seen = [
        P::Service,
        P::Route,
        P::Transport,
        P::Migration,
        P::System,
        P::Kv,
    ];
    let mut rules = seen.map(read).to_vec();
    match name {
        "reader" => (),
        "writer" => {
            let written = [P::Service, P::Watcher, P::Kv];
            rules.extend(written.map(|resource| any(resource, Right::Write)));
        }
        "operator" => {
            let written = [
                P::Route,
                P::Watcher,
                P::Transport,
                P::Migration,
                P::Broker,
                P::Kv,
            ];
            rules.extend(written.map(|resource| any(resource, Right::Write)));
            rules.push(any(P::Service, Right::WriteAny));
        }
        "admin" => rules.extend(P::ALL.map(|resource| any(resource, Right::WriteAny))),
        _ => return None,
    }
    Some(rules.into())
}

#[cfg(test)]
mod tests;
