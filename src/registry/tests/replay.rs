//! Properties of the records: applied to an empty registry they give the same registry, and a lost batch leaves nothing.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::{
    journal::{
        TestJournal, act_or_route, answer, commands, digest, opened, paused, route, said, settle,
    },
    registration,
};
use crate::{
    model::{
        Edit, Lease, LeaseKind, OverrideStatus, Patch, Registration, RemoveAfter, Revision,
        RouteId, ServiceId,
    },
    registry::{
        CloseConnection, Config, Deregister, GuardConfig, Heartbeat, LiftOverride, Lost, Origins,
        PatchInstance, Pending, Register, Registry, RemoveRoute, SetOverride, SetRoute,
        expiry::Expiry,
    },
};

/// The first incarnation is the one after it.
const INCARNATION: u64 = 100;

/// Two instances of a service are enough for its guard, which ends soon.
fn config() -> Config {
    Config {
        guard: GuardConfig {
            instances_min: 2.into(),
            hold_max: Duration::from_secs(2).into(),
            ..GuardConfig::default()
        },
        ..Config::default()
    }
}

fn open(origins: Origins) -> Registry {
    let registry = Registry::open(config(), origins);
    registry.inner.writer.lock().state.incarnation = INCARNATION;
    registry
}

fn open_on(journal: &TestJournal, remove_after: RemoveAfter) -> Registry {
    open(Origins {
        journal: Box::new(journal.clone()),
        remove_after,
        ..Origins::default()
    })
}

/// The registry that the records of `journal` make.
fn replayed(journal: &TestJournal, of: &Registry, remove_after: RemoveAfter) -> Registry {
    let again = open(Origins {
        history: Some((of.epoch(), Vec::new())),
        remove_after,
        ..Origins::default()
    });
    again.replay(journal.records().into_iter());
    again
}

/// Every event of the log, with all that it says.
fn events(registry: &Registry) -> Vec<String> {
    let events = registry.since(Revision(0), usize::MAX).unwrap();
    let text = |event: &Arc<crate::model::Event>| {
        let of: &[&dyn Debug] = &[
            &event.epoch,
            &event.revision,
            &event.kind,
            &event.service_id,
            &event.service_name,
            &event.status,
            &event.previous_status,
            &event.reason,
            &event.timestamp,
            &event.route,
        ];
        format!("{of:?} {:?}", event.instance.as_deref().map(said))
    };
    events.iter().map(text).collect()
}

/// When the timer of each lease is due.
fn timers(registry: &Registry) -> BTreeMap<ServiceId, u64> {
    let writer = registry.inner.writer.lock();
    writer.state.leases.timers()
}

#[track_caller]
fn same(again: &Registry, registry: &Registry) {
    assert_eq!(digest(again), digest(registry));
    assert_eq!(events(again), events(registry), "the log too");
    // The expiry books a timer again without a record; a replayed one may be due before that, and is then looked at.
    let (replayed, booked) = (timers(again), timers(registry));
    assert!(replayed.keys().eq(booked.keys()), "{replayed:?} {booked:?}");
    for (id, due) in &replayed {
        assert!(*due <= booked[id], "{id}: {replayed:?} {booked:?}");
    }
}

fn remove_after() -> impl Strategy<Value = RemoveAfter> {
    prop_oneof![
        Just(RemoveAfter::Ttl),
        Just(RemoveAfter::Never),
        Just(RemoveAfter::After(Duration::from_secs(3).into())),
    ]
}

/// `expiry` holds the guards' suspects for the whole run.
async fn advance(registry: &Registry, expiry: &mut Expiry) {
    tokio::time::advance(Duration::from_millis(400)).await;
    registry.expire_with(expiry);
}

proptest! {
    #[test]
    fn replayed_records_give_the_same_registry(
        commands in commands(),
        remove_after in remove_after(),
    ) {
        paused(async {
            let journal = TestJournal::default();
            let registry = open_on(&journal, remove_after);
            let mut expiry = registry.expiry();
            for command in commands {
                act_or_route(&registry, command);
                if command.2 % 16 == 0 {
                    advance(&registry, &mut expiry).await;
                }
            }
            same(&replayed(&journal, &registry, remove_after), &registry);
        });
    }

    #[test]
    fn a_lost_batch_changes_nothing(
        commands in commands(),
        lost_every in 1_u64..6,
        remove_after in remove_after(),
    ) {
        paused(async {
            let journal = TestJournal::losing(lost_every);
            let registry = open_on(&journal, remove_after);
            for (at, command) in commands.into_iter().enumerate() {
                let (before, kept) = (digest(&registry), journal.records().len());
                act_or_route(&registry, command);
                if journal.records().len() == kept {
                    assert_eq!(digest(&registry), before, "command {at}: {command:?}");
                }
            }
            same(&replayed(&journal, &registry, remove_after), &registry);
        });
    }

    #[test]
    fn batches_of_commands_decide_as_one_by_one_without_those_that_are_lost(
        commands in commands(),
        together in 1_usize..9,
        lost_every in 1_usize..5,
    ) {
        paused(batched(&commands, together, lost_every));
    }
}

type EndedCommands = Mutex<Vec<(usize, bool)>>;

