//! Users that are made at run time: changed one after the other, stored, and in effect for open connections too.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures_util::future::{BoxFuture, ready};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Broker, Shared, reload::LoginRules};
use crate::broker::auth::{
    PermissionConfig, TopicPermissions, User, UserConfig, UserEdit, UserPassword, UserRefused,
    Users,
    edit::{self, edited},
};

/// The table of users that were made at run time.
pub const USER_TABLE: &str = "broker.users";

/// Keeps users that are made at run time, by name.
pub trait UserRows: fmt::Debug + Send + Sync {
    /// Sets or removes rows, all of them or none; they survive the end of the process once it is done.
    ///
    /// # Errors
    /// Says why nothing was changed.
    fn store(&self, rows: Vec<(String, Option<Vec<u8>>)>)
    -> BoxFuture<'static, Result<(), String>>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoUserRows;

impl UserRows for NoUserRows {
    fn store(&self, _: Vec<(String, Option<Vec<u8>>)>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }
}

/// A row that is no user.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stored user \"{0}\" cannot be read")]
pub struct UnreadableUser(pub String);

/// A user as it is shown: without its password.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerUser)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// "configuration" or "run_time"; only the latter can be changed here.
    pub source: &'static str,
    /// Its tags.
    pub tags: Vec<String>,
    /// How its password is checked: "argon2", "rabbit_password_hashing_sha256", "rabbit_password_hashing_sha512",
    /// "digest" for one in plain text in the configuration, or "none".
    pub password: &'static str,
    /// May connect from this machine only.
    pub loopback_only: bool,
    /// Its permissions by vhost.
    pub permissions: BTreeMap<String, PermissionConfig>,
    /// Its permissions of topics by vhost and exchange.
    #[schema(value_type = Object)]
    pub topic_permissions: TopicPermissions,
    /// Its open connections.
    pub connections: usize,
}

/// The users that were made at run time.
#[derive(Debug)]
pub(super) struct RunTimeUsers {
    users: Mutex<Users>,
    rows: Mutex<Arc<dyn UserRows>>,
    /// Held while users are changed and stored.
    changing: tokio::sync::Mutex<()>,
}

impl Default for RunTimeUsers {
    fn default() -> Self {
        Self {
            users: Mutex::default(),
            rows: Mutex::new(Arc::new(NoUserRows)),
            changing: tokio::sync::Mutex::default(),
        }
    }
}

impl RunTimeUsers {
    /// The users; no other rules are taken over meanwhile.
    pub(super) fn locked(&self) -> MutexGuard<'_, Users> {
        self.users.lock()
    }
}

/// Users, each with what it is from now on.
type UserChanges = Vec<(String, Option<UserConfig>)>;
/// The same, with their patterns and hashes read.
type ReadUsers = Vec<(String, Option<Arc<User>>)>;

