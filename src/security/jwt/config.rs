//! Section `security.jwt`.

use std::{collections::BTreeMap, time::Duration};

use bytesize::ByteSize;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use crate::{
    quantity::{Bounded, DAY, MIB, MINUTE, SECOND},
    security::Config,
};

/// The algorithms that can be allowed: those with a public key.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// JSON Web Tokens of an identity provider.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// The provider, as it is in the claim `iss`; empty: no JWT is accepted.
    pub issuer: String,
    /// The claim `aud` must have one of these.
    pub audience: Vec<String>,
    /// The algorithms that are accepted.
    pub algorithms: Vec<String>,
    /// A file with the provider's keys (JWKS).
    pub jwks_file: String,
    /// Their address.
    pub jwks_url: String,
    /// How often the keys are read again.
    pub refresh: Bounded<Duration, SECOND, DAY>,
    /// The largest JWKS.
    pub jwks_max: Bounded<ByteSize, 256, { 16 * MIB }>,
    /// How far the provider's clock may be off.
    pub leeway: Bounded<Duration, 0, { 10 * MINUTE }>,
    /// The claim with the name of the identity, which becomes `jwt:NAME`.
    pub name_claim: String,
    /// The claim whose values give policies; dots lead into objects.
    pub policies_claim: String,
    /// The policies that each value of that claim gives.
    pub policies: BTreeMap<String, Vec<String>>,
    /// The most JWTs that are remembered after they were verified.
    pub sessions_max: Bounded<usize, 1, 10_000_000>,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: Vec::new(),
            algorithms: ["RS256", "PS256", "ES256", "EdDSA"]
                .map(str::to_owned)
                .into(),
            jwks_file: String::new(),
            jwks_url: String::new(),
            refresh: Duration::from_secs(300).into(),
            jwks_max: ByteSize::kib(256).into(),
            leeway: Duration::from_secs(30).into(),
            name_claim: "sub".to_owned(),
            policies_claim: "groups".to_owned(),
            policies: BTreeMap::new(),
            sessions_max: 10_000.into(),
        }
    }
}

/// Where the keys of the provider are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JwksSource {
    /// A file, or an address that begins with `https://` or `http://`.
    pub place: JwksPlace,
    /// How often they are read again.
    pub refresh: Duration,
    /// The largest JWKS, in bytes.
    pub bytes_max: usize,
}

/// A file or an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JwksPlace {
    /// A file.
    File(String),
    /// An address.
    Url(String),
}

impl JwtConfig {
    /// Whether JWTs are accepted.
    pub fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    pub(super) fn accepted(&self) -> Vec<Algorithm> {
        let known = |name: &String| {
            let mut all = ALGORITHMS.iter();
            all.find(|(known, _)| known == name).map(|(_, one)| *one)
        };
        self.algorithms.iter().filter_map(known).collect()
    }

    pub(super) fn source(&self) -> JwksSource {
        JwksSource {
            place: match self.jwks_file.is_empty() {
                true => JwksPlace::Url(self.jwks_url.clone()),
                false => JwksPlace::File(self.jwks_file.clone()),
            },
            refresh: self.refresh.get(),
            bytes_max: usize::try_from(self.jwks_max.as_u64()).unwrap_or(usize::MAX),
        }
    }

