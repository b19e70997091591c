//! SIGHUP: takes over what can change at run time, and names every changed key that needs a restart.

use std::sync::Arc;

use super::{Logs, chain, system::System};
use crate::{
    broker::Broker,
    config::{Config, ConfigError, Values},
    http::HttpApp,
    security::Identities,
    tls::{ServerTls, TlsReplacement},
};

/// Keys, or beginnings of keys, that are taken over at run time.
const RELOADED: [&str; 11] = [
    "broker.auth.",
    "broker.auth_mechanisms",
    "broker.heartbeat",
    "broker.tls.",
    "broker.users.",
    "http.cors.",
    "http.hosts",
    "http.tls.",
    "log.level",
    "security.certificates.",
    "security.jwt.",
];
/// Among those, the keys that still need a restart.
const NOT_RELOADED: [&str; 4] = [
    "broker.tls.listen",
    "http.tls.check_every",
    "http.tls.handshake_timeout",
    "http.tls.listen",
];

/// Takes over what can be changed while the daemon runs.
#[derive(Debug)]
pub struct Reloader {
    logs: Logs,
    http: HttpApp,
    tls: Option<ServerTls>,
    broker: Option<Broker>,
    identities: Identities,
    system: Arc<System>,
    /// As they were at the start.
    values: Values,
}

impl Reloader {
    pub(super) fn new(
        logs: Logs,
        (http, tls): (HttpApp, Option<ServerTls>),
        broker: Option<Broker>,
        identities: Identities,
        system: Arc<System>,
        values: Values,
    ) -> Self {
        Self {
            logs,
            http,
            tls,
            broker,
            identities,
            system,
            values,
        }
    }

    /// Takes over what the new configuration says; a faulty one changes nothing.
    pub fn apply(&self, loaded: Result<(Config, Values), ConfigError>) {
        let (config, values) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("not reloaded: {error}");
                return;
            }
        };
        // The parts that can fail come first: certificates and keys are files.
        let replacement = match self.certificates(&config) {
            Ok(replacement) => replacement,
            Err(why) => {
                tracing::error!("not reloaded: {why}");
                return;
            }
        };
        if let Err(error) = self.identities.reload(&config.security) {
            tracing::error!("not reloaded: {}", chain(&error));
            return;
        }
        let reloaded = self
            .broker
            .as_ref()
            .map(|broker| broker.reload(&config.broker));
        if let Some(Err(error)) = reloaded {
            tracing::error!("not reloaded: {}", chain(&error));
            return;
        }
        if let (Some(tls), Some(replacement)) = (&self.tls, replacement) {
            tls.replace(replacement);
        }
        if let Err(error) = self.http.reload(&config.http) {
            tracing::error!(
                "http.hosts and http.cors are not reloaded: {}",
                chain(&error)
            );
        }
        if let Err(error) = self.logs.set_level(&config.log.level) {
            tracing::error!("log.level is not reloaded: {}", chain(&error));
        }
        self.system.show_reloaded(values.shown(), is_reloaded);
        tracing::info!(
            "reloaded log.level, http.hosts, http.cors, http.tls, security.certificates, security.jwt, and the broker's \
             users, permissions and certificates"
        );
        let restart = needs_restart(self.values.changed(&values));
        if !restart.is_empty() {
            tracing::warn!(
                "changed, but in effect only after a restart: {}",
                restart.join(", ")
            );
        }
    }
}

impl Reloader {
    /// The files of `http.tls`, if there is TLS. Nothing opens a door at a reload that was shut at the start.
    fn certificates(&self, config: &Config) -> Result<Option<TlsReplacement>, String> {
        let wanted = &config.http.tls;
        let Some(tls) = &self.tls else {
            if wanted.is_on() {
                tracing::warn!("http.tls is switched on only by a restart");
            }
            return Ok(None);
        };
        if !wanted.is_on() {
            tracing::warn!("http.tls is switched off only by a restart: its files stay in use");
            return Ok(None);
        }
        let read = TlsReplacement::read(wanted.files());
        let replacement = read.map_err(|error| chain(&error))?;
        let opens = tls.is_client_required() && !replacement.is_client_required();
        if opens && !self.identities.is_on() && !config.security.allow_open {
            return Err(
                "http.tls.client_auth: client certificates are the only authentication, so they stay required until a \
                 restart"
                    .to_owned(),
            );
        }
        Ok(Some(replacement))
    }
}

fn needs_restart(mut changed: Vec<String>) -> Vec<String> {
    changed.retain(|key| !is_reloaded(key));
    changed
}

fn is_reloaded(key: &str) -> bool {
    RELOADED.iter().any(|begin| key.starts_with(begin)) && !NOT_RELOADED.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::needs_restart;

    #[test]
    fn keys_that_are_not_taken_over_are_named() {
        let keys = [
            "broker.tls.certificate",
            "broker.tls.listen",
            "broker.users.a.password",
            "http.cors.origins",
            "http.hosts",
            "http.listen",
            "log.format",
            "log.level",
            "stop.grace",
        ];
        let restart = needs_restart(keys.map(str::to_owned).to_vec());
        let expected = [
            "broker.tls.listen",
            "http.listen",
            "log.format",
            "stop.grace",
        ];
        assert_eq!(restart, expected);
    }
}
