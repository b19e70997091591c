//! Numbers and texts as bytes.

use std::{sync::Arc, time::Duration};

/// Bytes that cannot be read as what they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("its bytes cannot be read")]
pub(in crate::registry) struct Unreadable;

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put_number(out, duration.as_secs());
    put_number(out, duration.subsec_nanos().into());
}

/// 0 for none, else 1 and what `put` writes.
pub(super) fn put_option<T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    put: impl FnOnce(&mut Vec<u8>, T),
) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

pub(super) fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    put_option(out, text, put_text);
}

/// The place of a value among all of its kind.
pub(super) fn put_index<T: PartialEq>(out: &mut Vec<u8>, all: &[T], value: &T) {
    let at = all.iter().position(|one| one == value);
    out.push(at.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX));
}

/// Reads what was put, in the same order.
#[derive(Debug)]
pub(super) struct ByteReader<'a>(pub(super) &'a [u8]);

impl ByteReader<'_> {
    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let (first, rest) = self.0.split_first().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Unreadable> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits.checked_shl(shift).ok_or(Unreadable)?;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable)
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Unreadable> {
        T::try_from(self.number()?).map_err(|_| Unreadable)
    }

    pub(super) fn text(&mut self) -> Result<&str, Unreadable> {
        let len: usize = self.small()?;
        let (text, rest) = self.0.split_at_checked(len).ok_or(Unreadable)?;
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Unreadable)
    }

    pub(super) fn boxed(&mut self) -> Result<Box<str>, Unreadable> {
        Ok(self.text()?.into())
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<Box<str>>, Unreadable> {
        match self.flag()? {
            true => Ok(Some(self.boxed()?)),
            false => Ok(None),
        }
    }

    pub(super) fn reason(&mut self) -> Result<Option<Arc<str>>, Unreadable> {
        Ok(self.optional_text()?.map(Arc::from))
    }

    pub(super) fn duration(&mut self) -> Result<Duration, Unreadable> {
        let (seconds, nanos) = (self.number()?, self.small::<u32>()?);
        let whole = nanos < 1_000_000_000;
        whole
            .then(|| Duration::new(seconds, nanos))
            .ok_or(Unreadable)
    }

    pub(super) fn index<T: Copy>(&mut self, all: &[T]) -> Result<T, Unreadable> {
        let at = usize::from(self.byte()?);
        all.get(at).copied().ok_or(Unreadable)
    }

    /// As many values as the number before them says.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Box<[T]>, Unreadable> {
        let n: usize = self.small()?;
        // Each takes a byte at least, so that a wrong number allocates nothing.
        if n > self.0.len() {
            return Err(Unreadable);
        }
        (0..n).map(|_| read(self)).collect()
    }
}
