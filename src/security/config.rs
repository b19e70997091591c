//! Section `security`.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::{
    BUILT_IN, CertificateConfig, JwtConfig, NamePattern, PolicyRule, Protected, Right, TokenDigest,
    TokenSecret, certificates, is_name, policy::built_in,
};
use crate::{
    model::Timestamp,
    quantity::{Bounded, YEAR},
};

/// Whether callers must prove who they are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// Once there is an identity.
    #[default]
    Auto,
    /// Always; a first start without an identity makes an admin token.
    On,
    /// Never.
    Off,
}

/// Section `security`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether callers must prove who they are.
    pub auth: AuthMode,
    /// Serves other machines without authentication.
    pub allow_open: bool,
    /// A file with the secret of an identity `admin`; empty for none.
    pub admin_token_file: String,
    /// The most tokens.
    pub tokens_max: Bounded<usize, 1, 1_000_000>,
    /// How many wrong tokens an address may send in a row before it has to wait.
    pub failures_per_address: Bounded<u32, 1, 1_000_000_000>,
    /// After how long all these failures are forgotten.
    pub failures_forgotten: Bounded<Duration, 1, YEAR>,
    /// How many addresses are kept for that.
    pub addresses: Bounded<usize, 1, 10_000_000>,
    /// Tokens by name.
    pub tokens: BTreeMap<String, TokenConfig>,
    /// Policies by name, besides the built-in ones.
    pub policies: BTreeMap<String, Vec<RuleConfig>>,
    /// Identities that client certificates prove.
    pub certificates: BTreeMap<String, CertificateConfig>,
    /// JSON Web Tokens of an identity provider.
    pub jwt: JwtConfig,
    /// The policies of the broker's users, for commands over AMQP.
    pub users: BTreeMap<String, Vec<String>>,
    /// The secret of an identity `admin`, from the environment.
    #[serde(skip)]
    pub admin_token: Option<TokenSecret>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            auth: AuthMode::default(),
            allow_open: false,
            admin_token_file: String::new(),
            tokens_max: 10_000.into(),
            failures_per_address: 20.into(),
            failures_forgotten: Duration::from_secs(60).into(),
            addresses: 10_000.into(),
            tokens: BTreeMap::new(),
            policies: BTreeMap::new(),
            certificates: BTreeMap::new(),
            jwt: JwtConfig::default(),
            users: BTreeMap::new(),
            admin_token: None,
        }
    }
}

/// One token. It has either a digest or a file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// The SHA-256 of the secret, as hexadecimal digits.
    pub sha256: Option<String>,
    /// A file with the secret.
    pub file: Option<String>,
    /// The names of its policies.
    pub policies: Vec<String>,
    /// When it ends, as RFC 3339; never without it.
    pub expires: Option<String>,
}

/// One rule of a policy.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// What it is about.
    pub resource: Protected,
    /// A name, or a prefix with `*` behind it; every name without it.
    #[serde(default = "any")]
    pub pattern: String,
    /// What it allows.
    access: GivenAccess,
}

