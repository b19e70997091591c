//! Webhooks: changes and notices delivered by HTTP requests.

mod answer;
mod lag;
mod notices;
mod post;
mod signature;
mod stored;
mod watcher;

use std::sync::Arc;

use futures_util::future::try_join;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(super) use self::stored::{CURSORS, RestoredWebhook, WEBHOOKS};
use self::{
    lag::Lags,
    notices::Telling,
    post::{Post, RequestPlaces},
    signature::SigningKey,
    stored::WatcherTable,
    watcher::Watcher,
};
use super::{
    Config, DirectMetrics, Ended, HighWatermark, LogFeed, Relay, Start, StoredTransport,
    TransportError, TransportRows,
    delivery_tasks::DeliveryTasks,
    metrics::{DeliveryCounters, Present},
};
use crate::{
    api::{StoredWatcher, WatcherAnswer, WatcherDraft},
    catalog::Sight,
    outbound::Client,
    registry::{Notices, Refusal, Registry},
    security::{Identities, Principal},
};

/// A cheap handle to all webhooks.
///
/// Each webhook has its own task and cursor, so that a slow or dead receiver delays no other one. Deliveries
/// are `POST` requests of one event each, in order and at least once. The next is sent after the last was
/// answered with 2xx (see `webhook/answer.rs` for other answers).
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
    table: Arc<WatcherTable>,
    delivery_tasks: DeliveryTasks,
}

