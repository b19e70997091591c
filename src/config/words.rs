//! The words that a key allows, if it does not allow any text.

use std::cell::Cell;

use serde::{
    Deserialize, Deserializer,
    de::{
        IntoDeserializer, Visitor,
        value::{Error, MapDeserializer},
    },
    forward_to_deserialize_any,
};

use super::Config;

/// The allowed words of this key; none if it takes any value or is unknown.
pub(super) fn allowed(path: &[String]) -> Option<&'static [&'static str]> {
    let words = Cell::new(None);
    // Only the words that the type asks for on the way matter, not the result.
    let _ = Config::deserialize(Asked {
        path,
        words: &words,
    });
    words.get()
}

/// A configuration with one key, which notes the words that its type allows.
struct Asked<'a> {
    path: &'a [String],
    words: &'a Cell<Option<&'static [&'static str]>>,
}

impl IntoDeserializer<'_> for Asked<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some((first, path)) = self.path.split_first() else {
            return visitor.visit_str("");
        };
        let words = self.words;
        let rest = Asked { path, words };
        visitor.visit_map(MapDeserializer::new(std::iter::once((
            first.as_str(),
            rest,
        ))))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.path.is_empty() {
            self.words.set(Some(variants));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
