//! Permissions on exchanges and queues. Pure.

use std::{fmt, sync::Arc};

use regex::bytes::Regex;

use super::config::PermissionConfig;

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
enum Pattern {
    /// Every name.
    Any,
    Regex(Regex),
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, regex::Error> {
        match pattern {
            ".*" | "^.*$" => Ok(Self::Any),
            "" => Regex::new("^$").map(Self::Regex),
            pattern => Regex::new(pattern).map(Self::Regex),
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
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
            impersonates,
        }
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
