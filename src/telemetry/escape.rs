//! Text from outside, made safe to print: it can neither end a line nor steer a terminal.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

/// Control characters, and the separators that some viewers show as line ends.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The text with each control character in the form `\n`, `\u{1b}`; no copy where there is none.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    // Writing to a string can't fail.
    let _ = Escaping(&mut out).write_str(text);
    Cow::Owned(out)
}

/// A JSON text with its control characters in JSON's own form; a serializer leaves those from U+007F on. Line ends between
/// the tokens stay.
pub fn escaped_json(text: &str) -> Cow<'_, str> {
    let is_raw = |c| c != '\n' && is_unsafe(c);
    if !text.chars().any(is_raw) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_raw(c) {
            // Writing to a string can't fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Escapes what is written through it.
pub(super) struct Escaping<'a>(pub(super) &'a mut dyn Write);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe) {
            let (safe, from) = rest.split_at(at);
            self.0.write_str(safe)?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                write!(self.0, "{}", c.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::{escaped, escaped_json};

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        for (text, expected) in [
            ("", ""),
            ("plain \"text\" \\ äß€🙂", "plain \"text\" \\ äß€🙂"),
            ("a\nb\r\n", "a\\nb\\r\\n"),
            ("\x1b[31mred\x1b[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("\0\t\x07\x7f", "\\u{0}\\t\\u{7}\\u{7f}"),
            ("\u{9b}31m \u{85} \u{2028}", "\\u{9b}31m \\u{85} \\u{2028}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn json_stays_json() {
        let line = "{\"a\":\"\u{9b}31m\u{7f}\u{2028}\"}";
        let expected = "{\"a\":\"\\u009b31m\\u007f\\u2028\"}";
        assert_eq!(escaped_json(line), expected);
        let read: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(read["a"], "\u{9b}31m\u{7f}\u{2028}");
    }
}
