//! The embedded broker: its pages over HTTP, its metrics, its rates. Reads only.

mod metrics;
mod rates;

use futures_util::future::BoxFuture;
use serde::Serialize;

use self::rates::{MessageCounts, Sampler};
use crate::{
    broker::{
        Broker,
        listing::{Listing, Wanted},
        server::Overview,
        vhost::{MessageView, QueueView},
    },
    http::{BrokerList, BrokerPages, BrokerPart},
    tasks::{Stage, Tasks},
    telemetry::Metrics,
};

/// The pages of one broker.
#[derive(Debug)]
pub struct BrokerMonitor {
    broker: Broker,
    sampler: Sampler,
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

impl BrokerMonitor {
    /// Shows the broker among the metrics, at most `queues_max` queues each by name, and samples its rates.
    pub fn start(broker: Broker, queues_max: usize, metrics: &Metrics, tasks: &mut Tasks) -> Self {
        metrics::show(metrics, &broker, queues_max);
        let sampler = Sampler::default();
        let (sampled, rates) = (broker.clone(), sampler.clone());
        tasks.spawn(Stage::Source, "broker rates", |stop| {
            rates.run(sampled, stop)
        });
        Self { broker, sampler }
    }

    fn queue_pages(&self, queues: impl IntoIterator<Item = QueueView>) -> Vec<QueuePage> {
        let since = self.sampler.oldest();
        let page = |queue: QueueView| QueuePage {
            rates: since.of_queue(&queue),
            queue,
        };
        queues.into_iter().map(page).collect()
    }
}

impl BrokerPages for BrokerMonitor {
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
