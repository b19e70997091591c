//! Any bytes of a client after connection.open: no panic, and the answer is valid frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use musterd::broker::wire::method::{channel, queue};
use musterd_fuzz::Broker;

fuzz_target!(|data: &[u8]| {
    let mut broker = Broker::default();
    broker.say(0, 1, &channel::Open {}.into(), &[]);
    let declare = queue::Declare {
        queue: "a".try_into().expect("short"),
        ..Default::default()
    };
    broker.say(0, 1, &declare.into(), &[]);
    broker.send(0, data);
    broker.wait(1000);
    broker.finish();
});
