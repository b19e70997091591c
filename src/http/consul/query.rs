//! The parameters of a query that all endpoints share, read before anything is done.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::{answer::ConsulError, filter::FilterExpression};
use crate::api;

/// How long a query waits that names no time.
const WAIT_DEFAULT: Duration = Duration::from_secs(300);
/// The longest that a query waits, but for the random part on top.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// The most parameters of one query.
const PARAMETERS_MAX: usize = 128;

/// Parameters that do not change what is shown.
const NOT_SHOWN: [&str; 10] = [
    "index",
    "wait",
    "pretty",
    "stale",
    "consistent",
    "cached",
    "token",
    "hash",
    "dc",
    "max_stale",
];

/// How current an answer must be; here all are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::http) enum Consistency {
    #[default]
    Leader,
    Consistent,
    Stale,
}

/// The parameters of one query.
#[derive(Debug, Default)]
pub(in crate::http) struct ConsulQuery {
    pairs: Vec<(String, String)>,
    pub(in crate::http) pretty: bool,
    pub(in crate::http) consistency: Consistency,
    pub(in crate::http) cached: bool,
    /// What the client has seen; none or 0 answers at once.
    pub(in crate::http) index: Option<u64>,
    /// The same for agent endpoints.
    pub(in crate::http) hash: Option<String>,
    wait: Option<Duration>,
    pub(in crate::http) filter: Option<FilterExpression>,
}

impl ConsulQuery {
    /// Reads a query; `datacenter` is the only one that it may name.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub(in crate::http) fn read(
        query: Option<&str>,
        datacenter: &str,
    ) -> Result<Self, ConsulError> {
        let pairs = api::pairs(query.unwrap_or_default()).take(PARAMETERS_MAX + 1);
        let pairs: Vec<_> = pairs
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        if pairs.len() > PARAMETERS_MAX {
            return Err(ConsulError::bad(format!(
                "the query has more than {PARAMETERS_MAX} parameters"
            )));
        }
        let mut read = Self {
            pairs,
            ..Self::default()
        };
        if let Some(other) = read
            .get("dc")
            .filter(|dc| !dc.is_empty() && *dc != datacenter)
        {
            return Err(ConsulError::new(
                500,
                format!("No path to datacenter \"{}\"", shown(other)),
            ));
        }
        read.pretty = read.is_set("pretty");
        read.cached = read.is_set("cached");
        read.consistency = match (read.is_set("stale"), read.is_set("consistent")) {
            (true, true) => {
                return Err(ConsulError::bad(
                    "Cannot specify ?stale with ?consistent, conflicting semantics.",
                ));
            }
            (true, false) => Consistency::Stale,
            (false, true) => Consistency::Consistent,
            (false, false) => Consistency::Leader,
        };
        if let Some(index) = read.get("index").filter(|index| !index.is_empty()) {
            let index = index.parse().map_err(|_| {
                ConsulError::bad(format!(
                    "Invalid index \"{}\": it must be a whole number",
                    shown(index)
                ))
            })?;
            read.index = Some(index);
        }
        read.hash = read.get("hash").map(str::to_owned);
        if let Some(wait) = read.get("wait").filter(|wait| !wait.is_empty()) {
            let wait = go_duration(wait).ok_or_else(|| {
                ConsulError::bad(format!(
                    "Invalid wait time \"{}\": write it as \"10s\" or \"5m\"",
                    shown(wait)
                ))
            })?;
            read.wait = Some(wait);
        }
        if let Some(filter) = read.get("filter").filter(|filter| !filter.is_empty()) {
            let parsed = FilterExpression::parse(filter);
            read.filter = Some(parsed.map_err(|fault| {
                ConsulError::bad(format!("Failed to parse filter expression: {fault}"))
            })?);
        }
        Ok(read)
    }

    /// The first value of a parameter.
    pub(in crate::http) fn get(&self, name: &str) -> Option<&str> {
        let named = self.pairs.iter().find(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub(in crate::http) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.pairs.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Whether a flag is there, such as `?passing`; the values false and 0 switch it off.
    pub(in crate::http) fn is_set(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| go_bool(value) != Some(false))
    }

    /// How long this query may wait, with a random part of up to a sixteenth on top, so that clients that began
    /// together do not end together.
    pub(in crate::http) fn wait(&self) -> Duration {
        let wait = self.wait.filter(|wait| !wait.is_zero());
        let wait = wait.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX);
        wait + wait.mul_f64(fastrand::f64() / 16.0)
    }

    /// Adds what decides about the answer, apart from what the endpoint shows.
    pub(in crate::http) fn key(&self, path: &str, reader: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        reader.hash(&mut hasher);
        for (key, value) in &self.pairs {
            if !NOT_SHOWN.contains(&key.as_str()) {
                (key, value).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// A flag as Go reads it.
pub(in crate::http) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go writes it: `10s`, `1m30s`, `1.5h`, `250ms`; a bare number counts seconds here.
pub(in crate::http) fn go_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(u64::from(u32::MAX))));
    }
    let (mut rest, mut seconds) = (text, 0.0_f64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds.min(f64::from(u32::MAX))).ok()
}

/// The beginning of a text of a client, for an error.
pub(in crate::http) fn shown(text: &str) -> String {
    text.chars()
        .take(100)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests;
