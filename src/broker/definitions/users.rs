//! Users and permissions in a definitions file.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{fields::DefinitionFields, plan::PlanReader};
use crate::broker::auth::{
    HashAlgorithm, PermissionConfig, Secret, TopicPermissionConfig, UserConfig, Users,
};

/// A user. RabbitMQ does not know argon2, so that a hash of it is beside RabbitMQ's field, which is empty then: there the
/// user has no password.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinedUser)]
pub struct DefinedUser {
    /// Its name.
    pub name: String,
    /// The hash of its password, in base64.
    pub password_hash: String,
    /// How the hash was made.
    pub hashing_algorithm: &'static str,
    /// The hash of its password by argon2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub musterd_password_hash: Option<String>,
    /// Whether it may connect from this machine only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub musterd_loopback_only: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// Empty.
    #[schema(value_type = Object)]
    pub limits: BTreeMap<String, u64>,
}

/// A permission.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinedPermission)]
pub struct DefinedPermission {
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: String,
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to, or bind.
    pub write: String,
    /// What it may consume, or bind to.
    pub read: String,
}

/// A permission of topics.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinedTopicPermission)]
pub struct DefinedTopicPermission {
    /// The user.
    pub user: String,
    /// The virtual host.
    pub vhost: String,
    /// The exchange.
    pub exchange: String,
    /// The keys that it may publish with.
    pub write: String,
    /// The keys that it may bind with.
    pub read: String,
}

impl super::Definitions {
    /// Adds users with the hashes of their passwords.
    #[must_use]
    pub fn with_users(mut self, users: &Users) -> Self {
        let (Some(defined), Some(permissions), Some(topics)) = (
            &mut self.users,
            &mut self.permissions,
            &mut self.topic_permissions,
        ) else {
            return self;
        };
        for (name, user) in users {
            defined.push(defined_user(name, user));
            permissions.extend(
                user.permissions
                    .iter()
                    .map(|(vhost, of)| DefinedPermission {
                        user: name.clone(),
                        vhost: vhost.clone(),
                        configure: of.configure.clone(),
                        write: of.write.clone(),
                        read: of.read.clone(),
                    }),
            );
            for (vhost, exchanges) in &user.topic_permissions {
                topics.extend(
                    exchanges
                        .iter()
                        .map(|(exchange, of)| DefinedTopicPermission {
                            user: name.clone(),
                            vhost: vhost.clone(),
                            exchange: exchange.clone(),
                            write: of.write.clone(),
                            read: of.read.clone(),
                        }),
                );
            }
        }
        self
    }
}

fn defined_user(name: &str, user: &UserConfig) -> DefinedUser {
    let hash = user.password_hash.as_ref().map(Secret::expose);
    let algorithm = user.hashing_algorithm.as_deref();
    let algorithm = algorithm.and_then(|name| HashAlgorithm::named(name).ok());
    let algorithm = algorithm.unwrap_or(HashAlgorithm::Argon2);
    let (password_hash, algorithm, own) = match algorithm {
        HashAlgorithm::Argon2 => (None, HashAlgorithm::RabbitSha256, hash),
        other => (hash, other, None),
    };
    DefinedUser {
        name: name.to_owned(),
        password_hash: password_hash.unwrap_or_default().to_owned(),
        hashing_algorithm: algorithm.name(),
        musterd_password_hash: own.map(str::to_owned),
        musterd_loopback_only: user.loopback_only,
        tags: user.tags.clone(),
        limits: BTreeMap::new(),
    }
}

/// What a file says of a user.
#[derive(Debug, Default)]
pub struct PlannedUser {
    /// Where the file has it first.
    pub place: String,
    /// Its password and tags; none if the file has permissions only.
    pub user: Option<UserConfig>,
    /// Its permissions by vhost.
    pub permissions: BTreeMap<String, PermissionConfig>,
    /// Its permissions of topics by vhost and exchange.
    pub topics: BTreeMap<String, BTreeMap<String, TopicPermissionConfig>>,
}

impl PlannedUser {
    /// The vhosts that it has permissions in.
    pub fn vhosts(&self) -> impl Iterator<Item = &String> {
        self.permissions.keys().chain(self.topics.keys())
    }

