//! Secrets of tokens, and the digests that are kept of them.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How a token begins, so that it is recognised where it should not be.
const PREFIX: &str = "mst_";
const BYTES: usize = 32;

/// A token's secret; `Debug` does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct TokenSecret(Box<str>);

impl TokenSecret {
    /// 32 random bytes.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        Self::begins_with(PREFIX)
    }

    pub(super) fn begins_with(prefix: &str) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{prefix}{}", hex(&bytes)).into()))
    }

    /// A secret that an operator chose: 16 to 512 visible ASCII characters; none for another text.
    pub fn given(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_usable =
            (16..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        is_usable.then(|| Self(text.into()))
    }

    /// Whether it is the beginning of one that musterd made.
    pub(super) fn is_cut(&self) -> bool {
        self.0.starts_with(PREFIX) && self.0.len() < PREFIX.len() + 2 * BYTES
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// The SHA-256 of a secret. Comparisons take the same time whatever differs.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; BYTES]);

impl TokenDigest {
    /// The digest of what a caller presents.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().as_bytes();
        let mut bytes = [0; BYTES];
        if text.len() != 2 * BYTES {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).ok()?;
            // A sign is no digit.
            let is_hex = pair.iter().all(u8::is_ascii_hexdigit);
            *byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        }
        Some(Self(bytes))
    }

    /// As hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Its beginning, to find candidates by.
    pub(super) fn slot(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{TokenDigest, TokenSecret};

    #[test]
    fn a_secret_is_random_and_not_shown() {
        let (one, two) = (
            TokenSecret::random().unwrap(),
            TokenSecret::random().unwrap(),
        );
        assert_ne!(one, two);
        assert!(one.expose().starts_with("mst_") && one.expose().len() == 68);
        let shown = format!("{one:?} {:?}", TokenDigest::of(one.expose()));
        assert!(!shown.contains(&one.expose()[4..20]), "{shown}");
    }

    #[test]
    fn a_digest_is_the_sha_256_and_is_read_as_it_was_written() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenDigest::of("abc").to_hex(), known);
        assert_eq!(TokenDigest::parse(known), Some(TokenDigest::of("abc")));
        assert_eq!(
            TokenDigest::parse(&known.to_uppercase()),
            Some(TokenDigest::of("abc"))
        );
        assert_ne!(TokenDigest::of("abc"), TokenDigest::of("abd"));
        for wrong in [
            "",
            &known[1..],
            &known.replace('b', "g"),
            &known.replacen("ba", "+a", 1),
        ] {
            assert_eq!(TokenDigest::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_given_secret_is_long_enough_and_fits_into_a_header() {
        for (text, usable) in [
            ("0123456789abcdef", true),
            (" 0123456789abcdef\n", true),
            ("0123456789abcde", false),
            ("0123456789 abcdef", false),
            ("0123456789abcd\u{fc}ef", false),
            ("", false),
        ] {
            assert_eq!(TokenSecret::given(text).is_some(), usable, "{text}");
        }
        assert!(TokenSecret::given(&"x".repeat(513)).is_none());
    }
}
