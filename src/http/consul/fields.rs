//! The JSON body of a request: keys in any case, with or without underscores, as Consul reads them.

use serde_json::{Map, Value};

use super::{
    answer::ConsulError,
    query::{go_duration, shown},
};
use std::time::Duration;

/// An object of a body, and where in the body it is.
#[derive(Clone, Debug)]
pub(in crate::http) struct BodyFields {
    object: Map<String, Value>,
    /// Before the names of its fields in errors.
    path: String,
}

impl BodyFields {
    /// Reads a body that is an object; an empty one has no fields.
    pub(in crate::http) fn read(body: &[u8]) -> Result<Self, ConsulError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::of(Map::new(), String::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(Self::of(object, String::new())),
            Ok(_) => Err(ConsulError::bad(
                "Request decode failed: the body must be a JSON object",
            )),
            Err(error) => Err(ConsulError::bad(format!("Request decode failed: {error}"))),
        }
    }

    pub(super) fn of(object: Map<String, Value>, path: String) -> Self {
        Self { object, path }
    }

    /// A field that is not null, by its name in any case.
    pub(in crate::http) fn get(&self, name: &str) -> Option<&Value> {
        let named = self.object.iter().find(|(key, _)| is_same(key, name));
        named
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    /// The first of several names.
    fn any(&self, names: &[&str]) -> Option<&Value> {
        names.iter().find_map(|name| self.get(name))
    }

    fn wrong(&self, name: &str, expected: &str) -> ConsulError {
        let path = &self.path;
        ConsulError::bad(format!("Request decode failed: {path}{name} {expected}"))
    }

    /// A text; absent is empty. Numbers are taken as they are written.
    pub(in crate::http) fn text(&self, name: &str) -> Result<String, ConsulError> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(_) => Err(self.wrong(name, "must be a string")),
        }
    }

    /// A flag; absent is false.
    pub(in crate::http) fn flag(&self, name: &str) -> Result<bool, ConsulError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "1") => Ok(true),
            Some(Value::String(text)) if matches!(text.as_str(), "false" | "0" | "") => Ok(false),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// A whole number from 0 to `max`; absent is none.
    pub(in crate::http) fn whole(&self, name: &str, max: u64) -> Result<Option<u64>, ConsulError> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => {
                let whole = number.as_f64().filter(|number| number.fract() == 0.0);
                number.as_u64().or_else(|| whole.and_then(as_whole))
            }
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match number.filter(|number| *number <= max) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, &format!("must be a whole number from 0 to {max}"))),
        }
    }

    /// A duration such as "10s"; a number counts nanoseconds, as with Go.
    pub(in crate::http) fn duration(&self, name: &str) -> Result<Option<Duration>, ConsulError> {
        let expected = "must be a duration such as \"10s\"";
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => match text.trim().parse::<u64>() {
                // Without a unit, a text counts like a number.
                Ok(nanoseconds) => Ok(Some(Duration::from_nanos(nanoseconds))),
                Err(_) => match go_duration(text) {
                    Some(duration) => Ok(Some(duration)),
                    None => {
                        let text = shown(text);
                        Err(self.wrong(name, &format!("\"{text}\" {expected}")))
                    }
                },
            },
            Some(Value::Number(number)) => match number.as_u64() {
                Some(nanoseconds) => Ok(Some(Duration::from_nanos(nanoseconds))),
                None => Err(self.wrong(name, expected)),
            },
            Some(_) => Err(self.wrong(name, expected)),
        }
    }

    /// A list of texts; absent is empty.
    pub(in crate::http) fn texts(
        &self,
        names: &[&str],
        max: usize,
    ) -> Result<Vec<String>, ConsulError> {
        let name = names.first().copied().unwrap_or_default();
        let items = match self.any(names) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.wrong(name, "must be a list of strings")),
        };
        if items.len() > max {
            return Err(self.wrong(name, &format!("has more than {max} items")));
        }
        let text = |item: &Value| item.as_str().map(str::to_owned);
        let texts: Option<Vec<_>> = items.iter().map(text).collect();
        texts.ok_or_else(|| self.wrong(name, "must be a list of strings"))
    }

    /// An object whose keys are kept as they are; absent is empty.
    pub(in crate::http) fn map(&self, name: &str) -> Result<Map<String, Value>, ConsulError> {
        match self.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(_) => Err(self.wrong(name, "must be an object")),
        }
    }

    /// An object with fields; none when it is absent.
    pub(in crate::http) fn object(&self, name: &str) -> Result<Option<Self>, ConsulError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => {
                let path = format!("{}{name}.", self.path);
                Ok(Some(Self::of(object.clone(), path)))
            }
            Some(_) => Err(self.wrong(name, "must be an object")),
        }
    }

    /// A list of objects with fields; one object alone is a list of one.
    pub(in crate::http) fn objects(
        &self,
        name: &str,
        max: usize,
    ) -> Result<Vec<Self>, ConsulError> {
        let items = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            Some(_) => return Err(self.wrong(name, "must be a list of objects")),
        };
        if items.len() > max {
            return Err(self.wrong(name, &format!("has more than {max} items")));
        }
        let object = |(at, item): (usize, &Value)| match item {
            Value::Object(object) => {
                let path = format!("{}{name}[{at}].", self.path);
                Ok(Self::of(object.clone(), path))
            }
            _ => Err(self.wrong(name, "must be a list of objects")),
        };
        items.iter().enumerate().map(object).collect()
    }

    /// An error about one of its fields.
    pub(in crate::http) fn invalid(&self, name: &str, message: &str) -> ConsulError {
        ConsulError::bad(format!("Invalid {}{name}: {message}", self.path))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is whole, and checked to be in the range"
)]
fn as_whole(number: f64) -> Option<u64> {
    (0.0..=9e15).contains(&number).then_some(number as u64)
}