/// Submits the commands, so many at once, to a registry whose commits are answered later and are lost now and then; and
/// all that was not in a lost batch, one by one, to another registry.
async fn batched(commands: &[(u8, u8, u16)], together: usize, lost_every: usize) {
    let journal = TestJournal::delayed();
    let registry = open_on(&journal, RemoveAfter::Ttl);
    let mut plain = open(Origins {
        history: Some((registry.epoch(), Vec::new())),
        ..Origins::default()
    });
    let clock = registry.clock().clone();
    Arc::get_mut(&mut plain.inner)
        .expect("the only handle")
        .clock = clock;
    let (stop, mut tasks) = opened(&registry);
    let mut batches = 0;
    for commands in commands.chunks(together) {
        let ended = Arc::<EndedCommands>::default();
        for (at, command) in commands.iter().enumerate() {
            let (submitted, ended) = (submit(&registry, *command), Arc::clone(&ended));
            tasks.spawn(async move {
                let is_ok = submitted.await;
                ended.lock().push((at, is_ok));
            });
        }
        settle().await;
        loop {
            one_by_one(&plain, commands, &ended);
            if !journal.is_waiting() {
                break;
            }
            batches += 1;
            let is_lost = batches % lost_every == 0 && lost_every > 1;
            let result = match is_lost {
                true => Err(Lost::Failed("deposed".into())),
                false => Ok(()),
            };
            answer(&journal, result).await;
            if is_lost {
                ended.lock().clear();
            }
        }
        assert_eq!(digest(&registry), digest(&plain), "{commands:?}");
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    assert_eq!(events(&registry), events(&plain));
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Submits the commands that have ended and were not refused, in order.
fn one_by_one(plain: &Registry, commands: &[(u8, u8, u16)], ended: &EndedCommands) {
    let mut ended = std::mem::take(&mut *ended.lock());
    ended.sort_unstable();
    for (at, _) in ended.into_iter().filter(|(_, is_ok)| *is_ok) {
        let done = submit(plain, commands[at]).now_or_never();
        assert_eq!(done, Some(true), "{:?}", commands[at]);
    }
}

/// Whether it was not refused.
fn boxed<T: Send + 'static>(pending: Pending<T>) -> BoxFuture<'static, bool> {
    Box::pin(async { pending.await.is_ok() })
}

/// Submits one command; what it answers does not matter here.
fn submit(registry: &Registry, (what, id, port): (u8, u8, u16)) -> BoxFuture<'static, bool> {
    let name = ["web", "api"][usize::from(port % 2)];
    let service_id: Box<str> = format!("i{}", id % 6).into();
    let connection = u64::from(port % 3);
    let register = |lease| Register {
        registration: Registration {
            lease,
            ..registration(&service_id, name, port % 4 + 1)
        },
        incarnation: None,
    };
    let incarnation = None;
    match what % 11 {
        0 => boxed(registry.submit(register(LeaseKind::Ttl), None)),
        1 => boxed(registry.submit(register(LeaseKind::Unlimited), None)),
        2 => boxed(registry.submit(register(LeaseKind::Connection), Some(connection))),
        3 => boxed(registry.submit(CloseConnection { connection }, None)),
        4 => {
            let heartbeat = Heartbeat {
                service_id,
                incarnation,
            };
            boxed(registry.submit(heartbeat, Some(connection)))
        }
        5 => {
            let status = OverrideStatus::Stopping;
            let set = SetOverride {
                service_id,
                status,
                reason: None,
            };
            boxed(registry.submit(set, None))
        }
        6 => boxed(registry.submit(LiftOverride { service_id }, None)),
        7 => {
            let patch = Patch {
                weight: Edit::Set(port % 5),
                ..Patch::default()
            };
            boxed(registry.submit(PatchInstance { service_id, patch }, None))
        }
        8 => {
            let route = route(id, i32::from(port % 3));
            boxed(registry.submit(SetRoute { route }, None))
        }
        9 => {
            let route_id = RouteId::parse(&format!("r{}", id % 3)).unwrap();
            let route_id = route_id.as_str().into();
            boxed(registry.submit(RemoveRoute { route_id }, None))
        }
        _ => {
            let gone = Deregister {
                service_id,
                incarnation,
            };
            boxed(registry.submit(gone, None))
        }
    }
}

/// So that the properties above do not miss what they are for.
#[tokio::test(start_paused = true)]
async fn a_guard_and_the_leases_that_it_holds_are_replayed() {
    let journal = TestJournal::default();
    let registry = open_on(&journal, RemoveAfter::Ttl);
    let mut expiry = registry.expiry();
    for id in ["i0", "i1", "i2"] {
        registry
            .register(registration(id, "web", 80), None)
            .unwrap();
    }
    for _ in 0..3 {
        advance(&registry, &mut expiry).await;
    }
    let held = registry.instance("i0").unwrap();
    assert_eq!(held.lease, Lease::Held);
    assert_eq!(registry.inner.writer.lock().state.guards.len(), 1);
    same(&replayed(&journal, &registry, RemoveAfter::Ttl), &registry);
    for _ in 0..20 {
        advance(&registry, &mut expiry).await;
    }
    assert!(registry.instance("i0").is_none(), "the guard has ended");
    same(&replayed(&journal, &registry, RemoveAfter::Ttl), &registry);
}