impl Broker {
    /// Puts back the users of earlier runs, and stores changes from now on.
    ///
    /// # Errors
    /// A row is no user.
    pub fn restore_users<'a>(
        &self,
        rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        keeper: Arc<dyn UserRows>,
    ) -> Result<(), UnreadableUser> {
        let shared = &self.shared;
        let mut users = UserChanges::new();
        for (name, row) in rows {
            let unreadable = || UnreadableUser(String::from_utf8_lossy(name).into_owned());
            let name = std::str::from_utf8(name).map_err(|_| unreadable())?;
            let user = edit::decode(row).map_err(|_| unreadable())?;
            users.push((name.to_owned(), Some(user)));
        }
        for (name, _) in &users {
            if shared.access.load().is_configured(name) {
                tracing::warn!(
                    "user \"{name}\" was made at run time and is also in the configuration, which is in effect"
                );
            }
        }
        let made = shared.read_users(&users);
        let made = made.map_err(|(name, _)| UnreadableUser(name))?;
        *shared.users.rows.lock() = keeper;
        shared.apply(users, made);
        Ok(())
    }

    /// Every user, by name.
    pub fn users(&self) -> Vec<UserView> {
        let shared = &self.shared;
        let mut connections = shared.connections.by_user();
        let run_time = shared.users.locked();
        let access = shared.access.load_full();
        let mut names: Vec<_> = run_time.keys().chain(access.configured().keys()).collect();
        let guest = crate::broker::auth::GUEST.to_owned();
        if access.is_configured(&guest) {
            names.push(&guest);
        }
        names.sort_unstable();
        names.dedup();
        let view = |name: &String| {
            let connections = connections.remove(name).unwrap_or_default();
            view(&access, &run_time, name, connections)
        };
        names.into_iter().filter_map(view).collect()
    }

    /// One user.
    pub fn user(&self, name: &str) -> Option<UserView> {
        let connections = self.shared.connections.by_user().remove(name);
        let run_time = self.shared.users.locked();
        let access = self.shared.access.load_full();
        view(&access, &run_time, name, connections.unwrap_or_default())
    }

    /// Changes a user; whether it is new. Permissions hold for open connections at once. Those of a user that was
    /// removed, or may no longer use their vhost, are closed.
    ///
    /// # Errors
    /// Says why nothing was changed.
    pub async fn edit_user(&self, name: &str, edit: UserEdit) -> Result<bool, UserRefused> {
        let shared = &self.shared;
        let vhost = match &edit {
            UserEdit::Permit(vhost, Some(_)) | UserEdit::PermitTopics(vhost, _, Some(_)) => {
                Some(vhost)
            }
            _ => None,
        };
        if let Some(vhost) = vhost.filter(|vhost| shared.vhost(vhost).is_none()) {
            return Err(UserRefused::NoVhost(vhost.clone()));
        }
        if shared.access.load().is_configured(name) {
            return Err(UserRefused::Configured(name.to_owned()));
        }
        let edit = shared.without_plain(edit).await?;
        let _changing = shared.users.changing.lock().await;
        let known = shared.users.locked().get(name).cloned();
        let user = edited(name, known.as_ref(), edit)?;
        shared.put_users(vec![(name.to_owned(), user)]).await?;
        Ok(known.is_none())
    }

    /// Puts users as they are in definitions, all of them or none. What they were before.
    ///
    /// # Errors
    /// Names the user that prevents it.
    pub(super) async fn put_all_users(
        shared: &Shared,
        users: Vec<(String, Box<UserConfig>)>,
    ) -> Result<UserChanges, (String, UserRefused)> {
        let _changing = shared.users.changing.lock().await;
        let (mut changes, mut before) = (UserChanges::new(), UserChanges::new());
        for (name, user) in users {
            let known = shared.users.locked().get(&name).cloned();
            let user = edited(&name, known.as_ref(), UserEdit::Replace(user));
            let user = user.map_err(|refused| (name.clone(), refused))?;
            before.push((name.clone(), known));
            changes.push((name, user));
        }
        let put = shared.put_users(changes).await;
        put.map_err(|refused| (String::new(), refused))?;
        Ok(before)
    }

    /// Takes back what [`Self::put_all_users`] did.
    pub(super) async fn put_users_back(shared: &Shared, before: UserChanges) {
        let _changing = shared.users.changing.lock().await;
        if let Err(refused) = shared.put_users(before).await {
            tracing::warn!("the users of an import that failed stay as they are: {refused}");
        }
    }
}

impl Shared {
    /// The same change with a hash in the place of a plain password.
    async fn without_plain(&self, edit: UserEdit) -> Result<UserEdit, UserRefused> {
        Ok(match edit {
            UserEdit::Add {
                password,
                tags,
                loopback_only,
            } => UserEdit::Add {
                password: self.hashed(password).await?,
                tags,
                loopback_only,
            },
            UserEdit::Put {
                password: Some(password),
                tags,
            } => UserEdit::Put {
                password: Some(self.hashed(password).await?),
                tags,
            },
            UserEdit::Password(password) => UserEdit::Password(self.hashed(password).await?),
            other => other,
        })
    }

