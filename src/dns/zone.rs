//! The records of a name, from what the registry has: pure, nothing is looked up here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use serde_json::value::RawValue;

use super::{
    escape,
    name::DnsName,
    query::{ResponseCode, kind},
    record::{Data, DnsAnswer, RecordList},
    subject::{ADDRESS, Domains, NamePlace, SERVER, SERVICE, address_label},
};
use crate::model::{Instance, Registration, ServiceName, Status};

/// The most names that an address has.
const POINTERS_MAX: usize = 32;
/// The most instances of one answer.
const ANSWERS_MAX: usize = 4096;

/// What decides on the records besides the registry.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) domains: Domains,
    /// Only healthy instances; otherwise also those of which nothing is known yet.
    pub(super) only_passing: bool,
    /// What an instance's weight is multiplied with.
    pub(super) weight_scale: f64,
    /// Seconds by names of services, and by prefixes with `*` behind them.
    pub(super) ttl: BTreeMap<String, u32>,
    /// Seconds of instances and addresses.
    pub(super) node_ttl: u32,
    /// For how many seconds it is remembered that there is nothing.
    pub(super) negative_ttl: u32,
    /// Where this server is, if that is one address.
    pub(super) address: Option<IpAddr>,
}

/// The host of an instance.
#[derive(Debug)]
enum Host {
    At(IpAddr),
    /// A name that others resolve.
    Named(Box<DnsName>),
}

impl Host {
    /// None for what DNS can't express, such as an address with a zone.
    fn of(registration: &Registration) -> Option<Self> {
        match address_of(&registration.host) {
            Some(address) => Some(Self::At(address)),
            None if registration.host.contains(':') => None,
            None => DnsName::parse(&registration.host).map(|name| Self::Named(Box::new(name))),
        }
    }
}

/// The address that a host is.
pub(super) fn address_of(host: &str) -> Option<IpAddr> {
    let address: Option<IpAddr> = host.parse().ok();
    address.map(|address| address.to_canonical())
}

impl Zone {
    /// The answer that there is no such name.
    pub(super) fn no_name(&self, place: &NamePlace, serial: u32) -> DnsAnswer {
        self.negative(ResponseCode::NxDomain, place, serial)
    }

    /// The answer that a name has no records of the type.
    pub(super) fn no_data(&self, place: &NamePlace, serial: u32) -> DnsAnswer {
        self.negative(ResponseCode::NoError, place, serial)
    }

    fn negative(&self, code: ResponseCode, place: &NamePlace, serial: u32) -> DnsAnswer {
        let mut answer = DnsAnswer::of(code);
        let mut soa = RecordList::default();
        // Its own TTL limits the time too (RFC 2308, section 3).
        self.push_soa(place, serial, |data| soa.push(self.negative_ttl, data));
        answer.authority = Some((place.domain_at, soa));
        answer
    }