impl Webhooks {
    /// No webhooks yet. They receive events up to `watermark`; webhooks of everything also receive notices.
    /// `client` sends the requests, and `rows` keeps them for the next run.
    pub fn new(
        registry: Registry,
        config: Config,
        watermark: HighWatermark,
        notices: Arc<Notices>,
        client: Client,
        metrics: DirectMetrics,
        rows: Arc<dyn TransportRows>,
    ) -> Self {
        Self {
            inner: Arc::new(WebhookState {
                counts: metrics.of("webhook"),
                places: Arc::new(RequestPlaces::new(&config)),
                table: Arc::new(WatcherTable::new(rows)),
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
    /// The URL is not usable, there are too many webhooks, `registry.memory_max` is reached, the disk is full, or
    /// the daemon is stopping.
    pub async fn add(
        &self,
        draft: WatcherDraft,
        start: Start,
    ) -> Result<WatcherAnswer, TransportError> {
        self.add_for(None, draft, start).await
    }

    /// Adds a webhook that receives what its owner may read, for as long as there is that identity.
    ///
    /// # Errors
    /// The same.
    pub async fn add_for(
        &self,
        owner: Option<&Principal>,
        draft: WatcherDraft,
        start: Start,
    ) -> Result<WatcherAnswer, TransportError> {
        let inner = &self.inner;
        let id = Uuid::now_v7();
        let post = self.post(id, &draft)?;
        let permit = inner.delivery_tasks.permit()?;
        let memory = inner.registry.reserve(memory(&draft))?;
        let stored = StoredWatcher {
            draft,
            created_at: inner.registry.clock().now().wall,
            owner: owner.map(|owner| (&**owner.name()).into()),
            owner_made: owner.and_then(Principal::made),
        };
        let subscriber = start.subscriber(&inner.registry, inner.config.policy());
        let sight = owner.map_or(Sight::All, |owner| Sight::Of(owner.lasting()));
        let watcher = Arc::new(Watcher::new(id, &stored, subscriber, sight));
        let webhooks = self.clone();
        // To its end also if the client does not wait: what is stored must run.
        let adding = async move {
            let table = &webhooks.inner.table;
            let added = table.add(&watcher, &stored).await;
            added.map_err(Refusal::from)?;
            webhooks.start(&watcher, post, (permit, memory));
            let info = watcher.report(&mut Lags::new(&webhooks.inner.registry));
            let url = watcher.shown_url();
            tracing::info!(watcher.id = %id, "webhook {id} to {url} is added");
            Ok(info)
        };
        inner.delivery_tasks.finish(adding).await?
    }

    /// Continues the webhooks of an earlier run, also if they are more than the limits allow by now.
    /// `identities` says what their owners may read by now; while there is authentication, one without an owner is
    /// named in the log, since it receives everything.
    pub fn restore(&self, stored: &StoredTransport, identities: &Identities) {
        let inner = &self.inner;
        for RestoredWebhook {
            id,
            watcher: stored,
            cursor,
        } in &stored.webhooks
        {
            let id = *id;
            let post = match self.post(id, &stored.draft) {
                Ok(post) => post,
                Err(error) => {
                    tracing::error!(watcher.id = %id, %error, "webhook {id} cannot be used: {error}");
                    continue;
                }
            };
            let memory = inner.registry.reserve_beyond(memory(&stored.draft));
            let subscriber = cursor.subscriber(&inner.registry, inner.config.policy());
            let sight = sight(id, stored, identities);
            let watcher = Arc::new(Watcher::new(id, stored, subscriber, sight));
            inner.table.insert(&watcher);
            let permit = inner.delivery_tasks.permit().ok();
            self.start(&watcher, post, (permit, memory));
        }
    }

    fn post(&self, id: Uuid, draft: &WatcherDraft) -> Result<Post, TransportError> {
        let secret = draft.secret.as_deref().and_then(SigningKey::new);
        Post::new(&self.inner, id, &draft.callback_url, secret)
    }

    /// Delivers to a webhook, in a task that has `held` until its end.
    fn start(&self, watcher: &Watcher, post: Post, held: impl Send + 'static) {
        let inner = &self.inner;
        let held = (held, Present::new(&inner.metrics.webhooks));
        let sees_notices = watcher.filter.sight.sees_notices();
        let telling = (watcher.filter.is_all() && sees_notices).then(|| {
            let (epoch, policy) = (inner.registry.epoch(), inner.config.policy());
            let telling = Telling::new(&inner.notices, epoch, policy, inner.counts.clone());
            (telling, post.clone())
        });
        let (_, filter) = watch::channel(watcher.filter.clone());
        let label = format!("webhook {}", watcher.id);
        let mut relay = Relay::new(
            label.clone(),
            LogFeed::new(inner.registry.clone(), filter).within(&inner.watermark),
            post,
            Arc::clone(&watcher.subscriber),
            inner.registry.clock().clone(),
            inner.counts.clone(),
        );
        let (id, table) = (watcher.id, Arc::clone(&inner.table));
        let (stop, end) = (inner.delivery_tasks.stopping().clone(), watcher.end.clone());
        inner.delivery_tasks.spawn(label, async move {
            let events = async {
                match relay.run_caught(&stop).await {
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
                table.end(id).await;
                tracing::info!(
                    watcher.id = %id,
                    "webhook {id} is removed: its receiver answered 410"
                );
            }
            drop(held);
        });
    }

    /// Removes a webhook; a request under way is aborted. False when there is no such webhook.
    ///
    /// # Errors
    /// The disk is full, or the daemon is stopping; nothing was changed.
    pub async fn remove(&self, id: &str) -> Result<bool, TransportError> {
        let Some(id) = self.id(id) else {
            return Ok(false);
        };
        let table = Arc::clone(&self.inner.table);
        let removing = async move {
            let Some(watcher) = table.remove(id).await.map_err(Refusal::from)? else {
                return Ok(false);
            };
            watcher.end.cancel();
            tracing::info!(watcher.id = %id, "webhook {id} is removed");
            Ok(true)
        };
        self.inner.delivery_tasks.finish(removing).await?
    }

    /// One webhook.
    pub fn find(&self, id: &str) -> Option<WatcherAnswer> {
        let watcher = self.inner.table.find(self.id(id)?)?;
        Some(watcher.report(&mut Lags::new(&self.inner.registry)))
    }

    /// Every webhook, oldest first.
    pub fn list(&self) -> Vec<WatcherAnswer> {
        let watchers = self.inner.table.all();
        let mut lags = Lags::new(&self.inner.registry);
        let infos = watchers.iter().map(|watcher| watcher.report(&mut lags));
        infos.collect()
    }

    /// Runs until `stop` and every webhook has the rest, its receiver failed for good, or
    /// `transport.drain` is over.
    pub async fn run(self, stop: CancellationToken) {
        self.inner.table.keep_cursors(&stop).await;
        // The broker may stop before it has returned all events: the log has them too.
        self.inner.watermark.lift();
        self.inner
            .delivery_tasks
            .stop(self.inner.config.drain.get())
            .await;
        self.inner.table.store_cursors().await;
    }

    /// Sets the gauges before metrics are rendered.
    pub fn show(&self) {
        let watchers = self.inner.table.all();
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

    fn id(&self, text: &str) -> Option<Uuid> {
        Uuid::try_parse(text).ok()
    }
}

/// What a webhook of an earlier run may receive.
fn sight(id: Uuid, stored: &StoredWatcher, identities: &Identities) -> Sight {
    if !identities.is_on() {
        return Sight::All;
    }
    match &stored.owner {
        Some(owner) => Sight::Of(owner_of(id, owner, stored, identities)),
        None => {
            tracing::warn!(
                watcher.id = %id,
                "webhook {id} was added without authentication and receives everything: delete it and add it again"
            );
            Sight::All
        }
    }
}

/// The identity that added a webhook, or one that may do nothing when its token is gone.
fn owner_of(id: Uuid, owner: &str, stored: &StoredWatcher, identities: &Identities) -> Principal {
    let lasting = identities.lasting(owner, stored.owner_made);
    lasting.unwrap_or_else(|| {
        tracing::warn!(
            watcher.id = %id,
            "webhook {id} receives nothing, since the token \"{owner}\" that added it was removed: delete it"
        );
        Principal::nobody(owner)
    })
}

/// The memory of a webhook besides its texts: its task, its request and its entry in the table.
const FIXED_BYTES: usize = 4096;

/// The bytes that a webhook takes, whose URL is kept in three forms.
fn memory(draft: &WatcherDraft) -> usize {
    let secret = draft.secret.as_ref().map_or(0, |secret| secret.len());
    FIXED_BYTES + 3 * draft.callback_url.len() + size_of_val(&*draft.events) + secret
}

#[cfg(test)]
mod tests;
