//! Numbers and texts as bytes.

use std::{sync::Arc, time::Duration};

/// Bytes that cannot be read as what they should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("its bytes cannot be read")]
pub(in crate::registry) struct InvalidRecord;

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
pub(super) struct ByteReader<'a> {
    rest: &'a [u8],
    /// Whether instances have owners in it.
    pub(super) has_owners: bool,
}

impl<'a> ByteReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            has_owners: false,
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, InvalidRecord> {
        let (first, rest) = self.rest.split_first().ok_or(InvalidRecord)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn flag(&mut self) -> Result<bool, InvalidRecord> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(InvalidRecord),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, InvalidRecord> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits.checked_shl(shift).ok_or(InvalidRecord)?;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(InvalidRecord)
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, InvalidRecord> {
        T::try_from(self.number()?).map_err(|_| InvalidRecord)
    }

    pub(super) fn text(&mut self) -> Result<&str, InvalidRecord> {
        let len: usize = self.small()?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(InvalidRecord)?;
        self.rest = rest;
        str::from_utf8(text).map_err(|_| InvalidRecord)
    }

    pub(super) fn boxed(&mut self) -> Result<Box<str>, InvalidRecord> {
        Ok(self.text()?.into())
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<Box<str>>, InvalidRecord> {
        match self.flag()? {
            true => Ok(Some(self.boxed()?)),
            false => Ok(None),
        }
    }

    pub(super) fn reason(&mut self) -> Result<Option<Arc<str>>, InvalidRecord> {
        Ok(self.optional_text()?.map(Arc::from))
    }

    pub(super) fn duration(&mut self) -> Result<Duration, InvalidRecord> {
        let (seconds, nanos) = (self.number()?, self.small::<u32>()?);
        let whole = nanos < 1_000_000_000;
        whole
            .then(|| Duration::new(seconds, nanos))
            .ok_or(InvalidRecord)
    }

    pub(super) fn index<T: Copy>(&mut self, all: &[T]) -> Result<T, InvalidRecord> {
        let at = usize::from(self.byte()?);
        all.get(at).copied().ok_or(InvalidRecord)
    }

    /// As many values as the number before them says.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, InvalidRecord>,
    ) -> Result<Box<[T]>, InvalidRecord> {
        let n: usize = self.small()?;
        // Each takes a byte at least, so that a wrong number allocates nothing.
        if n > self.rest.len() {
            return Err(InvalidRecord);
        }
        (0..n).map(|_| read(self)).collect()
    }
}
