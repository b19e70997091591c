//! Records and answers as they are kept: encoded, but for the names that own them. Any number of clients get them.

use std::net::IpAddr;

use super::{
    name::DnsName,
    query::{CLASS_IN, ResponseCode, kind},
};

/// The bytes of a record before its data: type, class, TTL and length.
const HEAD_BYTES: usize = 10;
/// Where the target of an SRV record begins in its data: after priority, weight and port (RFC 2782).
const SRV_TARGET_AT: usize = 6;
/// The longest text within a TXT record.
const TEXT_BYTES_MAX: usize = 255;
/// The longest data of a record that is made: what does not fit is left out.
const DATA_BYTES_MAX: usize = 16 * 1024;

/// Times of the SOA record that only secondary servers use, in seconds; there is none.
const SOA_REFRESH: u32 = 3600;
const SOA_RETRY: u32 = 600;
const SOA_EXPIRE: u32 = 86400;

/// The data of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Data<'a> {
    Address(IpAddr),
    Cname(&'a DnsName),
    Ns(&'a DnsName),
    Ptr(&'a DnsName),
    Srv {
        weight: u16,
        port: u16,
        target: &'a DnsName,
    },
    Soa {
        server: &'a DnsName,
        contact: &'a DnsName,
        serial: u32,
        negative_ttl: u32,
    },
    /// Texts that are too long are left out.
    Txt(&'a [String]),
}

impl Data<'_> {
    fn kind(&self) -> u16 {
        match self {
            Self::Address(IpAddr::V4(_)) => kind::A,
            Self::Address(IpAddr::V6(_)) => kind::AAAA,
            Self::Cname(_) => kind::CNAME,
            Self::Ns(_) => kind::NS,
            Self::Ptr(_) => kind::PTR,
            Self::Srv { .. } => kind::SRV,
            Self::Soa { .. } => kind::SOA,
            Self::Txt(_) => kind::TXT,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Address(IpAddr::V4(address)) => out.extend(address.octets()),
            Self::Address(IpAddr::V6(address)) => out.extend(address.octets()),
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => out.extend(name.as_wire()),
            Self::Srv {
                weight,
                port,
                target,
            } => {
                // The priority of all is the same, and as Consul gives it.
                for number in [1, *weight, *port] {
                    out.extend(number.to_be_bytes());
                }
                out.extend(target.as_wire());
            }
            Self::Soa {
                server,
                contact,
                serial,
                negative_ttl,
            } => {
                out.extend(server.as_wire());
                out.extend(contact.as_wire());
                for number in [*serial, SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, *negative_ttl] {
                    out.extend(number.to_be_bytes());
                }
            }
            Self::Txt(texts) => put_texts(texts, out),
        }
    }
}

fn put_texts(texts: &[String], out: &mut Vec<u8>) {
    let start = out.len();
    for text in texts {
        let Ok(length) = u8::try_from(text.len()) else {
            continue;
        };
        if text.len() > TEXT_BYTES_MAX || out.len() - start + 1 + text.len() > DATA_BYTES_MAX {
            continue;
        }
        out.push(length);
        out.extend(text.as_bytes());
    }
    if out.len() == start {
        // A TXT record has at least one text.
        out.push(0);
    }
}

/// Records without their owners' names, one behind the other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RecordList {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl RecordList {
    /// Adds a record.
    pub(super) fn push(&mut self, ttl: u32, data: &Data<'_>) {
        let start = self.bytes.len();
        self.bytes.extend(data.kind().to_be_bytes());
        self.bytes.extend(CLASS_IN.to_be_bytes());
        self.bytes.extend(ttl.to_be_bytes());
        self.bytes.extend([0; 2]);
        data.put(&mut self.bytes);
        let length = self.bytes.len() - start - HEAD_BYTES;
        let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        self.bytes[start + HEAD_BYTES - 2..start + HEAD_BYTES].copy_from_slice(&length);
        let end = u32::try_from(self.bytes.len());
        self.ends.push(end.unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them; empty when there are fewer.
    pub(super) fn at(&self, index: usize) -> &[u8] {
        let end = |index: usize| self.ends.get(index).map_or(0, |end| *end as usize);
        let start = index.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(index)).unwrap_or_default()
    }

    /// The bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

/// Where the name that a record points to begins in it: for SRV and NS.
pub(super) fn target_at(record: &[u8]) -> usize {
    match record.get(..2) {
        Some([0, 33]) => HEAD_BYTES + SRV_TARGET_AT,
        _ => HEAD_BYTES,
    }
}

/// No additional record.
const NO_LINK: u16 = u16::MAX;

/// The answer to a question, whatever the case of its letters and the size of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct DnsAnswer {
    pub(super) code: ResponseCode,
    /// False for what another server says.
    pub(super) is_authoritative: bool,
    /// Records of the name in the question.
    pub(super) answers: RecordList,
    /// Only one of them is given, since there may be one CNAME only.
    pub(super) only_one: bool,
    /// For each answer the place of its target's address in `additional`.
    links: Vec<u16>,
    /// Addresses of targets.
    pub(super) additional: RecordList,
    /// The SOA record of an answer that says that there is nothing, and where the zone's name begins in the question's.
    pub(super) authority: Option<(usize, RecordList)>,
}

impl DnsAnswer {
    /// Without records.
    pub(super) fn of(code: ResponseCode) -> Self {
        Self {
            code,
            is_authoritative: matches!(code, ResponseCode::NoError | ResponseCode::NxDomain),
            answers: RecordList::default(),
            only_one: false,
            links: Vec::new(),
            additional: RecordList::default(),
            authority: None,
        }
    }

    /// Adds an answer without an additional record.
    pub(super) fn push(&mut self, ttl: u32, data: &Data<'_>) {
        self.answers.push(ttl, data);
        self.links.push(NO_LINK);
    }

    /// Adds an answer whose target's address is at this place of `additional`, or will be.
    pub(super) fn push_linked(&mut self, ttl: u32, data: &Data<'_>, link: usize) {
        self.answers.push(ttl, data);
        self.links.push(u16::try_from(link).unwrap_or(NO_LINK));
    }

    /// The place in `additional` that belongs to an answer.
    pub(super) fn link(&self, index: usize) -> Option<usize> {
        let link = self.links.get(index).copied();
        link.filter(|link| *link != NO_LINK).map(usize::from)
    }

    /// The bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        let authority = self.authority.as_ref().map_or(0, |(_, soa)| soa.memory());
        size_of::<Self>()
            + self.answers.memory()
            + self.additional.memory()
            + self.links.capacity() * size_of::<u16>()
            + authority
    }
}
