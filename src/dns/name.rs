//! Names in DNS: labels as they are on the wire, in lower case. Never looks at what a name means.

use std::fmt;

/// The longest name on the wire, with the empty label at its end (RFC 1035, section 3.1).
pub(super) const NAME_BYTES_MAX: usize = 255;
/// The longest label.
pub(super) const LABEL_BYTES_MAX: usize = 63;
/// The most labels of a name: each but the last, empty one takes at least two bytes.
const LABELS_MAX: usize = NAME_BYTES_MAX / 2;

/// A name that can't be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct MalformedName;

/// A whole name in lower case, without an allocation.
#[derive(Clone, Copy)]
pub(super) struct DnsName {
    wire: [u8; NAME_BYTES_MAX],
    /// Up to the empty label and with it.
    length: u8,
    /// Where each label begins, the empty one left out.
    starts: [u8; LABELS_MAX],
    labels: u8,
}

impl DnsName {
    /// The root.
    pub(super) const ROOT: Self = Self {
        wire: [0; NAME_BYTES_MAX],
        length: 1,
        starts: [0; LABELS_MAX],
        labels: 0,
    };

    /// Reads a name without pointers; also answers with its length.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), MalformedName> {
        let mut name = Self::ROOT;
        let mut rest = bytes;
        loop {
            let (length, after) = rest.split_first().ok_or(MalformedName)?;
            let length = usize::from(*length);
            if length == 0 {
                return Ok((name, name.as_wire().len()));
            }
            let (label, after) = after.split_at_checked(length).ok_or(MalformedName)?;
            name.push(label)?;
            rest = after;
        }
    }

    /// Reads a name with dots, with or without one at its end.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::of_labels(text.split('.').map(str::as_bytes))
    }

    /// A name of these labels; none when one is empty or too long, or all together are.
    pub(super) fn of_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut name = Self::ROOT;
        for label in labels {
            name.push(label).ok()?;
        }
        Some(name)
    }

    /// This name with labels in front, given with dots between them.
    pub(super) fn below(&self, labels: &str) -> Option<Self> {
        let labels = labels.split('.').map(str::as_bytes);
        Self::of_labels(labels.chain(self.labels()))
    }

    fn push(&mut self, label: &[u8]) -> Result<(), MalformedName> {
        let start = usize::from(self.length) - 1;
        let end = start + 1 + label.len();
        if label.is_empty() || label.len() > LABEL_BYTES_MAX || end >= NAME_BYTES_MAX {
            return Err(MalformedName);
        }
        let begin = self.starts.get_mut(usize::from(self.labels));
        *begin.ok_or(MalformedName)? = small(start);
        self.wire[start] = small(label.len());
        self.wire[start + 1..end].copy_from_slice(label);
        self.wire[start + 1..end].make_ascii_lowercase();
        self.wire[end] = 0;
        self.labels += 1;
        self.length = small(end + 1);
        Ok(())
    }

    /// As it is on the wire.
    pub(super) fn as_wire(&self) -> &[u8] {
        &self.wire[..usize::from(self.length)]
    }

    /// How many labels it has, the empty one left out.
    pub(super) fn count(&self) -> usize {
        self.labels.into()
    }

    /// Its labels from the left.
    pub(super) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let starts = self.starts.iter().take(self.count());
        starts.map(|start| {
            let start = usize::from(*start);
            let end = start + 1 + usize::from(self.wire[start]);
            &self.wire[start + 1..end]
        })
    }

    /// How many labels it has in front of `domain`; none when it is neither that nor below it.
    pub(super) fn labels_before(&self, domain: &Self) -> Option<usize> {
        let before = self.count().checked_sub(domain.count())?;
        let at = self.suffix_at(before);
        (self.as_wire().get(at..)? == domain.as_wire()).then_some(before)
    }

    /// The first byte of what is left without so many labels in front.
    pub(super) fn suffix_at(&self, labels: usize) -> usize {
        match self.starts.get(labels) {
            Some(start) if labels < self.count() => usize::from(*start),
            _ => usize::from(self.length) - 1,
        }
    }
}

/// A position or length within a name.
fn small(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

impl PartialEq for DnsName {
    fn eq(&self, other: &Self) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for DnsName {}

/// With dots; bytes that are no visible ASCII, dots and backslashes as `\DDD` (RFC 4343, section 2.1).
impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{byte:03}")?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        match self.count() {
            0 => f.write_str("."),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wire: &[u8], expected: Option<&str>) {
        let read = DnsName::read(wire).ok();
        assert_eq!(read.map(|(name, _)| name.to_string()).as_deref(), expected);
        if let Some((name, length)) = read {
            assert_eq!(name.as_wire(), wire[..length].to_ascii_lowercase());
        }
    }

    #[test]
    fn names_are_read_from_the_wire() {
        check(b"\0", Some("."));
        check(b"\x03WeB\x07musterd\0rest", Some("web.musterd."));
        check(b"\x03a.b\0", Some("a\\046b."));
        check(b"", None);
        check(b"\x03we", None);
        check(b"\x03web", None);
        // A pointer, and the unused types of labels.
        check(b"\xc0\x0c", None);
        check(b"\x40a\0", None);
        let longest = |last: usize| {
            let mut wire = [&[63][..], &[b'a'; 63]].concat().repeat(3);
            wire.push(u8::try_from(last).unwrap());
            wire.extend(std::iter::repeat_n(b'a', last));
            wire.push(0);
            wire
        };
        assert_eq!(longest(61).len(), NAME_BYTES_MAX);
        assert!(DnsName::read(&longest(61)).is_ok());
        assert!(DnsName::read(&longest(62)).is_err());
        let many = [b"\x01a".repeat(127), vec![0]].concat();
        assert_eq!(DnsName::read(&many).unwrap().0.count(), 127);
    }

    #[test]
    fn texts_and_domains() {
        let name = DnsName::parse("a.Web.Service.musterd").unwrap();
        assert_eq!(Some(name), DnsName::parse("a.web.service.MUSTERD."));
        assert_eq!(name.to_string(), "a.web.service.musterd.");
        let domain = DnsName::parse("service.musterd").unwrap();
        assert_eq!(name.labels_before(&domain), Some(2));
        assert_eq!(name.suffix_at(2), 6);
        assert_eq!(domain.labels_before(&domain), Some(0));
        assert_eq!(domain.labels_before(&name), None);
        assert_eq!(name.labels_before(&DnsName::ROOT), Some(4));
        // The same bytes, but no label begins there.
        let inside = DnsName::of_labels([&b"x\x07musterd"[..]]).unwrap();
        let musterd = DnsName::parse("musterd").unwrap();
        assert_eq!(inside.labels_before(&musterd), None);
        assert_eq!(musterd.below("a.b").unwrap().to_string(), "a.b.musterd.");
        for wrong in ["", "a..b", ".", &"a".repeat(64)] {
            assert_eq!(DnsName::parse(wrong), None, "{wrong}");
        }
    }
}
