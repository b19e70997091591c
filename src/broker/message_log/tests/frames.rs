//! Arbitrary bytes are read without a panic, and written frames are read back.

use proptest::prelude::*;

use super::{
    super::{
        frame::{FrameScan, Prologue},
        head,
        record::{self, Fact, RecordedPlace, SegmentStart, Spread},
    },
    *,
};
use crate::disk::testing::SimDisk;

fn any_place() -> impl Strategy<Value = RecordedPlace> {
    let numbers = (any::<u64>(), any::<u64>(), any::<Option<u64>>());
    (numbers, 0..u32::MAX / 2, any::<bool>()).prop_map(
        |((queue, position, deadline), returns, redelivered)| RecordedPlace {
            place: QueuePlace {
                queue,
                position,
                deadline: deadline.filter(|deadline| *deadline < u64::MAX),
            },
            returns,
            redelivered,
        },
    )
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let spread = (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
        |(queue, segment, first, last)| Spread {
            queue,
            segment,
            origins: first..=last,
        },
    );
    let requeued = (
        any::<u64>(),
        any::<u32>(),
        any::<u64>(),
        any::<u64>(),
        any::<u32>(),
    );
    prop_oneof![
        spread.clone().prop_map(Fact::Settled),
        spread.prop_map(Fact::Delivered),
        requeued.prop_map(
            |(queue, segment, origin, position, returns)| Fact::Requeued {
                queue,
                segment,
                origin,
                position,
                returns,
            }
        ),
        any::<u32>().prop_map(Fact::Removed),
    ]
}

proptest! {
    #[test]
    fn places_and_facts_are_read_back(
        places in prop::collection::vec(any_place(), 0..5),
        facts in prop::collection::vec(any_fact(), 0..9),
        rest in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = Vec::new();
        record::put_places(&places, &mut bytes);
        bytes.extend_from_slice(&rest);
        let mut bytes = Bytes::from(bytes);
        prop_assert_eq!(record::take_places(&mut bytes), Some(places));
        prop_assert_eq!(&bytes[..], &rest[..]);
        let mut bytes = Vec::new();
        facts.iter().for_each(|fact| fact.put(&mut bytes));
        prop_assert_eq!(record::take_facts(bytes.into()), Some(facts));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        mark in any::<u64>(),
        places in prop::collection::vec(0usize..400, 0..4),
    ) {
        let mut file = bytes.clone();
        for place in places {
            let end = file.len().min(place + 8);
            let mark = mark.to_le_bytes();
            if place < end {
                file[place..end].copy_from_slice(&mark[..end - place]);
            }
        }
        let len = file.len() as u64;
        let disk = SimDisk::default().with("file", Some(file));
        let file = disk.open("file").unwrap();
        let _ = Prologue::read(&*file).unwrap();
        let mut scan = FrameScan::new(&*file, mark, 0, len);
        while let Some(Ok(_)) = scan.next().unwrap() {}
        while scan.resume().unwrap().is_some() {}
        let bytes = Bytes::from(bytes);
        let _ = record::take_facts(bytes.clone());
        let _ = record::take_places(&mut bytes.clone());
        let _ = SegmentStart::take(bytes.clone());
        let _ = head::decode(&mut bytes.clone());
    }

    #[test]
    fn any_damage_to_a_message_is_refused_or_harmless(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        let message = rich_message();
        head::encode(&message, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = head::decode(&mut Bytes::from(bytes));
    }
}
