//! Pages about the embedded broker. Knows no AMQP: [`BrokerPages`] answers in JSON.

mod config;
mod definitions;
mod publish;
mod queues;
mod users;

use std::sync::Arc;

use axum::extract::{RawQuery, State};

pub use self::config::Config;
pub(in crate::http) use self::{
    definitions::{
        __path_export_definitions, __path_import_definitions, export_definitions,
        import_definitions,
    },
    publish::{__path_publish, publish},
    queues::{
        __path_delete, __path_messages, __path_purge, __path_queue, delete, messages, purge, queue,
    },
    users::{
        __path_add_user, __path_change_user, __path_delete_user, __path_forbid, __path_free_topics,
        __path_permit, __path_permit_topics, __path_user, __path_users, add_user, change_user,
        delete_user, forbid, free_topics, permit, permit_topics, user, users,
    },
};
use crate::{
    api::{self, Problem},
    broker::{listing::Wanted, pages, server::Overview},
    http::{
        BrokerList, BrokerPages,
        answer::{EndpointResult, HttpProblem, json},
        problems::Invalid,
        serve::connection::HttpPeer,
        state::AppState,
    },
    security::Right,
};

/// How many items a list has without a `limit`.
const LIMIT_DEFAULT: usize = 1000;

impl AppState {
    fn pages(&self) -> Result<&Arc<dyn BrokerPages>, HttpProblem> {
        let pages = self.broker.as_ref();
        pages.ok_or_else(|| HttpProblem::new(404, "the embedded broker is switched off"))
    }
}

async fn listed(
    shared: &AppState,
    peer: &HttpPeer,
    list: BrokerList,
    query: Option<&str>,
) -> EndpointResult {
    let pages = shared.pages()?;
    let part = part(query, shared.config.broker.items_max.get())?;
    shared.require_broker(peer, part.vhost.as_deref(), Right::Read)?;
    Ok(json(pages.list(list, part).await))
}

fn part(query: Option<&str>, items_max: usize) -> Result<Wanted, Problem> {
    let mut part = Wanted {
        vhost: None,
        name: String::new(),
        limit: LIMIT_DEFAULT,
    };
    for (key, value) in api::pairs(query.unwrap_or_default()) {
        match &*key {
            "vhost" => part.vhost = Some(value.into_owned()),
            "name" => part.name = value.into_owned(),
            "limit" => part.limit = count("limit", &value)?,
            _ => {}
        }
    }
    part.limit = part.limit.min(items_max);
    Ok(part)
}

/// A number in a query.
fn count(field: &str, value: &str) -> Result<usize, Problem> {
    api::limit(value).map_err(|message| Problem::field(field, message))
}

/// Totals of the broker, and rates per second over the last seconds.
#[utoipa::path(
    get, path = "/broker/overview",
    responses(
        (status = 200, body = Overview),
        (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn overview(
    State(shared): State<AppState>,
    peer: HttpPeer,
) -> EndpointResult {
    shared.require_broker(&peer, None, Right::Read)?;
    Ok(json(shared.pages()?.overview().await))
}

/// The endpoint of each list: `endpoint: path, list, answer, what "name" means`.
macro_rules! list_endpoints {
    ($($(#[$doc:meta])* $endpoint:ident: $path:literal, $list:ident, $page:ident, $name:literal;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(
            get, path = $path,
            params(
                ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
                ("name" = Option<String>, Query, description = $name),
                ("limit" = Option<usize>, Query, description = "The most items, default 1000; total_count counts all"),
            ),
            responses(
                (status = 200, body = pages::$page),
                (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
                Invalid,
            )
        )]
        pub(in crate::http) async fn $endpoint(
            State(shared): State<AppState>,
            peer: HttpPeer,
            RawQuery(query): RawQuery,
        ) -> EndpointResult {
            listed(&shared, &peer, BrokerList::$list, query.as_deref()).await
        }
    )*};
}

list_endpoints! {
    /// Client connections, and those of the daemon itself, named "in process".
    connections: "/broker/connections", Connections, ConnectionsPage,
        "A part of the name that the client gave, or of its address";
    /// The channels of the broker's connections.
    channels: "/broker/channels", Channels, ChannelsPage,
        "A part of the name of the channel's connection";
    /// The exchanges.
    exchanges: "/broker/exchanges", Exchanges, ExchangesPage, "A part of the name";
    /// The queues, with rates per second over the last seconds.
    queues: "/broker/queues", Queues, QueuesPage, "A part of the name";
    /// The bindings, without those to the default exchange.
    bindings: "/broker/bindings", Bindings, BindingsPage, "A part of the name of either end";
    /// The consumers.
    consumers: "/broker/consumers", Consumers, ConsumersPage,
        "A part of the tag or of the queue's name";
}

#[cfg(test)]
mod tests;
