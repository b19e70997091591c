//! Writes answers in Eureka's XML or in its JSON, from the same calls. Pure.

use std::{borrow::Cow, fmt::Write as _};

use quick_xml::escape;

/// The two forms of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BodyFormat {
    Xml,
    Json,
}

impl BodyFormat {
    /// The form that a client accepts: XML unless it names JSON.
    pub(super) fn of(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.to_ascii_lowercase().contains("json") => Self::Json,
            _ => Self::Xml,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "application/xml",
            Self::Json => "application/json",
        }
    }
}

/// An answer that is being written. In JSON it is one object, whose members are the elements of the XML.
#[derive(Debug)]
pub(super) struct BodyWriter {
    format: BodyFormat,
    out: String,
    /// Whether the next member of a JSON object or list needs no comma.
    first: bool,
}

impl BodyWriter {
    pub(super) fn new(format: BodyFormat) -> Self {
        let mut out = String::with_capacity(2048);
        if format == BodyFormat::Json {
            out.push('{');
        }
        Self {
            format,
            out,
            first: true,
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.format == BodyFormat::Json {
            self.out.push('}');
        }
        self.out.into_bytes()
    }

    /// Begins an element with others in it.
    pub(super) fn open(&mut self, name: &str) {
        match self.format {
            BodyFormat::Xml => self.tag("<", name, ">"),
            BodyFormat::Json => {
                self.key(name);
                self.out.push('{');
                self.first = true;
            }
        }
    }

    /// Begins an element that names its class in Java.
    pub(super) fn open_class(&mut self, name: &str, class: &str) {
        match self.format {
            BodyFormat::Xml => {
                self.tag("<", name, " class=\"");
                let class = xml_text(class);
                self.out.push_str(&class);
                self.out.push_str("\">");
            }
            BodyFormat::Json => {
                self.open(name);
                self.text("@class", class);
            }
        }
    }

    /// Ends what `open` or `open_class` began.
    pub(super) fn close(&mut self, name: &str) {
        match self.format {
            BodyFormat::Xml => self.tag("</", name, ">"),
            BodyFormat::Json => {
                self.out.push('}');
                self.first = false;
            }
        }
    }

    /// Begins a list of elements of one name. In XML they just follow each other.
    pub(super) fn open_list(&mut self, name: &str) {
        if self.format == BodyFormat::Json {
            self.key(name);
            self.out.push('[');
            self.first = true;
        }
    }

    pub(super) fn close_list(&mut self) {
        if self.format == BodyFormat::Json {
            self.out.push(']');
            self.first = false;
        }
    }

    /// Begins one element of a list; `close` ends it.
    pub(super) fn open_item(&mut self, name: &str) {
        match self.format {
            BodyFormat::Xml => self.tag("<", name, ">"),
            BodyFormat::Json => {
                self.comma();
                self.out.push('{');
                self.first = true;
            }
        }
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        match self.format {
            BodyFormat::Xml => {
                self.tag("<", name, ">");
                let value = xml_text(value);
                self.out.push_str(&value);
                self.tag("</", name, ">");
            }
            BodyFormat::Json => {
                self.key(name);
                self.string(value);
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, value: i64) {
        match self.format {
            BodyFormat::Xml => self.text(name, &value.to_string()),
            BodyFormat::Json => {
                self.key(name);
                self.digits(value);
            }
        }
    }

    /// The status that an operator has set; its name differs between the two forms.
    pub(super) fn overridden(&mut self, status: &str) {
        let name = match self.format {
            BodyFormat::Xml => "overriddenstatus",
            BodyFormat::Json => "overriddenStatus",
        };
        self.text(name, status);
    }

    /// A port: `<port enabled="true">80</port>`, `{"$":80,"@enabled":"true"}`.
    pub(super) fn port(&mut self, name: &str, number: u16, enabled: bool) {
        match self.format {
            BodyFormat::Xml => {
                self.tag("<", name, " enabled=\"");
                self.out.push_str(if enabled { "true" } else { "false" });
                self.out.push_str("\">");
                self.digits(number.into());
                self.tag("</", name, ">");
            }
            BodyFormat::Json => {
                self.open(name);
                self.number("$", number.into());
                self.text("@enabled", if enabled { "true" } else { "false" });
                self.close(name);
            }
        }
    }

    fn digits(&mut self, value: i64) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{value}");
    }

    fn tag(&mut self, before: &str, name: &str, after: &str) {
        self.out.push_str(before);
        self.out.push_str(&element_name(name));
        self.out.push_str(after);
    }

    fn comma(&mut self) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
    }

    fn key(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.out.push(':');
    }

    fn string(&mut self, value: &str) {
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if value.bytes().all(plain) {
            self.out.push('"');
            self.out.push_str(value);
            self.out.push('"');
        } else {
            self.out
                .push_str(&serde_json::Value::from(value).to_string());
        }
    }
}

/// Text as XML can carry it. The characters that no XML may contain become U+FFFD.
fn xml_text(text: &str) -> Cow<'_, str> {
    let allowed = |c: char| !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    if text.chars().all(allowed) {
        return escape::escape(text);
    }
    let cleaned = text
        .chars()
        .map(|c| if allowed(c) { c } else { '\u{fffd}' });
    let cleaned: String = cleaned.collect();
    Cow::Owned(escape::escape(cleaned.as_str()).into_owned())
}

/// A key of metadata as the name of an element: a character that a name cannot have becomes `_.` and four hexadecimal
/// digits, as in Eureka.
fn element_name(name: &str) -> Cow<'_, str> {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let continues = |c: char| starts(c) || c.is_ascii_digit() || c == '-' || c == '.';
    let is_fine = name.starts_with(starts) && name.chars().all(continues);
    if is_fine {
        return Cow::Borrowed(name);
    }
    let mut encoded = String::with_capacity(name.len() + 8);
    for (at, c) in name.chars().enumerate() {
        if continues(c) && (at > 0 || starts(c)) {
            encoded.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "_.{:04x}", u32::from(c));
        }
    }
    if encoded.is_empty() {
        encoded.push('_');
    }
    Cow::Owned(encoded)
}
