use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::{DenyRule, Networks, allowed_by_default, denied_by_default};

fn default() -> Networks {
    Networks::new(&allowed_by_default(), &denied_by_default())
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts
        .iter()
        .map(|text| text.parse().expect("a network"))
        .collect()
}

#[track_caller]
fn check(networks: &Networks, address: &str, expected: Option<&str>) {
    let address: IpAddr = address.parse().expect("an address");
    let found = networks.check(address).ok();
    let expected = expected.map(|text| text.parse().expect("an address"));
    assert_eq!(found, expected, "{address}");
}

#[test]
fn by_default_all_but_link_local_and_metadata() {
    let networks = default();
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "8.8.8.8",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "2606:4700::1",
    ] {
        check(&networks, address, Some(address));
    }
    for address in [
        "169.254.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "fd20:ce::254",
    ] {
        check(&networks, address, None);
    }
}

#[test]
fn an_ipv4_address_hidden_in_an_ipv6_one_is_found() {
    let networks = default();
    for address in [
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "64:ff9b:1:a9:fe:a9fe::",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2001:0:808:808:0:0:5601:5601",
        "2001:db8::5efe:169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::6464:64c8",
    ] {
        check(&networks, address, None);
    }
    check(&networks, "::ffff:10.0.0.1", Some("10.0.0.1"));
    check(&networks, "64:ff9b::8.8.8.8", Some("64:ff9b::8.8.8.8"));
}

#[test]
fn the_unspecified_address_is_this_machine() {
    check(&default(), "0.0.0.0", Some("127.0.0.1"));
    check(&default(), "::", Some("::1"));
    check(&default(), "::ffff:0.0.0.0", Some("127.0.0.1"));
    let closed = Networks::new(&allowed_by_default(), &nets(&["127.0.0.0/8", "::1/128"]));
    for address in [
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "127.9.9.9",
    ] {
        check(&closed, address, None);
    }
}

#[test]
fn multicast_and_reserved_addresses_are_denied() {
    let open = Networks::new(&allowed_by_default(), &[]);
    for address in [
        "0.0.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "ff02::1",
    ] {
        check(&open, address, None);
    }
    check(&open, "169.254.169.254", Some("169.254.169.254"));
}

#[test]
fn deny_wins_over_allow_and_the_reason_is_named() {
    let networks = Networks::new(&nets(&["10.0.0.0/8"]), &nets(&["10.1.0.0/16"]));
    check(&networks, "10.2.0.1", Some("10.2.0.1"));
    let denied = networks
        .check("10.1.0.1".parse().expect("an address"))
        .expect_err("denied");
    assert_eq!(
        denied.to_string(),
        "outbound.deny lists 10.1.0.0/16, which contains 10.1.0.1"
    );
    let denied = networks
        .check("11.0.0.1".parse().expect("an address"))
        .expect_err("denied");
    assert_eq!(denied.rule, DenyRule::NotAllowed);
}

proptest! {
    #[test]
    fn an_allowed_address_is_in_no_denied_network(octets: [u8; 16], v4: [u8; 4]) {
        let networks = default();
        for address in [IpAddr::from(octets), IpAddr::from(v4)] {
            if let Ok(target) = networks.check(address) {
                prop_assert!(denied_by_default().iter().all(|net| !net.contains(&target)));
            }
        }
    }
}
