//! Decide, commit, apply: with journals that keep, fail and take their time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{act, registration};
use crate::{
    model::{
        Check, CheckKind, Event, Instance, LastSeen, LeaseKind, Registration, Revision, RouteDraft,
        RouteId, ServiceName,
    },
    registry::{
        Batch, Commit, Config, Deregister, Journal, Lost, Origins, Pending, Record, Refusal,
        Register, Registry,
    },
};

/// What a journal of a test was given, and how it answers.
#[derive(Debug, Default)]
struct Book {
    records: Vec<Record>,
    batches: Vec<usize>,
    /// Every so many batches one is lost; 0 for none.
    lost_every: u64,
    /// Answers that are given later; none for a journal that answers at once.
    later: Option<VecDeque<oneshot::Sender<Result<(), Lost>>>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct TestJournal(Arc<Mutex<Book>>);

impl TestJournal {
    /// Loses one of so many batches.
    pub(super) fn losing(lost_every: u64) -> Self {
        let journal = Self::default();
        journal.0.lock().lost_every = lost_every;
        journal
    }

    /// Its batches are answered by the test.
    pub(super) fn delayed() -> Self {
        let journal = Self::default();
        journal.0.lock().later = Some(VecDeque::new());
        journal
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.0.lock().records.clone()
    }

    /// Whether a batch waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        let book = self.0.lock();
        book.later.as_ref().is_some_and(|later| !later.is_empty())
    }
}

impl Journal for TestJournal {
    fn commit(&mut self, batch: Batch<'_>) -> Commit {
        let mut book = self.0.lock();
        if book.lost_every > 0 && batch.number.is_multiple_of(book.lost_every) {
            return Commit::Done(Err(Lost::Failed("the disk is full".into())));
        }
        book.batches.push(batch.records.len());
        book.records.extend(batch.records.iter().map(copied));
        let Some(later) = &mut book.later else {
            return Commit::Done(Ok(()));
        };
        let (answer, answered) = oneshot::channel();
        later.push_back(answer);
        Commit::Later(Box::pin(async move { answered.await.expect("an answer") }))
    }
}

/// A record that shares no memory with the writer's, as one that was read from a disk.
fn copied(record: &Record) -> Record {
    let event = |event: &Event| {
        Arc::new(Event {
            epoch: event.epoch,
            revision: event.revision,
            kind: event.kind,
            service_id: event.service_id.clone(),
            service_name: event.service_name.clone(),
            status: event.status,
            previous_status: event.previous_status,
            reason: event.reason.clone(),
            timestamp: event.timestamp,
            instance: event.instance.as_deref().map(instance),
            route: event.route.clone(),
            encoded: OnceLock::new(),
        })
    };
    match record {
        Record::Event(one) => Record::Event(event(one)),
        Record::Moved(one) => Record::Moved(event(one)),
        Record::Silent(one) => Record::Silent(instance(one)),
    }
}

fn instance(one: &Instance) -> Arc<Instance> {
    Arc::new(Instance {
        registration: Arc::new(Registration::clone(&one.registration)),
        last_seen: Arc::new(LastSeen::new(one.last_seen.last_renewed_ms())),
        ..one.version()
    })
}

fn open(journal: &TestJournal) -> Registry {
    let origins = Origins {
        journal: Box::new(journal.clone()),
        ..Origins::default()
    };
    Registry::open(Config::default(), origins)
}

/// All of an instance but its signs of life, which heartbeats change without a record.
pub(super) fn said(instance: &Instance) -> String {
    let said = (
        &instance.registration,
        instance.observed,
        &instance.overridden,
        instance.lease,
        (
            instance.registered_at,
            instance.revision,
            instance.incarnation,
        ),
        &instance.reason,
    );
    format!("{said:?}")
}

