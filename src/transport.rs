//! Delivers the registry's changes: to in-process callbacks, webhooks and the broker, each at its own pace.
//!
//! Every subscriber has a cursor that moves only when the subscriber has taken an event. Writers of the
//! registry never wait for a delivery.

pub mod amqp;
mod callback;
mod config;
mod delivery_tasks;
pub mod embedded;
mod feed;
mod filter;
mod flag;
mod high_watermark;
mod message;
mod metrics;
#[cfg(feature = "amqp")]
pub mod rabbitmq;
mod relay;
mod retry;
mod rows;
mod snapshot;
mod start;
mod stored;
mod subscriber;
mod switch;
mod webhook;

use std::time::Duration;

pub use self::{
    callback::{Callback, CallbackError, CallbackView, Callbacks, Delivery, Subscription},
    config::{AmqpConfig, Config, Direct},
    feed::{Feed, Found, LogFeed},
    filter::Filter,
    flag::Flag,
    high_watermark::{HighWatermark, HighWatermarkReader},
    metrics::{DeliveryCounters, DirectMetrics},
    relay::{DeliveryProgress, Ended, Relay, Transport},
    retry::{Circuit, Policy, Retry},
    rows::{NoRows, RowChange, StoredRows, TransportRows},
    snapshot::FeedSnapshot,
    start::Start,
    stored::StoredTransport,
    subscriber::{DeliveryStats, Next, Offer, Subscriber},
    switch::TransportSwitch,
    webhook::Webhooks,
};

use crate::registry::Refusal;

/// Why a subscription was refused.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The limit is reached.
    #[error("there are {max} {what} already: remove one, or raise transport.{what}_max")]
    Full {
        /// `callbacks` or `webhooks`, as in the key.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The URL of a webhook is not usable.
    #[error("{0}")]
    Url(String),
    /// `registry.memory_max` is reached, or the journal does not store it.
    #[error(transparent)]
    NotTaken(#[from] Refusal),
    /// The daemon is stopping.
    #[error("the daemon is stopping: subscribe again after its restart")]
    Stopping,
}

/// Why one attempt to deliver failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The receiver answered that it can't take it, or can't be reached.
    #[error("{0}")]
    Failed(Box<str>),
    /// The receiver asks for a pause.
    #[error("receiver answered {status}")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// The pause that the receiver asks for, if it names one.
        wait: Option<Duration>,
    },
    /// The receiver refuses this delivery for good.
    #[error("receiver refused it with {0}")]
    Refused(u16),
    /// The receiver ends its deliveries (410).
    #[error("receiver answered 410: the webhook is removed")]
    Gone,
    /// The receiver did not answer in time.
    #[error("receiver did not answer within {0:?}")]
    Late(Duration),
    /// The callback panicked.
    #[error("callback panicked")]
    Panicked,
}

#[cfg(test)]
mod testing;
