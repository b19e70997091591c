//! The configuration in effect, key by key, with the source of each value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
};

use config::{Map, Value, ValueKind};

/// Every key with its default; a test compares it with the code.
const DOCUMENTED: &str = include_str!("../../config/default.toml");

/// Keys whose values are not shown.
const SECRETS: [&str; 4] = ["password", "password_hash", "secret", "sha256"];

/// Every documented key: its section, its name, and its default as TOML.
pub(super) fn documented() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let mut section = "";
    DOCUMENTED.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            return None;
        }
        let (key, value) = line.split_once(" = ").filter(|_| !line.starts_with('#'))?;
        Some((section, key, value))
    })
}

/// What a key is for: the comment in front of it.
fn explained() -> BTreeMap<String, String> {
    let (mut section, mut comment) = ("", Vec::new());
    let mut explained = BTreeMap::new();
    for line in DOCUMENTED.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment.push(text.trim());
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            explained.insert(format!("{section}.{key}"), comment.join(" "));
        }
        comment.clear();
    }
    explained
}

/// A key of the configuration in effect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShownKey {
    /// Its name, with dots between its parts.
    pub key: String,
    /// Its value as TOML; secrets are not shown.
    pub value: String,
    /// Where the value comes from.
    pub source: String,
    /// Its default as TOML; none for a key that is given besides the documented ones.
    pub default: Option<String>,
    /// What it is for.
    pub about: String,
}

/// All documented keys, then those that are given besides.
fn keys(given: &Map<String, Value>, file: &str) -> Vec<ShownKey> {
    let mut leaves = BTreeMap::new();
    collect(given, file, &mut Vec::new(), &mut leaves);
    let mut explained = explained();
    let mut keys = Vec::new();
    for (section, key, default) in documented() {
        let path: Vec<_> = section.split('.').chain([key]).map(str::to_owned).collect();
        let leaf = leaves.remove(&path);
        let (value, source) = leaf.unwrap_or_else(|| (default.to_owned(), "default".to_owned()));
        let key = path.join(".");
        keys.push(ShownKey {
            about: explained.remove(&key).unwrap_or_default(),
            key,
            value,
            source,
            default: Some(default.to_owned()),
        });
    }
    let others = leaves.into_iter();
    keys.extend(others.map(|(path, (value, source))| ShownKey {
        key: path.join("."),
        value,
        source,
        default: None,
        about: String::new(),
    }));
    keys
}

/// All documented keys, then those that are given besides (such as users), section by section.
///
/// A value without an origin comes from `file`.
pub(super) fn toml(given: &Map<String, Value>, file: &str) -> String {
    let mut leaves = BTreeMap::new();
    collect(given, file, &mut Vec::new(), &mut leaves);
    let mut out = String::new();
    let mut shown = "";
    for (section, key, default) in documented() {
        if section != shown {
            begin(&mut out, section);
            shown = section;
        }
        let path: Vec<_> = section.split('.').chain([key]).map(str::to_owned).collect();
        let (value, source) = match leaves.remove(&path) {
            Some(leaf) => leaf,
            None => (default.to_owned(), "default".to_owned()),
        };
        // Writing to a string can't fail.
        let _ = writeln!(out, "{key} = {value}  # {source}");
    }
    let mut shown = Vec::new();
    for (path, (value, source)) in leaves {
        let Some((key, section)) = path.split_last() else {
            continue;
        };
        if section != shown {
            let names: Vec<_> = section.iter().map(|name| quoted(name)).collect();
            begin(&mut out, &names.join("."));
            section.clone_into(&mut shown);
        }
        let _ = writeln!(out, "{} = {value}  # {source}", quoted(key));
    }
    out
}

fn begin(out: &mut String, section: &str) {
    let gap = if out.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{gap}[{section}]");
}

/// A key of TOML: in quotes unless it is a bare word.
fn quoted(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) {
        return key.to_owned();
    }
    text(key)
}

fn text(text: &str) -> String {
    // JSON's strings are TOML's basic strings.
    serde_json::Value::from(text).to_string()
}

type Leaves = BTreeMap<Vec<String>, (String, String)>;

/// Every key that is given, with its value as it was written; not shown, since it may be a secret.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Values {
    given: BTreeMap<String, String>,
    shown: Vec<ShownKey>,
}

impl Values {
    /// A value without an origin comes from `file`.
    pub(super) fn of(tree: &Map<String, Value>, file: &str) -> Self {
        let mut given = BTreeMap::new();
        gather(tree, "", &mut given);
        Self {
            given,
            shown: keys(tree, file),
        }
    }

    /// Every key with its value and where it comes from, without secrets.
    pub fn shown(&self) -> &[ShownKey] {
        &self.shown
    }

    /// The keys that are given.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.given.keys().cloned().collect()
    }

    /// The keys that differ, sorted.
    pub fn changed(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<_> = self.given.keys().chain(other.given.keys()).collect();
        let differs = |key: &&String| self.given.get(*key) != other.given.get(*key);
        keys.into_iter().filter(differs).cloned().collect()
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.given.keys()).finish()
    }
}

fn gather(tree: &Map<String, Value>, prefix: &str, values: &mut BTreeMap<String, String>) {
    for (key, value) in tree {
        let path = format!("{prefix}{key}");
        if let ValueKind::Table(inner) = &value.kind {
            gather(inner, &format!("{path}."), values);
        } else {
            values.insert(path, ordered(value));
        }
    }
}

/// A value as text. Tables within lists are sorted, since the reader keeps no order.
fn ordered(value: &Value) -> String {
    match &value.kind {
        ValueKind::Array(items) => {
            let items: Vec<_> = items.iter().map(ordered).collect();
            format!("{items:?}")
        }
        ValueKind::Table(inner) => {
            let inner: BTreeMap<_, _> = inner
                .iter()
                .map(|(key, value)| (key, ordered(value)))
                .collect();
            format!("{inner:?}")
        }
        _ => value.to_string(),
    }
}

fn collect(tree: &Map<String, Value>, file: &str, path: &mut Vec<String>, leaves: &mut Leaves) {
    for (key, value) in tree {
        path.push(key.clone());
        if let ValueKind::Table(inner) = &value.kind {
            collect(inner, file, path, leaves);
        } else {
            let shown = match SECRETS.contains(&key.as_str()) {
                true => "\"...\"".to_owned(),
                false => literal(value),
            };
            let source = value
                .origin()
                .unwrap_or(file)
                .replace(char::is_control, " ");
            leaves.insert(path.clone(), (shown, source));
        }
        path.pop();
    }
}

/// A value as TOML; the password of a URL is left out.
fn literal(value: &Value) -> String {
    match &value.kind {
        ValueKind::Array(items) => {
            let items: Vec<_> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::String(own) => text(&without_password(own)),
        other => other.to_string(),
    }
}

fn without_password(value: &str) -> String {
    let hidden = value.split_once("://").and_then(|(scheme, rest)| {
        let (login, host) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:...@{host}"))
    });
    hidden.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests;
