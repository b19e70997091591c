//! Callbacks: deliveries to functions in the same program.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Config, DeliveryError, DeliveryProgress, DeliveryStats, DirectMetrics, FeedSnapshot, Filter,
    HighWatermark, LogFeed, Relay, Start, Subscriber, Transport, TransportError,
    delivery_tasks::DeliveryTasks,
    metrics::{CALLBACK, DeliveryCounters, Present},
    relay::caught,
};
use crate::{
    model::{Cursor, Event, ServiceName, Timestamp},
    registry::Registry,
};

/// The name in log lines and errors.
const CALLBACKS: &str = "callbacks";

/// Receives every change that it subscribed to, in order.
///
/// - Each subscriber has its own task and cursor. One that is slow, fails or panics delays only
///   itself: neither writers of the registry nor other subscribers.
/// - Calls do not overlap. A call must not block its thread; it may await for any time.
/// - `Ok` acknowledges the event. After an error or a panic the same event is delivered again, with backoff and
///   jitter, until it is acknowledged. Delivery is at least once; deduplicate by the revision.
/// - If its next event is no longer in the log, it gets a [`Delivery::Resync`] with the current state and
///   continues from there. There are no other gaps.
/// - At a stop the rest of the log is delivered first, for as long as `transport.drain` allows.
///   A call that takes longer is dropped at its next await, as is one whose [`Subscription`] ends.
pub trait Callback: Send + Sync + 'static {
    /// Takes one delivery.
    fn call(&self, delivery: Delivery) -> impl Future<Output = Result<(), CallbackError>> + Send;
}

impl<F, R> Callback for F
where
    F: Fn(Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), CallbackError>> + Send,
{
    fn call(&self, delivery: Delivery) -> impl Future<Output = Result<(), CallbackError>> + Send {
        self(delivery)
    }
}

/// A delivery to a callback.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A change.
    Event(Arc<Event>),
    /// Changes were missed; this is the state after them.
    Resync(Arc<FeedSnapshot>),
}

/// Why a callback did not take a delivery.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CallbackError(Box<str>);

impl CallbackError {
    /// Says why.
    pub fn new(reason: impl Into<Box<str>>) -> Self {
        Self(reason.into())
    }
}

/// A cheap handle to all in-process callbacks.
#[derive(Clone, Debug)]
pub struct Callbacks {
    inner: Arc<CallbackState>,
}

#[derive(Debug)]
struct CallbackState {
    registry: Registry,
    config: Config,
    watermark: HighWatermark,
    metrics: DirectMetrics,
    counts: DeliveryCounters,
    delivery_tasks: DeliveryTasks,
    /// Numbers the callbacks for the log.
    subscribed: AtomicU64,
    /// Those that are subscribed now, by number.
    open: Mutex<BTreeMap<u64, OpenCallback>>,
}

/// A callback that is subscribed.
#[derive(Debug)]
struct OpenCallback {
    filter: watch::Receiver<Filter>,
    since: Timestamp,
    subscriber: Arc<Mutex<Subscriber>>,
}

/// A callback as operators see it.
#[derive(Clone, Debug)]
pub struct CallbackView {
    /// The service that it follows; none for all.
    pub service: Option<ServiceName>,
    /// When it was subscribed.
    pub since: Timestamp,
    /// The last change that it acknowledged or that its filter left out.
    pub cursor: Cursor,
    /// Why the last attempt failed, while it fails.
    pub error: Option<Box<str>>,
}

/// One callback's subscription; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the subscription ends when this is dropped"]
pub struct Subscription {
    filter: watch::Sender<Filter>,
    subscriber: Arc<Mutex<Subscriber>>,
    _end: DropGuard,
}

impl Callbacks {
    /// No subscribers yet; they receive events up to `watermark`.
    pub fn new(
        registry: Registry,
        config: Config,
        watermark: HighWatermark,
        metrics: DirectMetrics,
    ) -> Self {
        Self {
            inner: Arc::new(CallbackState {
                delivery_tasks: DeliveryTasks::new(CALLBACKS, config.callbacks_max.get()),
                counts: metrics.of(CALLBACK),
                registry,
                config,
                watermark,
                metrics,
                subscribed: AtomicU64::new(1),
                open: Mutex::default(),
            }),
        }
    }

