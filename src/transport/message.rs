//! The content of one delivery.

use std::sync::Arc;

use bytes::Bytes;

use crate::registry::View;
use crate::{
    api,
    model::{Event, Instance, Route, ServiceName, Timestamp},
    registry::Clock,
    transport::FeedSnapshot,
};

/// One delivery; at each attempt only its time and signature differ.
#[derive(Clone, Debug)]
pub(super) struct DeliveryMessage {
    /// For `x-musterd-event`.
    pub(super) kind: &'static str,
    /// For `x-musterd-delivery`: lets a receiver recognise duplicates.
    pub(super) delivery: String,
    pub(super) body: Bytes,
}

impl DeliveryMessage {
    /// An event; its delivery is `<epoch>-<revision>`, the cursor after it.
    pub(super) fn event(event: &Event, clock: &Clock) -> Self {
        Self {
            kind: event.kind.as_str(),
            delivery: format!("{}-{}", event.epoch, event.revision),
            body: api::event(event, last_heartbeat(clock)),
        }
    }

    /// A notice that events were missed, in the shape of an event, with the state after them under the
    /// additional key `snapshot`. Its delivery is `<cursor of the snapshot>-resync`.
    pub(super) fn resync(snapshot: &FeedSnapshot, clock: &Clock) -> Self {
        let services = snapshot.state.services.iter();
        let services = services.map(|(service, view)| (service.name(), view.instances.values()));
        let all = snapshot.service.is_none();
        let routes = all.then_some(&*snapshot.state.routes.list);
        Self::state(snapshot, snapshot.service.as_ref(), services, routes, clock)
    }

    /// The same for one service; without a view it has no instances. In parts if the body would be larger
    /// than `body_max`.
    pub(super) fn resync_of(
        snapshot: &FeedSnapshot,
        service: &ServiceName,
        view: Option<&View>,
        body_max: usize,
        clock: &Clock,
    ) -> Vec<Self> {
        let instances = view.map(|view| view.instances.values().collect::<Vec<_>>());
        let is_there = instances.is_some();
        in_parts(&instances.unwrap_or_default(), body_max, &|share| {
            let share = is_there.then(|| (service, share.iter().copied()));
            Self::state(snapshot, Some(service), share.into_iter(), None, clock)
        })
    }

    /// The same for the routes.
    pub(super) fn resync_of_routes(
        snapshot: &FeedSnapshot,
        body_max: usize,
        clock: &Clock,
    ) -> Vec<Self> {
        in_parts(&snapshot.state.routes.list, body_max, &|share| {
            let none = std::iter::empty::<(_, [_; 0])>();
            Self::state(snapshot, None, none, Some(share), clock)
        })
    }

    fn state<'s, L: IntoIterator<Item = &'s Arc<Instance>>>(
        snapshot: &FeedSnapshot,
        service: Option<&ServiceName>,
        services: impl Iterator<Item = (&'s ServiceName, L)>,
        routes: Option<&[Arc<Route>]>,
        clock: &Clock,
    ) -> Self {
        let notice = api::notice(&api::Notice {
            event: "resync",
            epoch: snapshot.cursor.epoch,
            service_name: service.map(|name| name.as_str()),
            reason: Some("events were missed: the snapshot takes their place"),
            timestamp: snapshot.taken_at,
        });
        let state = api::snapshot(
            api::SnapshotBody {
                cursor: snapshot.cursor,
                services: services.map(|(name, instances)| (name.as_str(), instances)),
                routes,
            },
            last_heartbeat(clock),
        );
        Self {
            kind: "resync",
            delivery: format!("{}-resync", snapshot.cursor),
            body: extended(&notice, &[br#","snapshot":"#, &state]),
        }
    }

    /// Adds the number of a part.
    fn numbered(mut self, part: usize, parts: usize) -> Self {
        self.delivery = format!("{}-{part}", self.delivery);
        let keys = format!(",\"part\":{part},\"parts\":{parts}");
        self.body = extended(&self.body, &[keys.as_bytes()]);
        self
    }
}

/// A JSON object with additional keys.
fn extended(object: &[u8], keys: &[&[u8]]) -> Bytes {
    let open = object.strip_suffix(b"}").unwrap_or(object);
    [&[open], keys, &[b"}"]].concat().concat().into()
}

/// The bytes reserved in a body for the keys of a part.
const NUMBERS_BYTES: usize = 64;

/// One message about all items, or several about a share each. None is larger than allowed unless a
/// single item is.
fn in_parts<T>(
    items: &[T],
    body_max: usize,
    about: &impl Fn(&[T]) -> DeliveryMessage,
) -> Vec<DeliveryMessage> {
    fn halve<T>(
        items: &[T],
        body_max: usize,
        about: &impl Fn(&[T]) -> DeliveryMessage,
        out: &mut Vec<DeliveryMessage>,
    ) {
        let message = about(items);
        if message.body.len() + NUMBERS_BYTES <= body_max || items.len() < 2 {
            out.push(message);
            return;
        }
        drop(message);
        let (first, second) = items.split_at(items.len() / 2);
        halve(first, body_max, about, out);
        halve(second, body_max, about, out);
    }
    let mut found = Vec::new();
    halve(items, body_max, about, &mut found);
    let parts = found.len();
    if parts == 1 {
        return found;
    }
    let numbered = found.into_iter().enumerate();
    numbered
        .map(|(at, message)| message.numbered(at + 1, parts))
        .collect()
}

fn last_heartbeat(clock: &Clock) -> impl Fn(&Instance) -> Timestamp {
    |instance| clock.wall_of(instance.last_seen.last_renewed_ms())
}

#[cfg(test)]
mod tests;