/// Everything that records make, as text.
pub(super) fn digest(registry: &Registry) -> String {
    let writer = registry.inner.writer.lock();
    let state = &writer.state;
    let mut text = format!(
        "{} {} {} {:?} {:?}\n",
        state.revision,
        state.incarnation,
        state.bytes,
        state.guards.iter().collect::<BTreeSet<_>>(),
        state.routes.keys()
    );
    let mut leases = BTreeMap::new();
    for instance in state.table.instances.pin().values() {
        leases.insert(instance.id().clone(), said(instance));
    }
    let services = state.table.services.pin();
    let views: BTreeMap<_, _> = services
        .values()
        .map(|service| {
            let view = service.view();
            let ids: Vec<_> = view.instances.keys().cloned().collect();
            let healthy = view.healthy().len();
            (
                service.name().clone(),
                (view.revision, service.logged(), ids, healthy),
            )
        })
        .collect();
    let counts = (state.leases.len(), state.connection_leases.len());
    let routes = state.route_table.routes.load();
    let routes: Vec<_> = routes
        .list
        .iter()
        .map(|route| (&route.route_id, route.revision))
        .collect();
    write!(text, "{leases:#?}\n{views:#?}\n{counts:?}\n{routes:?}").expect("a string");
    text
}

pub(super) fn route(id: u8, priority: i32) -> RouteDraft {
    RouteDraft {
        route_id: RouteId::parse(&format!("r{}", id % 3)).unwrap(),
        path_prefix: "/".into(),
        service_name: ServiceName::parse("web").unwrap(),
        strip_prefix: false,
        methods: Box::default(),
        priority,
    }
}

/// One command; what it answers does not matter here.
pub(super) fn act_or_route(registry: &Registry, (what, id, port): (u8, u8, u16)) {
    let instance = || registration(&format!("i{}", id % 6), "web", port % 4 + 1);
    match what % 18 {
        12 => drop(registry.set_route(route(id, i32::from(port % 3)))),
        13 => drop(registry.remove_route(&format!("r{}", id % 3))),
        14 => drop(registry.set_weight(&format!("i{}", id % 6), port % 5)),
        15 => {
            let lease = LeaseKind::Unlimited;
            drop(registry.register(
                Registration {
                    lease,
                    ..instance()
                },
                None,
            ));
        }
        16 => {
            let health_check_url = None;
            let unchecked = Registration {
                health_check_url,
                ..instance()
            };
            drop(registry.register(unchecked, None));
        }
        17 => {
            let checks = [check()].into();
            drop(registry.register(
                Registration {
                    checks,
                    ..instance()
                },
                None,
            ));
        }
        _ => act(registry, what, id, port),
    }
}

fn check() -> Check {
    Check {
        name: "beat".into(),
        kind: CheckKind::Ttl,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 1,
        options: None,
    }
}

pub(super) fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test);
}

pub(super) fn commands() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), any::<u16>()), 0..150)
}

#[tokio::test]
async fn each_nth_commit_that_is_lost_refuses_its_command_alone() {
    let journal = TestJournal::losing(3);
    let registry = open(&journal);
    let mut refused = Vec::new();
    for n in 1..=9 {
        let result = registry.register(registration(&format!("i{n}"), "web", 80), None);
        if let Err(refusal) = result {
            assert_eq!(refusal.status(), 503);
            assert_eq!(
                refusal.to_string(),
                "the change was not committed: the disk is full"
            );
            refused.push(n);
        }
    }
    assert_eq!(refused, [3, 6, 9]);
    assert_eq!(registry.newest(), Revision(6), "no revision is left out");
    assert_eq!(registry.counts().instances, 6);
}

#[tokio::test(start_paused = true)]
async fn a_command_after_the_last_commit_is_refused() {
    let (registry, _journal, mut tasks, stop) = delayed();
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(1), register(&registry, "late"));
    let refusal = answer.await.expect("it is answered").unwrap_err();
    assert_eq!(refusal.to_string(), Refusal::Stopping.to_string());
    assert_eq!(registry.counts().instances, 0);
}

