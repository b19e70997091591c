//! Who sends a request, and whether its route is open to it. What depends on names is judged by the catalog.

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Request as HttpRequest, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;

use super::{
    extract::caller,
    routes::{Action, ApiResource},
};
use crate::{
    api,
    catalog::{Identity, missing},
    http::{answer::HttpProblem, eureka, serve::connection::HttpPeer, state::AppState},
    security::{LoginRefused, Principal, Protected, Right},
};

/// Paths whose clients may be browsers that can send no header: a token or ticket may be in the query.
const IN_QUERY: [&str; 3] = ["/watch", "/watch/ws", "/gateway/watch"];

/// What a caller must have for a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AccessNeed {
    /// Nothing.
    Nothing,
    /// An identity.
    Identity,
    /// The right on something that has no name.
    Nameless(Protected, Right),
    /// The right on some name; which one is judged behind the route.
    Some(Protected, Right),
}

impl AccessNeed {
    pub(super) fn of((action, resource): (Action, ApiResource)) -> Self {
        let right = match action {
            Action::Read => Right::Read,
            Action::Write => Right::Write,
        };
        match resource {
            ApiResource::Health => Self::Nothing,
            ApiResource::Own => Self::Identity,
            ApiResource::System => Self::Nameless(Protected::System, right),
            // With the secrets of webhooks and the digests of tokens, or users who may do more than the caller.
            ApiResource::Backup | ApiResource::BrokerUser => {
                Self::Nameless(Protected::System, Right::Write)
            }
            ApiResource::Transport => Self::Nameless(Protected::Transport, right),
            ApiResource::Migration => Self::Nameless(Protected::Migration, right),
            ApiResource::Instance
            | ApiResource::Override
            | ApiResource::Check
            | ApiResource::Event => Self::Some(Protected::Service, right),
            ApiResource::Webhook => Self::Some(Protected::Watcher, right),
            ApiResource::Route => Self::Some(Protected::Route, right),
            ApiResource::Broker => Self::Some(Protected::Broker, right),
            ApiResource::Token => Self::Some(Protected::Token, right),
        }
    }

    /// Judges an identity.
    fn allow(self, principal: &Principal) -> Result<(), HttpProblem> {
        let (allowed, resource, right) = match self {
            Self::Nothing | Self::Identity => return Ok(()),
            Self::Nameless(resource, right) => {
                (principal.allows(resource, "", right), resource, right)
            }
            Self::Some(resource, right) => {
                (principal.allows_some(resource, right), resource, right)
            }
        };
        match allowed {
            true => Ok(()),
            false => Err(missing(principal, resource, "", right).into()),
        }
    }
}

/// What a route needs, and whether its answer may take any time.
#[derive(Clone, Debug)]
pub(super) struct RouteGuard {
    pub(super) needs: AccessNeed,
    pub(super) waits: bool,
}

/// Runs before each route while authentication is on.
pub(super) async fn guard(
    State(guard): State<RouteGuard>,
    peer: HttpPeer,
    request: Request,
    next: Next,
) -> Response {
    if let Err(refused) = permit(&peer.identity, guard.needs) {
        return refused.into_response();
    }
    match peer.identity {
        Identity::Of(_) if guard.waits => until_ended(peer, request, next).await,
        _ => next.run(request).await,
    }
}

/// Judges whether a route is open to an identity.
pub(super) fn permit(identity: &Identity, needs: AccessNeed) -> Result<(), HttpProblem> {
    match identity {
        Identity::Daemon => Ok(()),
        Identity::Anonymous if needs == AccessNeed::Nothing => Ok(()),
        Identity::Anonymous => Err(unknown()),
        Identity::Of(principal) => needs.allow(principal),
    }
}

/// Ends a request that waits, or a stream, when what its sender was recognised by is no longer valid.
async fn until_ended(peer: HttpPeer, request: Request, next: Next) -> Response {
    let response = tokio::select! {
        biased;
        () = peer.revoked() => return wrong(LoginRefused::Wrong).into_response(),
        response = next.run(request) => response,
    };
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let (head, body) = response.into_parts();
    let end = Box::pin(async move { peer.revoked().await });
    let body = body.into_data_stream().take_until(end);
    Response::from_parts(head, Body::from_stream(body))
}

