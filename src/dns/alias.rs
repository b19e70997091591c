//! The addresses behind an alias: what a recursor says of the target of a CNAME record is added to the answer, since
//! simple clients do not ask for it themselves. Pure: the messages come from elsewhere.

use super::{
    name::{DnsName, LABEL_BYTES_MAX, NAME_BYTES_MAX},
    query::{CLASS_IN, DnsQuery, FLAG_RECURSION_DESIRED, HEADER_BYTES, kind, number},
};

/// The bytes of a record between its name and its data.
const HEAD_BYTES: usize = 10;
/// The bytes of the OPT record at the end of an answer.
const OPT_BYTES: usize = 11;
/// The most records that are taken over.
const RECORDS_MAX: u16 = 64;
/// Pointers that one name may follow.
const POINTERS_MAX: usize = 16;

/// The query for the addresses of the target of an answer that is one CNAME record.
pub(super) fn question(query: &DnsQuery<'_>, answer: &[u8]) -> Option<Vec<u8>> {
    let record = HEADER_BYTES + query.question.len() + 2;
    if number(answer, record)? != kind::CNAME {
        return None;
    }
    let (target, _) = DnsName::read(answer.get(record + HEAD_BYTES..)?).ok()?;
    let mut message = Vec::with_capacity(HEADER_BYTES + NAME_BYTES_MAX + 4);
    for field in [0, FLAG_RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend(field.to_be_bytes());
    }
    message.extend(target.as_wire());
    message.extend(query.kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Some(message)
}

/// Adds the records that answer this query to the message with the CNAME record, as many as fit into `limit`.
pub(super) fn add(message: &mut Vec<u8>, found: &[u8], has_edns: bool, limit: usize) {
    let end = if has_edns { OPT_BYTES } else { 0 };
    let Some(at) = message.len().checked_sub(end) else {
        return;
    };
    let opt = message.split_off(at);
    let added = copy_answers(found, message, limit.saturating_sub(end)).unwrap_or(0);
    message.extend(opt);
    if let (Some(count), Some(place)) = (number(message, 6), message.get_mut(6..8)) {
        place.copy_from_slice(&count.saturating_add(added).to_be_bytes());
    }
}

/// Copies the answers of a message until one does not fit or can't be read; gives their number.
fn copy_answers(found: &[u8], out: &mut Vec<u8>, limit: usize) -> Option<u16> {
    let (questions, answers) = (number(found, 4)?, number(found, 6)?);
    let mut at = HEADER_BYTES;
    for _ in 0..questions {
        at = read_name(found, at, &mut Vec::new())? + 4;
    }
    let mut added = 0;
    for _ in 0..answers.min(RECORDS_MAX) {
        let mut record = Vec::new();
        let Some(next) = copy_record(found, at, &mut record) else {
            break;
        };
        at = next;
        if out.len() + record.len() > limit {
            break;
        }
        if !record.is_empty() {
            out.extend(record);
            added += 1;
        }
    }
    Some(added)
}

/// Copies one record without pointers; nothing of another type than addresses and aliases. Gives where it ends.
fn copy_record(found: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let head = read_name(found, at, out)?;
    let (kind, class) = (number(found, head)?, number(found, head + 2)?);
    let length = usize::from(number(found, head + 8)?);
    let (start, end) = (head + HEAD_BYTES, head + HEAD_BYTES + length);
    let data = found.get(start..end)?;
    out.extend(found.get(head..head + 8)?);
    match (kind, class) {
        (kind::A, CLASS_IN) if length == 4 => put(data, out),
        (kind::AAAA, CLASS_IN) if length == 16 => put(data, out),
        (kind::CNAME, CLASS_IN) => {
            let mut target = Vec::new();
            read_name(found, start, &mut target)?;
            put(&target, out);
        }
        _ => out.clear(),
    }
    Some(end)
}

fn put(data: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(data);
}

/// Copies a name without its pointers; gives where it ends in the message.
fn read_name(message: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (begin, mut end, mut followed) = (out.len(), None, 0);
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            out.push(0);
            return Some(end.unwrap_or(at + 1));
        }
        if length & 0xc0 == 0xc0 {
            followed += 1;
            end = end.or(Some(at + 2));
            at = usize::from(number(message, at)? & 0x3fff);
            if followed > POINTERS_MAX {
                return None;
            }
            continue;
        }
        if length > LABEL_BYTES_MAX || out.len() - begin + length + 2 > NAME_BYTES_MAX {
            return None;
        }
        out.extend(message.get(at..=at + length)?);
        at += length + 1;
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Message, MessageType, OpCode},
        rr::{Name, RData, Record, RecordType, rdata::CNAME},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::dns::{
        metrics::Carrier,
        testing::{Fixture, lines, query, sized},
    };

    fn found() -> Vec<u8> {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let mut found = query("db.example.com.", RecordType::A);
        found.metadata = Message::new(9, MessageType::Response, OpCode::Query).metadata;
        let alias = RData::CNAME(CNAME(name("db1.example.com.")));
        found.add_answer(Record::from_rdata(name("db.example.com."), 60, alias));
        for last in 1..=40 {
            let address = RData::A(std::net::Ipv4Addr::new(192, 0, 2, last).into());
            found.add_answer(Record::from_rdata(name("db1.example.com."), 30, address));
        }
        found.to_vec().unwrap()
    }

    /// The answer of a door for an alias, and the question that it makes.
    fn alias(message: &Message) -> (Vec<u8>, Vec<u8>) {
        let mut fixture = Fixture::new(|_| ());
        fixture.add("a", "db", "db.example.com");
        let bytes = message.to_vec().unwrap();
        let answer = fixture.handle(&bytes, Carrier::Udp).unwrap();
        let asked = question(&DnsQuery::read(&bytes).unwrap(), &answer).unwrap();
        (answer, asked)
    }

    #[test]
    fn the_addresses_of_a_target_follow_its_alias() {
        let name = "db.service.musterd.";
        for (message, limit, count) in [
            (query(name, RecordType::A), 4096, 42),
            (sized(name, RecordType::A, 4096), 4096, 42),
            (query(name, RecordType::A), 512, 15),
        ] {
            let (mut answer, asked) = alias(&message);
            let asked = Message::from_vec(&asked).unwrap();
            assert_eq!(asked.queries[0].to_string(), "db.example.com. IN A");
            add(&mut answer, &found(), message.edns.is_some(), limit);
            assert!(answer.len() <= limit);
            let read = Message::from_vec(&answer).unwrap();
            let lines = lines(&read);
            assert_eq!(lines[0], "db.service.musterd. 0 IN CNAME db.example.com.");
            assert_eq!(lines[1], "db.example.com. 60 IN CNAME db1.example.com.");
            assert_eq!(lines[2], "db1.example.com. 30 IN A 192.0.2.1");
            assert_eq!(lines.len(), count);
            assert_eq!(read.edns.is_some(), message.edns.is_some());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_recursor_break_the_answer(
            at in 0_usize..700,
            byte: u8,
            length in 0_usize..700,
        ) {
            let mut found = found();
            if let Some(place) = found.get_mut(at) {
                *place = byte;
            }
            found.truncate(length);
            let (mut answer, _) = alias(&sized("db.service.musterd.", RecordType::A, 1232));
            add(&mut answer, &found, true, 1232);
            prop_assert!(Message::from_vec(&answer).is_ok());
        }
    }
}
