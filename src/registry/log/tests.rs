use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::{Log, Writer};
use crate::model::{Epoch, Event, EventKind, Revision, ServiceName, Timestamp};

impl Writer {
    fn push(
        &mut self,
        event: Arc<Event>,
        previous: Revision,
        gone: impl FnMut(&ServiceName, Revision),
    ) {
        let revision = event.revision;
        self.append(event, previous, gone);
        self.publish(revision);
    }
}

fn event(revision: u64, service: Option<&str>) -> Arc<Event> {
    Arc::new(Event {
        epoch: Epoch(1),
        revision: Revision(revision),
        kind: EventKind::Updated,
        service_id: None,
        service_name: service.map(|name| ServiceName::parse(name).unwrap()),
        status: None,
        previous_status: None,
        reason: None,
        timestamp: Timestamp(0),
        instance: None,
        route: None,
        encoded: OnceLock::new(),
    })
}

fn revisions(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.revision.0).collect()
}

#[test]
fn an_empty_log_has_nothing_and_lost_nothing() {
    let (log, _) = Log::new(4, usize::MAX);
    assert!(log.since(Revision(0), 10).unwrap().is_empty());
    assert!(log.chain(Revision(0), Revision(0), 10).unwrap().is_empty());
}

#[test]
fn a_ring_of_several_chunks_wraps() {
    let slots = 2 * super::CHUNK + 7;
    let (log, mut writer) = Log::new(slots, usize::MAX);
    let newest = 3 * slots as u64 + 11;
    for revision in 1..=newest {
        writer.push(event(revision, None), Revision(0), |_, _| ());
        let gone = revision.saturating_sub(slots as u64);
        if revision.is_multiple_of(101) {
            let read = log.since(Revision(gone), usize::MAX).unwrap();
            let expected: Vec<_> = (gone + 1..=revision).collect();
            assert_eq!(revisions(&read), expected);
        }
    }
    assert!(log.since(Revision(newest - slots as u64 - 1), 1).is_err());
}

#[test]
fn readers_get_what_follows_their_cursor_until_it_leaves() {
    let (log, mut writer) = Log::new(4, usize::MAX);
    for revision in 1..=6 {
        writer.push(event(revision, None), Revision(0), |_, _| ());
    }
    let check = |cursor: u64, max: usize, expected: Option<&[u64]>| {
        let got = log
            .since(Revision(cursor), max)
            .ok()
            .map(|events| revisions(&events));
        assert_eq!(got.as_deref(), expected, "since {cursor}, at most {max}");
    };
    check(6, 10, Some(&[]));
    check(4, 10, Some(&[5, 6]));
    check(2, 10, Some(&[3, 4, 5, 6]));
    check(2, 1, Some(&[3]));
    check(1, 10, None);
    check(0, 1, None);
    check(9, 10, Some(&[]));
}

#[test]
fn the_log_is_limited_in_bytes_too_and_one_event_always_fits() {
    let size = event(1, None).size();
    let (log, mut writer) = Log::new(100, 3 * size);
    let mut gone = Vec::new();
    for revision in 1..=5 {
        writer.push(
            event(revision, Some("a")),
            Revision(revision - 1),
            |_, r| gone.push(r.0),
        );
    }
    assert_eq!(gone, [1, 2]);
    assert_eq!(writer.size(), (3, 3 * size));
    assert_eq!(log.oldest(), Revision(3));

    let (log, mut writer) = Log::new(100, 1);
    writer.push(event(1, None), Revision(0), |_, _| ());
    writer.push(event(2, None), Revision(0), |_, _| ());
    assert_eq!(revisions(&log.since(Revision(1), 9).unwrap()), [2]);
}

proptest! {
    /// Against a vector that forgets nothing: the same events, or an honest "compacted".
    #[test]
    fn a_service_reads_its_own_chain(
        services in prop::collection::vec(0_usize..4, 1..60),
        capacity in 1_usize..40,
        cursor in 0_u64..60,
    ) {
        let names = ["a", "b", "c", "d"];
        let (log, mut writer) = Log::new(capacity, usize::MAX);
        let mut last = [0_u64; 4];
        for (at, &service) in services.iter().enumerate() {
            let revision = at as u64 + 1;
            let previous = Revision(std::mem::replace(&mut last[service], revision));
            writer.push(event(revision, Some(names[service])), previous, |_, _| ());
        }
        let oldest = services.len().saturating_sub(capacity) as u64 + 1;
        for (service, last) in last.into_iter().enumerate() {
            let wanted: Vec<u64> = (1_u64..)
                .zip(&services)
                .filter(|(revision, of)| *revision > cursor && **of == service)
                .map(|(revision, _)| revision)
                .collect();
            let got = log.chain(Revision(last), Revision(cursor), usize::MAX);
            let few = log.chain(Revision(last), Revision(cursor), 3);
            if wanted.iter().any(|revision| *revision < oldest) {
                prop_assert!(got.is_err());
                prop_assert!(few.is_err());
            } else {
                prop_assert_eq!(revisions(&few.unwrap()), &wanted[..wanted.len().min(3)]);
                prop_assert_eq!(revisions(&got.unwrap()), wanted);
            }
        }
    }
}
