//! Tells of the registry's changes: in-process callbacks and webhooks, each at its own pace.
//!
//! Every subscriber has a cursor, which moves only when the subscriber has taken an event. Nothing
//! here decides what changes, and nothing that changes waits for anything here.

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
mod snapshot;
mod start;
mod subscriber;
mod webhook;

use std::time::Duration;

pub use self::{
    callback::{Callback, CallbackError, Callbacks, Delivery, Subscription},
    config::{AmqpConfig, Config, Direct},
    feed::{Feed, Found, LogFeed},
    filter::Filter,
    flag::Flag,
    high_watermark::{HighWatermark, HighWatermarkReader},
    metrics::{Counts, DirectMetrics},
    relay::{DeliveryProgress, Ended, Relay, Transport},
    retry::{Circuit, Policy, Retry},
    snapshot::Snapshot,
    start::Start,
    subscriber::{Next, Offer, Record, Subscriber},
    webhook::{WatcherInfo, Webhooks},
};

/// Why somebody can't be told of changes.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Every seat is taken.
    #[error("there are {max} {what} already: remove one, or raise transport.{what}_max")]
    Full {
        /// `callbacks` or `webhooks`, as in the key.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The URL of a webhook can't be requested.
    #[error("{0}")]
    Url(String),
    /// The daemon is about to end.
    #[error("the daemon is stopping: subscribe again after its restart")]
    Stopping,
}

/// Why one attempt to deliver failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The receiver said that it could not take it, or could not be reached.
    #[error("{0}")]
    Failed(Box<str>),
    /// The receiver wants to be left alone for a while.
    #[error("receiver answered {status}")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// For how long, if it said so.
        wait: Option<Duration>,
    },
    /// The receiver refuses this delivery and would refuse it again.
    #[error("receiver refused it with {0}")]
    Refused(u16),
    /// The receiver wants no delivery any more.
    #[error("receiver answered 410: it wants no more")]
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