    /// Calls `callback` for each change that `filter` selects, from `start` on, until the subscription is
    /// dropped. To be called within a tokio runtime.
    ///
    /// # Errors
    /// There are too many callbacks, or the daemon is stopping.
    pub fn subscribe(
        &self,
        filter: Filter,
        start: Start,
        callback: impl Callback,
    ) -> Result<Subscription, TransportError> {
        let inner = &self.inner;
        let permit = inner.delivery_tasks.permit()?;
        let subscriber = start.subscriber(&inner.registry, inner.config.policy());
        let subscriber = Arc::new(Mutex::new(subscriber));
        let (filter, wanted) = watch::channel(filter);
        let open = OpenCallback {
            filter: wanted.clone(),
            since: inner.registry.clock().now().wall,
            subscriber: Arc::clone(&subscriber),
        };
        let number = inner.subscribed.fetch_add(1, Ordering::Relaxed);
        let label = format!("callback {number}");
        let mut relay = Relay::new(
            label.clone(),
            LogFeed::new(inner.registry.clone(), wanted).within(&inner.watermark),
            Direct(callback),
            Arc::clone(&subscriber),
            inner.registry.clock().clone(),
            inner.counts.clone(),
        );
        let end = CancellationToken::new();
        let ended = end.clone();
        let stop = inner.delivery_tasks.stopping().clone();
        let present = Present::new(&inner.metrics.callbacks);
        inner.open.lock().insert(number, open);
        let listed = ListedCallback {
            state: Arc::clone(inner),
            number,
        };
        inner.delivery_tasks.spawn(label, async move {
            let _held = (permit, present, listed);
            tokio::select! {
                // First, so that nothing more is sent.
                biased;
                () = ended.cancelled() => (),
                _ = relay.run_caught(&stop) => (),
            }
        });
        Ok(Subscription {
            filter,
            subscriber,
            _end: end.drop_guard(),
        })
    }

    /// Those that are subscribed now, the oldest first.
    pub fn list(&self) -> Vec<CallbackView> {
        let open = self.inner.open.lock();
        let shown = open.values().map(|one| {
            let subscriber = one.subscriber.lock();
            let error = subscriber.record.last_error.clone();
            CallbackView {
                service: one.filter.borrow().service.clone(),
                since: one.since,
                cursor: subscriber.cursor(),
                error: error.filter(|_| subscriber.is_failing()),
            }
        });
        shown.collect()
    }

    /// Runs until `stop` and until every callback has the remaining events, at most for `transport.drain`.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
        // The broker may stop before it has returned all events: the log has them too.
        self.inner.watermark.lift();
        self.inner
            .delivery_tasks
            .stop(self.inner.config.drain.get())
            .await;
    }
}

/// Keeps a callback in the list until its task ends.
#[derive(Debug)]
struct ListedCallback {
    state: Arc<CallbackState>,
    number: u64,
}

impl Drop for ListedCallback {
    fn drop(&mut self) {
        self.state.open.lock().remove(&self.number);
    }
}

impl Subscription {
    /// Changes the filter. Waiting events that both filters select are still delivered; events that the old
    /// filter left out are not delivered later.
    pub fn set_filter(&self, filter: Filter) {
        self.filter.send_replace(filter);
    }

    /// The last change that the callback acknowledged or that its filter left out.
    pub fn cursor(&self) -> Cursor {
        self.subscriber.lock().cursor()
    }

    /// Statistics of its deliveries.
    pub fn record(&self) -> DeliveryStats {
        self.subscriber.lock().record.clone()
    }
}

/// The way to a callback.
struct Direct<C>(C);

impl<C: Callback> Direct<C> {
    async fn call(&self, delivery: Delivery) -> Result<(), DeliveryError> {
        // A panic may leave the callback's own state inconsistent, but none of ours.
        caught(async {
            let called = self.0.call(delivery).await;
            called.map_err(|error| DeliveryError::Failed(error.0))
        })
        .await
    }
}

impl<C: Callback> Transport for Direct<C> {
    async fn deliver(
        &mut self,
        events: &[Arc<Event>],
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        for event in events {
            self.call(Delivery::Event(Arc::clone(event))).await?;
            progress.reached(event);
        }
        Ok(())
    }

    async fn resync(
        &mut self,
        snapshot: &Arc<FeedSnapshot>,
        _: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        self.call(Delivery::Resync(Arc::clone(snapshot))).await
    }
}

impl<C> fmt::Debug for Direct<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
