//! Users and permissions: those of the configuration are read, those that are made at run time are changed too.

use serde_json::{Map, Value, json};

use super::{
    answer::{ManagementAnswer, ManagementRefusal, done, made, ok},
    ask::{Ask, UserTag, text},
};
use crate::broker::{
    auth::{
        PermissionConfig, TopicPermissionConfig, UserEdit, UserPassword, UserRefused,
        config::Secret,
    },
    server::UserView,
};

/// The name of the hash that definitions of RabbitMQ have.
const SHA256: &str = "rabbit_password_hashing_sha256";

impl From<UserRefused> for ManagementRefusal {
    fn from(refused: UserRefused) -> Self {
        match refused {
            UserRefused::Unknown(_) => Self::unknown(),
            UserRefused::NoVhost(_) => Self::not_found("vhost_or_user_not_found"),
            UserRefused::NotStored(_) | UserRefused::NotHashed(_) => {
                Self::unavailable(refused.to_string())
            }
            UserRefused::Field(field, message) => Self::bad(format!("\"{field}\" {message}")),
            UserRefused::Configured(_) | UserRefused::Exists(_) | UserRefused::Full(_) => {
                Self::bad(refused.to_string())
            }
        }
    }
}

/// A user without the hash of its password, which is not shown.
fn shown(user: &UserView) -> Value {
    json!({
        "name": user.name,
        "password_hash": "",
        "hashing_algorithm": user.password,
        "tags": user.tags,
        "limits": {},
    })
}

/// `GET /api/users`
pub(super) async fn list(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let users = ask.state.broker().users();
    ok(&users.iter().map(shown).collect::<Value>())
}

/// `GET /api/users/without-permissions`
pub(super) async fn without_permissions(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let users = ask.state.broker().users();
    let bare = users.iter().filter(|user| user.permissions.is_empty());
    ok(&bare.map(shown).collect::<Value>())
}

/// The user that a path names at this place.
fn find(ask: &Ask, place: usize) -> Result<UserView, ManagementRefusal> {
    let found = ask.state.broker().user(ask.later_name(place));
    found.ok_or_else(ManagementRefusal::unknown)
}

/// `GET /api/users/{name}`
pub(super) async fn one(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    ok(&shown(&find(&ask, 0)?))
}

/// `PUT /api/users/{name}`
pub(super) async fn put(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let fields = ask.object()?;
    let tags = match fields.get("tags") {
        Some(Value::String(tags)) => {
            let tags = tags.split(',').map(str::trim);
            tags.filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect()
        }
        Some(Value::Array(items)) => {
            let tags = items.iter().map(|item| item.as_str().map(str::to_owned));
            let tags: Option<Vec<_>> = tags.collect();
            tags.ok_or_else(|| ManagementRefusal::bad("\"tags\" must be text or a list of texts"))?
        }
        _ => return Err(ManagementRefusal::bad("[{key_missing,tags}]")),
    };
    let password = match (text(&fields, "password")?, text(&fields, "password_hash")?) {
        (Some(password), _) => Some(UserPassword::Plain(Secret::from(password.to_owned()))),
        (None, Some("")) => Some(UserPassword::None),
        (None, Some(hash)) => {
            let algorithm = text(&fields, "hashing_algorithm")?.unwrap_or(SHA256);
            let hash = Secret::from(hash.to_owned());
            Some(UserPassword::Hash(hash, Some(algorithm.to_owned())))
        }
        (None, None) => None,
    };
    let is_known = ask.state.broker().user(ask.name()).is_some();
    if !is_known && password.is_none() {
        let reason = "a new user needs a \"password\" or a \"password_hash\"";
        return Err(ManagementRefusal::bad(reason));
    }
    let is_new = edit(&ask, ask.name(), UserEdit::Put { password, tags }).await?;
    made(is_new)
}

async fn edit(ask: &Ask, name: &str, edit: UserEdit) -> Result<bool, ManagementRefusal> {
    let is_new = ask.state.broker().edit_user(name, edit).await?;
    tracing::info!(
        "user \"{name}\" of the broker is changed by user \"{}\" over the management API",
        ask.user.name()
    );
    Ok(is_new)
}

/// `DELETE /api/users/{name}`
pub(super) async fn delete(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    find(&ask, 0)?;
    edit(&ask, ask.name(), UserEdit::Delete).await?;
    done()
}

/// `POST /api/users/bulk-delete`
pub(super) async fn delete_all(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let fields = ask.object()?;
    let names = fields.get("users").and_then(Value::as_array);
    let names = names.ok_or_else(|| ManagementRefusal::bad("[{key_missing,users}]"))?;
    for name in names.iter().filter_map(Value::as_str) {
        edit(&ask, name, UserEdit::Delete).await?;
    }
    done()
}

/// The permissions of a user, each with its vhost. One that may do everything has them in all.
fn permissions_of(ask: &Ask, user: &UserView) -> Vec<(String, PermissionConfig)> {
    let mut all = Vec::new();
    for (vhost, permissions) in &user.permissions {
        match vhost.as_str() {
            "*" => {
                let vhosts = ask.state.broker().vhost_names();
                all.extend(vhosts.into_iter().map(|vhost| (vhost, permissions.clone())));
            }
            vhost => all.push((vhost.to_owned(), permissions.clone())),
        }
    }
    all
}

