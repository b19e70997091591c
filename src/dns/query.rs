//! Reads a query: header, question and EDNS (RFC 1035, section 4.1; RFC 6891). Never panics, whatever the bytes are.

use super::name::DnsName;

/// The bytes of a header.
pub(super) const HEADER_BYTES: usize = 12;
/// A message that is an answer.
pub(super) const FLAG_ANSWER: u16 = 1 << 15;
/// The answer comes from the server that is responsible for the name.
pub(super) const FLAG_AUTHORITATIVE: u16 = 1 << 10;
/// The answer was cut off.
pub(super) const FLAG_TRUNCATED: u16 = 1 << 9;
/// The client wants the server to ask others.
pub(super) const FLAG_RECURSION_DESIRED: u16 = 1 << 8;
/// The server asks others.
pub(super) const FLAG_RECURSION_AVAILABLE: u16 = 1 << 7;
/// The kind of query.
pub(super) const OPCODE: u16 = 0b1111 << 11;

/// Class Internet.
pub(super) const CLASS_IN: u16 = 1;
/// Any class.
pub(super) const CLASS_ANY: u16 = 255;

/// Types of records.
pub(super) mod kind {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const NS: u16 = 2;
    pub(in crate::dns) const CNAME: u16 = 5;
    pub(in crate::dns) const SOA: u16 = 6;
    pub(in crate::dns) const PTR: u16 = 12;
    pub(in crate::dns) const TXT: u16 = 16;
    pub(in crate::dns) const AAAA: u16 = 28;
    pub(in crate::dns) const SRV: u16 = 33;
    pub(in crate::dns) const OPT: u16 = 41;
    /// Transfers of zones, and two obsolete types of mailboxes.
    pub(in crate::dns) const TRANSFERS: std::ops::RangeInclusive<u16> = 251..=254;
    pub(in crate::dns) const ANY: u16 = 255;
}

/// The response codes in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ResponseCode {
    /// The answer has everything that there is, perhaps nothing.
    NoError,
    /// The query can't be read.
    FormErr,
    /// The server failed.
    ServFail,
    /// There is no such name.
    NxDomain,
    /// The kind of query is not known.
    NotImp,
    /// Not for this client, or not a name of this server.
    Refused,
    /// The version of EDNS is not known.
    BadVers,
}

impl ResponseCode {
    /// Every code.
    pub(super) const ALL: [Self; 7] = [
        Self::NoError,
        Self::FormErr,
        Self::ServFail,
        Self::NxDomain,
        Self::NotImp,
        Self::Refused,
        Self::BadVers,
    ];

    /// Its number.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::BadVers => 16,
        }
    }

    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "noerror",
            Self::FormErr => "formerr",
            Self::ServFail => "servfail",
            Self::NxDomain => "nxdomain",
            Self::NotImp => "notimp",
            Self::Refused => "refused",
            Self::BadVers => "badvers",
        }
    }
}

/// What a client says of itself by EDNS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edns {
    /// The largest datagram that it takes.
    pub(super) size: u16,
    /// 0 is the only one that exists.
    pub(super) version: u8,
}

/// A query with one question.
#[derive(Clone, Copy, Debug)]
pub(super) struct DnsQuery<'a> {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// The name in lower case.
    pub(super) name: DnsName,
    /// The type of records.
    pub(super) kind: u16,
    pub(super) class: u16,
    /// The question as it came, in the client's upper and lower case.
    pub(super) question: &'a [u8],
    pub(super) edns: Option<Edns>,
}

/// Why a message is no usable query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unusable {
    /// It gets no answer: it is too short, or an answer itself.
    Silent,
    /// It gets this answer, without a question.
    Answer {
        id: u16,
        flags: u16,
        code: ResponseCode,
    },
}

impl<'a> DnsQuery<'a> {
    /// Reads a message.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Unusable> {
        let number = |at| number(message, at).ok_or(Unusable::Silent);
        let (id, flags) = (number(0)?, number(2)?);
        let counts = [number(4)?, number(6)?, number(8)?, number(10)?];
        if flags & FLAG_ANSWER != 0 {
            return Err(Unusable::Silent);
        }
        let refused = |code| Unusable::Answer { id, flags, code };
        if flags & OPCODE != 0 {
            return Err(refused(ResponseCode::NotImp));
        }
        if counts[0] != 1 {
            return Err(refused(ResponseCode::FormErr));
        }
        let body = || read_body(message, counts);
        let (name, kind, class, end, edns) =
            body().ok_or_else(|| refused(ResponseCode::FormErr))?;
        Ok(Self {
            id,
            flags,
            name,
            kind,
            class,
            question: &message[HEADER_BYTES..end],
            edns,
        })
    }

    /// Whether the client wants the server to ask others.
    pub(super) fn wants_recursion(&self) -> bool {
        self.flags & FLAG_RECURSION_DESIRED != 0
    }
}

type QueryBody = (DnsName, u16, u16, usize, Option<Edns>);

/// The question, where it ends, and EDNS.
fn read_body(message: &[u8], counts: [u16; 4]) -> Option<QueryBody> {
    let (name, length) = DnsName::read(message.get(HEADER_BYTES..)?).ok()?;
    let at = HEADER_BYTES + length;
    let (kind, class) = (number(message, at)?, number(message, at + 2)?);
    let end = at + 4;
    let mut at = end;
    for _ in 0..u32::from(counts[1]) + u32::from(counts[2]) {
        at = Section::read(message, at)?.end;
    }
    let mut edns = None;
    for _ in 0..counts[3] {
        let record = Section::read(message, at)?;
        if record.kind == kind::OPT {
            let is_root = record.start - at == 1;
            if edns.is_some() || !is_root {
                return None;
            }
            edns = Some(Edns {
                size: record.class,
                version: *message.get(record.start + 5)?,
            });
        }
        at = record.end;
    }
    Some((name, kind, class, end, edns))
}

/// One record of a message.
#[derive(Clone, Copy, Debug)]
struct Section {
    /// Behind its name.
    start: usize,
    kind: u16,
    class: u16,
    end: usize,
}

impl Section {
    fn read(message: &[u8], at: usize) -> Option<Self> {
        let start = skip_name(message, at)?;
        let length = usize::from(number(message, start + 8)?);
        let end = start + 10 + length;
        (end <= message.len()).then_some(Self {
            start,
            kind: number(message, start)?,
            class: number(message, start + 2)?,
            end,
        })
    }
}

/// Where a name ends that may end in a pointer.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Two bytes as a number.
pub(super) fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
