//! The text form of octets, words and numbers in transcripts.

/// Reads a transcript line from left to right; a line that it cannot read fails the test.
#[derive(Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a str);

impl Cursor<'_> {
    pub(super) fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let Some(rest) = self.0.strip_prefix(wanted) else {
            return false;
        };
        self.0 = rest;
        true
    }

    pub(super) fn expect(&mut self, wanted: char) {
        assert!(self.eat(wanted), "'{wanted}' is wanted at: {}", self.0);
    }

    pub(super) fn any(&mut self) -> char {
        let first = self.0.chars().next().expect("one more character");
        self.0 = &self.0[first.len_utf8()..];
        first
    }

    pub(super) fn number(&mut self) -> i64 {
        let end = self
            .0
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits
            .parse()
            .unwrap_or_else(|_| panic!("a number is wanted at: {digits}{rest}"))
    }

    /// A field name or table key: ends at `=`.
    pub(super) fn key(&mut self) -> Vec<u8> {
        self.octets(|c| c == '=' || ends_word(c))
    }

    /// A word, or anything between single quotes.
    pub(super) fn word(&mut self) -> Vec<u8> {
        self.octets(ends_word)
    }

    pub(super) fn word_text(&mut self) -> String {
        String::from_utf8(self.word()).unwrap()
    }

    fn octets(&mut self, ends: impl Fn(char) -> bool) -> Vec<u8> {
        if self.eat('\'') {
            return self.quoted();
        }
        let end = self.0.find(ends).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.as_bytes().to_vec()
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            match self.any() {
                '\'' => return out,
                '\\' => match self.any() {
                    'x' => {
                        let (digits, rest) = self.0.split_at(2);
                        self.0 = rest;
                        out.push(u8::from_str_radix(digits, 16).unwrap());
                    }
                    other => out.push(u8::try_from(other).unwrap()),
                },
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | '}' | ']')
}

fn plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-_./:$*#@+<>&".contains(&octet)
}

/// Octets as [`Cursor::word`] reads them back.
pub(super) fn quote(octets: &[u8]) -> String {
    if !octets.is_empty() && octets.iter().all(|octet| plain(*octet)) {
        return String::from_utf8_lossy(octets).into_owned();
    }
    let mut out = String::from("'");
    for octet in octets {
        match octet {
            b'\'' | b'\\' => {
                out.push('\\');
                out.push(char::from(*octet));
            }
            b' '..=b'~' => out.push(char::from(*octet)),
            _ => out.push_str(&format!("\\x{octet:02x}")),
        }
    }
    out.push('\'');
    out
}

/// A body in short: one octet many times is `a*5000`.
pub(super) fn quote_body(body: &[u8]) -> String {
    match body {
        [first, rest @ ..]
            if rest.len() > 30 && rest.iter().all(|octet| octet == first) && plain(*first) =>
        {
            format!("{}*{}", char::from(*first), body.len())
        }
        _ => quote(body),
    }
}

/// The reverse of [`quote_body`].
pub(super) fn read_body(word: &[u8]) -> Vec<u8> {
    if let [first, b'*', digits @ ..] = word
        && let Ok(times) = String::from_utf8_lossy(digits).parse()
    {
        return vec![*first; times];
    }
    word.to_vec()
}

/// Whether `line` is `pattern`, in which `…` matches any text.
pub(super) fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(before) = last.replace(piece) {
            let Some(at) = rest.find(before) else {
                return false;
            };
            rest = &rest[at + before.len()..];
        }
    }
    match last {
        Some(piece) => rest.ends_with(piece),
        None => rest.is_empty(),
    }
}

#[test]
fn patterns_match_whole_lines() {
    assert!(matches("a … c", "a b c"));
    assert!(matches("a …", "a b c"));
    assert!(matches("a …-… c…", "a x-y c d"));
    assert!(matches("a", "a"));
    assert!(!matches("a", "a b"));
    assert!(!matches("a … d", "a b c"));
}

#[test]
fn octets_survive_the_text_form() {
    for octets in [
        &b"word"[..],
        b"",
        b"two words",
        b"it's \\ \x00\xff",
        b"a,b}c]",
    ] {
        assert_eq!(Cursor(&quote(octets)).word(), octets);
    }
    assert_eq!(
        read_body(quote_body(&[b'x'; 100]).as_bytes()),
        vec![b'x'; 100]
    );
}
