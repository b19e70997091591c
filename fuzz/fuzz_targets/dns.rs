//! Any message to the DNS door: no panic, and an answer that begins with the id of the message, within its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use musterd::{
    catalog::Catalog,
    dns::{Config, DnsResponder},
    registry::{self, Registry},
};

fuzz_target!(|data: &[u8]| {
    let registry = Registry::new(registry::Config::default());
    let mut responder = DnsResponder::new(&Config::default(), Catalog::new(registry));
    let mut check = |answer: Option<&[u8]>, limit: usize| {
        if let Some(answer) = answer {
            assert_eq!(answer[..2], data[..2]);
            assert!(answer.len() >= 12 && answer.len() <= limit);
        }
    };
    check(responder.datagram(data), 1232);
    check(responder.message(data), 65_535);
});
