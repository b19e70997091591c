//! How the connection is.

use std::sync::Arc;

use crate::{
    model::Timestamp,
    transport::amqp::{AmqpError, connected::Connected},
};

/// How the connection is.
#[derive(Clone, Debug)]
pub enum LinkState {
    /// Not needed.
    Off {
        /// Since when.
        since: Timestamp,
    },
    /// Needed, and lost or not made yet.
    Away {
        /// Why.
        error: Arc<AmqpError>,
        /// Since when.
        since: Timestamp,
    },
    /// Connected.
    Up {
        /// The connection.
        connected: Arc<Connected>,
        /// Since when.
        since: Timestamp,
    },
}
