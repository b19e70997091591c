use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{ColdRun, Entry, NEVER, Ready};
use crate::broker::{
    memory::Memory,
    message::InboundMessage,
    wire::{Properties, ShortStr},
};

fn entry(position: u64, persistent: bool) -> Entry {
    let body = position.to_string().into();
    let mut message = InboundMessage::new(ShortStr::EMPTY, ShortStr::EMPTY, Properties::NONE, body);
    message.persistent = persistent;
    Entry {
        message: message.keep(&Memory::new(usize::MAX), &ShortStr::EMPTY),
        position,
        expires_at: NEVER,
        returns: 0,
        redelivered: false,
        resumed: false,
    }
}

/// A queue's messages, some of which may be in the log only.
struct Model {
    ready: Ready,
    /// What waits, in order.
    waiting: BTreeSet<u64>,
    next: u64,
    popped: Vec<u64>,
}

impl Model {
    fn push(&mut self, persistent: bool) {
        self.ready.push(entry(self.next, persistent));
        self.waiting.insert(self.next);
        self.next += 1;
    }

    fn pop(&mut self) {
        let popped = self.ready.pop().map(|entry| entry.position);
        if let Some(position) = popped {
            assert_eq!(self.waiting.pop_first(), Some(position), "in order");
            self.popped.push(position);
        } else {
            assert!(self.waiting.is_empty() || self.ready.is_blocked());
        }
    }

    fn requeue(&mut self) {
        if let Some(position) = self.popped.pop() {
            self.ready.put_back(entry(position, true));
            self.waiting.insert(position);
        }
    }

    /// Reads the first messages back.
    fn load(&mut self, count: usize) {
        if let Some(ColdRun { first, last, .. }) = self.ready.cold() {
            let read: Vec<u64> = self
                .waiting
                .range(first..=last)
                .take(count)
                .copied()
                .collect();
            let end = read.last().copied().unwrap_or(last);
            self.ready
                .warm(read.into_iter().map(|position| entry(position, true)), end);
        }
    }

    fn check(&self) {
        assert_eq!(self.ready.len(), self.waiting.len());
        let bytes: usize = self.waiting.iter().map(|at| at.to_string().len()).sum();
        assert_eq!(self.ready.body_bytes(), bytes);
    }
}

proptest! {
    #[test]
    fn order_is_kept_when_messages_leave_memory_and_return(
        steps in prop::collection::vec((0u8..7, 1usize..20), 1..200)
    ) {
        let ready = Ready::new(0);
        let (waiting, popped) = (BTreeSet::new(), Vec::new());
        let mut model = Model { ready, waiting, next: 100, popped };
        for (step, count) in steps {
            match step {
                0 | 1 => (0..count).for_each(|_| model.push(true)),
                2 => model.push(false),
                3 => (0..count).for_each(|_| model.pop()),
                4 => model.requeue(),
                5 => drop(model.ready.cool(count * 100, model.next, count)),
                _ => model.load(count),
            }
            model.check();
        }
        while !model.waiting.is_empty() {
            model.load(3);
            model.pop();
            model.check();
        }
    }
}

#[test]
fn messages_leave_memory_behind_the_first_ones_and_up_to_a_position() {
    let memory = Memory::new(usize::MAX);
    let mut ready = Ready::new(0).counted(memory.charge(0));
    for position in 0..100 {
        ready.push(entry(position, position != 60));
    }
    let held = memory.used();
    assert_eq!(ready.cool(1, 40, 1000), 39);
    let expected = ColdRun {
        first: 1,
        last: 39,
        len: 39,
        body_bytes: 69,
    };
    assert_eq!(ready.cold(), Some(expected));
    assert_eq!(
        ready.cool(1, 100, 1000),
        20,
        "up to the first transient message"
    );
    assert_eq!((ready.len(), ready.hot()), (100, 41));
    assert!(memory.used() < held);
    assert_eq!(ready.pop().map(|entry| entry.position), Some(0));
    assert!(ready.is_blocked() && ready.head().is_none() && ready.pop_expired(NEVER).is_none());
    ready.put_back(entry(0, true));
    assert_eq!(ready.pop().map(|entry| entry.position), Some(0));
    // The log knows fewer than were expected: the others are not waited for.
    ready.warm(std::iter::once(entry(1, true)), 59);
    assert_eq!((ready.len(), ready.cold()), (41, None));
    let rest = std::iter::from_fn(|| ready.pop()).map(|entry| entry.position);
    assert_eq!(
        rest.collect::<Vec<_>>(),
        std::iter::once(1).chain(60..100).collect::<Vec<_>>()
    );
    assert_eq!((ready.len(), ready.body_bytes()), (0, 0));
}
