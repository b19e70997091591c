//! The embedded broker: its pages over HTTP, its metrics, its rates. Reads only.

mod metrics;
mod rates;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::task::spawn_blocking;

use self::rates::{MessageCounts, Sampler};
use crate::{
    api::{PublishDraft, encode},
    broker::{
        Broker,
        definitions::{DefinitionFault, ImportReport},
        listing::Wanted,
        local::LocalPublish,
        pages::{
            BindingsPage, ChannelsPage, ConnectionsPage, ConsumersPage, ExchangesPage,
            MessagesPage, QueuesPage,
        },
        server::Overview,
        vhost::QueueView,
        wire::{ShortStr, properties::PropertyList, table::TableBuilder},
    },
    http::{BrokerList, BrokerPages, ManagedBroker, PublishError},
    tasks::{Stage, Tasks},
    telemetry::Metrics,
};

/// Encodes a page on a thread for such work: it may be large, and the threads of HTTP have others to answer.
async fn encoded(page: impl Serialize + Send + 'static) -> Vec<u8> {
    apart(move || encode(&page)).await
}

async fn apart(work: impl FnOnce() -> Vec<u8> + Send + 'static) -> Vec<u8> {
    match spawn_blocking(work).await {
        Ok(bytes) => bytes,
        // It is only cancelled with the process.
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

/// The pages of one broker.
#[derive(Debug)]
pub struct BrokerMonitor {
    broker: Broker,
    sampler: Sampler,
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

    fn add_rates(&self, queues: &mut [QueueView]) {
        let since = self.sampler.oldest();
        for queue in queues {
            queue.rates = since.of_queue(queue);
        }
    }
}

impl ManagedBroker for BrokerMonitor {
    fn broker(&self) -> &Broker {
        &self.broker
    }

    fn totals(&self) -> BoxFuture<'_, Overview> {
        Box::pin(async {
            let mut overview = self.broker.overview().await;
            let counts = MessageCounts::of(&overview);
            overview.rates = self.sampler.oldest().of_all(counts);
            overview.recent_rates = self.sampler.history();
            overview
        })
    }

    fn add_queue_rates(&self, queues: &mut [QueueView]) {
        self.add_rates(queues);
    }
}

impl BrokerPages for BrokerMonitor {
    fn overview(&self) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async { encode(&self.totals().await) })
    }

    fn list(&self, list: BrokerList, wanted: Wanted) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(async move {
            let (broker, wanted) = (&self.broker, &wanted);
            match list {
                BrokerList::Connections => {
                    encoded(ConnectionsPage::from(broker.connections(wanted).await)).await
                }
                BrokerList::Channels => {
                    encoded(ChannelsPage::from(broker.channels(wanted).await)).await
                }
                BrokerList::Exchanges => {
                    encoded(ExchangesPage::from(broker.exchanges(wanted).await)).await
                }
                BrokerList::Queues => {
                    let mut queues = broker.queues(wanted).await;
                    self.add_rates(&mut queues.items);
                    encoded(QueuesPage::from(queues)).await
                }
                BrokerList::Bindings => {
                    encoded(BindingsPage::from(broker.bindings(wanted).await)).await
                }
                BrokerList::Consumers => {
                    encoded(ConsumersPage::from(broker.consumers(wanted).await)).await
                }
            }
        })
    }

    fn queue<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let mut queue = self.broker.queue(vhost, name).await?;
            self.add_rates(std::slice::from_mut(&mut queue));
            Some(encode(&queue))
        })
    }

    fn messages<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        count: usize,
    ) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let messages = self.broker.peek(vhost, name, count).await?;
            Some(encoded(MessagesPage { messages }).await)
        })
    }

    fn purge<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>> {
        Box::pin(self.broker.purge(vhost, name))
    }

    fn publish(&self, draft: PublishDraft) -> BoxFuture<'_, Result<bool, PublishError>> {
        Box::pin(async move {
            let vhost = draft.vhost.clone();
            let unknown = || PublishError::Vhost(vhost.clone());
            let client = self.broker.local(&vhost).ok_or_else(unknown)?;
            if client.is_blocked() {
                return Err(PublishError::Blocked);
            }
            let published = self.broker.publish(&vhost, message(draft)).await;
            let published = published.ok_or_else(unknown)?;
            published.map_err(|error| PublishError::Refused(error.to_string()))
        })
    }

    fn delete<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>> {
        Box::pin(self.broker.delete(vhost, name))
    }

    fn definitions<'a>(&'a self, vhost: Option<&'a str>) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let definitions = self.broker.definitions(vhost).await?;
            let written = apart(move || {
                // Types of our own that hold text and numbers can always be written.
                let mut text = serde_json::to_vec_pretty(&definitions).unwrap_or_default();
                text.push(b'\n');
                text
            });
            Some(written.await)
        })
    }

    fn import(
        &self,
        file: Bytes,
        vhost: Option<String>,
    ) -> BoxFuture<'_, Result<ImportReport, Vec<DefinitionFault>>> {
        Box::pin(self.broker.import(file, vhost))
    }
}

/// A message of an operator, whose texts are short enough for AMQP: the draft was read within these limits.
fn message(draft: PublishDraft) -> LocalPublish {
    let short = |text: &str| ShortStr::truncated(text);
    let optional = |text: Option<Box<str>>| text.map(|text| short(&text));
    let mut headers = TableBuilder::new();
    for (name, value) in &draft.headers {
        headers.put_str(&**name, &**value);
    }
    let properties = PropertyList {
        content_type: optional(draft.content_type),
        message_id: optional(draft.message_id),
        correlation_id: optional(draft.correlation_id),
        reply_to: optional(draft.reply_to),
        delivery_mode: Some(if draft.persistent { 2 } else { 1 }),
        headers: (!draft.headers.is_empty()).then(|| headers.build()),
        ..PropertyList::default()
    };
    LocalPublish {
        exchange: short(&draft.exchange),
        routing_key: short(&draft.routing_key),
        properties: properties.build(),
        body: draft.payload.into(),
    }
}
