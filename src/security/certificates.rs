//! Identities that a client's certificate proves, by one of its names.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::Deserialize;

use super::{Config, Principal, RuleSet, is_name, principal::IdentityState, table::TokenTable};
use crate::tls::CertificateNames;

/// One identity of `security.certificates`. It has exactly one of the three names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateConfig {
    /// The common name of the subject.
    pub common_name: Option<String>,
    /// A DNS name of the subject alternative name.
    pub dns: Option<String>,
    /// A URI of the subject alternative name, such as `spiffe://example.org/web`.
    pub uri: Option<String>,
    /// The names of its policies; none for one that has a token of the same name.
    pub policies: Vec<String>,
}

/// A name in a certificate, with its kind.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct CertifiedName {
    kind: &'static str,
    name: String,
}

impl CertificateConfig {
    /// None unless there is exactly one that is not empty.
    fn name(&self) -> Option<CertifiedName> {
        let dns = self.dns.as_ref().map(|name| name.to_ascii_lowercase());
        let names = [
            ("common_name", self.common_name.clone()),
            ("dns", dns),
            ("uri", self.uri.clone()),
        ];
        let mut set = names.into_iter().filter_map(|(kind, name)| {
            let name = name?;
            Some(CertifiedName { kind, name })
        });
        match (set.next(), set.next()) {
            (Some(only), None) if !only.name.is_empty() => Some(only),
            _ => None,
        }
    }
}

/// Everything that is wrong with `security.certificates`.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    let mut owners: HashMap<CertifiedName, &str> = HashMap::new();
    for (name, certificate) in &config.certificates {
        let key = format!("security.certificates.{name}");
        if !is_name(name) {
            faults.push(format!(
                "{key} is not a usable name: 1 to 64 letters, digits, \"-\", \"_\" or \".\""
            ));
        }
        if name == "admin" {
            faults.push(format!(
                "{key} is the name of the first admin token: choose another one, with policies = [\"admin\"]"
            ));
        }
        match certificate.name() {
            None => faults.push(format!(
                "{key} needs exactly one of common_name, dns and uri, with a text"
            )),
            Some(named) => {
                let of = format!("{key}.{} \"{}\"", named.kind, named.name);
                if let Some(other) = owners.insert(named, name) {
                    faults.push(format!(
                        "{of} is also that of security.certificates.{other}: a name proves one identity"
                    ));
                }
            }
        }
        let has_token = config.tokens.contains_key(name);
        match (certificate.policies.is_empty(), has_token) {
            (true, false) => {
                faults.push(format!("{key}.policies is empty: name at least one policy"));
            }
            (false, true) => faults.push(format!(
                "{key}.policies: security.tokens.{name} is the same identity and has its policies: leave them out here"
            )),
            _ => (),
        }
        faults.extend(config.unknown(&format!("{key}.policies"), &certificate.policies));
    }
    faults
}

/// One identity.
#[derive(Debug)]
struct CertificateEntry {
    config: CertificateConfig,
    identity: Arc<IdentityState>,
    /// Whether a token has the same identity.
    is_shared: bool,
    /// Ends when the entry is removed or changed.
    principal: Principal,
}

impl CertificateEntry {
    fn end(&self) {
        self.principal.end();
        if !self.is_shared {
            self.identity.end();
        }
    }
}

/// The identities that certificates prove. Replaced as a whole by a reload.
#[derive(Debug, Default)]
pub(super) struct CertificateTable {
    by_name: BTreeMap<String, Arc<CertificateEntry>>,
    by_uri: HashMap<String, Arc<CertificateEntry>>,
    by_dns: HashMap<String, Arc<CertificateEntry>>,
    by_common_name: HashMap<String, Arc<CertificateEntry>>,
}

impl CertificateTable {
    /// A table of `certificates`. What `before` has too stays the same identity. The policies are those of `config`,
    /// which are in effect.
    pub(super) fn new(
        certificates: &BTreeMap<String, CertificateConfig>,
        config: &Config,
        tokens: &TokenTable,
        before: &Self,
    ) -> Self {
        let mut table = Self::default();
        for (name, certificate) in certificates {
            let Some(named) = certificate.name() else {
                continue;
            };
            let known = before.by_name.get(name);
            let known = known.filter(|known| known.config == *certificate);
            let entry = match known {
                Some(known) => Arc::clone(known),
                None => Arc::new(entry(name, certificate, config, tokens)),
            };
            let by_kind = match named.kind {
                "uri" => &mut table.by_uri,
                "dns" => &mut table.by_dns,
                _ => &mut table.by_common_name,
            };
            by_kind.insert(named.name, Arc::clone(&entry));
            table.by_name.insert(name.clone(), entry);
        }
        table
    }

    /// Ends the identities of this table that another one does not have.
    pub(super) fn end_without(&self, next: &Self) {
        for (name, entry) in &self.by_name {
            let kept = next.by_name.get(name);
            if !kept.is_some_and(|kept| Arc::ptr_eq(kept, entry)) {
                entry.end();
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The identity of this name.
    pub(super) fn lasting(&self, name: &str) -> Option<Principal> {
        Some(self.by_name.get(name)?.identity.principal())
    }

    /// The identity that a certificate with these names proves. If it proves several: that of a URI, then of a DNS
    /// name, then of the common name.
    pub(super) fn find(&self, names: &CertificateNames) -> Option<Principal> {
        let uri = || names.uris.iter().find_map(|uri| self.by_uri.get(uri));
        let dns = || names.dns.iter().find_map(|name| self.by_dns.get(name));
        let common_name = || self.by_common_name.get(names.common_name.as_ref()?);
        let entry = uri().or_else(dns).or_else(common_name)?;
        Some(entry.principal.clone())
    }
}

fn entry(
    name: &str,
    certificate: &CertificateConfig,
    config: &Config,
    tokens: &TokenTable,
) -> CertificateEntry {
    let shared = tokens.tokens.get(name);
    let shared = shared.filter(|_| certificate.policies.is_empty());
    let identity = match shared {
        Some(token) => Arc::clone(&token.identity),
        None => {
            let rules = certificate.policies.iter().filter_map(|policy| {
                let rules = config.rules(policy);
                if rules.is_none() {
                    tracing::warn!(
                        "security.certificates.{name} names policy \"{policy}\", which is not in effect before a \
                         restart: it allows nothing"
                    );
                }
                rules
            });
            let rules = RuleSet::new(rules.flatten());
            let policies = certificate.policies.iter();
            let policies = policies.map(|one| one.as_str().into()).collect();
            IdentityState::new(name, policies, rules)
        }
    };
    CertificateEntry {
        config: certificate.clone(),
        is_shared: shared.is_some(),
        principal: identity.principal(),
        identity,
    }
}

#[cfg(test)]
mod tests;