/// A registry whose commits are answered by the test, and the task that brings the answers.
fn delayed() -> (Registry, TestJournal, JoinSet<()>, CancellationToken) {
    let journal = TestJournal::delayed();
    let registry = open(&journal);
    let (stop, tasks) = opened(&registry);
    (registry, journal, tasks, stop)
}

/// The task that brings the answers of commits.
pub(super) fn opened(registry: &Registry) -> (CancellationToken, JoinSet<()>) {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(registry.clone().run_commits(stop.clone()));
    (stop, tasks)
}

/// Answers the batch in flight.
pub(super) async fn answer(journal: &TestJournal, result: Result<(), Lost>) {
    settle().await;
    let answer = journal.0.lock().later.as_mut().unwrap().pop_front();
    answer.expect("a batch in flight").send(result).unwrap();
    settle().await;
}

/// Lets the other tasks of the runtime do all they can.
pub(super) async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

fn register(registry: &Registry, id: &str) -> Pending<crate::registry::Registered> {
    let registration = registration(id, "web", 80);
    let incarnation = None;
    registry.submit(
        Register {
            registration,
            incarnation,
        },
        None,
    )
}

fn deregister(registry: &Registry, id: &str) -> Pending<Arc<Instance>> {
    let service_id = id.into();
    let incarnation = None;
    registry.submit(
        Deregister {
            service_id,
            incarnation,
        },
        None,
    )
}

#[tokio::test]
async fn no_reader_sees_a_change_before_its_commit() {
    let (registry, journal, mut tasks, stop) = delayed();
    let mut following = registry.follow();
    let first = register(&registry, "a");
    settle().await;
    assert!(registry.instance("a").is_none());
    assert!(registry.services().is_empty());
    assert_eq!(registry.newest(), Revision(0));
    assert!(!following.has_changed().unwrap());

    let second = register(&registry, "b");
    let gone = deregister(&registry, "b");
    let third = register(&registry, "c");
    let unknown = deregister(&registry, "d");
    settle().await;
    assert_eq!(journal.0.lock().batches, [1], "the others wait undecided");

    answer(&journal, Ok(())).await;
    let registered = first.await.unwrap();
    assert_eq!(registered.instance.revision, Revision(1));
    assert!(registry.instance("a").is_some());
    assert!(following.has_changed().unwrap());
    following.mark_unchanged();
    assert_eq!(
        journal.0.lock().batches,
        [1, 3],
        "one commit for all that came meanwhile"
    );
    assert!(registry.instance("c").is_none());

    answer(&journal, Ok(())).await;
    assert_eq!(second.await.unwrap().instance.revision, Revision(2));
    assert_eq!(
        gone.await.unwrap().id().as_str(),
        "b",
        "it saw the one before it"
    );
    assert_eq!(third.await.unwrap().instance.revision, Revision(4));
    assert_eq!(unknown.await.unwrap_err(), Refusal::Unknown);
    assert!(registry.instance("b").is_none() && registry.instance("c").is_some());
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lost_batch_refuses_all_of_its_commands_and_the_next_starts_without_them() {
    let (registry, journal, mut tasks, stop) = delayed();
    let first = register(&registry, "a");
    let again = register(&registry, "a");
    let gone = deregister(&registry, "a");
    answer(&journal, Err(Lost::Failed("deposed".into()))).await;
    assert_eq!(first.await.unwrap_err().status(), 503);
    assert_eq!(registry.newest(), Revision(0));
    answer(&journal, Err(Lost::Failed("deposed".into()))).await;
    for refusal in [again.await.unwrap_err(), gone.await.unwrap_err()] {
        assert_eq!(refusal.to_string(), "the change was not committed: deposed");
    }
    let anew = register(&registry, "a");
    answer(&journal, Ok(())).await;
    assert_eq!(anew.await.unwrap().instance.revision, Revision(1));

    let pending = register(&registry, "z");
    stop.cancel();
    settle().await;
    answer(&journal, Ok(())).await;
    pending.await.unwrap();
    tasks.join_next().await.unwrap().unwrap();
}
