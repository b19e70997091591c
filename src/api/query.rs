//! The query of a request: the parameters that an endpoint reads, and a warning for each other one.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::warnings::Warnings;

/// The query of one request.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    text: &'a str,
    known: &'static [&'static str],
}

impl<'a> Query<'a> {
    /// The query `text`, of which the parameters in `known` are read. A name in `known` that ends in "."
    /// matches every parameter that begins with it.
    pub fn new(text: Option<&'a str>, known: &'static [&'static str]) -> Self {
        let text = text.unwrap_or_default();
        Self { text, known }
    }

    /// The known parameters in the order of the request, decoded.
    pub fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        pairs(self.text).filter(move |(key, _)| self.knows(key))
    }

    /// The first value of a parameter.
    pub fn first(self, wanted: &str) -> Option<Cow<'a, str>> {
        let mut pairs = pairs(self.text).filter(|(key, _)| key == wanted);
        pairs.next().map(|(_, value)| value)
    }

    /// A sentence for each parameter that is not known.
    pub fn warnings(self) -> Warnings {
        let keys = pairs(self.text).map(|(key, _)| key);
        let unknown = keys.filter(|key| !self.knows(key));
        Warnings::of_parameters(unknown, self.known)
    }

    fn knows(self, key: &str) -> bool {
        let same = |known: &&str| match known.strip_suffix('.') {
            Some(_) => key.starts_with(known),
            None => key == *known,
        };
        self.known.iter().any(same)
    }
}

/// The pairs of a query, decoded: "+" is a space, bytes that are not UTF-8 become U+FFFD.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
        return Cow::Owned(decoded.into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests;
