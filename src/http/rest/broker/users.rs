//! Users of the broker at run time, and their permissions.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{self, BrokerPermissionDraft, BrokerUserChanged, BrokerUserDraft, Problem},
    broker::{
        auth::{PermissionConfig, TopicPermissionConfig, UserEdit, UserPassword, UserRefused},
        server::UserView,
    },
    http::{
        BrokerUsers,
        answer::{EndpointResult, HttpProblem, json, json_as},
        problems::{Conflict, Invalid, NotFound, TooLarge},
        rest::extract::{BodyBytes, Name, caller},
        serve::connection::HttpPeer,
        state::AppState,
    },
    security::{Protected, Right},
};

/// The users.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerUsers)]
pub(in crate::http) struct UsersPage {
    /// By name.
    users: Vec<UserView>,
    /// How many.
    total_count: usize,
}

impl AppState {
    pub(super) fn broker_users(&self) -> Result<&Arc<dyn BrokerUsers>, HttpProblem> {
        let users = self.broker_users.as_ref();
        users.ok_or_else(|| HttpProblem::new(404, "the embedded broker is switched off"))
    }
}

/// The broker's users with their permissions, without passwords.
#[utoipa::path(
    get, path = "/broker/users",
    responses((status = 200, body = UsersPage), NotFound)
)]
pub(in crate::http) async fn users(
    State(shared): State<AppState>,
    peer: HttpPeer,
) -> EndpointResult {
    shared.require_broker(&peer, None, Right::Read)?;
    let users = shared.broker_users()?.list();
    Ok(json(api::encode(&UsersPage {
        total_count: users.len(),
        users,
    })))
}

/// One user.
#[utoipa::path(
    get, path = "/broker/users/{name}",
    params(("name" = String, Path)),
    responses((status = 200, body = UserView), NotFound)
)]
pub(in crate::http) async fn user(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
) -> EndpointResult {
    shared.require_broker(&peer, None, Right::Read)?;
    let found = shared.broker_users()?.find(name.as_str());
    let unknown = || UserRefused::Unknown(name.as_str().to_owned());
    let found = found.ok_or_else(unknown).map_err(problem)?;
    Ok(json(api::encode(&found)))
}

/// Makes a user, which has no permissions yet. It can log in at once, and survives a restart if there is a store.
#[utoipa::path(
    post, path = "/broker/users",
    request_body = BrokerUserDraft,
    responses(
        (status = 201, body = BrokerUserChanged),
        (status = 503, description = "It was not stored, or there are too many", body = Problem, content_type = "application/problem+json"),
        NotFound, Conflict, TooLarge, Invalid,
    )
)]
pub(in crate::http) async fn add_user(
    State(shared): State<AppState>,
    peer: HttpPeer,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = BrokerUserDraft::read_new(&body)?;
    let name = draft.name.as_deref().unwrap_or_default().to_owned();
    let edit = UserEdit::Add {
        password: password(&draft).unwrap_or(UserPassword::None),
        tags: draft.tags.unwrap_or_default(),
        loopback_only: draft.loopback_only.unwrap_or_default(),
    };
    let changed = carry_out(&shared, &peer, &name, edit, "made").await?;
    let body = warnings.added_to(api::encode(&changed));
    Ok(json_as(StatusCode::CREATED, body))
}

/// Gives a user another password, or other tags. Open connections stay.
#[utoipa::path(
    put, path = "/broker/users/{name}",
    params(("name" = String, Path)),
    request_body = BrokerUserDraft,
    responses((status = 200, body = BrokerUserChanged), NotFound, Conflict, TooLarge, Invalid)
)]
pub(in crate::http) async fn change_user(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = BrokerUserDraft::read_change(&body)?;
    let edit = match (password(&draft), draft.tags) {
        (Some(password), None) => UserEdit::Password(password),
        (password, Some(tags)) => {
            // Put would make a user that is not there.
            let known = shared.broker_users()?.find(name.as_str());
            known.ok_or_else(|| problem(UserRefused::Unknown(name.as_str().to_owned())))?;
            UserEdit::Put { password, tags }
        }
        (None, None) => return Err(Problem::field("body", "changes nothing").into()),
    };
    let changed = carry_out(&shared, &peer, name.as_str(), edit, "changed").await?;
    Ok(json(warnings.added_to(api::encode(&changed))))
}

