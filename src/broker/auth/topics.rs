//! Permissions on the routing keys of topic exchanges. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    config::TopicPermissionConfig,
    permissions::{Access, Pattern, PatternError},
};

/// The topics of one vhost that a user may use, by exchange.
#[derive(Debug)]
pub struct TopicRights {
    exchanges: HashMap<Box<[u8]>, TopicPatterns>,
}

#[derive(Debug)]
struct TopicPatterns {
    write: Pattern,
    read: Pattern,
}

impl TopicRights {
    /// Reads the patterns of a user in a vhost.
    ///
    /// # Errors
    /// One of them is not a regular expression; with its exchange.
    pub fn new(
        user: &str,
        vhost: &str,
        exchanges: &BTreeMap<String, TopicPermissionConfig>,
    ) -> Result<Self, (String, PatternError)> {
        let read = |key, pattern: &str| {
            Pattern::new(&expanded(pattern, user, vhost))
                .map_err(|source| PatternError { key, source })
        };
        let of = |config: &TopicPermissionConfig| {
            Ok(TopicPatterns {
                write: read("write", &config.write)?,
                read: read("read", &config.read)?,
            })
        };
        let exchanges = exchanges.iter().map(|(exchange, config)| {
            let patterns = of(config).map_err(|error| (exchange.clone(), error))?;
            Ok((exchange.as_bytes().into(), patterns))
        });
        Ok(Self {
            exchanges: exchanges.collect::<Result<_, _>>()?,
        })
    }

    /// Whether there are permissions for an exchange.
    pub(super) fn limit(&self, exchange: &[u8]) -> bool {
        self.exchanges.contains_key(exchange)
    }

    /// Whether a key may be used so. At an exchange without permissions, each may.
    pub(super) fn allow(&self, access: Access, exchange: &[u8], key: &[u8]) -> bool {
        let Some(patterns) = self.exchanges.get(exchange) else {
            return true;
        };
        match access {
            Access::Write => patterns.write.matches(key),
            Access::Read => patterns.read.matches(key),
            // Keys are not configured.
            Access::Configure => true,
        }
    }
}

/// A pattern with `{username}` and `{vhost}` replaced by these names, as text without a meaning of its own: a user
/// called ".*" gets no more than another. AMQP 0-9-1 has no client ids, so that `{client_id}` is found in no key but one
/// with these characters, as in RabbitMQ.
fn expanded(pattern: &str, user: &str, vhost: &str) -> String {
    let known = [
        ("{username}", user),
        ("{vhost}", vhost),
        ("{client_id}", "{client_id}"),
    ];
    let mut expanded = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('{') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        match known.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                expanded.push_str(&regex::escape(value));
                rest = &rest[name.len()..];
            }
            None => {
                expanded.push('{');
                rest = &rest[1..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

/// A user may not use a routing key: 403.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'"
)]
pub struct TopicDenied {
    pub(super) key: String,
    pub(super) exchange: String,
    pub(super) vhost: Arc<str>,
    pub(super) user: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, key: &str, is_allowed: bool) {
        let config = TopicPermissionConfig {
            write: pattern.to_owned(),
            read: String::new(),
        };
        let exchanges = BTreeMap::from([("events".to_owned(), config)]);
        let rights = TopicRights::new("a.b", "shop", &exchanges).unwrap();
        let allow = |access, exchange: &[u8]| rights.allow(access, exchange, key.as_bytes());
        assert_eq!(
            allow(Access::Write, b"events"),
            is_allowed,
            "{pattern} {key}"
        );
        assert_eq!(allow(Access::Read, b"events"), key.is_empty(), "{key}");
        assert!(allow(Access::Write, b"others") && allow(Access::Configure, b"events"));
        assert!(rights.limit(b"events") && !rights.limit(b"others"));
    }

    #[test]
    fn keys_are_compared_with_the_names_in_their_place() {
        check("^{vhost}\\.{username}\\.", "shop.a.b.x", true);
        check("^{vhost}\\.{username}\\.", "shop.axb.x", false);
        check("^{username}{username}$", "a.ba.b", true);
        check("{client_id}", "shop.a.b", false);
        check("{client_id}", "x{client_id}", true);
        check("^x{2}$", "xx", true);
        check("^x{2}$", "x", false);
        check("", "", true);
        check("", "x", false);
        check(".*", "anything", true);
        check("key", "a.key.in.it", true);
    }

    #[test]
    fn a_wrong_pattern_is_named_with_its_exchange() {
        let config = TopicPermissionConfig {
            write: ".*".to_owned(),
            read: "(".to_owned(),
        };
        let exchanges = BTreeMap::from([("events".to_owned(), config)]);
        let (exchange, error) = TopicRights::new("u", "/", &exchanges).unwrap_err();
        assert_eq!((&*exchange, error.key), ("events", "read"));
        let config = TopicPermissionConfig {
            write: "(x{1000}){1000}".to_owned(),
            read: String::new(),
        };
        let exchanges = BTreeMap::from([("events".to_owned(), config)]);
        assert!(TopicRights::new("u", "/", &exchanges).is_err(), "too large");
    }
}