/// Whether a key is this name, whatever its case and underscores.
fn is_same(key: &str, name: &str) -> bool {
    fn plain(text: &str) -> impl Iterator<Item = u8> {
        let bytes = text.bytes().filter(|byte| *byte != b'_');
        bytes.map(|byte| byte.to_ascii_lowercase())
    }
    plain(key).eq(plain(name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::BodyFields;

    fn fields(text: &str) -> BodyFields {
        BodyFields::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_are_read_in_any_case_and_with_underscores() {
        for key in [
            "ServiceID",
            "serviceid",
            "service_id",
            "Service_Id",
            "SERVICEID",
        ] {
            let fields = fields(&format!("{{\"{key}\": \"a\"}}"));
            assert_eq!(fields.text("ServiceID").unwrap(), "a", "{key}");
        }
        assert_eq!(fields("{\"name\": null}").text("Name").unwrap(), "");
        assert_eq!(fields(" ").text("Name").unwrap(), "");
    }

    #[test]
    fn values_are_read_as_clients_write_them() {
        let read = fields(
            r#"{"ttl": "10s", "timeout": 5000000000, "port": "80", "weight": 2.0, "on": true,
                "tags": ["a"], "check": {"ttl": "1m"}, "checks": [{"tcp": "h:1"}], "Meta": {"A_b": "c"}}"#,
        );
        assert_eq!(read.duration("TTL").unwrap(), Some(Duration::from_secs(10)));
        assert_eq!(
            read.duration("Timeout").unwrap(),
            Some(Duration::from_secs(5))
        );
        assert_eq!(read.whole("Port", 65_535).unwrap(), Some(80));
        assert_eq!(read.whole("Weight", 10).unwrap(), Some(2));
        assert!(read.flag("On").unwrap() && !read.flag("Off").unwrap());
        assert_eq!(read.texts(&["Tags"], 5).unwrap(), ["a"]);
        let check = read.object("Check").unwrap().unwrap();
        assert_eq!(
            check.duration("TTL").unwrap(),
            Some(Duration::from_secs(60))
        );
        let checks = read.objects("Checks", 5).unwrap();
        assert_eq!(checks[0].text("TCP").unwrap(), "h:1");
        assert!(read.map("Meta").unwrap().contains_key("A_b"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let read = fields(
            r#"{"port": "x", "tags": [1], "check": {"ttl": "soon"}, "checks": [1], "on": 3}"#,
        );
        let check = read.object("Check").unwrap().unwrap();
        for (error, says) in [
            (
                read.whole("Port", 65_535).unwrap_err(),
                "Port must be a whole number",
            ),
            (
                read.texts(&["Tags"], 5).unwrap_err(),
                "Tags must be a list of strings",
            ),
            (
                check.duration("TTL").unwrap_err(),
                "Check.TTL \"soon\" must be a duration",
            ),
            (
                read.objects("Checks", 5).unwrap_err(),
                "Checks must be a list of objects",
            ),
            (
                read.objects("Checks", 0).unwrap_err(),
                "Checks has more than 0",
            ),
            (read.flag("On").unwrap_err(), "On must be true or false"),
            (
                BodyFields::read(b"[]").unwrap_err(),
                "must be a JSON object",
            ),
            (BodyFields::read(b"{").unwrap_err(), "Request decode failed"),
        ] {
            assert_eq!(error.status, 400);
            assert!(error.text.contains(says), "{}", error.text);
        }
    }
}
