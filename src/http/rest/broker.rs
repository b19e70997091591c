//! Pages about the embedded broker. Knows no AMQP: [`BrokerPages`] answers in JSON.

mod config;
mod queues;

use std::sync::Arc;

use axum::extract::{RawQuery, State};

pub use self::config::Config;
pub(in crate::http) use self::queues::{
    __path_delete, __path_messages, __path_purge, __path_queue, delete, messages, purge, queue,
};
use crate::{
    api::{self, Problem},
    broker::{pages, server::Overview},
    http::{
        BrokerList, BrokerPages, BrokerPart,
        answer::{EndpointResult, HttpProblem, json},
        state::AppState,
    },
};

/// How many items a list has without a `limit`.
const LIMIT_DEFAULT: usize = 1000;

impl AppState {
    fn pages(&self) -> Result<&Arc<dyn BrokerPages>, HttpProblem> {
        let pages = self.broker.as_ref();
        pages.ok_or_else(|| HttpProblem::new(404, "the embedded broker is switched off"))
    }
}

async fn listed(shared: &AppState, list: BrokerList, query: Option<&str>) -> EndpointResult {
    let pages = shared.pages()?;
    let part = part(query, shared.config.broker.items_max.get())?;
    Ok(json(pages.list(list, part).await))
}

fn part(query: Option<&str>, items_max: usize) -> Result<BrokerPart, Problem> {
    let mut part = BrokerPart {
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
pub(in crate::http) async fn overview(State(shared): State<AppState>) -> EndpointResult {
    Ok(json(shared.pages()?.overview().await))
}

/// Client connections, and those of the daemon itself, named "in process".
#[utoipa::path(
    get, path = "/broker/connections",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name that the client gave, or of its address"),
        ("limit" = Option<usize>, Query, description = "The most items, default 1000; total_count counts all"),
    ),
    responses(
        (status = 200, body = pages::ConnectionsPage),
        (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn connections(
    State(shared): State<AppState>,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    listed(&shared, BrokerList::Connections, query.as_deref()).await
}

/// The channels of the broker's connections.
#[utoipa::path(
    get, path = "/broker/channels",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name of the channel's connection"),
        ("limit" = Option<usize>, Query, description = "The most items, default 1000; total_count counts all"),
    ),
    responses(
        (status = 200, body = pages::ChannelsPage),
        (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn channels(
    State(shared): State<AppState>,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    listed(&shared, BrokerList::Channels, query.as_deref()).await
}

/// The exchanges.
#[utoipa::path(
    get, path = "/broker/exchanges",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name"),
        ("limit" = Option<usize>, Query, description = "The most items, default 1000; total_count counts all"),
    ),
    responses(
        (status = 200, body = pages::ExchangesPage),
        (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn exchanges(
    State(shared): State<AppState>,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    listed(&shared, BrokerList::Exchanges, query.as_deref()).await
}

/// The queues, with rates per second over the last seconds.
#[utoipa::path(
    get, path = "/broker/queues",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name"),
        ("limit" = Option<usize>, Query, description = "The most items, default 1000; total_count counts all"),
    ),
    responses(
        (status = 200, body = pages::QueuesPage),
        (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn queues(
    State(shared): State<AppState>,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    listed(&shared, BrokerList::Queues, query.as_deref()).await
}

/// The bindings, without those to the default exchange.
#[utoipa::path(
    get, path = "/broker/bindings",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name of either end"),
        ("limit" = Option<usize>, Query, description = "The most items, default 1000; total_count counts all"),
    ),
    responses(
        (status = 200, body = pages::BindingsPage),
        (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn bindings(
    State(shared): State<AppState>,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    listed(&shared, BrokerList::Bindings, query.as_deref()).await
}

/// The consumers.
#[utoipa::path(
    get, path = "/broker/consumers",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the tag or of the queue's name"),
        ("limit" = Option<usize>, Query, description = "The most items, default 1000; total_count counts all"),
    ),
    responses(
        (status = 200, body = pages::ConsumersPage),
        (status = 404, description = "The broker is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn consumers(
    State(shared): State<AppState>,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    listed(&shared, BrokerList::Consumers, query.as_deref()).await
}

#[cfg(test)]
mod tests;
