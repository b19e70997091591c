//! The memory of the registry.

use bytesize::ByteSize;
use musterd::{
    api::{self, Defaults},
    catalog::{Caller, Catalog, Door, Register, SetRoute},
    model::{InstanceFilter, RouteDraft, RouteId, ServiceName, Timestamp},
    registry::{Config, Registry},
};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use super::allocated;

const CALLER: Caller = Caller::by(Door::Embedding);

/// Makes the registry keep things of this number and size.
type Fill = fn(&Catalog, usize, usize);

const KINDS: &[(&str, Fill)] = &[
    ("instances", |catalog, count, _| {
        instances(catalog, count, &json!({}));
    }),
    ("metadata", |catalog, count, size| {
        let metadata = json!({"key": "v".repeat(size)});
        instances(catalog, count, &json!({"metadata": metadata}));
    }),
    ("tags", |catalog, count, size| {
        let tags: Vec<_> = (0..20)
            .map(|n| format!("{n}{}", "t".repeat(size / 42)))
            .collect();
        instances(catalog, count, &json!({"tags": tags}));
    }),
    ("checks", |catalog, count, size| {
        let check = |n| {
            json!({
                "name": format!("check {n}"), "type": "http",
                "url": format!("http://127.0.0.1/{}", "p".repeat(size / 16)),
                "headers": {"x-header": "h".repeat(size / 16)},
            })
        };
        let checks: Vec<_> = (0..8).map(check).collect();
        instances(catalog, count, &json!({"checks": checks}));
    }),
    ("routes", routes),
    ("encoded answers", |catalog, count, size| {
        let metadata = json!({"key": "v".repeat(size)});
        instances(catalog, count, &json!({"metadata": metadata}));
        let filter = InstanceFilter::default();
        let _ = catalog.discover(&CALLER, "web", &filter, |found| {
            api::discovered(found, |_| Timestamp(0))
        });
    }),
];

/// Compares what is counted with what is allocated, for each kind.
pub(super) fn check(config: &ProptestConfig) {
    let sizes = (100..300_usize, prop_oneof![0..200_usize, 200..8_000_usize]);
    for (kind, fill) in KINDS {
        let tried = TestRunner::new(config.clone()).run(&sizes, |(count, size)| {
            // The log has separate limits.
            let registry = Registry::new(Config {
                log_entries_max: 1.into(),
                log_bytes_max: ByteSize(1).into(),
                ..Config::default()
            });
            let catalog = Catalog::new(registry.clone());
            let before = allocated();
            fill(&catalog, count, size);
            let (counted, real) = (registry.counts().memory, allocated() - before);
            prop_assert!(
                counted <= 2 * real && real <= 2 * counted,
                "{kind}: {counted} bytes are counted, {real} were allocated"
            );
            Ok(())
        });
        if let Err(error) = tried {
            panic!("{error}");
        }
    }
}

fn instances(catalog: &Catalog, count: usize, fields: &Value) {
    let defaults = Defaults::default();
    for n in 0..count {
        let mut body = json!({
            "service_id": format!("instance-{n}"), "service_name": "web",
            "host": "127.0.0.1", "port": 8080,
        });
        for (key, value) in fields.as_object().unwrap() {
            body[key] = value.clone();
        }
        let parsed = api::registration(body.to_string().as_bytes(), &defaults).unwrap();
        let command = Register {
            registration: parsed.registration,
            incarnation: None,
        };
        let registered = catalog.write(&CALLER, command).now().unwrap().unwrap();
        // Fills the cached JSON, which is counted from the start.
        api::instance(&mut Vec::new(), &registered.instance, Timestamp(0));
    }
}

fn routes(catalog: &Catalog, count: usize, size: usize) {
    for n in 0..count {
        let route = RouteDraft {
            route_id: RouteId::parse(&format!("route-{n}")).unwrap(),
            path_prefix: format!("/{n}/{}", "p".repeat(size)).into(),
            service_name: ServiceName::parse("web").unwrap(),
            strip_prefix: false,
            methods: Box::default(),
            priority: 0,
        };
        let set = catalog.write(&CALLER, SetRoute { route }).now();
        api::route(&set.unwrap().unwrap());
    }
}
