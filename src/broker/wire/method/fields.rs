//! The arguments of methods: how each kind of argument is read and written.

use bytes::{BufMut, Bytes, BytesMut};

use crate::broker::wire::{Payload, ShortStr, Table, table::TableError, wire_len};

/// Why arguments could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Malformed {
    /// They end too early or too late.
    Length,
    /// A short string in them is not UTF-8.
    Text,
    /// A field table in them is malformed.
    Table(TableError),
}

/// Something that can be an argument.
pub(super) trait Argument: Sized {
    /// Takes it from the front.
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed>;
    /// Appends it.
    fn write(&self, to: &mut FieldWriter<'_>);
}

/// Takes arguments from a method's payload.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: Payload<'a>,
    /// The octet of which bits are being taken, and the next bit; bit 0 takes a new octet.
    bits: (u8, u8),
    /// Whether short strings must be UTF-8.
    is_text: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(arguments: Payload<'a>, is_text: bool) -> Self {
        Self {
            is_text,
            rest: arguments,
            bits: (0, 0),
        }
    }

    #[inline]
    pub(super) fn field<A: Argument>(&mut self) -> Result<A, Malformed> {
        A::read(self)
    }

    /// All was taken.
    pub(super) fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Length)
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bits.1 = 0;
        let octets = *self.rest.first_chunk().ok_or(Malformed::Length)?;
        self.skip(N)?;
        Ok(octets)
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<(), Malformed> {
        self.rest = self.rest.skip(len).ok_or(Malformed::Length)?;
        Ok(())
    }

    #[inline]
    fn short(&mut self) -> Result<ShortStr, Malformed> {
        let [len] = self.array()?;
        let text = self.rest;
        self.skip(len.into())?;
        let text = ShortStr::from_wire(len, text);
        if self.is_text && text.as_str().is_none() {
            return Err(Malformed::Text);
        }
        Ok(text)
    }

    #[inline]
    fn long(&mut self) -> Result<Bytes, Malformed> {
        let len = usize::try_from(u32::from_be_bytes(self.array()?));
        let len = len.map_err(|_| Malformed::Length)?;
        let taken = self.rest.part(len).ok_or(Malformed::Length)?;
        self.skip(len)?;
        Ok(taken)
    }

    #[inline]
    fn bit(&mut self) -> Result<bool, Malformed> {
        let (octet, bit) = match self.bits {
            (_, 0 | 8) => (self.array::<1>()?[0], 0),
            taken => taken,
        };
        self.bits = (octet, bit + 1);
        Ok(octet >> bit & 1 == 1)
    }
}

/// Appends arguments to a frame.
#[derive(Debug)]
pub(super) struct FieldWriter<'a> {
    out: &'a mut BytesMut,
    /// The next bit of the last octet; bit 0 appends a new octet.
    bit: u8,
}

impl<'a> FieldWriter<'a> {
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        Self { out, bit: 0 }
    }

    #[inline]
    pub(super) fn field<A: Argument>(&mut self, argument: &A) {
        argument.write(self);
    }

    #[inline]
    fn octets(&mut self, octets: &[u8]) {
        self.bit = 0;
        self.out.put_slice(octets);
    }

    #[inline]
    fn put_bit(&mut self, value: bool) {
        if matches!(self.bit, 0 | 8) {
            self.octets(&[0]);
        }
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(value) << self.bit;
        }
        self.bit += 1;
    }
}

impl Argument for u8 {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.array().map(Self::from_be_bytes)
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.octets(&self.to_be_bytes());
    }
}

impl Argument for u16 {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.array().map(Self::from_be_bytes)
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.octets(&self.to_be_bytes());
    }
}

impl Argument for u32 {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.array().map(Self::from_be_bytes)
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.octets(&self.to_be_bytes());
    }
}

impl Argument for u64 {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.array().map(Self::from_be_bytes)
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.octets(&self.to_be_bytes());
    }
}

impl Argument for bool {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.bit()
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.put_bit(*self);
    }
}

impl Argument for ShortStr {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.short()
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.octets(&[self.wire_len()]);
        to.octets(self);
    }
}

/// A long string.
impl Argument for Bytes {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.long()
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.octets(&wire_len(self.len()).to_be_bytes());
        to.octets(self);
    }
}

impl Argument for Table {
    #[inline]
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::decode(from.long()?).map_err(Malformed::Table)
    }

    #[inline]
    fn write(&self, to: &mut FieldWriter<'_>) {
        to.octets(&wire_len(self.as_bytes().len()).to_be_bytes());
        to.octets(self.as_bytes());
    }
}
