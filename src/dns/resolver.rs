//! From the bytes of a query to the bytes of its answer: parses, asks the catalog, keeps answers. No socket.

use std::{net::IpAddr, sync::Arc};

use super::{
    alias,
    cache::AnswerCache,
    config::Config,
    index::DnsIndex,
    metrics::{Carrier, DnsMetrics},
    query::{CLASS_ANY, CLASS_IN, DnsQuery, FLAG_TRUNCATED, ResponseCode, Unusable, kind, number},
    record::DnsAnswer,
    response::{AnswerBuffer, ResponseStyle, STREAM_BYTES_MAX},
    subject::{NamePlace, Subject},
    zone::Zone,
};
use crate::{
    catalog::{Catalog, Sight},
    model::ServiceName,
    registry::{Registry, Service},
};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handled {
    /// The answer is in the buffer.
    Answered,
    /// It gets no answer.
    Ignored,
    /// Another server is to be asked.
    Forward,
    /// The answer in the buffer is an alias, whose target another server is to be asked for.
    Alias,
}

/// Answers queries. All sockets share one.
#[derive(Debug)]
pub(super) struct DnsResolver {
    catalog: Catalog,
    /// What clients may see; nothing without a policy while there is authentication.
    sight: Option<Sight>,
    zone: Zone,
    style: ResponseStyle,
    pub(super) index: DnsIndex,
    cache: AnswerCache,
    pub(super) metrics: DnsMetrics,
}

