//! What of a request was ignored, in sentences for its answer.

use bytes::Bytes;
use http::HeaderValue;

use super::{
    json::Json,
    read::{Faults, Object, QUOTED_MAX, WARNINGS_MAX},
};

/// A sentence for each part of a request that was ignored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Of the unknown fields of a body.
    pub(super) fn of(object: &Object<'_>) -> Self {
        let mut faults = Faults::default();
        faults.pass_over(&object.unknown);
        Self(faults.warnings)
    }

    /// Of unknown parameters of a query, where those in `known` are read.
    pub(super) fn of_parameters(
        unknown: impl Iterator<Item = impl AsRef<str>>,
        known: &[&str],
    ) -> Self {
        let mut sentences: Vec<String> = Vec::new();
        for key in unknown {
            if sentences.len() == WARNINGS_MAX {
                break;
            }
            let key: String = key.as_ref().chars().take(QUOTED_MAX).collect();
            let known = match known {
                [] => "this endpoint has none".to_owned(),
                known => format!("known: {}", known.join(", ")),
            };
            let sentence = format!("unknown query parameter \"{key}\" was ignored; {known}");
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        Self(sentences)
    }

    /// True when nothing was ignored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sentences.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Both, these first.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// The value of the header `x-musterd-warnings`, for answers that are no JSON object of ours: the
    /// sentences with " | " between them, everything but visible ASCII escaped. None without warnings.
    pub fn to_header(&self) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        let escaped = |sentence: &String| sentence.chars().flat_map(escape).collect::<String>();
        let sentences: Vec<_> = self.0.iter().map(escaped).collect();
        let mut text = sentences.join(" | ");
        text.truncate(HEADER_BYTES_MAX);
        HeaderValue::try_from(text).ok()
    }

    /// Appends `warnings` to a JSON object that is already encoded, if there are any.
    pub fn told_in(&self, object: impl Into<Bytes>) -> Bytes {
        let object = object.into();
        match object.strip_suffix(b"}") {
            Some(open) if !self.is_empty() => {
                let mut json = Json::on(open.to_vec());
                json.key("warnings").texts(self.sentences());
                json.close(b'}');
                json.into_bytes().into()
            }
            _ => object,
        }
    }
}

/// Clients limit the length of a header.
const HEADER_BYTES_MAX: usize = 2048;

fn escape(c: char) -> impl Iterator<Item = char> {
    let visible = matches!(c, ' '..='~').then_some(c);
    let escaped = (visible.is_none()).then(|| c.escape_default());
    visible.into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests;
