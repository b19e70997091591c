//! Answers that wait for the store.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use bytes::BytesMut;

use super::fixture::{Client, World, name, table};
use crate::broker::{
    durable::{TopologyJournal, TopologyTable, testing::MemoryTopology},
    wire::{
        Method,
        method::{MethodSpec, basic, queue},
    },
};

/// A vhost with a store, whose journal commits when a test has it do so.
struct Stored {
    world: World,
    store: Arc<MemoryTopology>,
    journal: Arc<TopologyJournal>,
}

impl Stored {
    fn new() -> Self {
        let store = Arc::<MemoryTopology>::default();
        let journal = Arc::new(TopologyJournal::open(Arc::clone(&store) as _).unwrap());
        let mut world = World::new();
        world.vhost.set_topology(Arc::clone(&journal));
        Self {
            world,
            store,
            journal,
        }
    }

    /// Commits all that waits; whether there was anything.
    fn commit(&mut self) -> bool {
        let before = self.store.commits.load(SeqCst);
        self.journal.close();
        self.journal.run(|| ());
        self.world.progress();
        self.store.commits.load(SeqCst) > before
    }
}

fn durable(queue: &str) -> queue::Declare {
    queue::Declare {
        queue: name(queue),
        durable: true,
        ..Default::default()
    }
}

fn push(client: &mut Client, method: &impl MethodSpec) {
    let mut out = BytesMut::new();
    method.put(&mut out, 1);
    client.push(&out);
}

#[test]
fn the_answer_to_a_durable_declaration_comes_after_its_commit_and_before_later_answers() {
    let mut stored = Stored::new();
    let mut client = stored.world.client(1);
    push(&mut client, &durable("q"));
    push(
        &mut client,
        &basic::Get {
            queue: name("q"),
            no_ack: true,
        },
    );
    client.turn(&mut stored.world);
    client.turn(&mut stored.world);
    assert!(client.sent().is_empty());
    assert!(client.session.is_parked(&stored.world.vhost));
    assert!(!stored.world.pump(), "nothing to do until it is stored");
    stored.world.progress();
    assert!(client.session.is_parked(&stored.world.vhost));
    assert!(stored.commit());
    assert!(!client.session.is_busy(&stored.world.vhost));
    client.turn(&mut stored.world);
    let sent = client.sent();
    assert!(matches!(sent[0].method, Method::QueueDeclareOk(_)));
    assert!(matches!(sent[1].method, Method::BasicGetEmpty(_)));
    assert_eq!(stored.store.count(TopologyTable::Queues), 1);
}

#[test]
fn others_and_what_is_transient_do_not_wait() {
    let mut stored = Stored::new();
    let mut client = stored.world.client(1);
    let mut other = stored.world.client(1);
    push(&mut client, &durable("q"));
    client.turn(&mut stored.world);
    other.declare(&mut stored.world, "t", table(&[]));
    other.publish(&mut stored.world, "q", "x");
    assert_eq!(other.get(&mut stored.world, "q").unwrap().text(), "x");
    assert!(client.session.is_parked(&stored.world.vhost));
    // The same declaration changes nothing, so that nothing has to be stored for it.
    push(&mut other, &durable("q"));
    other.turn(&mut stored.world);
    assert!(matches!(other.sent()[0].method, Method::QueueDeclareOk(_)));
}

#[test]
fn a_client_that_vanishes_while_it_waits_leaves_nothing_behind() {
    let mut stored = Stored::new();
    let mut client = stored.world.client(1);
    push(&mut client, &durable("q"));
    client.turn(&mut stored.world);
    client.vanish(&mut stored.world);
    assert!(!client.session.is_busy(&stored.world.vhost));
    assert!(!stored.world.pump());
    assert!(stored.commit());
    assert!(client.sent().is_empty());
    let mut other = stored.world.client(1);
    assert_eq!(other.depth(&mut stored.world, "q"), Some(0));
}

#[test]
fn a_deletion_is_answered_when_the_row_is_gone() {
    let mut stored = Stored::new();
    let mut client = stored.world.client(1);
    push(&mut client, &durable("q"));
    push(
        &mut client,
        &queue::Bind {
            queue: name("q"),
            exchange: name("amq.topic"),
            ..Default::default()
        },
    );
    push(
        &mut client,
        &queue::Delete {
            queue: name("q"),
            ..Default::default()
        },
    );
    let mut commits = 0;
    for _ in 0..10 {
        client.turn(&mut stored.world);
        commits += usize::from(stored.commit());
    }
    let sent = client.sent();
    assert!(matches!(sent[2].method, Method::QueueDeleteOk(_)));
    assert_eq!((sent.len(), commits), (3, 3));
    assert_eq!(stored.store.count(TopologyTable::Queues), 0);
    assert_eq!(stored.store.count(TopologyTable::Bindings), 0);
}
