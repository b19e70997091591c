//! The way to one webhook: each delivery is one signed request.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_TYPE, USER_AGENT},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Inner, answer, message::Message, signature::Secret};
use crate::{
    model::Event,
    outbound::Outbound,
    registry::Clock,
    transport::{Config, DeliveryError, Reach, Snapshot, Transport, TransportError},
};

const EVENT: HeaderName = HeaderName::from_static("x-musterd-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-musterd-delivery");
const WATCHER: HeaderName = HeaderName::from_static("x-musterd-watcher");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-musterd-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-musterd-signature");

/// How many requests of all webhooks may be under way. Receivers that failed last time have a gate
/// of their own, so that those which let every request run into its deadline hold up no other.
#[derive(Debug)]
pub(super) struct Gates {
    deliveries: Semaphore,
    retries: Semaphore,
    snapshots: Semaphore,
}

impl Gates {
    pub(super) fn new(config: &Config) -> Self {
        let gate = |max: usize| Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            deliveries: gate(config.deliveries_max),
            retries: gate(config.retries_max),
            snapshots: gate(config.snapshots_max),
        }
    }
}
