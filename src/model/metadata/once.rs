//! JSON in which each key of an object comes once.

use std::{collections::HashMap, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Appends a value as compact text; a key that comes twice has its first place and its last value.
pub(super) fn write(value: &RawValue, out: &mut String) -> serde_json::Result<()> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(text)?;
            let mut before = '{';
            for (key, value) in fields {
                out.push(before);
                out.push_str(&serde_json::to_string(&key)?);
                out.push(':');
                write(value, out)?;
                before = ',';
            }
            end(before, '{', '}', out);
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            let mut before = '[';
            for item in items {
                out.push(before);
                write(item, out)?;
                before = ',';
            }
            end(before, '[', ']', out);
        }
        _ => out.push_str(text),
    }
    Ok(())
}

/// Closes what was opened, which may have been nothing yet.
fn end(before: char, opening: char, closing: char, out: &mut String) {
    if before == opening {
        out.push(opening);
    }
    out.push(closing);
}

struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(Vec::new()))
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Fields<'a> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Self, A::Error> {
        let mut places = HashMap::new();
        while let Some((key, value)) = entries.next_entry::<String, &RawValue>()? {
            match places.get(&key) {
                Some(&place) => {
                    let (_, known): &mut (String, &RawValue) = &mut self.0[place];
                    *known = value;
                }
                None => {
                    places.insert(key.clone(), self.0.len());
                    self.0.push((key, value));
                }
            }
        }
        Ok(self)
    }
}
