//! What dig gets: every type of record, cut-off answers, other servers' names.

use serde_json::json;

use super::DnsDaemon;

async fn filled() -> DnsDaemon {
    let daemon = DnsDaemon::start(&["dns.order=stable", "dns.negative_ttl=7s", "dns.node_ttl=3s"]);
    daemon.register("web-1", "web", "127.0.0.1", 8001).await;
    let body = json!({
        "service_id": "web-2", "service_name": "web", "host": "::1", "port": 8002, "lease": "none",
        "weight": 5, "tags": ["v2"], "zone": "eu", "metadata": {"team": "shop"},
    });
    daemon.send("POST", "/services/register", &body).await;
    daemon.register("db-1", "db", "db.example.com", 5432).await;
    daemon
        .register("odd", "Order Service", "127.0.0.9", 80)
        .await;
    daemon
}

#[tokio::test]
async fn dig_finds_every_type_of_record() {
    let daemon = filled().await;
    let check = |arguments: &str, expected: &[&str]| {
        assert_eq!(
            daemon.dig(&format!("+short {arguments}")),
            expected,
            "{arguments}"
        );
    };
    for transport in ["+notcp", "+tcp"] {
        let ask = |arguments: &str, expected: &[&str]| {
            check(&format!("{transport} {arguments}"), expected);
        };
        ask("web.service.musterd A", &["127.0.0.1"]);
        ask("WeB.SeRvIcE.dc1.CoNsUl AAAA", &["::1"]);
        let target = "00000000000000000000000000000001.addr.musterd.";
        let targets = [
            "1 1 8001 7f000001.addr.musterd.".to_owned(),
            format!("1 5 8002 {target}"),
        ];
        let targets: Vec<_> = targets.iter().map(String::as_str).collect();
        ask("web.service.musterd SRV", &targets);
        ask("_web._tcp.service.musterd SRV", &targets);
        ask("_web._v2.service.musterd SRV", &targets[1..]);
        ask("v2.web.service.musterd AAAA", &["::1"]);
        ask(
            "v2.web.service.musterd TXT",
            &["\"id=web-2\" \"version=1.0.0\" \"zone=eu\" \"team=shop\""],
        );
        ask("db.service.musterd A", &["db.example.com."]);
        ask("db.service.musterd SRV", &["1 1 5432 db.example.com."]);
        ask("web-1.node.consul A", &["127.0.0.1"]);
        ask("7f000001.addr.consul A", &["127.0.0.1"]);
        ask("musterd NS", &["ns.musterd."]);
        ask("ns.musterd A", &["127.0.0.1"]);
        ask("xq0--4frder-20-53ervice.service.musterd A", &["127.0.0.9"]);
    }
    let given = daemon.dig("web.service.musterd ANY +noall +answer");
    for kind in ["\tA\t", "\tAAAA\t", "\tSRV\t", "\tTXT\t"] {
        assert!(
            given.iter().any(|line| line.contains(kind)),
            "{kind} in {given:?}"
        );
    }
    // The index follows the log.
    let line = daemon
        .daemon
        .logged(|line| line.to_string().contains("escaped name"));
    assert!(
        line.to_string()
            .contains("xq0--4frder-20-53ervice.service.musterd"),
        "{line}"
    );
    check("-x 127.0.0.1", &["web.service.musterd."]);
    check("-x ::1", &["web.service.musterd."]);
    let soa = daemon.dig("+short musterd SOA");
    assert!(
        soa[0].starts_with("ns.musterd. hostmaster.musterd. "),
        "{soa:?}"
    );
}