fn any() -> String {
    "*".to_owned()
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum GivenAccess {
    Read,
    Write,
    WriteAny,
    Deny,
}

impl RuleConfig {
    /// Why its pattern can't match as it looks: a rule that denies would deny nothing.
    fn fault(&self) -> Option<String> {
        let Self {
            resource, pattern, ..
        } = self;
        let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() {
            return Some(
                "pattern is empty: leave it out, or write \"*\" for every name".to_owned(),
            );
        }
        if prefix.contains('*') {
            return Some(format!(
                "pattern \"{pattern}\" has \"*\" before its end: write a name, or a prefix with one \"*\" behind it"
            ));
        }
        (!resource.has_names() && !prefix.is_empty()).then(|| {
            format!(
                "pattern \"{pattern}\" never matches, since {resource} has no names: leave it out, or write \"*\""
            )
        })
    }

    fn rule(&self) -> PolicyRule {
        PolicyRule {
            resource: self.resource,
            pattern: NamePattern::parse(&self.pattern),
            right: match self.access {
                GivenAccess::Read => Some(Right::Read),
                GivenAccess::Write => Some(Right::Write),
                GivenAccess::WriteAny => Some(Right::WriteAny),
                GivenAccess::Deny => None,
            },
        }
    }
}

impl Config {
    /// The rules of a policy, built in or configured; none when there is no such policy.
    pub(super) fn rules(&self, policy: &str) -> Option<Vec<PolicyRule>> {
        if let Some(rules) = built_in(policy) {
            return Some(rules.to_vec());
        }
        let rules = self.policies.get(policy)?.iter();
        Some(rules.map(RuleConfig::rule).collect())
    }

    /// Whether it names an identity.
    pub fn has_identity(&self) -> bool {
        let has_token = !self.tokens.is_empty()
            || self.admin_token.is_some()
            || !self.admin_token_file.is_empty();
        has_token || self.has_outside_identity()
    }

    /// Whether identities are proven by certificates or by an identity provider.
    pub(super) fn has_outside_identity(&self) -> bool {
        !self.certificates.is_empty() || self.jwt.is_on()
    }

    /// What `security.auth = "off"` leaves unused, as a sentence; `stored` counts the tokens in the store.
    pub(super) fn ignored(&self, stored: usize) -> Option<String> {
        let mut ignored = Vec::new();
        if !self.tokens.is_empty() {
            ignored.push("security.tokens".to_owned());
        }
        if !self.admin_token_file.is_empty() {
            ignored.push("security.admin_token_file".to_owned());
        }
        if self.admin_token.is_some() {
            ignored.push("MUSTERD_ADMIN_TOKEN".to_owned());
        }
        if !self.certificates.is_empty() {
            ignored.push("security.certificates".to_owned());
        }
        if self.jwt.is_on() {
            ignored.push("security.jwt".to_owned());
        }
        if stored > 0 {
            ignored.push(format!("{stored} stored tokens"));
        }
        (!ignored.is_empty()).then(|| {
            format!(
                "security.auth is \"off\", so callers need no token, and these are ignored: {}; set security.auth = \
                 \"auto\" to use them",
                ignored.join(", ")
            )
        })
    }

    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let unusable = "is not a usable name: 1 to 64 letters, digits, \"-\", \"_\" or \".\"";
        for (name, rules) in &self.policies {
            if !is_name(name) {
                faults.push(format!("security.policies.{name} {unusable}"));
            }
            if BUILT_IN.contains(&name.as_str()) {
                faults.push(format!(
                    "security.policies.{name} is built in: choose another name"
                ));
            }
            for (index, rule) in rules.iter().enumerate() {
                let place = format!("security.policies.{name}: rule {}", index + 1);
                faults.extend(rule.fault().map(|fault| format!("{place}: {fault}")));
            }
        }
        for (name, token) in &self.tokens {
            let key = format!("security.tokens.{name}");
            if !is_name(name) {
                faults.push(format!("{key} {unusable}"));
            }
            if name == "admin" && (self.admin_token.is_some() || !self.admin_token_file.is_empty())
            {
                faults.push(format!(
                    "{key} is also the name of MUSTERD_ADMIN_TOKEN and security.admin_token_file: choose another one"
                ));
            }
            faults.extend(token.faults(&key));
            faults.extend(self.unknown(&format!("{key}.policies"), &token.policies));
        }
        faults.extend(certificates::faults(self));
        faults.extend(self.jwt.faults(self));
        for (name, policies) in &self.users {
            faults.extend(self.unknown(&format!("security.users.{name}"), policies));
        }
        if self.admin_token.is_some() && !self.admin_token_file.is_empty() {
            faults.push(
                "security.admin_token_file is set, and MUSTERD_ADMIN_TOKEN too: keep one of them"
                    .to_owned(),
            );
        }
        faults
    }

    /// A sentence that begins with the key, for policies of other sections that do not exist.
    pub fn unknown_policies(&self, key: &str, policies: &[String]) -> Vec<String> {
        self.unknown(key, policies).into_iter().collect()
    }

    pub(super) fn unknown(&self, key: &str, policies: &[String]) -> Option<String> {
        let unknown = policies.iter().find(|name| self.rules(name).is_none())?;
        let known = BUILT_IN.iter().copied();
        let known: Vec<_> = known
            .chain(self.policies.keys().map(String::as_str))
            .collect();
        Some(format!(
            "{key} names \"{unknown}\", which is no policy: there are {}",
            known.join(", ")
        ))
    }
}