/// Recognises who sends a request.
pub(in crate::http) fn recognise<B>(
    shared: &AppState,
    request: &HttpRequest<B>,
    peer: &HttpPeer,
) -> Result<Identity, HttpProblem> {
    let (address, now) = (peer.address, shared.now());
    let identities = &shared.identities;
    let uri = request.uri();
    let recognised = if let Some(token) = of_headers(request.headers()) {
        identities.recognise(token, address, now)
    } else if let Some(token) = of_eureka(uri.path(), request.headers()) {
        identities.recognise(&token, address, now)
    } else if let Some((key, value)) = of_query(uri.path(), uri.query()) {
        match key {
            "ticket" => identities.recognise_ticket(&value, address, now),
            _ => identities.recognise(&value, address, now),
        }
    } else {
        return Ok(certified(shared, peer));
    };
    recognised.map(Identity::Of).map_err(wrong)
}

/// Who sends a request that needs no identity: with a wrong token it is answered as without one, and nothing counts.
pub(super) fn known<B>(shared: &AppState, request: &HttpRequest<B>, peer: &HttpPeer) -> Identity {
    let Some(token) = of_headers(request.headers()) else {
        return certified(shared, peer);
    };
    let known = shared.identities.known(token, shared.now());
    known.map_or(Identity::Anonymous, Identity::Of)
}

/// Who sends a request without a token, by the certificate of its connection.
fn certified(shared: &AppState, peer: &HttpPeer) -> Identity {
    let names = peer.certified();
    let known = names.and_then(|names| shared.identities.certified(names));
    known.map_or(Identity::Anonymous, Identity::Of)
}

/// The token of `Authorization: Bearer` or `X-Consul-Token`. Another scheme is not for this daemon.
fn of_headers(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(bearer);
    authorization.or_else(|| {
        let value = headers.get("x-consul-token")?;
        Some(value.to_str().unwrap_or_default().trim())
    })
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let value = value.to_str().ok()?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The password of `Authorization: Basic`, for clients of Eureka, which can send nothing else: it is a token.
fn of_eureka(path: &str, headers: &HeaderMap) -> Option<String> {
    if !eureka::is_path(path) {
        return None;
    }
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(credentials.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

/// `ticket` or `token` of a query, where that is allowed.
fn of_query(path: &str, query: Option<&str>) -> Option<(&'static str, String)> {
    if !IN_QUERY.contains(&path) {
        return None;
    }
    let mut pairs = api::pairs(query?);
    pairs.find_map(|(key, value)| {
        let known = ["ticket", "token"]
            .into_iter()
            .find(|known| *known == key)?;
        Some((known, value.into_owned()))
    })
}

/// The refusal of a request without a token.
pub(in crate::http) fn unknown() -> HttpProblem {
    HttpProblem::new(
        401,
        "a token is required: send it as \"Authorization: Bearer TOKEN\", or use a client certificate of \
         security.certificates",
    )
}

fn wrong(refused: LoginRefused) -> HttpProblem {
    match refused {
        LoginRefused::Wrong | LoginRefused::Jwt(_) => HttpProblem::new(401, refused.to_string()),
        LoginRefused::TooMany { wait } => {
            HttpProblem::new(429, refused.to_string()).after(wait.as_secs() + 1)
        }
    }
}

impl AppState {
    /// Judges a right on a name, for what the catalog does not know.
    pub(super) fn require(
        &self,
        peer: &HttpPeer,
        resource: Protected,
        name: &str,
        right: Right,
    ) -> Result<(), HttpProblem> {
        Ok(self.catalog.require(&caller(peer), resource, name, right)?)
    }

    /// What a client may read.
    pub(in crate::http) fn sight(&self, peer: &HttpPeer) -> crate::catalog::Sight {
        self.catalog.sight(&caller(peer))
    }

    /// The embedded broker's pages about one vhost, or about all, are for those who have the right there.
    pub(super) fn require_broker(
        &self,
        peer: &HttpPeer,
        vhost: Option<&str>,
        right: Right,
    ) -> Result<(), HttpProblem> {
        if let Some(vhost) = vhost {
            return self.require(peer, Protected::Broker, vhost, right);
        }
        let caller = caller(peer);
        match self.catalog.restricted(&caller) {
            Some(principal) if !principal.allows_all(Protected::Broker, right) => {
                let detail = format!(
                    "identity \"{}\" has no {right} access to broker in all vhosts; lists take ?vhost=",
                    principal.name()
                );
                Err(HttpProblem::new(403, detail))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
