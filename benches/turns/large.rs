//! Things that are large in other ways than in their number: fields, gaps, priorities, transactions, headers.

use musterd::broker::wire::{
    Properties, Table, ValueRef,
    method::{basic, channel, modes, queue},
    table::TableBuilder,
};

use super::{World, name};

/// Names that are not sorted, each in a field of so many bytes in all.
fn many_fields(count: usize) -> Table {
    let mut fields = TableBuilder::new();
    for number in 0..count {
        let mixed = (number * 7_919) % (1 << 15);
        let name = [mixed >> 10, mixed >> 5, mixed]
            .map(|part| b'a' + u8::try_from(part % 32).unwrap_or(0));
        fields.put(name, ValueRef::Void);
    }
    fields.build()
}

pub(crate) fn fields() {
    for (count, fields) in [(200, 15_000), (1, 26_000)] {
        let mut world = World::new();
        world.exchange("headers");
        world.queues(1, false, &Table::EMPTY);
        let fields = many_fields(fields);
        for number in 0..count {
            world.bind(0, &number.to_string(), fields.clone());
        }
        world.report(&format!("{count} bindings of many fields are made"));
        let properties = Properties::NONE.with_headers(&fields);
        world.publish("x", "", &properties);
        world.report(&format!(
            "a publish against {count} bindings of many fields"
        ));
    }
    let mut world = World::new();
    world.exchange("headers");
    world.queues(1, false, &Table::EMPTY);
    let mut long = TableBuilder::new();
    long.put_str("long", "x".repeat(120_000));
    let long = long.build();
    for number in 0..1_000 {
        world.bind(0, &number.to_string(), long.clone());
    }
    world.report("1,000 bindings of 120 KB are made");
    world.publish("x", "", &Properties::NONE.with_headers(&long));
    world.report("a publish against 1,000 bindings of 120 KB");
}

pub(crate) fn unacked() {
    let mut world = World::new();
    world.queues(1, false, &Table::EMPTY);
    world.consume("held", false, Table::EMPTY);
    world.publish_all(1_000_000, "q0");
    world.report("1,000,000 deliveries are not acknowledged");
    world.send(
        1,
        &basic::Cancel {
            consumer_tag: name("held"),
            nowait: true,
        },
    );
    world.consume("gap", true, Table::EMPTY);
    world.publish_all(2_000_000, "q0");
    world.send(
        1,
        &basic::Cancel {
            consumer_tag: name("gap"),
            nowait: true,
        },
    );
    world.consume("next", false, Table::EMPTY);
    world.report("2,000,000 deliveries that need no acknowledgement");
    world.publish_all(1_000, "q0");
    world.report("the next ones that need it");
    for delivery_tag in (1..=1_000_000).filter(|tag| tag % 9 != 0) {
        world.send(
            1,
            &basic::Ack {
                delivery_tag,
                multiple: false,
            },
        );
    }
    world.report("all but every ninth are acknowledged");
    world.send(
        1,
        &basic::Ack {
            delivery_tag: 0,
            multiple: true,
        },
    );
    world.report("the others are acknowledged at once");
}

pub(crate) fn priorities() {
    let mut world = World::new();
    world.queues(1, false, &Table::EMPTY);
    world.send(
        1,
        &basic::Qos {
            prefetch_count: 1,
            ..Default::default()
        },
    );
    for number in 0..100_000 {
        let mut arguments = TableBuilder::new();
        arguments.put("x-priority", ValueRef::I32(number));
        world.consume(&number.to_string(), false, arguments.build());
    }
    world.report("100,000 consumers, each of another priority, begin");
    world.publish_all(100_000, "q0");
    world.report("each of 100,000 consumers gets a message");
    world.publish("", "q0", &Properties::NONE);
    world.report("a publish to 100,000 consumers without credit");
    for number in 0..100_000 {
        let consumer_tag = name(&number.to_string());
        world.send(
            1,
            &basic::Cancel {
                consumer_tag,
                nowait: true,
            },
        );
    }
    world.report("100,000 consumers are cancelled");
}

pub(crate) fn transactions() {
    let mut world = World::new();
    world.queues(1, false, &Table::EMPTY);
    world.send(1, &modes::TxSelect {});
    world.publish_all(1_000_000, "q0");
    world.report("1,000,000 publishes are held back");
    world.send(1, &modes::TxRollback {});
    world.report("1,000,000 publishes are rolled back");
    world.publish_all(1_000_000, "q0");
    world.report("1,000,000 publishes are held back");
    world.send(1, &channel::Close::default());
    world.report("a channel that holds 1,000,000 publishes is closed");
}

pub(crate) fn redelivered() {
    let mut world = World::new();
    let mut arguments = TableBuilder::new();
    arguments.put("x-delivery-limit", ValueRef::I32(1_000_000));
    world.queues(1, false, &arguments.build());
    for _ in 0..100 {
        let properties = Properties::NONE.with_headers(&many_fields(26_000));
        world.publish("", "q0", &properties);
    }
    world.consume("c", false, Table::EMPTY);
    world.report("100 messages with 26,000 headers are delivered");
    for _ in 0..10 {
        world.send(
            1,
            &basic::Nack {
                delivery_tag: 0,
                multiple: true,
                requeue: true,
            },
        );
    }
    world.report("100 messages with 26,000 headers are delivered ten times");
}

pub(crate) fn unbound() {
    for kind in ["topic", "direct", "headers"] {
        let mut world = World::new();
        world.exchange(kind);
        world.queues(1, false, &Table::EMPTY);
        for number in 0..190_000 {
            world.bind(0, &format!("a.{number}.b"), Table::EMPTY);
        }
        world.report(&format!("190,000 bindings are made ({kind})"));
        for number in 0..190_000 {
            world.send(
                1,
                &queue::Unbind {
                    queue: name("q0"),
                    exchange: name("x"),
                    routing_key: name(&format!("a.{number}.b")),
                    arguments: Table::EMPTY,
                },
            );
        }
        world.report(&format!("190,000 bindings are removed ({kind})"));
    }
}