    /// Everything that is wrong with it.
    pub(in crate::security) fn faults(&self, config: &Config) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.is_on() {
            let set = [
                ("audience", !self.audience.is_empty()),
                ("jwks_file", !self.jwks_file.is_empty()),
                ("jwks_url", !self.jwks_url.is_empty()),
                ("policies", !self.policies.is_empty()),
            ];
            for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
                faults.push(format!(
                    "security.jwt.{key} is set: it needs security.jwt.issuer"
                ));
            }
            return faults;
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            faults.push(
                "security.jwt.audience is empty: name what the provider writes into the claim aud for this daemon"
                    .to_owned(),
            );
        }
        faults.extend(self.algorithm_faults());
        faults.extend(self.place_fault());
        for (key, claim) in [
            ("name_claim", &self.name_claim),
            ("policies_claim", &self.policies_claim),
        ] {
            if claim.is_empty() {
                faults.push(format!("security.jwt.{key} is empty: name a claim"));
            }
        }
        for (value, policies) in &self.policies {
            let key = format!("security.jwt.policies.{value}");
            faults.extend(config.unknown(&key, policies));
        }
        faults
    }

    fn algorithm_faults(&self) -> Vec<String> {
        let known = ALGORITHMS.map(|(name, _)| name).join(", ");
        if self.algorithms.is_empty() {
            return vec![format!(
                "security.jwt.algorithms is empty: choose from {known}"
            )];
        }
        let unknown = self.algorithms.iter();
        let unknown = unknown.filter(|name| !ALGORITHMS.iter().any(|(known, _)| known == name));
        let fault = |name: &String| {
            let why = match name.starts_with("HS") {
                true => "has a secret in the place of a public key, which no JWKS may hold",
                false => "is not known",
            };
            format!("security.jwt.algorithms: \"{name}\" {why}: choose from {known}")
        };
        unknown.map(fault).collect()
    }

    fn place_fault(&self) -> Option<String> {
        match (self.jwks_file.is_empty(), self.jwks_url.is_empty()) {
            (true, true) => {
                return Some(
                    "security.jwt.jwks_url names no keys: set it, or jwks_file".to_owned(),
                );
            }
            (false, false) => {
                return Some(
                    "security.jwt.jwks_url is set, and jwks_file too: keep one of them".to_owned(),
                );
            }
            (false, true) => return None,
            (true, false) => (),
        }
        let url = &self.jwks_url;
        if url.starts_with("https://") || is_loopback(url) {
            return None;
        }
        Some(format!(
            "security.jwt.jwks_url \"{url}\" does not begin with https://: others could put their keys in its place"
        ))
    }
}

/// Whether a URL is that of this machine.
fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(edit: impl FnOnce(&mut JwtConfig)) -> Config {
        let mut config = Config::default();
        config.jwt.issuer = "https://idp.example.com".to_owned();
        config.jwt.audience = vec!["musterd".to_owned()];
        config.jwt.jwks_url = "https://idp.example.com/keys".to_owned();
        edit(&mut config.jwt);
        config
    }

    #[track_caller]
    fn check(edit: impl FnOnce(&mut JwtConfig), expected: &[&str]) {
        let faults = config(edit).faults();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, part) in faults.iter().zip(expected) {
            assert!(fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn each_fault_names_its_key() {
        check(|_| (), &[]);
        check(|jwt| *jwt = JwtConfig::default(), &[]);
        check(
            |jwt| jwt.issuer.clear(),
            &["jwt.audience is set", "jwt.jwks_url is set"],
        );
        check(|jwt| jwt.audience.clear(), &["jwt.audience is empty"]);
        for wrong in ["HS256", "none", "RS1"] {
            check(
                |jwt| jwt.algorithms.push(wrong.to_owned()),
                &[&format!("\"{wrong}\"")],
            );
        }
        check(|jwt| jwt.algorithms.clear(), &["algorithms is empty"]);
        check(|jwt| jwt.jwks_url.clear(), &["names no keys"]);
        check(
            |jwt| jwt.jwks_file = "/keys".to_owned(),
            &["keep one of them"],
        );
        check(|jwt| jwt.name_claim.clear(), &["name_claim is empty"]);
        let unknown = ("ops".to_owned(), vec!["nothing".to_owned()]);
        check(
            |jwt| jwt.policies = [unknown].into(),
            &["jwt.policies.ops names \"nothing\""],
        );
    }

    #[test]
    fn keys_come_without_tls_from_this_machine_only() {
        for (url, is_fine) in [
            ("http://127.0.0.1:8080/keys", true),
            ("http://localhost/keys", true),
            ("http://[::1]:80/keys", true),
            ("http://idp.example.com/keys", false),
            ("http://localhost@evil.example/keys", false),
            ("http://localhost.evil.example/keys", false),
            ("ftp://127.0.0.1/keys", false),
            ("127.0.0.1", false),
        ] {
            let faults = config(|jwt| jwt.jwks_url = url.to_owned()).faults();
            assert_eq!(faults.is_empty(), is_fine, "{url}: {faults:?}");
        }
    }
}