/// Removes a user with its permissions. Its connections are closed within a second.
#[utoipa::path(
    delete, path = "/broker/users/{name}",
    params(("name" = String, Path)),
    responses((status = 204), NotFound, Conflict)
)]
pub(in crate::http) async fn delete_user(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
) -> EndpointResult {
    carry_out(&shared, &peer, name.as_str(), UserEdit::Delete, "removed").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sets what a user may do in a vhost; it holds for open connections at once.
#[utoipa::path(
    put, path = "/broker/users/{name}/permissions/{vhost}",
    params(("name" = String, Path), ("vhost" = String, Path, description = "%2F is the default vhost")),
    request_body = BrokerPermissionDraft,
    responses((status = 200, body = BrokerUserChanged), NotFound, Conflict, TooLarge, Invalid)
)]
pub(in crate::http) async fn permit(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = BrokerPermissionDraft::read(&body)?;
    let permission = PermissionConfig {
        configure: draft.configure.unwrap_or_default(),
        write: draft.write,
        read: draft.read,
    };
    let edit = UserEdit::Permit(of.second().to_owned(), Some(permission));
    let changed = carry_out(&shared, &peer, of.as_str(), edit, "given permissions").await?;
    Ok(json(warnings.added_to(api::encode(&changed))))
}

/// Takes all permissions in a vhost from a user, whose connections there are closed.
#[utoipa::path(
    delete, path = "/broker/users/{name}/permissions/{vhost}",
    params(("name" = String, Path), ("vhost" = String, Path)),
    responses((status = 204), NotFound, Conflict)
)]
pub(in crate::http) async fn forbid(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
) -> EndpointResult {
    let edit = UserEdit::Permit(of.second().to_owned(), None);
    carry_out(&shared, &peer, of.as_str(), edit, "shut out of a vhost").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Limits the routing keys that a user may use at a topic exchange.
#[utoipa::path(
    put, path = "/broker/users/{name}/topic-permissions/{vhost}/{exchange}",
    params(("name" = String, Path), ("vhost" = String, Path), ("exchange" = String, Path)),
    request_body = BrokerPermissionDraft,
    responses((status = 200, body = BrokerUserChanged), NotFound, Conflict, TooLarge, Invalid)
)]
pub(in crate::http) async fn permit_topics(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = BrokerPermissionDraft::read_topics(&body)?;
    let permission = TopicPermissionConfig {
        write: draft.write,
        read: draft.read,
    };
    let (vhost, exchange) = (of.second().to_owned(), of.third().to_owned());
    let edit = UserEdit::PermitTopics(vhost, exchange, Some(permission));
    let changed = carry_out(&shared, &peer, of.as_str(), edit, "given topics").await?;
    Ok(json(warnings.added_to(api::encode(&changed))))
}

/// Lifts the limits of routing keys at a topic exchange.
#[utoipa::path(
    delete, path = "/broker/users/{name}/topic-permissions/{vhost}/{exchange}",
    params(("name" = String, Path), ("vhost" = String, Path), ("exchange" = String, Path)),
    responses((status = 204), NotFound, Conflict)
)]
pub(in crate::http) async fn free_topics(
    State(shared): State<AppState>,
    peer: HttpPeer,
    of: Name,
) -> EndpointResult {
    let (vhost, exchange) = (of.second().to_owned(), of.third().to_owned());
    let edit = UserEdit::PermitTopics(vhost, exchange, None);
    carry_out(&shared, &peer, of.as_str(), edit, "freed of topic limits").await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn password(draft: &BrokerUserDraft) -> Option<UserPassword> {
    let secret = |secret: &secrecy::SecretString| secret.expose_secret().to_owned();
    if let Some(password) = &draft.password {
        return Some(UserPassword::Plain(secret(password).into()));
    }
    let hash = draft.password_hash.as_ref()?;
    Some(match hash.expose_secret() {
        "" => UserPassword::None,
        _ => {
            let algorithm = draft.hashing_algorithm.as_deref().map(str::to_owned);
            UserPassword::Hash(secret(hash).into(), algorithm)
        }
    })
}

async fn carry_out(
    shared: &AppState,
    peer: &HttpPeer,
    name: &str,
    edit: UserEdit,
    what: &str,
) -> Result<BrokerUserChanged, HttpProblem> {
    shared.require(peer, Protected::System, "", Right::Write)?;
    let users = shared.broker_users()?;
    users.edit(name, edit).await.map_err(problem)?;
    tracing::info!("the broker's user \"{name}\" is {what} {}", caller(peer));
    Ok(BrokerUserChanged {
        name: name.to_owned(),
        stored: users.are_kept(),
    })
}

fn problem(refused: UserRefused) -> HttpProblem {
    let text = refused.to_string();
    match refused {
        UserRefused::Field(field, message) => Problem::field(field, message).into(),
        UserRefused::Configured(_) | UserRefused::Exists(_) => HttpProblem::new(409, text),
        UserRefused::Unknown(_) | UserRefused::NoVhost(_) => HttpProblem::new(404, text),
        UserRefused::Full(_) | UserRefused::NotHashed(_) | UserRefused::NotStored(_) => {
            HttpProblem::new(503, text)
        }
    }
}
