//! What one delivery consists of.

use bytes::Bytes;

use crate::{
    api,
    model::{Event, Instance, ServiceName, Timestamp},
    registry::{Clock, View},
    transport::Snapshot,
};

/// One delivery, the same at each attempt but for its time and signature.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// For `x-musterd-event`.
    pub(super) kind: &'static str,
    /// For `x-musterd-delivery`: by this a receiver knows what it has had already.
    pub(super) delivery: String,
    pub(super) body: Bytes,
}

impl Message {
    /// An event; its delivery is `<epoch>-<revision>`, the cursor after it.
    pub(super) fn event(event: &Event, clock: &Clock) -> Self {
        Self {
            kind: event.kind.as_str(),
            delivery: format!("{}-{}", event.epoch, event.revision),
            body: api::event(event, last_heartbeat(clock)),
        }
    }

    /// A notice that events were missed, in an event's shape, with the state after them under the
    /// further key `snapshot`. Its delivery is `<cursor of the snapshot>-resync`.
    pub(super) fn resync(snapshot: &Snapshot, clock: &Clock) -> Self {
        let services = snapshot.state.services.iter();
        let services = services.map(|(service, view)| (service.name(), &**view));
        let routes = snapshot.service.is_none();
        Self::state(snapshot, snapshot.service.as_ref(), services, routes, clock)
    }

    /// The same of one service alone; without a view it has no instance any more.
    #[cfg(feature = "amqp")]
    pub(super) fn resync_of(
        snapshot: &Snapshot,
        service: &ServiceName,
        view: Option<&View>,
        clock: &Clock,
    ) -> Self {
        let services = view.into_iter().map(|view| (service, view));
        Self::state(snapshot, Some(service), services, false, clock)
    }

    /// The same of the routes alone.
    #[cfg(feature = "amqp")]
    pub(super) fn resync_of_routes(snapshot: &Snapshot, clock: &Clock) -> Self {
        Self::state(snapshot, None, std::iter::empty(), true, clock)
    }

    fn state<'s>(
        snapshot: &Snapshot,
        service: Option<&ServiceName>,
        services: impl Iterator<Item = (&'s ServiceName, &'s View)>,
        with_routes: bool,
        clock: &Clock,
    ) -> Self {
        let notice = api::notice(&api::Notice {
            event: "resync",
            epoch: snapshot.cursor.epoch,
            service_name: service.map(|name| name.as_str()),
            reason: Some("events were missed: the snapshot takes their place"),
            timestamp: snapshot.taken_at,
        });
        let routes = with_routes.then_some(&*snapshot.state.routes.list);
        let state = api::snapshot(
            api::Snapshot {
                epoch: snapshot.cursor.epoch,
                revision: snapshot.cursor.revision,
                services: services.map(|(name, view)| (name.as_str(), view.instances.values())),
                routes,
            },
            last_heartbeat(clock),
        );
        let open = notice.strip_suffix(b"}").unwrap_or(&notice);
        Self {
            kind: "resync",
            delivery: format!("{}-resync", snapshot.cursor),
            body: [open, br#","snapshot":"#, &state, b"}"].concat().into(),
        }
    }
}

fn last_heartbeat(clock: &Clock) -> impl Fn(&Instance) -> Timestamp {
    |instance| clock.wall_of(instance.beat.last_renewed_ms())
}

#[cfg(test)]
mod tests;