    async fn hashed(&self, password: UserPassword) -> Result<UserPassword, UserRefused> {
        match password {
            UserPassword::Plain(secret) if secret.expose().is_empty() => {
                let message = "is empty: leave it out for a user who logs in by certificate";
                Err(UserRefused::Field("password", message.to_owned()))
            }
            UserPassword::Plain(secret) => {
                let hash = self.access.load_full().auth.hash(secret).await?;
                Ok(UserPassword::Hash(hash, None))
            }
            other => Ok(other),
        }
    }

    /// Stores users and takes them over.
    async fn put_users(&self, changes: UserChanges) -> Result<(), UserRefused> {
        let made = self.read_users(&changes).map_err(|(_, refused)| refused)?;
        let max = self.access.load().users_max();
        let new = {
            let users = self.users.locked();
            let is_new = |(name, user): &&(String, Option<UserConfig>)| {
                user.is_some() && !users.contains_key(name)
            };
            users.len() + changes.iter().filter(is_new).count()
        };
        if new > max && new > self.users.locked().len() {
            return Err(UserRefused::Full(max));
        }
        let rows = changes.iter().map(|(name, user)| {
            let row = user.as_ref().map(edit::encode);
            (name.clone(), row)
        });
        let rows = rows.collect();
        let stored = Arc::clone(&*self.users.rows.lock()).store(rows);
        stored.await.map_err(UserRefused::NotStored)?;
        self.apply(changes, made);
        Ok(())
    }

    /// Reads the patterns and hashes of users.
    fn read_users(&self, changes: &UserChanges) -> Result<ReadUsers, (String, UserRefused)> {
        let access = self.access.load_full();
        let read = |(name, user): &(String, Option<UserConfig>)| {
            let Some(user) = user else {
                return Ok((name.clone(), None));
            };
            let user = access.auth.read_user(name, user).map_err(|fault| {
                let field = fault.key.rsplit('.').next().unwrap_or_default();
                let fields = [
                    "password_hash",
                    "hashing_algorithm",
                    "configure",
                    "write",
                    "read",
                ];
                let field = fields.into_iter().find(|known| *known == field);
                let refused = UserRefused::Field(field.unwrap_or("name"), fault.message);
                (name.clone(), refused)
            })?;
            Ok((name.clone(), Some(Arc::new(user))))
        };
        changes.iter().map(read).collect()
    }

    /// Takes over users that are read and stored.
    fn apply(&self, changes: UserChanges, made: ReadUsers) {
        let mut users = self.users.locked();
        for (name, user) in changes {
            match user {
                Some(user) => users.insert(name, user),
                None => users.remove(&name),
            };
        }
        let access = self.access.load_full();
        let made = made.into_iter();
        let made = made.filter(|(name, _)| !access.is_configured(name));
        self.take_over(access.with_auth(access.auth.changed(made)));
    }
}

fn view(access: &LoginRules, run_time: &Users, name: &str, connections: usize) -> Option<UserView> {
    let user = access.auth.user(name)?;
    let is_configured = access.is_configured(name);
    let config = match is_configured {
        true => access.configured().get(name),
        false => run_time.get(name),
    };
    let (permissions, topic_permissions, loopback_only) = match config {
        Some(config) => (
            config.permissions.clone(),
            config.topic_permissions.clone(),
            config.loopback_only,
        ),
        // The default user, who may do everything from this machine.
        None => (
            BTreeMap::from([("*".to_owned(), PermissionConfig::all())]),
            TopicPermissions::new(),
            true,
        ),
    };
    Some(UserView {
        name: name.to_owned(),
        source: match is_configured {
            true => "configuration",
            false => "run_time",
        },
        tags: user.tags().to_vec(),
        password: user.password_kind(),
        loopback_only,
        permissions,
        topic_permissions,
        connections,
    })
}

#[cfg(test)]
mod tests;
