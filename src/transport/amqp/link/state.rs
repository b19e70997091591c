//! How the connection is.

use std::sync::Arc;

use crate::{
    model::Timestamp,
    transport::amqp::{AmqpError, session::Connected},
};

/// How the connection is.
#[derive(Clone, Debug)]
pub enum State {
    /// Not needed.
    Off {
        /// Since when.
        since: Timestamp,
    },
    /// Needed, and not there.
    Away {
        /// Why.
        error: Arc<AmqpError>,
        /// Since when.
        since: Timestamp,
    },
    /// There.
    Up {
        /// To be used.
        connected: Arc<Connected>,
        /// Since when.
        since: Timestamp,
    },
}
