//! Permissions on exchanges and queues. Pure.

use std::{fmt, sync::Arc};

use regex::bytes::{Regex, RegexBuilder};

use super::{
    config::PermissionConfig,
    topics::{TopicDenied, TopicRights},
};

/// The most memory that a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A way to use a resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Declare or delete it.
    Configure,
    /// Publish to it; make it the destination of a binding.
    Write,
    /// Consume or purge it; make it the source of a binding.
    Read,
}

/// A kind of resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resource {
    /// An exchange; the default one is called `amq.default` here.
    Exchange,
    /// A queue.
    Queue,
}

/// A user's permissions in one vhost.
#[derive(Clone, Debug)]
pub struct Permissions {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

/// A permission's pattern could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {source}")]
pub struct PatternError {
    /// Which of the three.
    pub key: &'static str,
    /// The fault.
    pub source: regex::Error,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self {
        configure: Pattern::Any,
        write: Pattern::Any,
        read: Pattern::Any,
    };

    /// Reads the three patterns.
    ///
    /// # Errors
    /// When one of them is not a regular expression.
    pub fn new(config: &PermissionConfig) -> Result<Self, PatternError> {
        let read =
            |key, pattern| Pattern::new(pattern).map_err(|source| PatternError { key, source });
        Ok(Self {
            configure: read("configure", &config.configure)?,
            write: read("write", &config.write)?,
            read: read("read", &config.read)?,
        })
    }

    /// Whether a resource of this name may be used so.
    #[must_use]
    pub fn allow(&self, access: Access, resource: Resource, name: &[u8]) -> bool {
        let pattern = match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        };
        pattern.matches(shown(resource, name))
    }
}

/// A regular expression, found anywhere in a name.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Every name.
    Any,
    Regex(Regex),
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, regex::Error> {
        let pattern = match pattern {
            ".*" | "^.*$" => return Ok(Self::Any),
            "" => "^$",
            pattern => pattern,
        };
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(COMPILED_BYTES_MAX);
        builder.build().map(Self::Regex)
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// The name under which a resource is looked up.
fn shown(resource: Resource, name: &[u8]) -> &[u8] {
    match (resource, name) {
        (Resource::Exchange, b"") => b"amq.default",
        _ => name,
    }
}

/// A user in a vhost. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Grant {
    user: Arc<str>,
    vhost: Arc<str>,
    permissions: Permissions,
    /// None: all topics.
    topics: Option<Arc<TopicRights>>,
    impersonates: bool,
}

impl Grant {
    pub(super) fn new(
        user: Arc<str>,
        vhost: &str,
        permissions: Permissions,
        impersonates: bool,
    ) -> Self {
        Self {
            user,
            vhost: vhost.into(),
            permissions,
            topics: None,
            impersonates,
        }
    }

    /// The same, with permissions of topics.
    pub(super) fn with_topics(mut self, topics: Option<Arc<TopicRights>>) -> Self {
        self.topics = topics;
        self
    }

    /// May do everything in this vhost: for a client in the same process.
    #[must_use]
    pub fn all(user: &str, vhost: &str) -> Self {
        Self::new(user.into(), vhost, Permissions::ALL, true)
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Checks one use of one resource.
    ///
    /// # Errors
    /// It is not allowed: RabbitMQ's text for 403.
    pub fn check(&self, access: Access, resource: Resource, name: &[u8]) -> Result<(), Denied> {
        if self.permissions.allow(access, resource, name) {
            return Ok(());
        }
        Err(Denied {
            resource,
            name: String::from_utf8_lossy(shown(resource, name)).into_owned(),
            vhost: self.vhost.clone(),
            user: self.user.clone(),
        })
    }

    /// Whether there are permissions for the topics of this exchange, so that its routing keys are to be checked.
    #[must_use]
    pub fn limits_topics_of(&self, exchange: &[u8]) -> bool {
        let topics = self.topics.as_ref();
        topics.is_some_and(|topics| topics.limit(exchange))
    }

    /// Checks one routing key of a topic exchange.
    ///
    /// # Errors
    /// It is not allowed: RabbitMQ's text for 403.
    pub fn check_topic(
        &self,
        access: Access,
        exchange: &[u8],
        key: &[u8],
    ) -> Result<(), TopicDenied> {
        let topics = self.topics.as_ref();
        if topics.is_none_or(|topics| topics.allow(access, exchange, key)) {
            return Ok(());
        }
        Err(TopicDenied {
            key: String::from_utf8_lossy(key).into_owned(),
            exchange: String::from_utf8_lossy(exchange).into_owned(),
            vhost: self.vhost.clone(),
            user: self.user.clone(),
        })
    }

    /// Whether a message's `user_id` may be this name.
    #[must_use]
    pub fn may_publish_as(&self, user_id: &[u8]) -> bool {
        self.impersonates || self.user.as_bytes() == user_id
    }
}

/// A user may not use a resource: 403.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    resource: Resource,
    name: String,
    vhost: Arc<str>,
    user: Arc<str>,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            name,
            vhost,
            user,
        } = self;
        let resource = match resource {
            Resource::Exchange => "exchange",
            Resource::Queue => "queue",
        };
        write!(
            f,
            "access to {resource} '{name}' in vhost '{vhost}' refused for user '{user}'"
        )
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests;
