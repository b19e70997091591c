//! A token that was made at run time, as it is stored: one line for each fact.

use super::{TokenDigest, is_name};
use crate::model::Timestamp;

/// The first line of a row.
const VERSION: &str = "token 1";

/// A row that can't be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stored token \"{0}\" can't be read: it is damaged, or a later version wrote it")]
pub struct InvalidTokenRow(pub String);

/// A token as it is stored; of secrets only the digests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenRecord {
    /// Its name, which is the key of its row.
    pub name: Box<str>,
    /// The names of its policies.
    pub policies: Box<[Box<str>]>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was last used, as far as that is stored.
    pub used: Option<Timestamp>,
    /// Its secrets, newest first, each with its end.
    pub secrets: Vec<(TokenDigest, Option<Timestamp>)>,
}

impl TokenRecord {
    /// Its row.
    pub fn encode(&self) -> Vec<u8> {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.0.to_string());
        let mut lines = vec![
            VERSION.to_owned(),
            format!("policies {}", self.policies.join(",")),
            format!("created {}", self.created.0),
            format!("expires {}", time(self.expires)),
            format!("used {}", time(self.used)),
        ];
        let secrets = self.secrets.iter();
        lines.extend(
            secrets.map(|(digest, until)| format!("secret {} {}", digest.to_hex(), time(*until))),
        );
        lines.join("\n").into_bytes()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// It is not one of this version.
    pub fn read(key: &[u8], row: &[u8]) -> Result<Self, InvalidTokenRow> {
        let shown = || InvalidTokenRow(String::from_utf8_lossy(key).into_owned());
        let name = std::str::from_utf8(key).ok().filter(|name| is_name(name));
        let read = name.and_then(|name| read(name, std::str::from_utf8(row).ok()?));
        read.ok_or_else(shown)
    }
}

fn read(name: &str, row: &str) -> Option<TokenRecord> {
    let mut lines = row.lines();
    let mut next = |word: &str| lines.next()?.strip_prefix(word);
    if !next(VERSION)?.is_empty() {
        return None;
    }
    let policies = next("policies ")?.split(',');
    let mut record = TokenRecord {
        name: name.into(),
        policies: policies
            .filter(|one| !one.is_empty())
            .map(Into::into)
            .collect(),
        created: Timestamp(next("created ")?.parse().ok()?),
        expires: time(next("expires ")?)?,
        used: time(next("used ")?)?,
        secrets: Vec::new(),
    };
    for line in lines {
        let (digest, until) = line.strip_prefix("secret ")?.split_once(' ')?;
        let digest = TokenDigest::parse(digest)?;
        record.secrets.push((digest, time(until)?));
    }
    Some(record)
}

/// The outer none is for what can't be read.
fn time(text: &str) -> Option<Option<Timestamp>> {
    match text {
        "-" => Some(None),
        text => text.parse().ok().map(|at| Some(Timestamp(at))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mut record = TokenRecord {
            name: "ci.web-1_a".into(),
            policies: ["reader".into(), "web".into()].into(),
            created: Timestamp(1_700_000_000_123),
            expires: None,
            used: None,
            secrets: vec![(TokenDigest::of("a"), None)],
        };
        let key = record.name.clone();
        let read = |record: &TokenRecord| TokenRecord::read(key.as_bytes(), &record.encode());
        assert_eq!(read(&record), Ok(record.clone()));
        record.expires = Some(Timestamp(5));
        record.used = Some(Timestamp(-1));
        record
            .secrets
            .push((TokenDigest::of("b"), Some(Timestamp(9))));
        record.policies = Box::default();
        assert_eq!(read(&record), Ok(record.clone()));
        let text = String::from_utf8(record.encode()).unwrap();
        for wrong in [
            "",
            "token 2",
            &text.replace("token 1", "token 11"),
            &text.replace("created 1", "created x"),
            &text.replace("secret ", "secret"),
            &format!("{text}\nmore"),
        ] {
            assert!(
                TokenRecord::read(b"a", wrong.as_bytes()).is_err(),
                "{wrong}"
            );
        }
        assert!(TokenRecord::read(b"a b", &record.encode()).is_err());
    }
}
