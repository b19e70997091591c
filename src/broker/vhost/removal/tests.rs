use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{BrokerTime, Removal, Task, Vhost};
use crate::broker::{config::Limits, memory::Memory, vhost::Stamp};

#[test]
fn work_that_panics_does_not_keep_its_connection_busy() {
    let memory = Memory::new(usize::MAX);
    let mut vhost = Vhost::new(
        "/",
        Limits::default(),
        Arc::clone(&memory),
        Stamp::default(),
    );
    let now = BrokerTime::default();
    // A removal of many steps, then one that panics, then one that does not.
    let removal = |pieces: Box<dyn Iterator<Item = ()> + Send>| {
        Task::Remove(Box::new(Removal {
            garbage: vec![pieces],
            ..Removal::default()
        }))
    };
    let tasks = [
        removal(Box::new(std::iter::repeat_n((), 100_000))),
        removal(Box::new(std::iter::once_with(|| {
            panic!("as the test wants")
        }))),
        removal(Box::new(std::iter::repeat_n((), 100_000))),
    ];
    vhost.begin_turn();
    for task in tasks {
        vhost.begin(1, task, now);
    }
    let mut panics = 0;
    for _ in 0..1000 {
        vhost.begin_turn();
        let pumped = catch_unwind(AssertUnwindSafe(|| vhost.pump(now)));
        panics += usize::from(pumped.is_err());
    }
    assert_eq!(panics, 1);
    assert!(!vhost.is_busy_for(1), "it is busy for ever");
    assert!(!vhost.has_work());
}
