//! The numbers by which readers see that something has changed.

use super::{registration, registry};
use crate::{
    model::ServiceName,
    registry::{Deregister, Register, Registry},
};

fn register(registry: &Registry, id: &str, name: &str) {
    let command = Register {
        registration: registration(id, name, 80),
        incarnation: None,
    };
    registry.submit(command, None).now().unwrap().unwrap();
}

#[test]
fn a_service_that_was_forgotten_begins_after_its_last_change() {
    let registry = registry(4);
    register(&registry, "a", "web");
    let shown = registry.service("web").unwrap().stamp().value();
    let command = Deregister {
        service_id: "a".into(),
        incarnation: None,
    };
    registry.submit(command, None).now().unwrap().unwrap();
    let gone = registry.service("web").unwrap().stamp().value();
    assert!(gone > shown);
    for number in 0..8 {
        register(&registry, &format!("b{number}"), "other");
    }
    assert!(registry.service("web").is_none(), "its events left the log");
    assert!(registry.stamps().names.value() >= gone);
    let following = registry.follow_service(&ServiceName::parse("web").unwrap());
    assert!(following.service().stamp().value() >= gone);
}
