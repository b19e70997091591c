//! The ignored parts of a request, in sentences for its answer.

use bytes::Bytes;

use super::json::Json;

/// A sentence for each part of a request that was ignored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Warnings(pub(super) Vec<String>);

impl Warnings {
    /// The sentences.
    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Appends `warnings` to a JSON object that is already encoded, if there are any.
    pub fn added_to(&self, object: impl Into<Bytes>) -> Bytes {
        let object = object.into();
        match object.strip_suffix(b"}") {
            Some(open) if !self.0.is_empty() => {
                let mut json = Json::on(open.to_vec());
                json.key("warnings").value(&self.0);
                json.close(b'}');
                json.into_bytes().into()
            }
            _ => object,
        }
    }
}

#[cfg(test)]
mod tests;
