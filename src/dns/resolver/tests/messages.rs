//! Sizes, orders and faults of messages.

use std::collections::BTreeSet;

use hickory_proto::{
    op::{Message, ResponseCode as Code},
    rr::{DNSClass, RecordType as Kind},
};

use super::{Carrier, filled};
use crate::dns::{
    RecordOrder,
    testing::{Fixture, lines, query, sized},
};

pub(super) fn filled_with(count: u16, edit: impl FnOnce(&mut crate::dns::Config)) -> Fixture {
    let fixture = Fixture::new(edit);
    for number in 0..count {
        let host = format!("10.1.{}.{}", number / 250, number % 250 + 1);
        fixture.add(&format!("i{number}"), "big", &host);
    }
    fixture
}

#[test]
fn what_does_not_fit_into_a_datagram_is_cut_off() {
    let mut fixture = filled_with(500, |config| config.udp_size = 4096.into());
    let name = "big.service.musterd.";
    let mut bytes = |message: &Message, over| {
        let answer = fixture.handle(&message.to_vec().unwrap(), over).unwrap();
        (answer.len(), Message::from_vec(&answer).unwrap())
    };
    for (question, limit) in [
        (query(name, Kind::A), 512),
        (sized(name, Kind::A, 100), 512),
        (sized(name, Kind::A, 1232), 1232),
        (sized(name, Kind::SRV, 1232), 1232),
        (sized(name, Kind::A, 65_535), 4096),
    ] {
        let (length, answer) = bytes(&question, Carrier::Udp);
        assert!(
            length <= limit && length > limit - 60,
            "{length} of {limit}"
        );
        assert!(answer.metadata.truncation);
        assert_eq!(answer.edns.is_some(), question.edns.is_some());
        assert!(!answer.answers.is_empty());
    }
    let (_, answer) = bytes(&query(name, Kind::A), Carrier::Tcp);
    assert!(!answer.metadata.truncation && answer.metadata.authoritative);
    assert_eq!(answer.answers.len(), 500);
    // The names of the last targets are too far behind for pointers.
    let (length, answer) = bytes(&query(name, Kind::SRV), Carrier::Tcp);
    assert!(length > 0x4000 && !answer.metadata.truncation);
    assert_eq!((answer.answers.len(), answer.additionals.len()), (500, 500));
    for (target, address) in answer.answers.iter().zip(&answer.additionals) {
        let owner = address.name.to_string();
        assert!(
            target.to_string().ends_with(&format!(" {owner}")),
            "{target} {address}"
        );
    }
}

#[test]
fn each_answer_has_an_order_of_its_own() {
    let mut orders = BTreeSet::new();
    let mut shuffled = filled_with(20, |config| config.order = RecordOrder::Shuffled);
    for _ in 0..20 {
        let answer = shuffled.ask(&query("big.service.musterd.", Kind::SRV), Carrier::Tcp);
        for (target, address) in answer.answers.iter().zip(&answer.additionals) {
            let host = format!("{:08x}", target_bits(&address.to_string()));
            assert_eq!(answer.additionals.len(), 20);
            assert!(
                answer
                    .answers
                    .iter()
                    .any(|one| one.to_string().contains(&host)),
                "{target}"
            );
        }
        orders.insert(lines(&answer));
    }
    assert!(orders.len() > 10, "{}", orders.len());
    let sets: BTreeSet<BTreeSet<_>> = orders
        .into_iter()
        .map(|one| one.into_iter().collect())
        .collect();
    assert_eq!(sets.len(), 1, "the same records each time");
}

fn target_bits(line: &str) -> u32 {
    let address = line.rsplit_once(' ').unwrap().1;
    address.parse::<std::net::Ipv4Addr>().unwrap().to_bits()
}

#[test]
fn the_question_comes_back_as_it_was_asked() {
    let mut fixture = filled();
    let name = "WeB.sErViCe.MuStErD.";
    let answer = fixture.ask(&sized(name, Kind::A, 1400), Carrier::Udp);
    assert_eq!(answer.queries[0].name.to_string(), name);
    assert_eq!(answer.answers[0].name.to_string(), name);
    assert_eq!(answer.metadata.id, 7);
    let edns = answer.edns.unwrap();
    assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
}

#[test]
fn queries_that_are_not_served_are_refused_in_the_words_of_dns() {
    let mut fixture = filled();
    let mut code = |edit: &dyn Fn(&mut Message)| {
        let mut message = sized("web.service.musterd.", Kind::A, 1232);
        edit(&mut message);
        let answer = fixture.ask(&message, Carrier::Udp);
        answer.metadata.response_code
    };
    assert_eq!(code(&|_| ()), Code::NoError);
    assert_eq!(
        code(&|one| one.metadata.op_code = hickory_proto::op::OpCode::Update),
        Code::NotImp
    );
    assert_eq!(code(&|one| one.queries.clear()), Code::FormErr);
    assert_eq!(
        code(&|one| {
            one.queries[0].query_class = DNSClass::CH;
        }),
        Code::Refused
    );
    assert_eq!(
        code(&|one| {
            one.queries[0].query_class = DNSClass::ANY;
        }),
        Code::NoError
    );
    assert_eq!(
        code(&|one| {
            one.queries[0].query_type = Kind::AXFR;
        }),
        Code::Refused
    );
    let newer = code(&|one| {
        one.edns.as_mut().unwrap().set_version(1);
    });
    assert_eq!(u16::from(newer), 16);
    let twice = code(&|one| {
        let same = one.queries[0].clone();
        one.queries.push(same);
    });
    assert_eq!(twice, Code::FormErr);
    let answer = query("web.service.musterd.", Kind::A).into_response();
    assert_eq!(
        fixture.handle(&answer.to_vec().unwrap(), Carrier::Udp),
        None
    );
    for short in [&b""[..], b"\0", &[0; 11]] {
        assert_eq!(fixture.handle(short, Carrier::Udp), None);
    }
}
