//! What is told of fields that were passed over.

use bytes::Bytes;

use super::{
    json::Json,
    read::{Faults, Object},
};

/// A sentence for each field of a body that was ignored.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Of the fields that nobody knows.
    pub(super) fn of(object: &Object<'_>) -> Self {
        let mut faults = Faults::default();
        faults.pass_over(&object.unknown);
        Self(faults.warnings)
    }

    /// True when every field was read or is answered by ourselves.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An object that is ready, gone on with by `warnings` when there are any.
    pub fn told_in(&self, object: impl Into<Bytes>) -> Bytes {
        let object = object.into();
        match object.strip_suffix(b"}") {
            Some(open) if !self.is_empty() => {
                let mut json = Json::on(open.to_vec());
                json.key("warnings")
                    .texts(self.0.iter().map(String::as_str));
                json.close(b'}');
                json.into_bytes().into()
            }
            _ => object,
        }
    }
}

#[cfg(test)]
mod tests;