    fn push_soa(&self, place: &NamePlace, serial: u32, push: impl FnOnce(&Data<'_>)) {
        let names = self
            .below(SERVER, place)
            .zip(self.below("hostmaster", place));
        if let Some((server, contact)) = names {
            push(&Data::Soa {
                server: &server,
                contact: &contact,
                serial,
                negative_ttl: self.negative_ttl,
            });
        }
    }

    fn below(&self, labels: &str, place: &NamePlace) -> Option<DnsName> {
        self.domains.list.get(place.domain)?.below(labels)
    }

    /// The records of a domain.
    pub(super) fn apex(&self, asked: u16, place: &NamePlace, serial: u32) -> DnsAnswer {
        let mut answer = DnsAnswer::of(ResponseCode::NoError);
        if matches!(asked, kind::SOA | kind::ANY) {
            let ttl = self.node_ttl;
            self.push_soa(place, serial, |data| answer.push(ttl, data));
        }
        if matches!(asked, kind::NS | kind::ANY)
            && let Some(server) = self.below(SERVER, place)
        {
            answer.push_linked(self.node_ttl, &Data::Ns(&server), 0);
            if let Some(address) = self.address {
                answer
                    .additional
                    .push(self.node_ttl, &Data::Address(address));
            }
        }
        self.or_nothing(answer, place, serial)
    }

    fn or_nothing(&self, answer: DnsAnswer, place: &NamePlace, serial: u32) -> DnsAnswer {
        match answer.answers.is_empty() {
            true => self.no_data(place, serial),
            false => answer,
        }
    }

    /// The record of an address that is known.
    pub(super) fn address(
        &self,
        address: Option<IpAddr>,
        asked: u16,
        place: &NamePlace,
        serial: u32,
    ) -> DnsAnswer {
        let mut answer = DnsAnswer::of(ResponseCode::NoError);
        if let Some(address) = address.filter(|address| is_asked(asked, *address)) {
            answer.push(self.node_ttl, &Data::Address(address));
        }
        self.or_nothing(answer, place, serial)
    }

    /// The names of an address: those of its services.
    pub(super) fn pointers(&self, services: &[ServiceName], asked: u16) -> DnsAnswer {
        let mut answer = DnsAnswer::of(ResponseCode::NoError);
        let domain = self.domains.list.first();
        if matches!(asked, kind::PTR | kind::ANY) {
            let names = services.iter().filter_map(|service| {
                let labels = escape::labels(service.as_str())?;
                domain?.below(&format!("{labels}.{SERVICE}"))
            });
            for name in names.take(POINTERS_MAX) {
                answer.push(self.node_ttl, &Data::Ptr(&name));
            }
        }
        answer
    }

    /// The records of one instance, whatever its health is.
    pub(super) fn node(
        &self,
        instance: &Instance,
        asked: u16,
        place: &NamePlace,
        serial: u32,
    ) -> DnsAnswer {
        let mut answer = DnsAnswer::of(ResponseCode::NoError);
        let registration = &*instance.registration;
        match Host::of(registration) {
            Some(Host::At(address)) if is_asked(asked, address) => {
                answer.push(self.node_ttl, &Data::Address(address));
            }
            // A name with an alias has no other records (RFC 1034, section 3.6.2).
            Some(Host::Named(host)) => {
                answer.push(self.node_ttl, &Data::Cname(&host));
                answer.only_one = true;
                return answer;
            }
            _ => (),
        }
        if matches!(asked, kind::TXT | kind::ANY) {
            answer.push(self.node_ttl, &Data::Txt(&texts(registration)));
        }
        self.or_nothing(answer, place, serial)
    }

    /// The records of a service.
    pub(super) fn service<'i>(
        &self,
        instances: impl Iterator<Item = &'i Arc<Instance>>,
        tag: Option<&str>,
        asked: u16,
        place: &NamePlace,
        serial: u32,
    ) -> DnsAnswer {
        let (mut name_exists, mut ttl) = (false, None);
        let mut usable = Vec::new();
        for instance in instances {
            let registration = &*instance.registration;
            match tag.map_or(TagMatch::Whole, |tag| tag_of(registration, tag)) {
                TagMatch::Whole => name_exists = true,
                TagMatch::End => {
                    name_exists = true;
                    continue;
                }
                TagMatch::None => continue,
            }
            ttl.get_or_insert_with(|| self.ttl_of(registration.service_name.as_str()));
            if self.is_usable(instance)
                && let Some(host) = Host::of(registration)
            {
                usable.push((registration, host));
                if usable.len() == ANSWERS_MAX {
                    break;
                }
            }
        }
        if !name_exists {
            return self.no_name(place, serial);
        }
        let answer = self.of_usable(&usable, ttl.unwrap_or(0), asked, place);
        self.or_nothing(answer, place, serial)
    }

    fn of_usable(
        &self,
        usable: &[(&Registration, Host)],
        ttl: u32,
        asked: u16,
        place: &NamePlace,
    ) -> DnsAnswer {
        let mut answer = DnsAnswer::of(ResponseCode::NoError);
        if matches!(asked, kind::A | kind::AAAA | kind::CNAME | kind::ANY) {
            push_addresses(&mut answer, usable, ttl, asked);
        }
        if matches!(asked, kind::SRV | kind::ANY) {
            self.push_targets(&mut answer, usable, ttl, place);
        }
        if matches!(asked, kind::TXT | kind::ANY) {
            for (registration, _) in usable {
                answer.push(ttl, &Data::Txt(&texts(registration)));
            }
        }
        answer
    }

