//! The signature of a delivery, which proves to the receiver who sent it and when.

use std::fmt::{self, Write as _};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The key shared with one receiver. Never shown.
#[derive(Clone)]
pub(super) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    pub(super) fn new(secret: &str) -> Option<Self> {
        Hmac::new_from_slice(secret.as_bytes()).ok().map(Self)
    }

    /// `sha256=` and, in lower-case hex, the HMAC-SHA256 (RFC 2104) of
    /// `<x-musterd-delivery>.<x-musterd-timestamp>.<body>`. It covers the delivery's id and the time, so that
    /// an old body can't be sent again as a new one.
    pub(super) fn sign(&self, delivery: &str, timestamp_s: &str, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        for part in [
            delivery.as_bytes(),
            b".",
            timestamp_s.as_bytes(),
            b".",
            body,
        ] {
            mac.update(part);
        }
        let mut text = String::with_capacity(71);
        text.push_str("sha256=");
        for byte in mac.finalize().into_bytes() {
            // Writing to a string can't fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests;
