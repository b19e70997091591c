//! Names of services and instances as labels of DNS. A name that no label can carry has an escaped form.

use super::name::{LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// Begins an escaped name: letters and digits as they are, any other byte as `-` and two hexadecimal digits. Its third
/// byte is no hyphen, since IDNA forbids two of them there (RFC 5891, section 4.2.3.1).
const FIRST: &str = "xq0-";
/// Begins a label that continues an escaped name.
const MORE: &str = "xq1-";
/// The longest escaped form: with `.service.` or `.node.`, a data center and a domain behind it, it must fit in a name.
const ESCAPED_BYTES_MAX: usize = NAME_BYTES_MAX - 35;

/// Whether a name is a label as it is: lower-case letters, digits, `-` and `_`, at most 63 of them.
pub(super) fn is_plain(name: &str) -> bool {
    let of_label = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    !name.is_empty()
        && name.len() <= LABEL_BYTES_MAX
        && name.bytes().all(of_label)
        && !name.starts_with(FIRST)
        && !name.starts_with(MORE)
}

/// A name as labels with dots between them; none when that is too long for DNS.
pub(super) fn labels(name: &str) -> Option<String> {
    match is_plain(name) {
        true => Some(name.to_owned()),
        false => escaped(name),
    }
}

/// The escaped form, with dots between its labels; none when it is too long for DNS.
pub(super) fn escaped(name: &str) -> Option<String> {
    let mut out = FIRST.to_owned();
    let mut room = LABEL_BYTES_MAX - FIRST.len();
    for byte in name.bytes() {
        let text = match byte {
            b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("-{byte:02x}"),
        };
        if room < text.len() {
            out.push('.');
            out.push_str(MORE);
            room = LABEL_BYTES_MAX - MORE.len();
        }
        room -= text.len();
        out.push_str(&text);
    }
    (out.len() <= ESCAPED_BYTES_MAX).then_some(out)
}

/// What the last labels of a name say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum LastName {
    /// A name, and how many labels it takes.
    Name(String, usize),
    /// The rest of an escaped name, whose first label is missing.
    Rest,
    /// No name of anything.
    Nothing,
}

/// Reads the name at the end of some labels.
pub(super) fn last_name(labels: &[&[u8]]) -> LastName {
    let Some(last) = labels.last() else {
        return LastName::Nothing;
    };
    if !last.starts_with(FIRST.as_bytes()) && !last.starts_with(MORE.as_bytes()) {
        return match std::str::from_utf8(last) {
            Ok(name) => LastName::Name(name.to_owned(), 1),
            Err(_) => LastName::Nothing,
        };
    }
    let is_more = |label: &&&[u8]| label.starts_with(MORE.as_bytes());
    let more = labels.iter().rev().take_while(is_more).count();
    let Some(first) = labels.len().checked_sub(more + 1) else {
        return LastName::Rest;
    };
    if !labels[first].starts_with(FIRST.as_bytes()) {
        return LastName::Nothing;
    }
    let mut bytes = Vec::new();
    for label in &labels[first..] {
        if unescape(&label[FIRST.len()..], &mut bytes).is_none() {
            return LastName::Nothing;
        }
    }
    match String::from_utf8(bytes) {
        Ok(name) => LastName::Name(name, more + 1),
        Err(_) => LastName::Nothing,
    }
}

fn unescape(mut label: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some((first, rest)) = label.split_first() {
        label = rest;
        if *first != b'-' {
            out.push(*first);
            continue;
        }
        let (digits, rest) = label.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        out.push(is_hex.then(|| u8::from_str_radix(digits, 16).ok())??);
        label = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let made = labels(name).unwrap();
        assert_eq!(made, expected);
        let parts: Vec<_> = made.split('.').map(str::as_bytes).collect();
        let count = parts.len();
        assert_eq!(last_name(&parts), LastName::Name(name.to_owned(), count));
    }

    #[test]
    fn names_have_a_plain_or_an_escaped_form() {
        check("web", "web");
        check("web-2_b", "web-2_b");
        check("Order Service", "xq0--4frder-20-53ervice");
        check("a.b", "xq0-a-2eb");
        check("xq0-a", "xq0-xq0-2da");
        let long = "a".repeat(70);
        check(
            &long,
            &format!("xq0-{}.xq1-{}", "a".repeat(59), "a".repeat(11)),
        );
        assert_eq!(labels(&"ä".repeat(60)), None);
    }

    #[test]
    fn what_is_no_name_is_told_apart_from_its_rest() {
        assert_eq!(last_name(&[]), LastName::Nothing);
        assert_eq!(last_name(&[b"xq1-a"]), LastName::Rest);
        assert_eq!(last_name(&[b"tag", b"xq1-a"]), LastName::Nothing);
        assert_eq!(last_name(&[b"xq0-a-"]), LastName::Nothing);
        assert_eq!(last_name(&[b"xq0--+1"]), LastName::Nothing);
        assert_eq!(last_name(&[b"xq0--ff"]), LastName::Nothing);
        assert_eq!(last_name(&[b"\xff"]), LastName::Nothing);
        let tagged = last_name(&[b"tag", b"xq0-a", b"xq1-b"]);
        assert_eq!(tagged, LastName::Name("ab".to_owned(), 2));
    }

    proptest! {
        #[test]
        fn every_name_that_fits_comes_back(name in "\\PC{1,60}") {
            if let Some(made) = labels(&name) {
                let parts: Vec<_> = made.split('.').map(str::as_bytes).collect();
                prop_assert!(parts.iter().all(|label| label.len() <= LABEL_BYTES_MAX));
                prop_assert_eq!(last_name(&parts), LastName::Name(name, parts.len()));
            }
        }

        #[test]
        fn any_labels_are_read(labels in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let labels: Vec<_> = labels.iter().map(Vec::as_slice).collect();
            last_name(&labels);
        }
    }
}
