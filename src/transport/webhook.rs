//! Webhooks: changes and notices delivered by HTTP requests.

mod answer;
mod lag;
mod notices;
mod post;
mod signature;
mod watcher;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::try_join;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    lag::Lags,
    notices::Telling,
    post::{Post, RequestPlaces},
    signature::SigningKey,
    watcher::Watcher,
};
use super::{
    Config, DirectMetrics, Ended, Filter, HighWatermark, LogFeed, Relay, Start, TransportError,
    delivery_tasks::DeliveryTasks,
    metrics::{DeliveryCounters, Present},
};
use crate::{
    api::{WatcherAnswer, WatcherDraft},
    outbound::Client,
    registry::{Notices, Registry},
};

type WatcherTable = Arc<Mutex<BTreeMap<Uuid, Arc<Watcher>>>>;

/// A cheap handle to all webhooks.
///
/// Each webhook has its own task and cursor, so that a slow or dead receiver delays no other one.
/// Deliveries are `POST` requests of one event each, in order and at least once: the
/// next is sent after the last was answered with 2xx (see `webhook/answer.rs` for other answers).
#[derive(Clone, Debug)]
pub struct Webhooks {
    inner: Arc<WebhookState>,
}

#[derive(Debug)]
struct WebhookState {
    registry: Registry,
    config: Config,
    watermark: HighWatermark,
    notices: Arc<Notices>,
    metrics: DirectMetrics,
    counts: DeliveryCounters,
    client: Client,
    places: Arc<RequestPlaces>,
    table: WatcherTable,
    delivery_tasks: DeliveryTasks,
}

impl Webhooks {
    /// No webhooks yet. They receive events up to `watermark`; webhooks of everything also receive notices.
    /// `client` sends the requests.
    pub fn new(
        registry: Registry,
        config: Config,
        watermark: HighWatermark,
        notices: Arc<Notices>,
        client: Client,
        metrics: DirectMetrics,
    ) -> Self {
        Self {
            inner: Arc::new(WebhookState {
                counts: metrics.of("webhook"),
                places: Arc::new(RequestPlaces::new(&config)),
                table: WatcherTable::default(),
                delivery_tasks: DeliveryTasks::new("webhooks", config.webhooks_max.get()),
                registry,
                config,
                watermark,
                notices,
                metrics,
                client,
            }),
        }
    }

    /// Adds a webhook that receives what comes after `start`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The URL is not usable, there are too many webhooks, `registry.memory_max` is reached, or the daemon is
    /// stopping.
    pub fn add(&self, draft: WatcherDraft, start: Start) -> Result<WatcherAnswer, TransportError> {
        let inner = &self.inner;
        let id = Uuid::now_v7();
        let secret = draft.secret.as_deref().and_then(SigningKey::new);
        let signed = secret.is_some();
        let post = Post::new(inner, id, &draft.callback_url, secret)?;
        let permit = inner.delivery_tasks.permit()?;
        let memory = inner.registry.reserve(memory(&draft))?;
        let subscriber = start.subscriber(&inner.registry, inner.config.policy());
        let watcher = Arc::new(Watcher {
            id,
            filter: Filter {
                service: draft.service_name,
                kinds: draft.events,
                without_canary: !draft.canary,
            },
            callback_url: draft.callback_url,
            signed,
            created_at: inner.registry.clock().now().wall,
            subscriber: Arc::new(Mutex::new(subscriber)),
            end: CancellationToken::new(),
        });
        let info = watcher.report(&mut Lags::new(&inner.registry));
        inner.table.lock().insert(id, Arc::clone(&watcher));
        let held = (permit, memory, Present::new(&inner.metrics.webhooks));
        self.start(&watcher, post, held);
        let (url, _) = watcher
            .callback_url
            .split_once('?')
            .unwrap_or((&watcher.callback_url, ""));
        tracing::info!(watcher.id = %id, "webhook {id} to {url} is added");
        Ok(info)
    }

