//! Commands of senders that may not do everything.

use std::sync::Arc;

use super::*;
use crate::{
    model::{Instance, Lease, Route, RouteDraft, RouteId},
    registry::{CommandSender, Heartbeat, InstanceRights, Register, RemoveRoute, SetRoute},
};

/// A sender that changes only its instances and sees only routes to "web".
#[derive(Debug)]
struct Named(&'static str);

impl InstanceRights for Named {
    fn owner(&self) -> Arc<str> {
        self.0.into()
    }

    fn renew(&self, _: &Instance) -> Result<(), Refusal> {
        Ok(())
    }

    fn change(&self, known: &Instance) -> Result<(), Refusal> {
        match known.owner.as_deref() {
            Some(owner) if owner != self.0 => Err(Refusal::Forbidden("another owner".into())),
            _ => Ok(()),
        }
    }

    fn sees_route(&self, known: &Route) -> bool {
        known.service_name.as_str() == "web"
    }
}

fn by(name: &'static str, connection: u64) -> CommandSender {
    CommandSender {
        connection: Some(connection),
        rights: Some(Arc::new(Named(name))),
    }
}

#[tokio::test]
async fn a_heartbeat_of_another_identity_leaves_the_lease_on_its_connection() {
    let registry = Registry::new(Config::default());
    let mut registration = registration("a", "web", 80);
    registration.lease = LeaseKind::Connection;
    let register = Register {
        registration,
        incarnation: None,
    };
    let registered = registry.submit(register, by("alice", 1)).await.unwrap();
    assert_eq!(registered.instance.owner.as_deref(), Some("alice"));
    let renew = async |sender| {
        let heartbeat = Heartbeat {
            service_id: "a".into(),
            incarnation: None,
        };
        registry.submit(heartbeat, sender).await.unwrap();
        registry.instance("a").unwrap().lease
    };
    assert_eq!(renew(by("bob", 2)).await, Lease::Connection(1));
    assert_eq!(renew(by("alice", 3)).await, Lease::Connection(3));
}

#[tokio::test]
async fn a_route_to_an_unseen_service_is_neither_replaced_nor_removed() {
    let registry = Registry::new(Config::default());
    let set = |service: &str| SetRoute {
        route: RouteDraft {
            route_id: RouteId::parse("r").unwrap(),
            path_prefix: "/".into(),
            service_name: ServiceName::parse(service).unwrap(),
            strip_prefix: false,
            methods: Box::default(),
            priority: 0,
        },
    };
    let remove = || RemoveRoute {
        route_id: "r".into(),
    };
    registry.submit(set("pay"), None).await.unwrap();
    let replaced = registry.submit(set("web"), by("bob", 1)).await;
    assert!(matches!(replaced, Err(Refusal::IdTaken)));
    let removed = registry.submit(remove(), by("bob", 1)).await;
    assert!(matches!(removed, Err(Refusal::UnknownRoute)));
    registry.submit(set("web"), None).await.unwrap();
    registry.submit(remove(), by("bob", 1)).await.unwrap();
}
