use serde_json::json;

use super::{address, ago, distance, nearest, worst};

#[test]
fn a_typo_gets_the_nearest_name() {
    let names = || ["payments", "checkout", "web"].into_iter();
    assert_eq!(nearest("payment", names()), Some("payments"));
    assert_eq!(nearest("paymenst", names()), Some("payments"));
    assert_eq!(nearest("wbe", names()), Some("web"));
    assert_eq!(nearest("orders", names()), None);
    assert_eq!((distance("", "ab"), distance("ab", "")), (2, 2));
}

#[test]
fn the_worst_status_is_that_of_the_service() {
    let of = |statuses: &[&str]| {
        let instances: Vec<_> = statuses
            .iter()
            .map(|status| json!({"status": status}))
            .collect();
        worst(&instances)
    };
    assert_eq!(of(&["healthy", "starting", "unhealthy"]), "unhealthy");
    assert_eq!(of(&["healthy", "stopping"]), "stopping");
    assert_eq!(of(&["healthy"]), "healthy");
    assert_eq!(of(&[]), "-");
}

#[test]
fn an_ipv6_address_gets_brackets() {
    assert_eq!(address(&json!({"host": "::1", "port": 80})), "[::1]:80");
    assert_eq!(address(&json!({"host": "a", "port": 80})), "a:80");
}

#[test]
fn ages_are_short() {
    let cases = [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (61.0, "1 min"),
        (7_300.0, "2 h"),
        (200_000.0, "2 d"),
    ];
    for (seconds, text) in cases {
        assert_eq!(ago(seconds), text);
    }
}
