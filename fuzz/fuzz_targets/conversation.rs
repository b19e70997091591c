//! Clients that send well-formed methods in any order, disconnect, and wait.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};
use musterd::broker::wire::{Method, method::channel};
use musterd_fuzz::{Broker, CLIENTS, client_method, content};

/// How many steps a conversation has at most.
const STEPS_MAX: usize = 200;

fuzz_target!(|data: &[u8]| {
    // The end of the data is the end of the conversation.
    let mut broker = Broker::default();
    let _end = converse(&mut Unstructured::new(data), &mut broker);
    broker.finish();
});

fn converse(u: &mut Unstructured<'_>, broker: &mut Broker) -> Result<()> {
    for client in 0..CLIENTS {
        broker.say(client, 1, &channel::Open {}.into(), &[]);
    }
    for _ in 0..STEPS_MAX {
        if u.is_empty() {
            break;
        }
        let client = u.int_in_range(0..=CLIENTS - 1)?;
        match u.int_in_range(0..=40)? {
            0 => broker.hang_up(client),
            1 | 2 => broker.wait(*u.choose(&[1, 5, 100, 60_000])?),
            3 => {
                let len = u.int_in_range(0..=20)?;
                let bytes = u.bytes(len)?;
                broker.send(client, bytes);
            }
            _ => speak(u, broker, client)?,
        }
    }
    Ok(())
}

fn speak(u: &mut Unstructured<'_>, broker: &mut Broker, client: usize) -> Result<()> {
    let method = client_method(u)?;
    let channel = match method {
        Method::ConnectionClose(_) | Method::ConnectionCloseOk(_) => 0,
        _ => u.int_in_range(0..=2)?,
    };
    // Sometimes the content is missing, or there is one that does not belong.
    let expected = method.carries_content() != u.ratio(1, 30)?;
    let body = if expected {
        content(u, channel)?
    } else {
        Default::default()
    };
    broker.say(client, channel, &method, &body);
    Ok(())
}