    fn push_targets(
        &self,
        answer: &mut DnsAnswer,
        usable: &[(&Registration, Host)],
        ttl: u32,
        place: &NamePlace,
    ) {
        let mut seen = HashSet::new();
        let mut links = HashMap::new();
        for (registration, host) in usable {
            let (weight, port) = (self.weight(registration.weight), registration.port);
            let srv = |target| Data::Srv {
                weight,
                port,
                target,
            };
            if !seen.insert((&registration.host, port)) {
                continue;
            }
            match host {
                Host::Named(target) => answer.push(ttl, &srv(&**target)),
                Host::At(address) => {
                    let labels = format!("{}.{ADDRESS}", address_label(*address));
                    let Some(target) = self.below(&labels, place) else {
                        continue;
                    };
                    let next = links.len();
                    let link = *links.entry(*address).or_insert(next);
                    if link == next {
                        answer.additional.push(ttl, &Data::Address(*address));
                    }
                    answer.push_linked(ttl, &srv(&target), link);
                }
            }
        }
    }

    fn is_usable(&self, instance: &Instance) -> bool {
        match instance.status() {
            Status::Healthy => true,
            Status::Starting | Status::Unknown => !self.only_passing,
            Status::Unhealthy | Status::Stopping => false,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float that is too large becomes the largest integer, one below 0 becomes 0"
    )]
    fn weight(&self, weight: u16) -> u16 {
        (f64::from(weight) * self.weight_scale).round() as u16
    }

    /// The TTL of a service: by its name, or by the longest prefix.
    fn ttl_of(&self, service: &str) -> u32 {
        if let Some(ttl) = self.ttl.get(service) {
            return *ttl;
        }
        let prefixes = self.ttl.iter().filter_map(|(pattern, ttl)| {
            let prefix = pattern.strip_suffix('*')?;
            service.starts_with(prefix).then_some((prefix.len(), *ttl))
        });
        prefixes.max().map_or(0, |(_, ttl)| ttl)
    }
}

fn is_asked(asked: u16, address: IpAddr) -> bool {
    match asked {
        kind::ANY => true,
        kind::A => address.is_ipv4(),
        kind::AAAA => address.is_ipv6(),
        _ => false,
    }
}

/// The addresses of one family or both. Where all hosts are names, one of them as an alias.
fn push_addresses(answer: &mut DnsAnswer, usable: &[(&Registration, Host)], ttl: u32, asked: u16) {
    let addresses: BTreeSet<_> = usable
        .iter()
        .filter_map(|(_, host)| match host {
            Host::At(address) => Some(*address),
            Host::Named(_) => None,
        })
        .collect();
    for address in addresses.iter().filter(|one| is_asked(asked, **one)) {
        answer.push(ttl, &Data::Address(*address));
    }
    if !addresses.is_empty() || asked == kind::ANY {
        return;
    }
    let mut seen = BTreeSet::new();
    for (_, host) in usable {
        if let Host::Named(host) = host
            && seen.insert(host.as_wire())
        {
            answer.push(ttl, &Data::Cname(host));
        }
    }
    answer.only_one = true;
}

/// How a tag of an instance is matched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TagMatch {
    Whole,
    /// A tag with dots ends in it, so names below it exist.
    End,
    None,
}

fn tag_of(registration: &Registration, wanted: &str) -> TagMatch {
    let mut found = TagMatch::None;
    for tag in &registration.tags {
        if tag.eq_ignore_ascii_case(wanted) {
            return TagMatch::Whole;
        }
        let end = tag.len().checked_sub(wanted.len() + 1);
        let end = end.and_then(|at| tag.get(at..)?.strip_prefix('.'));
        if end.is_some_and(|end| end.eq_ignore_ascii_case(wanted)) {
            found = TagMatch::End;
        }
    }
    found
}

/// An instance as texts `key=value` (RFC 1464). Those longer than 255 bytes are left out.
fn texts(registration: &Registration) -> Vec<String> {
    let mut texts = vec![format!("id={}", registration.service_id)];
    let mut add = |key: &str, value: &str| {
        // A key's own "=" is quoted by a grave accent.
        let key = key.replace('`', "``").replace('=', "`=");
        texts.push(format!("{key}={value}"));
    };
    add("version", &registration.version);
    if let Some(zone) = &registration.zone {
        add("zone", zone);
    }
    let metadata = serde_json::from_str(registration.metadata.as_str());
    let metadata: BTreeMap<String, &RawValue> = metadata.unwrap_or_default();
    for (key, value) in metadata {
        let text: Result<String, _> = serde_json::from_str(value.get());
        match text {
            Ok(text) => add(&key, &text),
            // Anything but a string is shown as it is written.
            Err(_) => add(&key, value.get()),
        }
    }
    texts
}
