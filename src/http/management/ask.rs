//! A request as endpoints get it: who asks, and for what.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{ManagementState, answer::ManagementRefusal};
use crate::{
    api,
    broker::{
        auth::{Refused, User},
        definitions::table_of_json,
        wire::{ShortStr, Table},
    },
    http::{
        rest::{BodyBytes, Name},
        serve::connection::HttpPeer,
    },
};

/// How long a login may take.
const LOGIN_MAX: Duration = Duration::from_secs(10);

/// What a user needs for an endpoint besides permissions: RabbitMQ's tags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UserTag {
    /// Any of the four.
    Management,
    /// `policymaker` or `administrator`.
    Policymaker,
    /// `monitoring` or `administrator`.
    Monitoring,
    /// `administrator`.
    Administrator,
}

impl UserTag {
    fn of(self, user: &User) -> bool {
        let tags: &[&str] = match self {
            Self::Management => &["management", "policymaker", "monitoring", "administrator"],
            Self::Policymaker => &["policymaker", "administrator"],
            Self::Monitoring => &["monitoring", "administrator"],
            Self::Administrator => &["administrator"],
        };
        tags.iter().any(|tag| user.has_tag(tag))
    }
}

/// A request of a user who may use this API.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) state: ManagementState,
    pub(super) user: Arc<User>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    names: Name,
    body: Bytes,
}

impl FromRequest<ManagementState> for Ask {
    type Rejection = Response;

    async fn from_request(request: Request, state: &ManagementState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Ok(peer) = HttpPeer::from_request_parts(&mut parts, state).await;
        let Ok(names) = Name::from_request_parts(&mut parts, state).await;
        let user = log_in(state, &parts.headers, &peer).await;
        let user = user.map_err(IntoResponse::into_response)?;
        let BodyBytes(body) = BodyBytes::read(&parts, body, &state.app).await?;
        let query = api::pairs(parts.uri.query().unwrap_or_default());
        let query = query.map(|(key, value)| (key.into_owned(), value.into_owned()));
        Ok(Self {
            state: state.clone(),
            user,
            query: query.collect(),
            headers: parts.headers,
            names,
            body,
        })
    }
}

/// Logs in with HTTP Basic authentication, as a user of the broker.
pub(super) async fn log_in(
    state: &ManagementState,
    headers: &HeaderMap,
    peer: &HttpPeer,
) -> Result<Arc<User>, ManagementRefusal> {
    let (name, password) = credentials(headers)
        .ok_or_else(|| ManagementRefusal::login("HTTP Basic authentication is required"))?;
    let login = state.broker().log_in(name, password, peer.address);
    let user = match tokio::time::timeout(LOGIN_MAX, login).await {
        Ok(Ok(user)) => user,
        Ok(Err(Refused::NotLoopback)) => {
            let reason = "User can only log in via localhost";
            return Err(ManagementRefusal::login(reason));
        }
        Ok(Err(Refused::Wrong | Refused::Failed)) => {
            return Err(ManagementRefusal::login("Login failed"));
        }
        Ok(Err(busy)) => return Err(ManagementRefusal::login(busy.to_string())),
        Err(_) => return Err(ManagementRefusal::unavailable("the login took too long")),
    };
    match UserTag::Management.of(&user) {
        true => Ok(user),
        false => Err(ManagementRefusal::login("Not management user")),
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, Bytes)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
    Some((name, Bytes::copy_from_slice(&decoded[colon + 1..])))
}

impl Ask {
    /// The first name of the path.
    pub(super) fn name(&self) -> &str {
        self.names.as_str()
    }

    /// A later name of the path, from 1 on.
    pub(super) fn later_name(&self, index: usize) -> &str {
        self.names.at(index)
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut query = self.query.iter();
        let found = query.find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameter(name) == Some("true")
    }

    /// Whether the user has a tag.
    pub(super) fn has(&self, tag: UserTag) -> bool {
        tag.of(&self.user)
    }

    /// The same, or the refusal.
    pub(super) fn needs(&self, tag: UserTag) -> Result<(), ManagementRefusal> {
        match self.has(tag) {
            true => Ok(()),
            false => Err(ManagementRefusal::denied(match tag {
                UserTag::Management => "Not management user",
                UserTag::Policymaker => "Not policymaker user",
                UserTag::Monitoring => "Not monitor user",
                UserTag::Administrator => "Not administrator user",
            })),
        }
    }

    /// Whether the user sees a vhost: those with permissions do, and those who look after all.
    pub(super) fn sees(&self, vhost: &str) -> bool {
        self.has(UserTag::Monitoring) || self.user.grant(vhost).is_ok()
    }

    /// The vhost that the path names first, if the user sees it.
    pub(super) fn vhost(&self) -> Result<&str, ManagementRefusal> {
        let name = self.name();
        if !self
            .state
            .broker()
            .vhost_names()
            .iter()
            .any(|one| one == name)
        {
            return Err(ManagementRefusal::unknown());
        }
        match self.sees(name) {
            true => Ok(name),
            false => {
                let reason = "User not authorised to access virtual host";
                Err(ManagementRefusal::denied(reason))
            }
        }
    }

    /// The body as a JSON object; an empty one is an empty object.
    pub(super) fn object(&self) -> Result<Map<String, Value>, ManagementRefusal> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err(ManagementRefusal::bad("the body must be a JSON object")),
            Err(error) => Err(ManagementRefusal::bad(format!(
                "the body is not JSON: {error}"
            ))),
        }
    }

    /// The body as it came.
    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// A name as AMQP carries it.
pub(super) fn short(text: &str) -> Result<ShortStr, ManagementRefusal> {
    ShortStr::copied(text.as_bytes())
        .ok_or_else(|| ManagementRefusal::bad("a name is longer than 255 bytes"))
}

/// A flag of a body, false where it is missing.
pub(super) fn flag(fields: &Map<String, Value>, key: &str) -> Result<bool, ManagementRefusal> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(ManagementRefusal::bad(vec![
            "not_boolean".to_owned(),
            key.to_owned(),
            other.to_string(),
        ])),
    }
}

/// The arguments of a body, none where they are missing.
pub(super) fn arguments(fields: &Map<String, Value>) -> Result<Table, ManagementRefusal> {
    match fields.get("arguments") {
        None | Some(Value::Null) => Ok(Table::EMPTY),
        Some(Value::Array(items)) if items.is_empty() => Ok(Table::EMPTY),
        Some(Value::Object(fields)) => table_of_json(fields)
            .map_err(|why| ManagementRefusal::bad(format!("\"arguments\" {why}"))),
        Some(_) => Err(ManagementRefusal::bad("\"arguments\" must be an object")),
    }
}

/// The text of a field that must be there, or the refusal that names all that are missing.
pub(super) fn required(
    fields: &Map<String, Value>,
    keys: &[&str],
) -> Result<(), ManagementRefusal> {
    let missing = keys.iter().filter(|key| !fields.contains_key(**key));
    let missing: Vec<_> = missing
        .map(|key| format!("{{key_missing,{key}}}"))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(ManagementRefusal::bad(format!(
            "[{}]",
            missing.join(",\n ")
        ))),
    }
}

/// The text in a field.
pub(super) fn text<'a>(
    fields: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a str>, ManagementRefusal> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ManagementRefusal::bad(format!("\"{key}\" must be text"))),
    }
}
