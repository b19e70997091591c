//! The short string: up to 255 bytes, of any kind.

use std::{borrow::Borrow, fmt, hash, ops};

use bytes::Bytes;

use super::Payload;

/// A string of at most 255 bytes, which need not be UTF-8.
///
/// Up to [`ShortStr::INLINE_LEN`] bytes are in the value itself. Names and keys seldom have more, and copying
/// them costs less than counting references. A longer one that was decoded is a slice of a read buffer, and
/// keeps all of that buffer in memory. Use [`ShortStr::detached`] for text that is kept longer than its
/// command.
#[derive(Clone)]
pub struct ShortStr(Repr);

#[derive(Clone)]
enum Repr {
    Inline {
        len: u8,
        bytes: [u8; ShortStr::INLINE_LEN],
    },
    Shared(Bytes),
}

impl ShortStr {
    /// The longest there is.
    pub const MAX_LEN: usize = 255;

    /// The longest that needs no allocation, enough for the names that the server makes up.
    pub const INLINE_LEN: usize = 38;

    /// The empty string.
    pub const EMPTY: Self = Self(Repr::Inline {
        len: 0,
        bytes: [0; Self::INLINE_LEN],
    });

    /// A literal.
    ///
    /// # Panics
    /// When it is longer than 255 bytes: at compile time in a constant.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        assert!(
            text.len() <= Self::MAX_LEN,
            "a short string has at most 255 bytes"
        );
        Self(Repr::Shared(Bytes::from_static(text.as_bytes())))
    }

    /// A copy of `bytes`, or nothing when they are too many.
    #[must_use]
    pub fn copied(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= Self::MAX_LEN).then(|| Self::copied_or(bytes, Bytes::copy_from_slice))
    }

    /// A copy of `text`, cut at the last character that fits.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let end = char_boundary(text, Self::MAX_LEN);
        Self::copied_or(&text.as_bytes()[..end], Bytes::copy_from_slice)
    }

    /// The same bytes, which keep no buffer alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::copied_or(self, Bytes::copy_from_slice)
    }

    /// Its memory beyond the value itself.
    #[must_use]
    pub fn allocated(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Shared(bytes) => crate::broker::memory::allocated(bytes.len()),
        }
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// Its text, when it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self).ok()
    }

    /// Its bytes, shared where they are shared already.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Repr::Inline { .. } => Bytes::copy_from_slice(&self),
            Repr::Shared(bytes) => bytes,
        }
    }

    /// Its length as a byte on the wire.
    pub(super) fn wire_len(&self) -> u8 {
        u8::try_from(self.len()).unwrap_or(u8::MAX)
    }

    /// The first `len` bytes of `payload`, which has that many.
    #[inline]
    pub(super) fn from_wire(len: u8, payload: Payload<'_>) -> Self {
        // One move of a fixed size, when there is so much to read: what is behind the text does
        // not matter.
        if let (true, Some(bytes)) = (usize::from(len) <= Self::INLINE_LEN, payload.window()) {
            return Self(Repr::Inline { len, bytes: *bytes });
        }
        let bytes = payload.get(..len.into()).unwrap_or_default();
        Self::copied_or(bytes, |bytes| payload.part(bytes.len()).unwrap_or_default())
    }

    /// `bytes`, whose length came from one octet: copied when they are few, otherwise what
    /// `shared` makes of them.
    #[inline]
    pub(super) fn copied_or(bytes: &[u8], shared: impl FnOnce(&[u8]) -> Bytes) -> Self {
        debug_assert!(
            bytes.len() <= Self::MAX_LEN,
            "the length came from one octet"
        );
        let mut inline = [0; Self::INLINE_LEN];
        let Some(place) = inline.get_mut(..bytes.len()) else {
            return Self(Repr::Shared(shared(bytes)));
        };
        place.copy_from_slice(bytes);
        let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        Self(Repr::Inline { len, bytes: inline })
    }
}

/// The last end of a character that is not beyond `max`.
pub(super) fn char_boundary(text: &str, max: usize) -> usize {
    (0..=max.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

/// A string was too long for a short string.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a short string of {0} bytes is longer than 255")]
pub struct TooLong(pub usize);

impl TryFrom<Bytes> for ShortStr {
    type Error = TooLong;

    fn try_from(bytes: Bytes) -> Result<Self, TooLong> {
        if bytes.len() > Self::MAX_LEN {
            return Err(TooLong(bytes.len()));
        }
        Ok(Self::copied_or(&bytes, |_| bytes.clone()))
    }
}

impl Default for ShortStr {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl TryFrom<&str> for ShortStr {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        Self::copied(text.as_bytes()).ok_or(TooLong(text.len()))
    }
}

impl TryFrom<String> for ShortStr {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        Self::try_from(Bytes::from(text))
    }
}

impl ops::Deref for ShortStr {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for ShortStr {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for ShortStr {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for ShortStr {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ShortStr {}

impl PartialEq<str> for ShortStr {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for ShortStr {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<[u8]> for ShortStr {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_bytes() == other
    }
}

impl PartialOrd for ShortStr {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortStr {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// As its bytes, so that a map keyed by short strings is searched with a slice.
impl hash::Hash for ShortStr {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for ShortStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ShortStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests;
