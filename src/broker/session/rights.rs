//! What a user may do in a vhost.

use std::fmt;

use super::Session;
use crate::broker::{exception::Exception, vhost::Vhost, wire::ShortStr};

/// What is to be done with a queue or an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Made or removed.
    Configure,
    /// Published to, or fed.
    Write,
    /// Consumed from, or drawn from.
    Read,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// A user's rights in one vhost.
pub struct Rights {
    allows: Box<dyn Fn(Access, &[u8]) -> bool + Send + Sync>,
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rights")
    }
}

impl Rights {
    /// The rights that this predicate tells.
    pub fn new(allows: impl Fn(Access, &[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self { allows: Box::new(allows) }
    }

    /// Whether something may be done with the queue or exchange of this name.
    pub fn allow(&self, access: Access, name: &[u8]) -> bool {
        (self.allows)(access, name)
    }
}

impl Session {
    pub(super) fn may_queue(
        &self,
        access: Access,
        name: &ShortStr,
        vhost: &Vhost,
    ) -> Result<(), Exception> {
        if self.identity.rights.allow(access, name) {
            return Ok(());
        }
        Err(self.refuse(access, &vhost.queue_label(name)))
    }

    pub(super) fn may_exchange(
        &self,
        access: Access,
        name: &ShortStr,
        vhost: &Vhost,
    ) -> Result<(), Exception> {
        // The default exchange goes by a name of its own in patterns.
        let known_as: &[u8] = if name.is_empty() { b"amq.default" } else { name };
        if self.identity.rights.allow(access, known_as) {
            return Ok(());
        }
        let shown = ShortStr::copied(known_as).unwrap_or_default();
        Err(self.refuse(access, &vhost.exchange_label(&shown)))
    }

    fn refuse(&self, access: Access, label: &str) -> Exception {
        Exception::access_refused(format!(
            "{access} access to {label} refused for user '{}'",
            self.identity.user
        ))
    }
}
