//! A walk through JSON that keeps nothing of it.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Proof that a JSON value can be parsed: every token was looked at as a parsed value would have it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walked {
    /// Some object in it seems to have a key twice; never false when one has.
    pub(super) repeats: bool,
}

impl<'de> Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Walked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Walked, E> {
        Ok(Walked::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Walked, A::Error> {
        let mut all = Walked::default();
        while let Some(item) = items.next_element::<Walked>()? {
            all.repeats |= item.repeats;
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Walked, A::Error> {
        let mut all = Walked::default();
        let mut keys = Vec::new();
        while let Some((KeyHash(hash), value)) = entries.next_entry::<KeyHash, Walked>()? {
            keys.push(hash);
            all.repeats |= value.repeats;
        }
        keys.sort_unstable();
        all.repeats |= keys.windows(2).any(|two| two[0] == two[1]);
        Ok(all)
    }
}

/// The hash of a key. Two keys that have the same one by chance cost time and nothing else.
struct KeyHash(u64);

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Self(0))
    }
}

impl Visitor<'_> for KeyHash {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self, E> {
        Ok(Self(
            BuildHasherDefault::<DefaultHasher>::default().hash_one(key),
        ))
    }
}