    /// The user as it is after the import. None if neither the file nor the broker has it.
    pub fn onto(self, known: Option<&UserConfig>) -> Option<UserConfig> {
        let mut user = match (self.user, known) {
            (Some(user), Some(known)) => UserConfig {
                permissions: known.permissions.clone(),
                topic_permissions: known.topic_permissions.clone(),
                ..user
            },
            (Some(user), None) => user,
            (None, known) => known?.clone(),
        };
        user.permissions.extend(self.permissions);
        for (vhost, exchanges) in self.topics {
            let known = user.topic_permissions.entry(vhost).or_default();
            known.extend(exchanges);
        }
        Some(user)
    }
}

impl PlanReader<'_> {
    fn planned(&mut self, name: &str, fields: &DefinitionFields<'_>) -> &mut PlannedUser {
        let place = || PlannedUser {
            place: fields.place.clone(),
            ..PlannedUser::default()
        };
        let planned = self.plan.users.entry(name.to_owned());
        planned.or_insert_with(place)
    }

    pub(super) fn user(&mut self, fields: &mut DefinitionFields<'_>) -> Option<()> {
        let name = fields.name("name")?;
        let hash = fields.text("password_hash").filter(|hash| !hash.is_empty());
        let algorithm = fields.text("hashing_algorithm");
        let own = fields.text("musterd_password_hash");
        let loopback_only = fields.flag("musterd_loopback_only", Some(false))?;
        let (hash, algorithm) = match (own, hash) {
            (Some(own), _) => (Some(own), None),
            // A file of an old version names no algorithm.
            (None, Some(hash)) => {
                let sha256 = HashAlgorithm::RabbitSha256.name();
                (Some(hash), Some(algorithm.unwrap_or(sha256)))
            }
            (None, None) => (None, None),
        };
        let tags = tags(fields)?;
        fields.skip("limits");
        let name = name.to_string();
        let user = UserConfig {
            password_hash: hash.map(|hash| hash.to_owned().into()),
            hashing_algorithm: algorithm.map(str::to_owned),
            tags,
            loopback_only,
            ..UserConfig::default()
        };
        self.planned(&name, fields).user = Some(user);
        Some(())
    }

    pub(super) fn permission(&mut self, fields: &mut DefinitionFields<'_>) -> Option<()> {
        let (user, vhost) = (fields.name("user"), self.vhost(fields));
        let (configure, write, read) = (
            pattern(fields, "configure"),
            pattern(fields, "write"),
            pattern(fields, "read"),
        );
        let permission = PermissionConfig {
            configure: configure?,
            write: write?,
            read: read?,
        };
        let planned = self.planned(&user?.to_string(), fields);
        planned.permissions.insert(vhost?, permission);
        Some(())
    }

    pub(super) fn topic_permission(&mut self, fields: &mut DefinitionFields<'_>) -> Option<()> {
        let (user, vhost) = (fields.name("user"), self.vhost(fields));
        let exchange = fields.name("exchange");
        let (write, read) = (pattern(fields, "write"), pattern(fields, "read"));
        let permission = TopicPermissionConfig {
            write: write?,
            read: read?,
        };
        let planned = self.planned(&user?.to_string(), fields);
        let exchanges = planned.topics.entry(vhost?).or_default();
        exchanges.insert(exchange?.to_string(), permission);
        Some(())
    }
}

fn pattern(fields: &mut DefinitionFields<'_>, key: &'static str) -> Option<String> {
    let text = fields.text(key);
    if text.is_none() {
        fields.fault(key, "is missing: a regular expression");
    }
    text.map(str::to_owned)
}

/// A list of texts, or as older versions have it, a text with commas.
fn tags(fields: &mut DefinitionFields<'_>) -> Option<Vec<String>> {
    let read = match fields.value("tags") {
        None => Some(Vec::new()),
        Some(Value::String(text)) => {
            let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            Some(tags.map(str::to_owned).collect())
        }
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect()
        }
        Some(_) => None,
    };
    if read.is_none() {
        fields.fault("tags", "must be a list of texts");
    }
    read
}
