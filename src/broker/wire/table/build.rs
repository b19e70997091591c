//! Writing fields, in the order given.

use bytes::{BufMut, BytesMut};

use super::{ArrayRef, Table, ValueRef};
use crate::broker::wire::wire_len;

/// Writes a table field by field; duplicates stay.
#[derive(Debug, Default)]
pub struct TableBuilder(BytesMut);

impl TableBuilder {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field. A name is cut at 255 bytes, the most a field's name can have.
    pub fn put(&mut self, name: impl AsRef<[u8]>, value: ValueRef<'_>) -> &mut Self {
        put_name(&mut self.0, name.as_ref());
        put_value(&mut self.0, value);
        self
    }

    /// Appends a string.
    pub fn put_str(&mut self, name: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> &mut Self {
        self.put(name, ValueRef::Str(text.as_ref()))
    }

    /// Appends a bool.
    pub fn put_bool(&mut self, name: impl AsRef<[u8]>, value: bool) -> &mut Self {
        self.put(name, ValueRef::Bool(value))
    }

    /// Appends a 64-bit number, tag `l`.
    pub fn put_long(&mut self, name: impl AsRef<[u8]>, value: i64) -> &mut Self {
        self.put(name, ValueRef::I64(value))
    }

    /// Appends a nested table.
    pub fn put_table(&mut self, name: impl AsRef<[u8]>, table: &Table) -> &mut Self {
        self.put(name, ValueRef::Table(table.view()))
    }

    /// Appends an array.
    pub fn put_array(&mut self, name: impl AsRef<[u8]>, array: &ArrayBuilder) -> &mut Self {
        self.put(name, ValueRef::Array(array.view()))
    }

    /// The length of its fields so far, in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "nothing asks whether it is empty"
    )]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The table.
    #[must_use]
    pub fn build(self) -> Table {
        Table::from_checked(self.0.freeze())
    }
}

/// Writes an array value by value.
#[derive(Debug, Default)]
pub struct ArrayBuilder(BytesMut);

impl ArrayBuilder {
    /// An empty array.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a value.
    pub fn push(&mut self, value: ValueRef<'_>) -> &mut Self {
        put_value(&mut self.0, value);
        self
    }

    /// The fields appended so far.
    #[must_use]
    pub fn view(&self) -> ArrayRef<'_> {
        ArrayRef::new(&self.0)
    }

    /// Whether nothing was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn put_name(out: &mut BytesMut, name: &[u8]) {
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    out.put_u8(len);
    out.put_slice(&name[..len.into()]);
}

fn put_long(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(wire_len(bytes.len()));
    out.put_slice(bytes);
}

fn put_value(out: &mut BytesMut, value: ValueRef<'_>) {
    out.put_u8(tag(value));
    match value {
        ValueRef::Bool(value) => out.put_u8(value.into()),
        ValueRef::I8(value) => out.put_i8(value),
        ValueRef::U8(value) => out.put_u8(value),
        ValueRef::I16(value) => out.put_i16(value),
        ValueRef::U16(value) => out.put_u16(value),
        ValueRef::I32(value) => out.put_i32(value),
        ValueRef::U32(value) => out.put_u32(value),
        ValueRef::I64(value) => out.put_i64(value),
        ValueRef::F32(value) => out.put_f32(value),
        ValueRef::F64(value) => out.put_f64(value),
        ValueRef::Decimal { scale, value } => {
            out.put_u8(scale);
            out.put_u32(value);
        }
        ValueRef::Str(bytes) | ValueRef::Bytes(bytes) => put_long(out, bytes),
        ValueRef::Array(array) => put_long(out, array.as_bytes()),
        ValueRef::Table(table) => put_long(out, table.as_bytes()),
        ValueRef::Timestamp(seconds) => out.put_u64(seconds),
        ValueRef::Void => (),
    }
}

fn tag(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Bool(_) => b't',
        ValueRef::I8(_) => b'b',
        ValueRef::U8(_) => b'B',
        ValueRef::I16(_) => b's',
        ValueRef::U16(_) => b'u',
        ValueRef::I32(_) => b'I',
        ValueRef::U32(_) => b'i',
        ValueRef::I64(_) => b'l',
        ValueRef::F32(_) => b'f',
        ValueRef::F64(_) => b'd',
        ValueRef::Decimal { .. } => b'D',
        ValueRef::Str(_) => b'S',
        ValueRef::Bytes(_) => b'x',
        ValueRef::Array(_) => b'A',
        ValueRef::Table(_) => b'F',
        ValueRef::Timestamp(_) => b'T',
        ValueRef::Void => b'V',
    }
}