fn shown_permissions(ask: &Ask, users: &[UserView], vhost: Option<&str>) -> Value {
    let all = users.iter().flat_map(|user| {
        let permissions = permissions_of(ask, user).into_iter();
        permissions.map(|(vhost, of)| (user.name.clone(), vhost, of))
    });
    let wanted = all.filter(|(_, of, _)| vhost.is_none_or(|vhost| of == vhost));
    let shown = wanted.map(|(user, vhost, of)| {
        json!({
            "user": user, "vhost": vhost,
            "configure": of.configure, "write": of.write, "read": of.read,
        })
    });
    shown.collect()
}

/// `GET /api/permissions`
pub(super) async fn all_permissions(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let users = ask.state.broker().users();
    ok(&shown_permissions(&ask, &users, None))
}

/// `GET /api/vhosts/{vhost}/permissions`
pub(super) async fn permissions_of_vhost(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let users = ask.state.broker().users();
    ok(&shown_permissions(&ask, &users, Some(ask.vhost()?)))
}

/// `GET /api/users/{name}/permissions`
pub(super) async fn permissions_of_user(ask: Ask) -> ManagementAnswer {
    if ask.user.name() != ask.name() {
        ask.needs(UserTag::Administrator)?;
    }
    let user = find(&ask, 0)?;
    ok(&shown_permissions(&ask, &[user], None))
}

/// `GET /api/permissions/{vhost}/{user}`
pub(super) async fn permission(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let vhost = ask.vhost()?;
    let user = find(&ask, 1)?;
    let shown = shown_permissions(&ask, &[user], Some(vhost));
    ok(shown.get(0).ok_or_else(ManagementRefusal::unknown)?)
}

fn pattern(fields: &Map<String, Value>, key: &str) -> Result<String, ManagementRefusal> {
    match text(fields, key)? {
        Some(pattern) => Ok(pattern.to_owned()),
        None => Err(ManagementRefusal::bad(format!("[{{key_missing,{key}}}]"))),
    }
}

/// `PUT /api/permissions/{vhost}/{user}`
pub(super) async fn permit(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let (vhost, user) = (ask.vhost()?.to_owned(), find(&ask, 1)?);
    let fields = ask.object()?;
    let permission = PermissionConfig {
        configure: pattern(&fields, "configure")?,
        write: pattern(&fields, "write")?,
        read: pattern(&fields, "read")?,
    };
    let is_new = !user.permissions.contains_key(&vhost);
    edit(&ask, &user.name, UserEdit::Permit(vhost, Some(permission))).await?;
    made(is_new)
}

/// `DELETE /api/permissions/{vhost}/{user}`
pub(super) async fn forbid(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let (vhost, user) = (ask.vhost()?.to_owned(), find(&ask, 1)?);
    if !user.permissions.contains_key(&vhost) {
        return Err(ManagementRefusal::unknown());
    }
    edit(&ask, &user.name, UserEdit::Permit(vhost, None)).await?;
    done()
}

fn shown_topics(users: &[UserView], vhost: Option<&str>) -> Vec<Value> {
    let mut shown = Vec::new();
    for user in users {
        for (of, exchanges) in &user.topic_permissions {
            if vhost.is_some_and(|vhost| of != vhost) {
                continue;
            }
            shown.extend(exchanges.iter().map(|(exchange, patterns)| {
                json!({
                    "user": user.name, "vhost": of, "exchange": exchange,
                    "write": patterns.write, "read": patterns.read,
                })
            }));
        }
    }
    shown
}

/// `GET /api/topic-permissions`
pub(super) async fn all_topics(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let users = ask.state.broker().users();
    ok(&shown_topics(&users, None).into())
}

/// `GET /api/vhosts/{vhost}/topic-permissions`
pub(super) async fn topics_of_vhost(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let users = ask.state.broker().users();
    ok(&shown_topics(&users, Some(ask.vhost()?)).into())
}

/// `GET /api/users/{name}/topic-permissions`
pub(super) async fn topics_of_user(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let user = find(&ask, 0)?;
    ok(&shown_topics(&[user], None).into())
}

/// `GET /api/topic-permissions/{vhost}/{user}`
pub(super) async fn topics(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let (vhost, user) = (ask.vhost()?, find(&ask, 1)?);
    let shown = shown_topics(&[user], Some(vhost));
    match shown.is_empty() {
        true => Err(ManagementRefusal::unknown()),
        false => ok(&shown.into()),
    }
}

/// `PUT /api/topic-permissions/{vhost}/{user}`
pub(super) async fn permit_topics(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let (vhost, user) = (ask.vhost()?.to_owned(), find(&ask, 1)?);
    let fields = ask.object()?;
    let exchange = pattern(&fields, "exchange")?;
    let patterns = TopicPermissionConfig {
        write: pattern(&fields, "write")?,
        read: pattern(&fields, "read")?,
    };
    let known = user.topic_permissions.get(&vhost);
    let is_new = known.is_none_or(|known| !known.contains_key(&exchange));
    let change = UserEdit::PermitTopics(vhost, exchange, Some(patterns));
    edit(&ask, &user.name, change).await?;
    made(is_new)
}

/// `DELETE /api/topic-permissions/{vhost}/{user}`
pub(super) async fn free_topics(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let (vhost, user) = (ask.vhost()?.to_owned(), find(&ask, 1)?);
    edit(&ask, &user.name, UserEdit::FreeTopics(vhost)).await?;
    done()
}
