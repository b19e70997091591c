//! What a name in DNS asks for. Pure: the registry is not asked whether there is such a thing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    escape::{LastName, last_name},
    name::DnsName,
};

/// The label for services.
pub(super) const SERVICE: &str = "service";
/// The label for instances.
pub(super) const NODE: &str = "node";
/// The label for addresses.
pub(super) const ADDRESS: &str = "addr";
/// The label of the name server.
pub(super) const SERVER: &str = "ns";
/// Any instance, in the place of a tag (RFC 2782).
const ANY_TAG: &[u8] = b"tcp";

/// What a name asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    /// A name of another server.
    Outside,
    /// A name below a domain that nothing can have.
    Nothing,
    /// A name that has no records, but there may be names below it.
    Branch,
    /// The domain.
    Apex,
    /// The name server.
    Server,
    /// The healthy instances of a service.
    Service {
        /// Its name; the case of its letters is lost.
        name: String,
        /// Those with this tag; the case of its letters is lost.
        tag: Option<String>,
    },
    /// One instance, by its id; the case of its letters is lost.
    Node(String),
    /// An address, which is in the name.
    Address(IpAddr),
    /// The names of an address.
    Reverse(IpAddr),
}

/// What a name asks for, and in which domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct NamePlace {
    pub(super) subject: Subject,
    /// The domain's place in the configuration.
    pub(super) domain: usize,
    /// Where the domain begins in the name.
    pub(super) domain_at: usize,
}

/// The domains, and the data center that a name may have before them.
#[derive(Clone, Debug)]
pub(super) struct Domains {
    pub(super) list: Vec<DnsName>,
    pub(super) datacenter: String,
}

impl Domains {
    /// What a name asks for.
    pub(super) fn place(&self, name: &DnsName) -> NamePlace {
        let domains = self.list.iter().enumerate();
        let inside = domains.filter_map(|(domain, own)| {
            let before = name.labels_before(own)?;
            Some((before, domain))
        });
        // The longest domain: the fewest labels before it.
        let Some((before, domain)) = inside.min() else {
            return NamePlace {
                subject: reverse(name).map_or(Subject::Outside, Subject::Reverse),
                domain: 0,
                domain_at: 0,
            };
        };
        let labels: Vec<_> = name.labels().take(before).collect();
        NamePlace {
            subject: self.subject(&labels),
            domain,
            domain_at: name.suffix_at(before),
        }
    }

    fn subject(&self, labels: &[&[u8]]) -> Subject {
        let Some((last, before)) = labels.split_last() else {
            return Subject::Apex;
        };
        if let Some(subject) = of_kind(last, before) {
            return subject;
        }
        let is_datacenter = last.eq_ignore_ascii_case(self.datacenter.as_bytes());
        match (before.split_last(), is_datacenter) {
            (None, true) => Subject::Branch,
            (Some((kind, before)), true) => of_kind(kind, before)
                .or_else(|| underscored(&labels[..labels.len() - 1]))
                .unwrap_or(Subject::Nothing),
            (before, false) => match (last, before) {
                (last, None) if *last == SERVER.as_bytes() => Subject::Server,
                _ => underscored(labels).unwrap_or(Subject::Nothing),
            },
        }
    }
}

/// The subject of labels before `service`, `node` or `addr`.
fn of_kind(kind: &[u8], before: &[&[u8]]) -> Option<Subject> {
    let text = std::str::from_utf8(kind).ok()?;
    Some(match text {
        SERVICE => service(before),
        NODE => node(before),
        ADDRESS => address(before),
        _ => return None,
    })
}

/// `_service._tag`, with or without `service` behind it (RFC 2782).
fn underscored(labels: &[&[u8]]) -> Option<Subject> {
    let bare = |label: &&[u8]| label.strip_prefix(b"_").map(<[u8]>::to_vec);
    match labels {
        [one] => bare(one).map(|_| Subject::Branch),
        [service, tag] => {
            let (service, tag) = (bare(service)?, bare(tag)?);
            let LastName::Name(name, 1) = last_name(&[&service]) else {
                return Some(Subject::Nothing);
            };
            let tag = match *tag == *ANY_TAG {
                true => None,
                false => Some(String::from_utf8(tag).ok()?),
            };
            Some(Subject::Service { name, tag })
        }
        _ => None,
    }
}

fn service(before: &[&[u8]]) -> Subject {
    if let (Some(subject), 2) = (underscored(before), before.len()) {
        return subject;
    }
    match last_name(before) {
        LastName::Nothing if before.is_empty() => Subject::Branch,
        LastName::Nothing => Subject::Nothing,
        LastName::Rest => Subject::Branch,
        LastName::Name(name, taken) => match tag(&before[..before.len() - taken]) {
            Ok(tag) => Subject::Service { name, tag },
            Err(subject) => subject,
        },
    }
}

/// A tag may have dots, and an escaped form.
fn tag(labels: &[&[u8]]) -> Result<Option<String>, Subject> {
    if labels.is_empty() {
        return Ok(None);
    }
    match last_name(labels) {
        LastName::Name(tag, taken) if taken == labels.len() => Ok(Some(tag)),
        LastName::Rest => Err(Subject::Branch),
        LastName::Nothing => Err(Subject::Nothing),
        LastName::Name(..) => {
            let text = String::from_utf8(labels.join(&b'.'));
            text.map(Some).map_err(|_| Subject::Nothing)
        }
    }
}

fn node(before: &[&[u8]]) -> Subject {
    match tag(before) {
        Ok(Some(id)) => Subject::Node(id),
        Ok(None) => Subject::Branch,
        Err(subject) => subject,
    }
}