#[tokio::test]
async fn dig_tells_no_name_from_no_records_and_from_refused_names() {
    let daemon = filled().await;
    let check = |arguments: &str, status: &str, authority: bool| {
        let given = daemon.dig(arguments).join("\n");
        assert!(
            given.contains(&format!("status: {status};")),
            "{arguments}: {given}"
        );
        let soa = given.contains("IN\tSOA\tns.musterd. hostmaster.musterd.");
        assert_eq!(soa, authority, "{arguments}: {given}");
        if authority {
            // The time to remember it is in the record and is its TTL.
            assert!(
                given.contains("\t7\tIN\tSOA") && given.contains(" 86400 7"),
                "{given}"
            );
        }
    };
    check("none.service.musterd A", "NXDOMAIN", true);
    check("web.service.dc2.musterd A", "NXDOMAIN", true);
    check("web.service.musterd MX", "NOERROR", true);
    check("service.musterd A", "NOERROR", true);
    check("www.example.com A", "REFUSED", false);
    daemon
        .send(
            "PUT",
            "/services/web-1/override",
            &json!({"status": "stopping"}),
        )
        .await;
    check("web.service.musterd A", "NOERROR", true);
    check("web.service.musterd AAAA", "NOERROR", false);
}

#[tokio::test]
async fn five_hundred_instances_come_in_one_answer() {
    let daemon = DnsDaemon::start(&[]);
    let all = (0..500_u16).map(|number| {
        let host = format!("10.9.{}.{}", number / 250, number % 250 + 1);
        let daemon = &daemon;
        async move {
            daemon
                .register(&format!("i-{number}"), "big", &host, 80)
                .await;
        }
    });
    futures_util::future::join_all(all).await;
    let count = |arguments: &str| daemon.dig(&format!("+short {arguments}")).len();
    assert_eq!(count("+tcp big.service.musterd A"), 500);
    assert_eq!(count("+tcp big.service.musterd SRV"), 500);
    // It asks again over TCP when the answer is cut off.
    assert_eq!(count("big.service.musterd A"), 500);
    let cut = daemon
        .dig("+ignore +bufsize=1232 big.service.musterd A")
        .join("\n");
    assert!(cut.contains("qr aa tc"), "{cut}");
    let orders: std::collections::BTreeSet<_> = (0..3)
        .map(|_| daemon.dig("+short +tcp big.service.musterd A"))
        .collect();
    assert_eq!(orders.len(), 3, "each answer has another order");
}

#[tokio::test]
async fn names_of_other_domains_are_forwarded() {
    let other = DnsDaemon::start(&["dns.domains=example"]);
    other.register("a", "web", "10.0.0.1", 80).await;
    for number in 0..100 {
        let host = format!("10.0.1.{number}");
        other
            .register(&format!("b{number}"), "big", &host, 80)
            .await;
    }
    // Nothing listens at the first one.
    let shut = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let shut = shut.local_addr().unwrap();
    let recursors = format!("dns.recursors={shut}, {}", other.dns);
    let daemon = DnsDaemon::start(&[&recursors, "dns.recursor_timeout=300ms"]);
    for transport in ["+notcp", "+tcp"] {
        let given = daemon
            .dig(&format!("{transport} web.service.example A"))
            .join("\n");
        assert!(given.contains("10.0.0.1"), "{given}");
        assert!(given.contains("status: NOERROR"), "{given}");
    }
    assert_eq!(
        daemon.dig("+short big.service.example A").len(),
        100,
        "cut off, then over TCP"
    );
    let given = daemon.dig("+norecurse web.service.example A").join("\n");
    assert!(given.contains("REFUSED"), "{given}");
    let given = daemon.dig("none.service.musterd A").join("\n");
    assert!(
        given.contains("NXDOMAIN") && given.contains(" ra"),
        "{given}"
    );
    // The target of an alias is resolved too: clients such as the C library do not ask for it.
    daemon
        .register("alias", "alias", "web.service.example", 80)
        .await;
    for transport in ["+notcp", "+tcp"] {
        let given = daemon.dig(&format!("+short {transport} alias.service.musterd A"));
        assert_eq!(given, ["web.service.example.", "10.0.0.1"]);
    }
    drop(other);
    let given = daemon.dig("web.service.example A").join("\n");
    assert!(given.contains("SERVFAIL"), "{given}");
}

#[tokio::test]
async fn an_instance_over_ipv6_is_served_over_ipv6() {
    let daemon = DnsDaemon::start(&["dns.listen=[::1]:0"]);
    daemon.register("a", "web", "fd00::1", 80).await;
    assert_eq!(daemon.dig("+short web.service.musterd AAAA"), ["fd00::1"]);
    assert_eq!(daemon.dig("+short ns.musterd AAAA"), ["::1"]);
}
