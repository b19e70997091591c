mod messages;

use hickory_proto::{op::Message, rr::RecordType as Kind};
use proptest::prelude::*;

use self::messages::filled_with;
use super::{Carrier, Handled};
use crate::{
    catalog::Sight,
    dns::{
        response::AnswerBuffer,
        testing::{Fixture, lines, query, registration},
    },
    model::{Metadata, OverrideStatus, Registration},
    security::{NamePattern, PolicyRule, Principal, Protected, Right, RuleSet},
};

fn tagged(id: &str, tags: &[&str]) -> Registration {
    Registration {
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
        ..registration(id, "web", "10.0.0.3")
    }
}

/// A service with two healthy instances, one that drains, one that has an IPv6 address, and one whose host is a name.
fn filled() -> Fixture {
    let fixture = Fixture::new(|config| {
        config.negative_ttl = std::time::Duration::from_secs(3).into();
        config
            .ttl
            .insert("web".to_owned(), std::time::Duration::from_secs(5).into());
    });
    fixture.add("a", "web", "10.0.0.1");
    fixture.add_as(Registration {
        weight: 9,
        port: 8080,
        metadata: Metadata::parse(r#"{"a=b": "c", "n": 1.50}"#).unwrap(),
        zone: Some("eu".into()),
        ..registration("b", "web", "fd00::1")
    });
    fixture.add_as(tagged("c", &["v1", "blue.green"]));
    fixture.add("d", "web", "10.0.0.4");
    let stopping = OverrideStatus::Stopping;
    fixture.registry.set_override("d", stopping, None).unwrap();
    fixture.add("e", "named", "db.example.com");
    fixture.add("f", "down", "10.0.0.6");
    fixture.registry.set_override("f", stopping, None).unwrap();
    fixture
}

#[track_caller]
fn check(name: &str, kind: Kind, expected: &[&str]) {
    let mut fixture = filled();
    let serial = fixture.registry.newest().0.to_string();
    let expected: Vec<_> = expected
        .iter()
        .map(|line| line.replace("SERIAL", &serial))
        .collect();
    // The second answer is the kept one.
    for _ in 0..2 {
        assert_eq!(fixture.lines(name, kind), expected, "{name} {kind}");
    }
}

const SOA: &str = "musterd. 3 IN SOA ns.musterd. hostmaster.musterd. SERIAL 3600 600 86400 3";

#[test]
fn services_have_addresses_and_targets_of_healthy_instances() {
    let web = "web.service.musterd.";
    check(
        web,
        Kind::A,
        &[
            "web.service.musterd. 5 IN A 10.0.0.1",
            "web.service.musterd. 5 IN A 10.0.0.3",
        ],
    );
    check(web, Kind::AAAA, &["web.service.musterd. 5 IN AAAA fd00::1"]);
    let srv = [
        "web.service.musterd. 5 IN SRV 1 1 80 0a000001.addr.musterd.",
        "web.service.musterd. 5 IN SRV 1 9 8080 fd000000000000000000000000000001.addr.musterd.",
        "web.service.musterd. 5 IN SRV 1 1 80 0a000003.addr.musterd.",
        "additional 0a000001.addr.musterd. 5 IN A 10.0.0.1",
        "additional fd000000000000000000000000000001.addr.musterd. 5 IN AAAA fd00::1",
        "additional 0a000003.addr.musterd. 5 IN A 10.0.0.3",
    ];
    check(web, Kind::SRV, &srv);
    let tcp = srv.map(|line| line.replace("web.service", "_web._tcp.service"));
    check(
        "_web._tcp.service.musterd.",
        Kind::SRV,
        &tcp.each_ref().map(String::as_str),
    );
    let texts = [
        "web.service.musterd. 5 IN TXT \"id=a\" \"version=1.0.0\"",
        "web.service.musterd. 5 IN TXT \"id=b\" \"version=1.0.0\" \"zone=eu\" \"a`=b=c\" \"n=1.50\"",
        "web.service.musterd. 5 IN TXT \"id=c\" \"version=1.0.0\"",
    ];
    let mut fixture = filled();
    let answer = fixture.ask(&query(web, Kind::TXT), Carrier::Tcp);
    let plain = |line: &str| line.replace('"', "");
    let given: Vec<_> = lines(&answer).iter().map(|line| plain(line)).collect();
    let joined = |line: &str| line.split_whitespace().collect::<String>();
    let given: Vec<_> = given.iter().map(|line| joined(line)).collect();
    let expected: Vec<_> = texts.iter().map(|line| joined(&plain(line))).collect();
    assert_eq!(given, expected);
    let any = fixture.ask(&query(web, Kind::ANY), Carrier::Tcp);
    assert_eq!(any.answers.len(), 9, "{:?}", lines(&any));
    let authority = format!("authority {SOA}");
    check(web, Kind::MX, &[&authority]);
}

#[test]
fn tags_select_instances() {
    let one = |name: &str| format!("{name} 5 IN A 10.0.0.3");
    for name in [
        "v1.web.service.musterd.",
        "_web._V1.service.musterd.",
        "blue.green.web.service.dc1.musterd.",
        "xq0-blue-2egreen.web.service.musterd.",
    ] {
        check(name, Kind::A, &[&one(name)]);
    }
    let missing = ["Non-Existent Domain", &format!("authority {SOA}")].map(str::to_owned);
    check(
        "v2.web.service.musterd.",
        Kind::A,
        &missing.each_ref().map(String::as_str),
    );
    check("green.web.service.musterd.", Kind::A, &[&missing[1]]);
}

#[test]
fn names_that_do_not_exist_differ_from_those_without_records() {
    let authority = format!("authority {SOA}");
    let no_name = ["Non-Existent Domain", &authority];
    for name in [
        "none.service.musterd.",
        "web.service.dc2.musterd.",
        "x.musterd.",
        "none.node.musterd.",
    ] {
        check(name, Kind::A, &no_name);
    }
    for name in [
        "down.service.musterd.",
        "service.musterd.",
        "_tcp.service.musterd.",
        "dc1.musterd.",
    ] {
        check(name, Kind::A, &[&authority]);
    }
    for name in [
        "web.service.example.",
        "example.com.",
        ".",
        "9.9.9.9.in-addr.arpa.",
    ] {
        check(name, Kind::A, &["Query Refused"]);
    }
    // It was never in a log, and leaves none.
    let mut fixture = filled();
    fixture.registry.deregister("a", None).unwrap();
    fixture.registry.deregister("c", None).unwrap();
    assert_eq!(fixture.lines("web.service.musterd.", Kind::A).len(), 1);
    for id in ["b", "d"] {
        fixture.registry.deregister(id, None).unwrap();
    }
    assert_eq!(
        fixture.lines("web.service.musterd.", Kind::A)[0],
        "Non-Existent Domain"
    );
}

#[test]
fn hosts_that_are_names_become_aliases_and_targets() {
    check(
        "named.service.musterd.",
        Kind::A,
        &["named.service.musterd. 0 IN CNAME db.example.com."],
    );
    check(
        "named.service.musterd.",
        Kind::AAAA,
        &["named.service.musterd. 0 IN CNAME db.example.com."],
    );
    check(
        "named.service.musterd.",
        Kind::SRV,
        &["named.service.musterd. 0 IN SRV 1 1 80 db.example.com."],
    );
    check(
        "e.node.musterd.",
        Kind::TXT,
        &["e.node.musterd. 0 IN CNAME db.example.com."],
    );
    let mut fixture = filled();
    fixture.add("e2", "named", "db2.example.com");
    assert_eq!(fixture.lines("named.service.musterd.", Kind::A).len(), 1);
    assert_eq!(fixture.lines("named.service.musterd.", Kind::SRV).len(), 2);
    // Where there are addresses, they are the answer.
    fixture.add("e3", "named", "10.0.0.7");
    let given = fixture.lines("named.service.musterd.", Kind::A);
    assert_eq!(given, ["named.service.musterd. 0 IN A 10.0.0.7"]);
}

#[test]
fn instances_addresses_and_the_zone_have_records() {
    check(
        "a.node.musterd.",
        Kind::A,
        &["a.node.musterd. 0 IN A 10.0.0.1"],
    );
    // Whatever its health is.
    check(
        "f.node.consul.",
        Kind::A,
        &["f.node.consul. 0 IN A 10.0.0.6"],
    );
    check("b.node.musterd.", Kind::A, &[&format!("authority {SOA}")]);
    check(
        "0a0000ff.addr.musterd.",
        Kind::A,
        &["0a0000ff.addr.musterd. 0 IN A 10.0.0.255"],
    );
    check(
        "0a0000ff.addr.musterd.",
        Kind::AAAA,
        &[&format!("authority {SOA}")],
    );
    check(
        "musterd.",
        Kind::SOA,
        &[&SOA.replace("musterd. 3 IN", "musterd. 0 IN")],
    );
    check(
        "musterd.",
        Kind::NS,
        &[
            "musterd. 0 IN NS ns.musterd.",
            "additional ns.musterd. 0 IN A 192.0.2.1",
        ],
    );
    check("ns.musterd.", Kind::A, &["ns.musterd. 0 IN A 192.0.2.1"]);
    check("musterd.", Kind::A, &[&format!("authority {SOA}")]);
}

#[tokio::test(start_paused = true)]
async fn the_index_knows_addresses_and_upper_case_letters() {
    let mut fixture = filled();
    let stop = tokio_util::sync::CancellationToken::new();
    let index = fixture.resolver.index.clone();
    let run = index.run(fixture.registry.clone(), "musterd".to_owned(), stop.clone());
    let settle = || tokio::time::sleep(std::time::Duration::from_secs(1));
    let asked = async {
        settle().await;
        let reverse = "1.0.0.10.in-addr.arpa.";
        let given = fixture.lines(reverse, Kind::PTR);
        assert_eq!(given, [format!("{reverse} 0 IN PTR web.service.musterd.")]);
        let six = format!("1.{}d.f.ip6.arpa.", "0.".repeat(29));
        assert_eq!(fixture.lines(&six, Kind::PTR).len(), 1);
        assert_eq!(fixture.lines(&six, Kind::A), [""; 0]);

        fixture.add("API-1", "Order API", "10.0.1.1");
        fixture.add("x", "Web", "10.0.1.2");
        fixture.add("y", "Shop", "10.0.1.3");
        settle().await;
        let one = |fixture: &mut Fixture, name: &str| {
            let line = fixture.lines(name, Kind::A).swap_remove(0);
            line.rsplit_once(' ').unwrap().1.to_owned()
        };
        assert_eq!(one(&mut fixture, "api-1.node.musterd."), "10.0.1.1");
        assert_eq!(
            one(&mut fixture, "xq0--4frder-20-41-50-49.service.musterd."),
            "10.0.1.1"
        );
        assert_eq!(
            one(&mut fixture, "order\\040api.service.musterd."),
            "10.0.1.1"
        );
        assert_eq!(one(&mut fixture, "shop.service.musterd."), "10.0.1.3");
        assert_eq!(one(&mut fixture, "WEB.service.musterd."), "10.0.0.1");
        assert_eq!(one(&mut fixture, "xq0--57eb.service.musterd."), "10.0.1.2");

        // It moves, and leaves.
        fixture.add("y", "Shop", "10.0.1.4");
        fixture.registry.deregister("API-1", None).unwrap();
        settle().await;
        assert_eq!(
            fixture.lines("3.1.0.10.in-addr.arpa.", Kind::PTR),
            ["Query Refused"]
        );
        assert_eq!(fixture.lines("4.1.0.10.in-addr.arpa.", Kind::PTR).len(), 1);
        assert_eq!(one(&mut fixture, "shop.service.musterd."), "10.0.1.4");
        assert_eq!(
            fixture.lines("order\\040api.service.musterd.", Kind::A)[0],
            "Non-Existent Domain"
        );
        stop.cancel();
    };
    tokio::join!(run, asked);
}

#[test]
fn what_is_kept_changes_with_the_service() {
    let mut fixture = filled();
    let name = "web.service.musterd.";
    for step in 0..3 {
        assert_eq!(fixture.lines(name, Kind::A).len(), 2 + step);
        assert_eq!(fixture.lines(name, Kind::A).len(), 2 + step);
        fixture.add(&format!("n{step}"), "web", &format!("10.0.9.{step}"));
    }
    let kept = fixture.resolver.metrics.cached.get();
    assert_eq!(kept, 3, "each answer was made once and given twice");
    for number in 0..2000 {
        fixture.add(&format!("s{number}"), &format!("s{number}"), "10.0.0.1");
        let name = format!("s{number}.service.musterd.");
        assert_eq!(fixture.lines(&name, Kind::A).len(), 1);
    }
}

#[test]
fn a_small_cache_is_emptied_and_answers_are_right() {
    let mut fixture = filled_with(0, |config| {
        config.cache_max = bytesize::ByteSize::kib(2).into();
    });
    for number in 0..100 {
        fixture.add(&format!("s{number}"), &format!("s{number}"), "10.0.0.1");
        for _ in 0..2 {
            let name = format!("s{number}.service.musterd.");
            assert_eq!(
                fixture.lines(&name, Kind::A),
                [format!("{name} 0 IN A 10.0.0.1")]
            );
        }
    }
}

#[test]
fn a_policy_decides_which_services_exist() {
    let rule = PolicyRule {
        resource: Protected::Service,
        pattern: NamePattern::parse("web*"),
        right: Some(Right::Read),
    };
    let principal = Principal::with("dns", RuleSet::new([rule]));
    for (sight, web, named) in [
        (
            Some(Sight::Of(principal)),
            "web.service.musterd. 0 IN A 10.0.0.1",
            "Non-Existent Domain",
        ),
        (None, "Query Refused", "Query Refused"),
    ] {
        let mut fixture = Fixture::seen_by(sight, |_| ());
        fixture.add("a", "web", "10.0.0.1");
        fixture.add("e", "named", "10.0.0.2");
        for _ in 0..2 {
            assert_eq!(fixture.lines("web.service.musterd.", Kind::A)[0], web);
            assert_eq!(fixture.lines("named.service.musterd.", Kind::A)[0], named);
        }
        assert_eq!(fixture.lines("e.node.musterd.", Kind::A)[0], named);
        assert_eq!(fixture.lines("musterd.", Kind::NS).len(), 2);
    }
}

#[test]
fn what_another_server_knows_is_left_to_it() {
    for (sight, name, kind, expected) in [
        (Some(Sight::All), "e.node.musterd.", Kind::A, Handled::Alias),
        (
            Some(Sight::All),
            "e.node.musterd.",
            Kind::TXT,
            Handled::Answered,
        ),
        (
            Some(Sight::All),
            "named.service.musterd.",
            Kind::A,
            Handled::Alias,
        ),
        // Nothing that is registered may be shown here.
        (None, "1.2.0.10.in-addr.arpa.", Kind::PTR, Handled::Forward),
        (None, "e.node.musterd.", Kind::A, Handled::Answered),
    ] {
        let fixture = Fixture::seen_by(sight, |config| {
            config.recursors = vec!["192.0.2.53:53".parse().unwrap()];
        });
        fixture.add("e", "named", "db.example.com");
        let mut message = query(name, kind);
        message.metadata.recursion_desired = true;
        let message = message.to_vec().unwrap();
        let mut buffer = AnswerBuffer::default();
        let handled = fixture.resolver.handle(&message, Carrier::Udp, &mut buffer);
        assert_eq!(handled, expected, "{name} {kind}");
    }
}

#[test]
fn only_passing_and_weights_follow_the_configuration() {
    let mut fixture = Fixture::new(|config| {
        config.srv_weight_scale = 256.0.into();
        config.only_passing = false;
    });
    fixture.add_as(Registration {
        weight: 300,
        health_check_url: Some("http://10.0.0.1/".into()),
        ..registration("a", "web", "10.0.0.1")
    });
    let given = fixture.lines("web.service.musterd.", Kind::SRV);
    assert_eq!(
        given[0],
        "web.service.musterd. 0 IN SRV 1 65535 80 0a000001.addr.musterd."
    );
    let mut strict = Fixture::new(|_| ());
    strict.add_as(Registration {
        health_check_url: Some("http://10.0.0.1/".into()),
        ..registration("a", "web", "10.0.0.1")
    });
    assert!(strict.lines("web.service.musterd.", Kind::SRV)[0].starts_with("authority"));
}

proptest! {
    #[test]
    fn any_bytes_get_a_readable_answer_or_none(
        mut message in proptest::collection::vec(any::<u8>(), 0..300),
        mask in any::<bool>(),
    ) {
        // Most random headers are refused at once: the other half of the cases has a good one.
        if mask && message.len() > 12 {
            message[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        }
        let mut fixture = Fixture::new(|_| ());
        for over in [Carrier::Udp, Carrier::Tcp] {
            if let Some(answer) = fixture.handle(&message, over) {
                let read = Message::from_vec(&answer).unwrap();
                prop_assert_eq!(read.metadata.id.to_be_bytes(), [message[0], message[1]]);
            }
        }
    }
}
