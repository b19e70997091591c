//! What the embedded broker shows of itself. Knows no AMQP: the port answers in JSON.

mod config;
mod queues;

use std::sync::Arc;

use axum::extract::{RawQuery, State};

pub use self::config::Config;
pub(in crate::http) use self::queues::{
    __path_delete, __path_messages, __path_purge, __path_queue, delete, messages, purge, queue,
};
use crate::{
    api::{self, Problem, schema},
    http::{
        BrokerList, BrokerPages, BrokerPart,
        answer::{Answer, Refusal, json},
        state::Shared,
    },
};

/// How many items a list has when the caller names no limit.
const LIMIT_DEFAULT: usize = 1000;

impl Shared {
    fn pages(&self) -> Result<&Arc<dyn BrokerPages>, Refusal> {
        let pages = self.broker.as_ref();
        pages.ok_or_else(|| Refusal::new(404, "the embedded broker is switched off"))
    }
}

async fn listed(shared: &Shared, list: BrokerList, query: Option<&str>) -> Answer {
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

/// The broker in numbers, and what happened per second of late.
#[utoipa::path(
    get, path = "/broker/overview", tag = "broker",
    responses(
        (status = 200, body = schema::BrokerOverview),
        (status = 404, description = "The broker is switched off", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn overview(State(shared): State<Shared>) -> Answer {
    Ok(json(shared.pages()?.overview().await))
}

/// Who is connected to the broker.
#[utoipa::path(
    get, path = "/broker/connections", tag = "broker",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name the client gave, or of its address"),
        ("limit" = Option<usize>, Query, description = "The most items, 1000 if none is given; total_count tells how many there are"),
    ),
    responses(
        (status = 200, body = schema::BrokerConnections),
        (status = 404, description = "The broker is switched off", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn connections(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Answer {
    listed(&shared, BrokerList::Connections, query.as_deref()).await
}

/// The channels of the broker's connections.
#[utoipa::path(
    get, path = "/broker/channels", tag = "broker",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name of the channel's connection"),
        ("limit" = Option<usize>, Query, description = "The most items, 1000 if none is given; total_count tells how many there are"),
    ),
    responses(
        (status = 200, body = schema::BrokerChannels),
        (status = 404, description = "The broker is switched off", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn channels(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Answer {
    listed(&shared, BrokerList::Channels, query.as_deref()).await
}

/// The exchanges.
#[utoipa::path(
    get, path = "/broker/exchanges", tag = "broker",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name"),
        ("limit" = Option<usize>, Query, description = "The most items, 1000 if none is given; total_count tells how many there are"),
    ),
    responses(
        (status = 200, body = schema::BrokerExchanges),
        (status = 404, description = "The broker is switched off", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn exchanges(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Answer {
    listed(&shared, BrokerList::Exchanges, query.as_deref()).await
}

/// The queues, and what happened to each per second of late.
#[utoipa::path(
    get, path = "/broker/queues", tag = "broker",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name"),
        ("limit" = Option<usize>, Query, description = "The most items, 1000 if none is given; total_count tells how many there are"),
    ),
    responses(
        (status = 200, body = schema::BrokerQueues),
        (status = 404, description = "The broker is switched off", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn queues(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Answer {
    listed(&shared, BrokerList::Queues, query.as_deref()).await
}

/// The bindings; that of every queue to the default exchange is understood.
#[utoipa::path(
    get, path = "/broker/bindings", tag = "broker",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the name of either end"),
        ("limit" = Option<usize>, Query, description = "The most items, 1000 if none is given; total_count tells how many there are"),
    ),
    responses(
        (status = 200, body = schema::BrokerBindings),
        (status = 404, description = "The broker is switched off", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn bindings(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Answer {
    listed(&shared, BrokerList::Bindings, query.as_deref()).await
}

/// The consumers.
#[utoipa::path(
    get, path = "/broker/consumers", tag = "broker",
    params(
        ("vhost" = Option<String>, Query, description = "Only of this virtual host"),
        ("name" = Option<String>, Query, description = "A part of the tag or of the queue's name"),
        ("limit" = Option<usize>, Query, description = "The most items, 1000 if none is given; total_count tells how many there are"),
    ),
    responses(
        (status = 200, body = schema::BrokerConsumers),
        (status = 404, description = "The broker is switched off", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn consumers(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Answer {
    listed(&shared, BrokerList::Consumers, query.as_deref()).await
}

#[cfg(test)]
mod tests;