impl DnsResolver {
    /// Without a sight nothing is answered that is registered.
    pub(super) fn new(
        config: &Config,
        datacenter: &str,
        address: IpAddr,
        catalog: Catalog,
        sight: Option<Sight>,
        metrics: DnsMetrics,
    ) -> Self {
        let cache_max = usize::try_from(config.cache_max.as_u64()).unwrap_or(usize::MAX);
        Self {
            catalog,
            sight,
            zone: config.zone(datacenter, address),
            style: config.style(),
            index: DnsIndex::default(),
            cache: AnswerCache::new(cache_max),
            metrics,
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        self.catalog.registry()
    }

    /// Handles a message; the answer is written into `buffer`.
    pub(super) fn handle(
        &self,
        message: &[u8],
        over: Carrier,
        buffer: &mut AnswerBuffer,
    ) -> Handled {
        let query = match DnsQuery::read(message) {
            Ok(query) => query,
            Err(unusable) => return self.refuse(unusable, over, buffer),
        };
        let limit = self.limit(&query, over);
        let cached = self.cached(&query);
        if cached.is_some() {
            self.metrics.cached.inc();
        }
        let Some(answer) = cached.or_else(|| self.answer(&query)) else {
            return Handled::Forward;
        };
        self.send(&query, &answer, (over, limit), buffer);
        let is_alias = answer.only_one && matches!(query.kind, kind::A | kind::AAAA);
        match is_alias && self.style.recursive && query.wants_recursion() {
            true => Handled::Alias,
            false => Handled::Answered,
        }
    }

    /// The query for the target of an alias in the answer to `message`.
    pub(super) fn alias_question(message: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
        alias::question(&DnsQuery::read(message).ok()?, answer)
    }

    /// Adds what another server has found to the answer to `message`.
    pub(super) fn add_found(
        &self,
        message: &[u8],
        over: Carrier,
        found: &[u8],
        answer: &mut Vec<u8>,
    ) {
        let Ok(query) = DnsQuery::read(message) else {
            return;
        };
        let limit = self.limit(&query, over);
        alias::add(answer, found, query.edns.is_some(), limit);
    }

    fn limit(&self, query: &DnsQuery<'_>, over: Carrier) -> usize {
        match over {
            Carrier::Udp => self.style.datagram_limit(query),
            Carrier::Tcp => STREAM_BYTES_MAX,
        }
    }

    /// The answer when a query can't be answered: no recursor could be asked, or a part of the server failed.
    pub(super) fn fail(&self, message: &[u8], over: Carrier, buffer: &mut AnswerBuffer) -> Handled {
        match DnsQuery::read(message) {
            Ok(query) => {
                let answer = DnsAnswer::of(ResponseCode::ServFail);
                self.send(&query, &answer, (over, STREAM_BYTES_MAX), buffer)
            }
            Err(unusable) => self.refuse(unusable, over, buffer),
        }
    }

    fn send(
        &self,
        query: &DnsQuery<'_>,
        answer: &DnsAnswer,
        (over, limit): (Carrier, usize),
        buffer: &mut AnswerBuffer,
    ) -> Handled {
        buffer.write(query, answer, self.style, limit);
        self.metrics.answered(over, answer.code);
        let flags = number(&buffer.out, 2).unwrap_or(0);
        if flags & FLAG_TRUNCATED != 0 {
            self.metrics.truncated.inc();
        }
        Handled::Answered
    }

    fn refuse(&self, unusable: Unusable, over: Carrier, buffer: &mut AnswerBuffer) -> Handled {
        if let Unusable::Answer { code, .. } = unusable {
            self.metrics.answered(over, code);
        }
        match buffer.refuse(unusable) {
            true => Handled::Answered,
            false => {
                self.metrics.ignored.inc();
                Handled::Ignored
            }
        }
    }

    fn cached(&self, query: &DnsQuery<'_>) -> Option<Arc<DnsAnswer>> {
        if query.class != CLASS_IN || query.edns.is_some_and(|edns| edns.version != 0) {
            return None;
        }
        self.cache.find(self.registry(), query)
    }

    /// None when another server is to be asked.
    fn answer(&self, query: &DnsQuery<'_>) -> Option<Arc<DnsAnswer>> {
        let only = |code| Some(Arc::new(DnsAnswer::of(code)));
        if query.edns.is_some_and(|edns| edns.version != 0) {
            return only(ResponseCode::BadVers);
        }
        if !matches!(query.class, CLASS_IN | CLASS_ANY) {
            return only(ResponseCode::Refused);
        }
        if kind::TRANSFERS.contains(&query.kind) {
            return only(ResponseCode::Refused);
        }
        let place = self.zone.domains.place(&query.name);
        if place.subject == Subject::Outside {
            return self.outside(query);
        }
        match (&self.sight, &place.subject) {
            (Some(sight), _) => self.inside(query, &place, sight),
            (None, Subject::Service { .. } | Subject::Node(_)) => only(ResponseCode::Refused),
            // No service may be named, but another server may know the address.
            (None, Subject::Reverse(_)) => self.outside(query),
            (None, _) => self.inside(query, &place, &Sight::All),
        }
    }

    fn outside(&self, query: &DnsQuery<'_>) -> Option<Arc<DnsAnswer>> {
        if self.style.recursive && query.wants_recursion() {
            return None;
        }
        Some(Arc::new(DnsAnswer::of(ResponseCode::Refused)))
    }

    fn inside(
        &self,
        query: &DnsQuery<'_>,
        place: &NamePlace,
        sight: &Sight,
    ) -> Option<Arc<DnsAnswer>> {
        let (zone, asked, serial) = (&self.zone, query.kind, self.serial());
        let answer = match &place.subject {
            Subject::Service { name, tag } => {
                return Some(self.service(query, place, name, tag.as_deref(), sight));
            }
            Subject::Node(id) => self.node(id, asked, place, sight),
            Subject::Reverse(address) => {
                let mut services = self.index.services_at(*address);
                services.retain(|service| sight.sees(service.as_str()));
                if services.is_empty() {
                    return self.outside(query);
                }
                zone.pointers(&services, asked)
            }
            Subject::Apex => zone.apex(asked, place, serial),
            Subject::Server => zone.address(zone.address, asked, place, serial),
            Subject::Address(address) => zone.address(Some(*address), asked, place, serial),
            Subject::Branch => zone.no_data(place, serial),
            Subject::Nothing | Subject::Outside => zone.no_name(place, serial),
        };
        Some(Arc::new(answer))
    }

    fn service(
        &self,
        query: &DnsQuery<'_>,
        place: &NamePlace,
        name: &str,
        tag: Option<&str>,
        sight: &Sight,
    ) -> Arc<DnsAnswer> {
        let serial = self.serial();
        let (found, is_exact) = match self.known(name) {
            Some(service) => (Some(service), true),
            None => (self.folded(name), false),
        };
        let found = found.filter(|service| sight.sees(service.name().as_str()));
        let Some(service) = found else {
            // Names such as `_web._tcp` are below it.
            let answer = match tag.is_none() && name.starts_with('_') {
                true => self.zone.no_data(place, serial),
                false => self.zone.no_name(place, serial),
            };
            return Arc::new(answer);
        };
        let view = service.view();
        let instances = view.instances.values();
        let made = self.zone.service(instances, tag, query.kind, place, serial);
        let answer = Arc::new(made);
        // A name that is found by its letters alone could be another service's tomorrow, and names that do not exist
        // have no end.
        if is_exact && query.class == CLASS_IN && answer.code == ResponseCode::NoError {
            self.cache.keep(query, service.name(), &view, &answer);
        }
        answer
    }

    fn known(&self, name: &str) -> Option<Arc<Service>> {
        let service = self.registry().service(name)?;
        (!service.view().instances.is_empty()).then_some(service)
    }

    fn folded(&self, name: &str) -> Option<Arc<Service>> {
        let name: ServiceName = self.index.service(name)?;
        self.known(name.as_str())
    }

    fn node(&self, id: &str, asked: u16, place: &NamePlace, sight: &Sight) -> DnsAnswer {
        let registry = self.registry();
        let folded = || registry.instance(self.index.instance(id)?.as_str());
        let instance = registry.instance(id).or_else(folded);
        let instance = instance.filter(|instance| sight.sees(instance.name().as_str()));
        match instance {
            Some(instance) => self.zone.node(&instance, asked, place, self.serial()),
            None => self.zone.no_name(place, self.serial()),
        }
    }

    /// Grows with each change.
    fn serial(&self) -> u32 {
        let newest = self.registry().newest().0;
        u32::try_from(newest & u64::from(u32::MAX)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