impl TokenConfig {
    fn faults(&self, key: &str) -> Vec<String> {
        let mut faults = Vec::new();
        match (&self.sha256, &self.file) {
            (Some(_), Some(_)) => {
                faults.push(format!("{key} has sha256 and file: keep one of them"));
            }
            (None, None) => faults.push(format!(
                "{key} has no secret: set sha256 (`printf %s SECRET | sha256sum`) or file"
            )),
            (Some(digest), None) if TokenDigest::parse(digest).is_none() => {
                faults.push(format!("{key}.sha256 is not 64 hexadecimal digits"));
            }
            _ => (),
        }
        if self.policies.is_empty() {
            faults.push(format!("{key}.policies is empty: name at least one policy"));
        }
        let expires = self.expires.as_deref();
        if expires.is_some_and(|text| Timestamp::parse(text).is_none()) {
            faults.push(format!(
                "{key}.expires is not a time such as 2027-01-31T12:00:00Z"
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(edit: impl FnOnce(&mut TokenConfig)) -> Config {
        let mut token = TokenConfig {
            sha256: Some("ab".repeat(32)),
            policies: vec!["reader".to_owned()],
            ..TokenConfig::default()
        };
        edit(&mut token);
        Config {
            tokens: BTreeMap::from([("ci".to_owned(), token)]),
            ..Config::default()
        }
    }

    #[track_caller]
    fn check(config: &Config, expected: &[&str]) {
        let faults = config.faults();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, part) in faults.iter().zip(expected) {
            assert!(fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn each_fault_of_a_token_names_its_key() {
        check(&Config::default(), &[]);
        check(&token(|_| ()), &[]);
        check(
            &token(|one| one.sha256 = Some("ab".to_owned())),
            &["ci.sha256 is not 64"],
        );
        check(
            &token(|one| one.sha256 = None),
            &["security.tokens.ci has no secret"],
        );
        check(
            &token(|one| one.file = Some("/x".to_owned())),
            &["keep one of them"],
        );
        check(
            &token(|one| one.policies.clear()),
            &["ci.policies is empty"],
        );
        check(
            &token(|one| one.policies.push("x".to_owned())),
            &["names \"x\""],
        );
        check(
            &token(|one| one.expires = Some("soon".to_owned())),
            &["ci.expires"],
        );
        check(
            &token(|one| one.expires = Some("2027-01-31T12:00:00Z".to_owned())),
            &[],
        );
        let both = Config {
            admin_token: TokenSecret::given("0123456789abcdef"),
            admin_token_file: "/x".to_owned(),
            ..Config::default()
        };
        check(&both, &["keep one of them"]);
    }

    #[test]
    fn a_policy_has_a_name_of_its_own() {
        let named = |name: &str| Config {
            policies: BTreeMap::from([(name.to_owned(), Vec::new())]),
            ..Config::default()
        };
        check(&named("web"), &[]);
        check(&named("admin"), &["is built in"]);
        check(&named("a b"), &["is not a usable name"]);
        let users = Config {
            users: BTreeMap::from([("ann".to_owned(), vec!["nothing".to_owned()])]),
            ..Config::default()
        };
        check(&users, &["security.users.ann names \"nothing\""]);
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused() {
        let rule = |resource: &str, pattern: &str| {
            let rule =
                serde_json::json!({"resource": resource, "pattern": pattern, "access": "deny"});
            Config {
                policies: BTreeMap::from([(
                    "web".to_owned(),
                    vec![serde_json::from_value(rule).unwrap()],
                )]),
                ..Config::default()
            }
        };
        for right in ["*", "pay", "pay-*", "p y"] {
            check(&rule("service", right), &[]);
        }
        for wrong in ["*pay", "p*y", "pay**", "p*-*"] {
            let expected = format!("security.policies.web: rule 1: pattern \"{wrong}\"");
            check(&rule("service", wrong), &[&expected]);
        }
        check(&rule("kv", ""), &["rule 1: pattern is empty"]);
        for nameless in ["transport", "migration", "system"] {
            check(&rule(nameless, "*"), &[]);
            check(&rule(nameless, ""), &["rule 1: pattern is empty"]);
            check(&rule(nameless, "default"), &["has no names"]);
            check(&rule(nameless, "a*"), &["has no names"]);
        }
        check(&rule("broker", "/"), &[]);
    }

    #[test]
    fn what_is_ignored_without_authentication_is_named() {
        assert_eq!(Config::default().ignored(0), None);
        let ignored = token(|_| ()).ignored(0).unwrap();
        assert!(ignored.contains("security.tokens;"), "{ignored}");
        let config = Config {
            admin_token: TokenSecret::given("0123456789abcdef"),
            ..Config::default()
        };
        let ignored = config.ignored(2).unwrap();
        let both = "MUSTERD_ADMIN_TOKEN, 2 stored tokens;";
        assert!(ignored.contains(both), "{ignored}");
        assert!(!ignored.contains("0123456789abcdef"), "{ignored}");
        let file = Config {
            admin_token_file: "/x".to_owned(),
            ..Config::default()
        };
        assert!(file.ignored(0).unwrap().contains("admin_token_file"));
    }
}
