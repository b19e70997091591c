//! A resolver with a registry of its own, and answers as text, read by another implementation of DNS.

use std::time::Duration;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};

use super::{
    config::Config,
    metrics::{Carrier, DnsMetrics},
    resolver::{DnsResolver, Handled},
    response::AnswerBuffer,
};
use crate::{
    catalog::{Catalog, Sight},
    model::{LeaseKind, Metadata, Registration, ServiceId, ServiceName},
    registry::{self, Registry},
    telemetry::Metrics,
};

/// An instance on port 80.
pub(super) fn registration(id: &str, service: &str, host: &str) -> Registration {
    Registration {
        service_id: ServiceId::parse(id).unwrap(),
        service_name: ServiceName::parse(service).unwrap(),
        host: host.into(),
        port: 80,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(60),
        lease: LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: Box::default(),
    }
}

pub(super) struct Fixture {
    pub(super) registry: Registry,
    pub(super) resolver: DnsResolver,
    buffer: AnswerBuffer,
}

impl Fixture {
    /// In a stable order, on 192.0.2.1.
    pub(super) fn new(edit: impl FnOnce(&mut Config)) -> Self {
        Self::seen_by(Some(Sight::All), edit)
    }

    pub(super) fn seen_by(sight: Option<Sight>, edit: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            order: super::RecordOrder::Stable,
            ..Config::default()
        };
        edit(&mut config);
        let registry = Registry::new(registry::Config::default());
        let metrics = DnsMetrics::new(&Metrics::default());
        let catalog = Catalog::new(registry.clone());
        let address = "192.0.2.1".parse().unwrap();
        let resolver = DnsResolver::new(&config, "dc1", address, catalog, sight, metrics);
        Self {
            registry,
            resolver,
            buffer: AnswerBuffer::default(),
        }
    }

    pub(super) fn add(&self, id: &str, service: &str, host: &str) {
        self.add_as(registration(id, service, host));
    }

    pub(super) fn add_as(&self, registration: Registration) {
        self.registry.register(registration, None).unwrap();
    }

    pub(super) fn handle(&mut self, message: &[u8], over: Carrier) -> Option<Vec<u8>> {
        match self.resolver.handle(message, over, &mut self.buffer) {
            Handled::Answered => Some(self.buffer.out.clone()),
            Handled::Ignored => None,
            Handled::Forward | Handled::Alias => panic!("there is no recursor"),
        }
    }

    pub(super) fn ask(&mut self, message: &Message, over: Carrier) -> Message {
        let answer = self.handle(&message.to_vec().unwrap(), over).unwrap();
        Message::from_vec(&answer).unwrap()
    }

    /// The response code and every record of the answer over TCP, as text: first the answers, then "authority" or
    /// "additional" and the record.
    pub(super) fn lines(&mut self, name: &str, kind: RecordType) -> Vec<String> {
        let answer = self.ask(&query(name, kind), Carrier::Tcp);
        lines(&answer)
    }
}

pub(super) fn lines(answer: &Message) -> Vec<String> {
    let mut lines = Vec::new();
    if answer.metadata.response_code != hickory_proto::op::ResponseCode::NoError {
        lines.push(answer.metadata.response_code.to_string());
    }
    lines.extend(answer.answers.iter().map(ToString::to_string));
    let authority = answer.authorities.iter();
    lines.extend(authority.map(|record| format!("authority {record}")));
    let additional = answer.additionals.iter();
    lines.extend(additional.map(|record| format!("additional {record}")));
    lines
}

pub(super) fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    // Its own parser refuses labels with spaces.
    let labels = name.split('.').filter(|label| !label.is_empty());
    let labels: Vec<_> = labels.map(|label| label.replace("\\040", " ")).collect();
    let name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap();
    message.add_query(Query::query(name, kind));
    message
}

/// From a client that takes datagrams of this size.
pub(super) fn sized(name: &str, kind: RecordType, size: u16) -> Message {
    let mut message = query(name, kind);
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    message.set_edns(edns);
    message
}
