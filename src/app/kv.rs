//! Keys, sessions and user events, opened with what the store holds.

use std::{mem::take, sync::Arc};

use super::{amqp::Way, store::Kept};
use crate::{
    config::Config,
    kv::KvStore,
    monitor,
    registry::{Notices, Registry},
    tasks::{Stage, Tasks},
    telemetry::Metrics,
};

/// So many user events wait for the broker.
const USER_EVENTS_MAX: usize = 256;

/// Opens the keys and starts their writer. User events are published over `way`.
pub(super) fn open(
    config: &Config,
    registry: &Registry,
    metrics: &Metrics,
    kept: &mut Kept,
    way: &Option<Way>,
    tasks: &mut Tasks,
) -> KvStore {
    let user_events = Arc::new(Notices::new(USER_EVENTS_MAX));
    let (kv, writer) = KvStore::open(
        config.consul.kv_limits(),
        take(&mut kept.kv),
        Arc::new(kept.rows.clone()),
        registry.clock().clone(),
        Arc::clone(&user_events),
    );
    monitor::show_kv(metrics, kv.clone());
    // It is stopped after everything that can ask it.
    tasks.spawn(Stage::Sink, "keys", |stop| writer.run(stop));
    if let Some(way) = way.clone() {
        tasks.spawn(Stage::Carrier, "user events", |stop| {
            way.publish_notices(user_events, stop)
        });
    }
    kv
}
