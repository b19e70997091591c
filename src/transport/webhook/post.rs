//! Requests to one webhook: each delivery is one signed request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{WebhookState, answer, signature::SigningKey};
use crate::{
    model::Event,
    outbound::{Client, Pace, Request, SharedPlaces, TakenPlace},
    registry::Clock,
    transport::{
        Config, DeliveryError, DeliveryProgress, FeedSnapshot, Transport, TransportError,
        message::DeliveryMessage, relay::caught,
    },
};

const EVENT: HeaderName = HeaderName::from_static("x-musterd-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-musterd-delivery");
const WATCHER: HeaderName = HeaderName::from_static("x-musterd-watcher");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-musterd-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-musterd-signature");

const AGENT: &str = concat!("musterd/", env!("CARGO_PKG_VERSION"));

/// The bytes of a response body that are read, so that the connection can be reused.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The requests of all webhooks that may be under way. Receivers that failed last time have separate places.
/// Slow and new ones share the other places with fast ones, and never take all.
#[derive(Debug)]
pub(super) struct RequestPlaces {
    deliveries: SharedPlaces,
    retries: SharedPlaces,
    snapshots: SharedPlaces,
    snapshot_retries: SharedPlaces,
}

impl RequestPlaces {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            deliveries: SharedPlaces::new(config.deliveries_max.get()),
            retries: SharedPlaces::new(config.retries_max.get()),
            snapshots: SharedPlaces::new(config.snapshots_max.get()),
            snapshot_retries: SharedPlaces::new(config.snapshots_max.get()),
        }
    }

    /// Waits for a place for one request.
    async fn enter(&self, failing: bool, pace: Pace) -> TakenPlace {
        if failing {
            self.retries.enter(pace).await
        } else {
            self.deliveries.enter(pace).await
        }
    }

    /// Waits until one more snapshot may be in memory.
    async fn enter_with_snapshot(&self, failing: bool, pace: Pace) -> TakenPlace {
        if failing {
            self.snapshot_retries.enter(pace).await
        } else {
            self.snapshots.enter(pace).await
        }
    }
}

/// Sends deliveries to one URL.
#[derive(Clone, Debug)]
pub(super) struct Post {
    client: Client,
    places: Arc<RequestPlaces>,
    clock: Clock,
    timeout: Duration,
    secret: Option<SigningKey>,
    /// How long the receiver took last time.
    pace: Pace,
    /// The request without the parts of a delivery; the body is empty between two deliveries.
    request: Request,
}

impl Post {
    pub(super) fn new(
        inner: &WebhookState,
        id: Uuid,
        url: &str,
        secret: Option<SigningKey>,
    ) -> Result<Self, TransportError> {
        check_url(url).map_err(|why| TransportError::Url(format!("callback_url {why}")))?;
        let mut request = Request::new(Method::POST, url);
        let headers = &mut request.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(WATCHER, valid(&id.to_string())?);
        Ok(Self {
            client: inner.client.clone(),
            places: Arc::clone(&inner.places),
            clock: inner.registry.clock().clone(),
            timeout: inner.config.webhook_timeout.get(),
            secret,
            pace: Pace::New,
            request,
        })
    }

    /// Sends one delivery; `failing` says that the last attempt failed.
    pub(super) async fn send(
        &mut self,
        message: DeliveryMessage,
        failing: bool,
    ) -> Result<(), DeliveryError> {
        caught(self.attempt(message, failing)).await
    }

    async fn attempt(
        &mut self,
        message: DeliveryMessage,
        failing: bool,
    ) -> Result<(), DeliveryError> {
        let _place = self.places.enter(failing, self.pace).await;
        self.fill(message)?;
        let began = Instant::now();
        let deadline = began + self.timeout;
        let sent = self.client.send(&self.request, deadline, ANSWER_BYTES_MAX);
        // On the heap and only during the request, so that an idle webhook needs no memory for it.
        let sent = Box::pin(sent).await;
        self.request.body = Bytes::new();
        self.pace = Pace::of(began.elapsed());
        match sent {
            Ok(answer) => {
                let now = self.clock.now().wall;
                answer::verdict(answer.status, &answer.headers, now)
            }
            Err(error) if error.is_deadline() => Err(DeliveryError::Late(self.timeout)),
            Err(error) => Err(DeliveryError::Failed(error.to_string().into())),
        }
    }

    /// Fills the request with a delivery and the time of this attempt.
    fn fill(&mut self, message: DeliveryMessage) -> Result<(), DeliveryError> {
        let invalid = |error: TransportError| DeliveryError::Failed(error.to_string().into());
        let timestamp_s = self.clock.now().wall.0.div_euclid(1_000).to_string();
        let headers = &mut self.request.headers;
        headers.insert(EVENT, HeaderValue::from_static(message.kind));
        headers.insert(DELIVERY, valid(&message.delivery).map_err(invalid)?);
        headers.insert(TIMESTAMP, valid(&timestamp_s).map_err(invalid)?);
        if let Some(secret) = &self.secret {
            let signature = secret.sign(&message.delivery, &timestamp_s, &message.body);
            headers.insert(SIGNATURE, valid(&signature).map_err(invalid)?);
        }
        self.request.body = message.body;
        Ok(())
    }
}

impl Transport for Post {
    async fn deliver(
        &mut self,
        events: &[Arc<Event>],
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        for event in events {
            let message = DeliveryMessage::event(event, &self.clock);
            self.send(message, progress.is_failing()).await?;
            progress.reached(event);
        }
        Ok(())
    }

    async fn resync(
        &mut self,
        snapshot: &Arc<FeedSnapshot>,
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        let failing = progress.is_failing();
        // Before it is encoded, so that the limit also bounds memory.
        let _place = self.places.enter_with_snapshot(failing, self.pace).await;
        let message = DeliveryMessage::resync(snapshot, &self.clock);
        self.send(message, failing).await
    }
}

fn valid(text: &str) -> Result<HeaderValue, TransportError> {
    let value = HeaderValue::from_str(text);
    value.map_err(|_| TransportError::Url(format!("\"{text}\" is not allowed in a header")))
}

/// Whether requests can be sent to `url`. The address is checked at each request, after its name is
/// resolved.
fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is not a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must begin with http:// or https://");
    }
    let authority = uri.authority().ok_or("names no host")?;
    if authority.as_str().contains('@') {
        return Err("must not contain credentials, which GET /watchers would show: use a secret");
    }
    if authority.host().is_empty() {
        return Err("names no host");
    }
    match (authority.port(), authority.port_u16()) {
        (None, _) | (Some(_), Some(1..)) => Ok(()),
        (Some(_), _) => Err("must name a port in the range 1-65535"),
    }
}