/// Eight hexadecimal digits for IPv4, 32 for IPv6.
fn address(before: &[&[u8]]) -> Subject {
    let digits = match before {
        [] => return Subject::Branch,
        [digits] => std::str::from_utf8(digits).unwrap_or_default(),
        _ => return Subject::Nothing,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Subject::Nothing;
    }
    let address = match digits.len() {
        8 => u32::from_str_radix(digits, 16).map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(digits, 16).map(|bits| Ipv6Addr::from(bits).into()),
        _ => return Subject::Nothing,
    };
    address.map_or(Subject::Nothing, Subject::Address)
}

/// The label of an address.
pub(super) fn address_label(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08x}", address.to_bits()),
        IpAddr::V6(address) => format!("{:032x}", address.to_bits()),
    }
}

/// The address of a name below `in-addr.arpa` (RFC 1035, section 3.5) or `ip6.arpa` (RFC 3596, section 2.5).
fn reverse(name: &DnsName) -> Option<IpAddr> {
    let labels: Vec<_> = name.labels().collect();
    let texts = labels.iter().map(|label| std::str::from_utf8(label));
    let texts: Vec<_> = texts.collect::<Result<_, _>>().ok()?;
    match texts.as_slice() {
        [parts @ .., "in-addr", "arpa"] if parts.len() == 4 => {
            let text: Vec<_> = parts.iter().rev().copied().collect();
            text.join(".").parse().ok().map(IpAddr::V4)
        }
        [digits @ .., "ip6", "arpa"] if digits.len() == 32 => {
            if digits.iter().any(|digit| digit.len() != 1) {
                return None;
            }
            let text: String = digits.iter().rev().copied().collect();
            let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let bits = u128::from_str_radix(&text, 16).ok().filter(|_| is_hex)?;
            Some(Ipv6Addr::from(bits).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Domains {
        Domains {
            list: ["musterd", "consul", "eu.consul"]
                .map(|name| DnsName::parse(name).unwrap())
                .to_vec(),
            datacenter: "dc1".to_owned(),
        }
    }

    fn service(name: &str, tag: Option<&str>) -> Subject {
        Subject::Service {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
        }
    }

    #[track_caller]
    fn check(name: &str, expected: Subject) {
        let name = DnsName::parse(name).unwrap();
        assert_eq!(domains().place(&name).subject, expected, "{name}");
    }

    #[test]
    fn names_ask_for_services_nodes_and_addresses() {
        check("musterd", Subject::Apex);
        check("CONSUL", Subject::Apex);
        check("ns.musterd", Subject::Server);
        check("example.com", Subject::Outside);
        check("notmusterd", Subject::Outside);
        check("web.service.musterd", service("web", None));
        check("Web.Service.dc1.Consul", service("web", None));
        check("web.service.dc2.consul", Subject::Nothing);
        check("v1.web.service.consul", service("web", Some("v1")));
        check("a.b.web.service.consul", service("web", Some("a.b")));
        check("_web._tcp.service.musterd", service("web", None));
        check("_web._v1.service.musterd", service("web", Some("v1")));
        check("_web._v1.service.dc1.musterd", service("web", Some("v1")));
        check("_web._tcp.musterd", service("web", None));
        check("_web._tcp.dc1.musterd", service("web", None));
        check("xq0-a-2eb.service.musterd", service("a.b", None));
        check(
            "xq0-v-2e1.xq0-a-2eb.service.musterd",
            service("a.b", Some("v.1")),
        );
        check("web-1.node.musterd", Subject::Node("web-1".to_owned()));
        check("web.1.node.dc1.musterd", Subject::Node("web.1".to_owned()));
        let address = |text: &str| Subject::Address(text.parse().unwrap());
        check("7f000001.addr.musterd", address("127.0.0.1"));
        check("0a00000A.addr.dc1.consul", address("10.0.0.10"));
        check(&format!("{}1.addr.consul", "0".repeat(31)), address("::1"));
        check("eu.consul", Subject::Apex);
        let place = domains().place(&DnsName::parse("a.eu.consul").unwrap());
        assert_eq!((place.domain, place.domain_at), (2, 2));
    }

    #[test]
    fn names_above_others_are_no_errors() {
        for name in [
            "service.musterd",
            "node.musterd",
            "addr.dc1.musterd",
            "dc1.musterd",
            "_tcp.musterd",
            "_tcp.dc1.consul",
            "xq1-a.service.musterd",
        ] {
            check(name, Subject::Branch);
        }
        for name in [
            "other.musterd",
            "web.musterd",
            "web.dc1.musterd",
            "xyz.addr.musterd",
            "7f00000g.addr.musterd",
            "+f000001.addr.musterd",
            "a.7f000001.addr.musterd",
            "xq0-a-.service.musterd",
            "ns.dc1.musterd",
        ] {
            check(name, Subject::Nothing);
        }
    }

    #[test]
    fn addresses_backwards() {
        let reverse = |text: &str| Subject::Reverse(text.parse().unwrap());
        check("1.2.0.10.in-addr.arpa", reverse("10.0.2.1"));
        let zeros = "0.".repeat(31);
        check(&format!("1.{zeros}ip6.arpa"), reverse("::1"));
        check("2.0.10.in-addr.arpa", Subject::Outside);
        check("1.2.0.300.in-addr.arpa", Subject::Outside);
        check(&format!("+.{zeros}ip6.arpa"), Subject::Outside);
        for address in ["10.0.0.1", "fd00::1"] {
            let address: IpAddr = address.parse().unwrap();
            let label = address_label(address);
            check(&format!("{label}.addr.musterd"), Subject::Address(address));
        }
    }
}
