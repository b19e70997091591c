//! The embedded broker as others see it: its pages over HTTP, its metrics. Moves no message.

mod metrics;
mod rates;

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::rates::MessageCounts;
pub(super) use self::{metrics::show, rates::Sampler};
use crate::{
    broker::{
        Broker,
        listing::{Listing, Wanted},
        server::Overview,
        vhost::{MessageView, QueueView},
    },
    catalog::{Caller, Catalog, Door},
    http::{BrokerList, BrokerPages, BrokerPart},
};

/// Tells the registry of connections that closed, until told to stop: connections that close because the
/// daemon stops are no news.
pub(super) async fn report_closed(
    mut closed: mpsc::Receiver<u64>,
    catalog: Catalog,
    stop: CancellationToken,
) {
    loop {
        let connection = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            connection = closed.recv() => connection,
        };
        let Some(connection) = connection else {
            return stop.cancelled().await;
        };
        let caller = Caller::daemon(Door::Broker);
        let lost = catalog.close_connection(&caller, connection).await;
        let lost = lost.unwrap_or(0);
        if lost > 0 {
            tracing::info!(
                connection.id = connection,
                "connection {connection} closed: {lost} instances with leases on it are unhealthy"
            );
        }
    }
}

/// The pages of one broker.
#[derive(Debug)]
pub(super) struct BrokerPort {
    pub(super) broker: Broker,
    pub(super) sampler: Sampler,
}

#[derive(Serialize)]
struct OverviewPage {
    #[serde(flatten)]
    overview: Overview,
    #[serde(flatten)]
    sums: Sums,
    rates: MessageRates,
}

/// All virtual hosts together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sums {
    channels: usize,
    exchanges: usize,
    queues: usize,
    bindings: usize,
    consumers: usize,
    messages_ready: usize,
    messages_unacked: usize,
    #[serde(skip)]
    counts: MessageCounts,
}

impl Sums {
    fn of(overview: &Overview) -> Self {
        let mut sums = Self::default();
        for vhost in &overview.vhosts {
            sums.channels += vhost.channels;
            sums.exchanges += vhost.exchanges;
            sums.queues += vhost.queues;
            sums.bindings += vhost.bindings;
            sums.consumers += vhost.consumers;
            sums.messages_ready += vhost.messages_ready;
            sums.messages_unacked += vhost.messages_unacked;
            sums.counts += MessageCounts::from(vhost.counters);
        }
        sums
    }
}

/// What happened per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct MessageRates {
    over_seconds: f64,
    published: f64,
    delivered: f64,
    acked: f64,
}

#[derive(Serialize)]
struct QueuePage {
    #[serde(flatten)]
    queue: QueueView,
    rates: MessageRates,
}

impl BrokerPort {
    fn queue_pages(&self, queues: impl IntoIterator<Item = QueueView>) -> Vec<QueuePage> {
        let since = self.sampler.oldest();
        let page = |queue: QueueView| QueuePage {
            rates: since.of_queue(&queue),
            queue,
        };
        queues.into_iter().map(page).collect()
    }
}

impl BrokerPages for BrokerPort {
    fn overview(&self) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async {
            let overview = self.broker.overview().await;
            let sums = Sums::of(&overview);
            encode(&OverviewPage {
                rates: self.sampler.oldest().of_all(sums.counts),
                overview,
                sums,
            })
        })
    }

    fn list(&self, list: BrokerList, part: BrokerPart) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move {
            let wanted = Wanted {
                vhost: part.vhost,
                name: part.name,
                limit: part.limit,
            };
            let broker = &self.broker;
            match list {
                BrokerList::Connections => listed("connections", broker.connections(&wanted).await),
                BrokerList::Channels => listed("channels", broker.channels(&wanted).await),
                BrokerList::Exchanges => listed("exchanges", broker.exchanges(&wanted).await),
                BrokerList::Queues => {
                    let Listing { items, total, .. } = broker.queues(&wanted).await;
                    page("queues", &self.queue_pages(items), total)
                }
                BrokerList::Bindings => listed("bindings", broker.bindings(&wanted).await),
                BrokerList::Consumers => listed("consumers", broker.consumers(&wanted).await),
            }
        })
    }

    fn queue<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let queue = self.broker.queue(vhost, name).await;
            self.queue_pages(queue).first().map(encode)
        })
    }

    fn messages<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        count: usize,
    ) -> BoxFuture<'a, Option<Vec<u8>>> {
        #[derive(Serialize)]
        struct Messages {
            messages: Vec<MessageView>,
        }
        Box::pin(async move {
            let messages = self.broker.peek(vhost, name, count).await?;
            Some(encode(&Messages { messages }))
        })
    }

    fn purge<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>> {
        Box::pin(self.broker.purge(vhost, name))
    }

    fn delete<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>> {
        Box::pin(self.broker.delete(vhost, name))
    }
}

fn listed<T: Serialize>(name: &str, listing: Listing<T>) -> Vec<u8> {
    page(name, &listing.items, listing.total)
}

fn page<T: Serialize>(name: &str, items: &[T], total: usize) -> Vec<u8> {
    let mut json = crate::api::Json::with_capacity(256 + items.len() * 256);
    json.open(b'{');
    json.key(name).raw(&encode(&items));
    json.key("total_count").size(total);
    json.close(b'}');
    json.into_bytes()
}

/// The views have no keys but strings, so that they can always be written.
fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
