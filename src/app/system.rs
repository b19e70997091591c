//! What operators read about the daemon: limits of the rooms that HTTP does not know, and the configuration in effect.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    api::{LimitUnit, LimitUse, OpenWatcher, Setting},
    broker::Broker,
    config::{Config, ShownKey},
    http::SystemParts,
    registry::Registry,
    transport::{Callbacks, Webhooks},
};

/// What happens when the log is full.
const FORGETS: &str = "the oldest event is forgotten; slow readers start again from a snapshot";

/// The rooms with limits.
#[derive(Debug)]
pub(super) struct System {
    registry: Registry,
    callbacks: Callbacks,
    webhooks: Webhooks,
    broker: Option<Broker>,
    limits: RegistryLimits,
    settings: ArcSwap<Vec<Setting>>,
}

#[derive(Clone, Copy, Debug)]
struct RegistryLimits {
    instances: u64,
    routes: u64,
    memory: u64,
    log_entries: u64,
    log_bytes: u64,
    callbacks: u64,
    webhooks: u64,
}

impl System {
    pub(super) fn new(
        config: &Config,
        registry: &Registry,
        (callbacks, webhooks): (&Callbacks, &Webhooks),
        broker: Option<Broker>,
    ) -> Arc<Self> {
        let of = &config.registry;
        Arc::new(Self {
            registry: registry.clone(),
            callbacks: callbacks.clone(),
            webhooks: webhooks.clone(),
            broker,
            limits: RegistryLimits {
                instances: of.instances_max.get() as u64,
                routes: of.routes_max.get() as u64,
                memory: of.memory_max.as_u64(),
                log_entries: of.log_entries_max.get() as u64,
                log_bytes: of.log_bytes_max.as_u64(),
                callbacks: config.transport.callbacks_max.get() as u64,
                webhooks: config.transport.webhooks_max.get() as u64,
            },
            settings: ArcSwap::default(),
        })
    }

    /// Shows the configuration of the start.
    pub(super) fn show(&self, keys: &[ShownKey]) {
        let settings = keys.iter().map(setting).collect();
        self.settings.store(Arc::new(settings));
    }

    /// Shows the keys that were taken over at run time; others keep the value of the start, which is in effect.
    pub(super) fn show_reloaded(&self, keys: &[ShownKey], is_reloaded: impl Fn(&str) -> bool) {
        let settings = merged(&self.settings.load(), keys, is_reloaded);
        self.settings.store(Arc::new(settings));
    }

    fn of_registry(&self) -> [LimitUse; 5] {
        let (counts, max) = (self.registry.counts(), self.limits);
        let count = |name, key, used: usize, max, when_full| LimitUse {
            name,
            key,
            used: used as u64,
            max,
            unit: LimitUnit::Count,
            when_full,
        };
        let bytes = |name, key, used, max, when_full| LimitUse {
            unit: LimitUnit::Bytes,
            ..count(name, key, used, max, when_full)
        };
        [
            count(
                "instances",
                "registry.instances_max",
                counts.instances,
                max.instances,
                "a new registration gets a 503",
            ),
            count(
                "gateway routes",
                "registry.routes_max",
                counts.routes,
                max.routes,
                "a new route is refused",
            ),
            bytes(
                "memory of the registry",
                "registry.memory_max",
                counts.memory,
                max.memory,
                "what needs more memory gets a 507",
            ),
            count(
                "events in the log",
                "registry.log_entries_max",
                counts.log_entries,
                max.log_entries,
                FORGETS,
            ),
            bytes(
                "bytes of the log",
                "registry.log_bytes_max",
                counts.log_bytes,
                max.log_bytes,
                FORGETS,
            ),
        ]
    }
}

impl SystemParts for System {
    fn limits(&self) -> Vec<LimitUse> {
        let mut limits = Vec::from(self.of_registry());
        limits.extend([
            LimitUse {
                name: "webhooks",
                key: "transport.webhooks_max",
                used: self.webhooks.list().len() as u64,
                max: self.limits.webhooks,
                unit: LimitUnit::Count,
                when_full: "a new webhook is refused",
            },
            LimitUse {
                name: "callbacks",
                key: "transport.callbacks_max",
                used: self.callbacks.list().len() as u64,
                max: self.limits.callbacks,
                unit: LimitUnit::Count,
                when_full: "a new callback of the embedding program is refused",
            },
        ]);
        let Some(broker) = &self.broker else {
            return limits;
        };
        let used = broker.use_of_limits();
        limits.extend([
            LimitUse {
                name: "AMQP connections",
                key: "broker.limits.connections",
                used: used.connections,
                max: used.connections_max,
                unit: LimitUnit::Count,
                when_full: "a new connection is refused",
            },
            LimitUse {
                name: "memory of the broker",
                key: "broker.limits.memory",
                used: used.memory_bytes,
                max: used.memory_max,
                unit: LimitUnit::Bytes,
                when_full: "publishers are blocked until consumers make room",
            },
        ]);
        limits
    }

    fn callbacks(&self) -> Vec<OpenWatcher> {
        let newest = self.registry.newest();
        let callbacks = self.callbacks.list().into_iter();
        let shown = callbacks.map(|one| OpenWatcher {
            kind: "callback",
            address: "in process".to_owned(),
            identity: None,
            scope: one
                .service
                .map_or_else(|| "*".to_owned(), |name| name.to_string()),
            since: one.since,
            lag: Some(newest.0.saturating_sub(one.cursor.revision.0)),
            cursor: Some(one.cursor),
            error: one.error.map(String::from),
        });
        shown.collect()
    }

    fn settings(&self) -> Arc<Vec<Setting>> {
        self.settings.load_full()
    }
}

/// The settings before a reload, with the reloaded ones of what was read.
fn merged(
    before: &[Setting],
    read: &[ShownKey],
    is_reloaded: impl Fn(&str) -> bool,
) -> Vec<Setting> {
    let kept = before.iter().filter(|one| !is_reloaded(&one.key)).cloned();
    let new = read.iter().filter(|one| is_reloaded(&one.key)).map(setting);
    let mut settings: Vec<_> = kept.chain(new).collect();
    // In the order of the configuration, which names documented keys first.
    let at = |key: &str| read.iter().position(|one| one.key == key);
    settings.sort_by_key(|one| at(&one.key).unwrap_or(usize::MAX));
    settings
}

fn setting(one: &ShownKey) -> Setting {
    Setting {
        key: one.key.clone(),
        value: one.value.clone(),
        source: one.source.clone(),
        default: one.default.clone(),
        about: one.about.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{merged, setting};
    use crate::config::ShownKey;

    fn key(key: &str, value: &str) -> ShownKey {
        ShownKey {
            key: key.to_owned(),
            value: value.to_owned(),
            source: "default".to_owned(),
            default: Some("1".to_owned()),
            about: String::new(),
        }
    }

    #[test]
    fn a_reload_shows_what_is_in_effect() {
        let at_start = [key("http.listen", "1"), key("log.level", "1")];
        let before: Vec<_> = at_start.iter().map(setting).collect();
        let read = [
            key("http.listen", "2"),
            key("log.level", "2"),
            key("broker.users.a.password", "\"...\""),
        ];
        let after = merged(&before, &read, |key| key != "http.listen");
        let shown = after
            .iter()
            .map(|one| (one.key.as_str(), one.value.as_str()));
        let expected = [
            ("http.listen", "1"),
            ("log.level", "2"),
            ("broker.users.a.password", "\"...\""),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
}