    fn start(&self, watcher: &Watcher, post: Post, held: impl Send + 'static) {
        let inner = &self.inner;
        let telling = watcher.filter.is_all().then(|| {
            let (epoch, policy) = (inner.registry.epoch(), inner.config.policy());
            let telling = Telling::new(&inner.notices, epoch, policy, inner.counts.clone());
            (telling, post.clone())
        });
        let (_, filter) = watch::channel(watcher.filter.clone());
        let mut relay = Relay::new(
            format!("webhook {}", watcher.id),
            LogFeed::new(inner.registry.clone(), filter).within(&inner.watermark),
            post,
            Arc::clone(&watcher.subscriber),
            inner.registry.clock().clone(),
            inner.counts.clone(),
        );
        let (id, table) = (watcher.id, Arc::clone(&inner.table));
        let (stop, end) = (inner.delivery_tasks.stopping().clone(), watcher.end.clone());
        inner.delivery_tasks.spawn(async move {
            let events = async {
                match relay.run(&stop).await {
                    Ended::Gone => Err(Ended::Gone),
                    ended => Ok(ended),
                }
            };
            let notices = async {
                match telling {
                    // On the heap: most webhooks receive no notices.
                    Some((telling, post)) => Box::pin(telling.run(post, &stop)).await,
                    None => Ok(()),
                }
            };
            let ended = tokio::select! {
                // First, so that nothing is sent any more.
                biased;
                () = end.cancelled() => Ended::Closed,
                ended = try_join(events, notices) => match ended {
                    Ok((ended, ())) | Err(ended) => ended,
                },
            };
            if ended == Ended::Gone {
                table.lock().remove(&id);
                tracing::info!(
                    watcher.id = %id,
                    "webhook {id} is removed: its receiver answered 410"
                );
            }
            drop(held);
        });
    }

    /// Removes a webhook; a request under way is aborted. False when there is no such webhook.
    pub fn remove(&self, id: &str) -> bool {
        let removed = self
            .id(id)
            .and_then(|id| self.inner.table.lock().remove(&id));
        removed
            .inspect(|watcher| {
                watcher.end.cancel();
                let id = watcher.id;
                tracing::info!(watcher.id = %id, "webhook {id} is removed");
            })
            .is_some()
    }

    /// One webhook.
    pub fn find(&self, id: &str) -> Option<WatcherAnswer> {
        let watcher = self.inner.table.lock().get(&self.id(id)?).cloned()?;
        Some(watcher.report(&mut Lags::new(&self.inner.registry)))
    }

    /// Every webhook, oldest first.
    pub fn list(&self) -> Vec<WatcherAnswer> {
        let watchers = self.watchers();
        let mut lags = Lags::new(&self.inner.registry);
        let infos = watchers.iter().map(|watcher| watcher.report(&mut lags));
        infos.collect()
    }

    /// Runs until `stop` and every webhook has the rest, its receiver failed for good, or
    /// `transport.drain` is over.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
        // The broker may stop before it has returned all events: the log has them too.
        self.inner.watermark.lift();
        self.inner
            .delivery_tasks
            .stop(self.inner.config.drain.get())
            .await;
    }

    /// Sets the gauges before metrics are rendered.
    pub fn show(&self) {
        let watchers = self.watchers();
        let mut lags = Lags::new(&self.inner.registry);
        let open = watchers.iter().filter(|watcher| watcher.is_open()).count();
        let lag = watchers.iter().map(|watcher| {
            let cursor = watcher.subscriber.lock().cursor();
            watcher.lag(cursor, &mut lags)
        });
        let metrics = &self.inner.metrics;
        metrics
            .circuits_open
            .set(i64::try_from(open).unwrap_or(i64::MAX));
        metrics
            .lag
            .set(i64::try_from(lag.max().unwrap_or(0)).unwrap_or(i64::MAX));
    }

    fn watchers(&self) -> Vec<Arc<Watcher>> {
        self.inner.table.lock().values().cloned().collect()
    }

    fn id(&self, text: &str) -> Option<Uuid> {
        Uuid::try_parse(text).ok()
    }
}

/// What a webhook takes besides its texts: its task, its request and its entry in the table.
const FIXED_BYTES: usize = 4096;

/// The bytes that a webhook takes, whose URL is kept in three forms.
fn memory(draft: &WatcherDraft) -> usize {
    let secret = draft.secret.as_ref().map_or(0, |secret| secret.len());
    FIXED_BYTES + 3 * draft.callback_url.len() + size_of_val(&*draft.events) + secret
}

#[cfg(test)]
mod tests;
