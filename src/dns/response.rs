//! Writes the answer to one query: as many records as the client takes, in the order that was drawn for it.

use super::{
    name::NAME_BYTES_MAX,
    query::{
        DnsQuery, FLAG_ANSWER, FLAG_AUTHORITATIVE, FLAG_RECURSION_AVAILABLE,
        FLAG_RECURSION_DESIRED, FLAG_TRUNCATED, HEADER_BYTES, OPCODE, ResponseCode, Unusable, kind,
    },
    record::{DnsAnswer, target_at},
};

/// What every server and client takes (RFC 1035, section 4.2.1).
pub(super) const DATAGRAM_BYTES_MIN: usize = 512;
/// The longest message over TCP.
pub(super) const STREAM_BYTES_MAX: usize = u16::MAX as usize;
/// The bytes of the OPT record.
const OPT_BYTES: usize = 11;
/// The name of the question, as a pointer.
const QUESTION_NAME: u16 = pointer(HEADER_BYTES);
/// Pointers reach no further than this.
const POINTER_MAX: usize = 0x3fff;

const fn pointer(at: usize) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "14 bits")]
    let at = at as u16 & 0x3fff;
    at | 0xc000
}

/// How answers are given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ResponseStyle {
    /// Records come in another order each time.
    pub(super) shuffled: bool,
    /// This server asks others for names that are not its own.
    pub(super) recursive: bool,
    /// The largest datagram that it sends and takes.
    pub(super) datagram_max: u16,
}

impl ResponseStyle {
    /// The largest answer to a datagram.
    pub(super) fn datagram_limit(self, query: &DnsQuery<'_>) -> usize {
        let size = query
            .edns
            .map_or(0, |edns| edns.size.min(self.datagram_max));
        usize::from(size).max(DATAGRAM_BYTES_MIN)
    }
}

/// Memory that one worker uses again for each answer.
#[derive(Debug, Default)]
pub(super) struct AnswerBuffer {
    /// The message.
    pub(super) out: Vec<u8>,
    order: Vec<u16>,
    /// For each additional record where its owner's name is; 0 while nothing points to it.
    owners: Vec<OwnerPlace>,
}

/// Where the name of an additional record is.
#[derive(Clone, Copy, Debug, Default)]
struct OwnerPlace {
    /// In the message.
    at: usize,
    length: usize,
}

impl AnswerBuffer {
    /// Writes an answer of at most `limit` bytes.
    pub(super) fn write(
        &mut self,
        query: &DnsQuery<'_>,
        answer: &DnsAnswer,
        style: ResponseStyle,
        limit: usize,
    ) {
        self.out.clear();
        self.out.extend([0; HEADER_BYTES]);
        self.out.extend_from_slice(query.question);
        let room = limit - if query.edns.is_some() { OPT_BYTES } else { 0 };
        let mut counts = [1, 0, 0, 0];
        let mut flags = FLAG_ANSWER | query.flags & (OPCODE | FLAG_RECURSION_DESIRED);
        if answer.is_authoritative {
            flags |= FLAG_AUTHORITATIVE;
        }
        if style.recursive {
            flags |= FLAG_RECURSION_AVAILABLE;
        }
        let wanted = self.draw(answer, style.shuffled);
        counts[1] = self.put_answers(answer, wanted, room);
        if usize::from(counts[1]) < wanted {
            flags |= FLAG_TRUNCATED;
        }
        if let Some((zone_at, soa)) = &answer.authority {
            let owner = pointer(HEADER_BYTES + zone_at);
            counts[2] = u16::from(self.put(owner, soa.at(0), room));
        }
        counts[3] = self.put_additional(answer, room);
        if query.edns.is_some() {
            self.put_edns(answer.code, style);
            counts[3] += 1;
        }
        flags |= answer.code.number() & 0xf;
        self.put_header(query.id, flags, counts);
    }

    /// Writes an answer to what is no usable query; false when it gets none.
    pub(super) fn refuse(&mut self, unusable: Unusable) -> bool {
        let Unusable::Answer { id, flags, code } = unusable else {
            return false;
        };
        self.out.clear();
        self.out.extend([0; HEADER_BYTES]);
        let kept = flags & (OPCODE | FLAG_RECURSION_DESIRED);
        self.put_header(id, FLAG_ANSWER | kept | code.number(), [0; 4]);
        true
    }

    /// Draws the order of the answers; gives how many are wanted.
    fn draw(&mut self, answer: &DnsAnswer, shuffled: bool) -> usize {
        let count = answer.answers.len();
        self.order.clear();
        self.order
            .extend(0..u16::try_from(count).unwrap_or(u16::MAX));
        if shuffled && count > 1 {
            fastrand::shuffle(&mut self.order);
        }
        if answer.only_one {
            self.order.truncate(1);
        }
        self.order.len()
    }

    /// How many fit.
    fn put_answers(&mut self, answer: &DnsAnswer, wanted: usize, room: usize) -> u16 {
        self.owners.clear();
        self.owners
            .resize(answer.additional.len(), OwnerPlace::default());
        for (done, place) in (0_u16..).zip(0..wanted) {
            let index = usize::from(self.order[place]);
            let record = answer.answers.at(index);
            let start = self.out.len();
            if !self.put(QUESTION_NAME, record, room) {
                return done;
            }
            let owner = answer
                .link(index)
                .and_then(|link| self.owners.get_mut(link));
            if let Some(owner) = owner {
                let at = target_at(record);
                *owner = OwnerPlace {
                    at: start + 2 + at,
                    length: record.len() - at,
                };
            }
        }
        u16::try_from(wanted).unwrap_or(u16::MAX)
    }

    /// The additional records of the answers that were given, as many as fit.
    fn put_additional(&mut self, answer: &DnsAnswer, room: usize) -> u16 {
        let mut count = 0;
        for index in 0..self.owners.len() {
            let owner = self.owners[index];
            if owner.at == 0 {
                continue;
            }
            let record = answer.additional.at(index);
            let fits = if owner.at <= POINTER_MAX {
                self.put(pointer(owner.at), record, room)
            } else {
                self.put_with_name(owner, record, room)
            };
            if !fits {
                break;
            }
            count += 1;
        }
        count
    }

    /// Writes a record if there is room for it.
    fn put(&mut self, owner: u16, record: &[u8], room: usize) -> bool {
        if self.out.len() + 2 + record.len() > room {
            return false;
        }
        self.out.extend_from_slice(&owner.to_be_bytes());
        self.out.extend_from_slice(record);
        true
    }

    /// Writes a record whose owner's name is too far behind for a pointer.
    fn put_with_name(&mut self, owner: OwnerPlace, record: &[u8], room: usize) -> bool {
        let length = owner.length.min(NAME_BYTES_MAX);
        if self.out.len() + length + record.len() > room {
            return false;
        }
        self.out.extend_from_within(owner.at..owner.at + length);
        self.out.extend_from_slice(record);
        true
    }

    fn put_edns(&mut self, code: ResponseCode, style: ResponseStyle) {
        self.out.push(0);
        for number in [kind::OPT, style.datagram_max, code.number() >> 4 << 8, 0, 0] {
            self.out.extend(number.to_be_bytes());
        }
    }

    fn put_header(&mut self, id: u16, flags: u16, counts: [u16; 4]) {
        let numbers = [id, flags].into_iter().chain(counts);
        for (place, number) in self.out.chunks_exact_mut(2).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
    }
}
