//! Whatever clients do, nothing is lost, nothing is with two, and order holds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{Client, World, name, table};
use crate::broker::wire::method::{basic, channel};

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Consume(u16, u16),
    Ack(u16, prop::sample::Index, bool),
    Requeue(u16, prop::sample::Index, bool),
    Recover(u16),
    Close(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 1u16..4;
    prop_oneof![
        3 => (1u8..6).prop_map(Step::Publish),
        2 => (which(), 0u16..4).prop_map(|(channel, count)| Step::Consume(channel, count)),
        3 => (which(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(channel, tag, multiple)| Step::Ack(channel, tag, multiple)),
        3 => (which(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(channel, tag, multiple)| Step::Requeue(channel, tag, multiple)),
        1 => which().prop_map(Step::Recover),
        1 => which().prop_map(Step::Close),
    ]
}

/// What each channel holds by tag, what is done with, and who had which message.
#[derive(Default)]
struct Model {
    held: BTreeMap<u16, BTreeMap<u64, u64>>,
    settled: Vec<u64>,
    seen: Vec<u64>,
}

impl Model {
    /// Takes what was delivered: nobody else may hold it, and again means that it was seen.
    fn take(&mut self, client: &mut Client) {
        for sent in client.sent() {
            let crate::broker::wire::Method::BasicDeliver(deliver) = &sent.method else {
                continue;
            };
            let number: u64 = sent.text().parse().unwrap();
            let held_by = self
                .held
                .values()
                .filter(|held| held.values().any(|n| *n == number));
            assert_eq!(held_by.count(), 0, "{number} is with two");
            assert!(
                !self.settled.contains(&number),
                "{number} came after it was settled"
            );
            assert_eq!(deliver.redelivered, self.seen.contains(&number), "{number}");
            if !self.seen.contains(&number) {
                let newest = self.seen.iter().max();
                assert!(
                    newest.is_none_or(|newest| *newest < number),
                    "{number} out of order"
                );
                self.seen.push(number);
            }
            self.held
                .entry(sent.channel)
                .or_default()
                .insert(deliver.delivery_tag, number);
        }
    }

    fn remove(&mut self, channel: u16, tag: u64, multiple: bool) -> Vec<u64> {
        let held = self.held.entry(channel).or_default();
        if !multiple {
            return held.remove(&tag).into_iter().collect();
        }
        let kept = held.split_off(&(tag + 1));
        std::mem::replace(held, kept).into_values().collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_message_is_lost_and_none_is_with_two_consumers(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut client = world.client(3);
        client.declare(&mut world, "q", table(&[]));
        let mut model = Model::default();
        let mut published = 0u64;
        for step in steps {
            match step {
                Step::Publish(count) => {
                    for _ in 0..count {
                        client.publish(&mut world, "q", &published.to_string());
                        published += 1;
                    }
                }
                Step::Consume(channel, count) => {
                    client.qos(&mut world, channel, count, false);
                    client.consume(&mut world, channel, "q", "");
                }
                Step::Ack(channel, tag, multiple) => {
                    let held = model.held.entry(channel).or_default();
                    if held.is_empty() {
                        continue;
                    }
                    let tag = *tag.get(&held.keys().copied().collect::<Vec<_>>());
                    let settled = model.remove(channel, tag, multiple);
                    model.settled.extend(settled);
                    let ack = basic::Ack { delivery_tag: tag, multiple };
                    client.send(&mut world, channel, &ack);
                }
                Step::Requeue(channel, tag, multiple) => {
                    let held = model.held.entry(channel).or_default();
                    if held.is_empty() {
                        continue;
                    }
                    let tag = *tag.get(&held.keys().copied().collect::<Vec<_>>());
                    model.remove(channel, tag, multiple);
                    let nack = basic::Nack { delivery_tag: tag, multiple, requeue: true };
                    client.send(&mut world, channel, &nack);
                }
                Step::Recover(channel) => {
                    model.held.remove(&channel);
                    client.send(&mut world, channel, &basic::Recover { requeue: true });
                }
                Step::Close(channel) => {
                    model.held.remove(&channel);
                    client.send(&mut world, channel, &channel::Close::default());
                    client.send(&mut world, channel, &channel::Open {});
                }
            }
            model.take(&mut client);
        }
        for channel in 1..=3 {
            client.send(&mut world, channel, &channel::Close::default());
        }
        client.sent();
        let mut last = world.client(1);
        let left = last.drain(&mut world, "q");
        let expected: Vec<String> = (0..published)
            .filter(|number| !model.settled.contains(number))
            .map(|number| number.to_string())
            .collect();
        prop_assert_eq!(left, expected);
        last.send(&mut world, 1, &crate::broker::wire::method::queue::Delete {
            queue: name("q"),
            ..Default::default()
        });
        prop_assert_eq!(world.held(), 0);
    }
}
