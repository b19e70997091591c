//! The subject of a certificate, as text. Pure.
//!
//! A certificate is DER: values of a tag, a length and content, nested in each other. Only the way
//! to the subject is parsed (RFC 5280 section 4.1). Whether the certificate is trusted was decided before.

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xA0;

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

/// The attributes that have a short name, as RabbitMQ writes them.
const NAMES: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "SERIALNUMBER"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "TITLE"),
    (&[0x55, 4, 42], "GIVENNAME"),
    // 0.9.2342.19200300.100.1.25
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25],
        "DC",
    ),
    // 1.2.840.113549.1.9.1
    (
        &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1],
        "EMAILADDRESS",
    ),
];

/// The subject in the form of RFC 4514: last part first, `CN=orders,O=Example`. Nothing when a
/// part has no name or no text: then it could be taken for another subject.
pub(super) fn distinguished_name(certificate: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for part in subject(certificate)? {
        let attributes: Option<Vec<String>> = part
            .into_iter()
            .map(|(kind, text)| {
                let (_, name) = NAMES.iter().find(|(known, _)| *known == kind)?;
                Some(format!("{name}={}", escaped(text?)))
            })
            .collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    if parts.is_empty() {
        None
    } else {
        Some(parts.join(","))
    }
}

/// The common name, when there is exactly one.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let parts = subject(certificate)?;
    let mut names = parts
        .into_iter()
        .flatten()
        .filter(|(kind, _)| *kind == COMMON_NAME);
    match (names.next(), names.next()) {
        (Some((_, Some(name))), None) if !name.is_empty() => Some(name.to_owned()),
        _ => None,
    }
}

/// Characters with a meaning in a distinguished name get a backslash before them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, char) in text.chars().enumerate() {
        let special = match char {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

/// The kind of an attribute, and its value when it is text.
type Attribute<'a> = (&'a [u8], Option<&'a str>);

/// The parts of the subject; each has one attribute, seldom more.
fn subject(certificate: &[u8]) -> Option<Vec<Vec<Attribute<'_>>>> {
    let mut certificate = Der(Der(certificate).take(SEQUENCE)?);
    let mut signed = Der(certificate.take(SEQUENCE)?);
    if signed.tag() == Some(VERSION) {
        signed.take(VERSION)?;
    }
    signed.take(INTEGER)?; // serial number
    signed.take(SEQUENCE)?; // signature algorithm
    signed.take(SEQUENCE)?; // issuer
    signed.take(SEQUENCE)?; // validity
    let mut name = Der(signed.take(SEQUENCE)?);
    let mut parts = Vec::new();
    while name.tag().is_some() {
        let mut part = Der(name.take(SET)?);
        let mut attributes = Vec::new();
        while part.tag().is_some() {
            let mut attribute = Der(part.take(SEQUENCE)?);
            let kind = attribute.take(OBJECT_IDENTIFIER)?;
            attributes.push((kind, attribute.text()));
        }
        parts.push(attributes);
    }
    Some(parts)
}

/// DER that is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[actual, first], rest) = self.0.split_first_chunk()?;
        if actual != tag {
            return None;
        }
        let (len, rest) = match first {
            short @ 0..=0x7F => (usize::from(short), rest),
            0x81 => {
                let (&[len], rest) = rest.split_first_chunk()?;
                (usize::from(len), rest)
            }
            0x82 => {
                let (&len, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(len)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(content)
    }

    /// The next value, when it is text in one of the usual forms.
    fn text(&mut self) -> Option<&'a str> {
        let tag = self.tag()?;
        if !matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING) {
            return None;
        }
        std::str::from_utf8(self.take(tag)?).ok()
    }
}

#[cfg(test)]
mod tests;
