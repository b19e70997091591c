//! Reading fields in place.

use std::fmt;

use super::{MAX_DEPTH, Table, TableError};

/// One value of a table or array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`, and `L` which RabbitMQ reads alike
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`
    Decimal {
        /// How many digits are behind the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// `S`, which need not be UTF-8
    Str(&'a [u8]),
    /// `x`
    Bytes(&'a [u8]),
    /// `A`
    Array(ArrayRef<'a>),
    /// `F`
    Table(TableRef<'a>),
    /// `T`, in seconds since 1970
    Timestamp(u64),
    /// `V`
    Void,
}

impl<'a> ValueRef<'a> {
    /// The number in any of the integer types.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Self::I8(n) => Some(n.into()),
            Self::U8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            _ => None,
        }
    }

    /// The bytes of a string.
    #[must_use]
    pub fn as_str_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Str(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The value of a bool.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The array.
    #[must_use]
    pub fn as_array(self) -> Option<ArrayRef<'a>> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// The table.
    #[must_use]
    pub fn as_table(self) -> Option<TableRef<'a>> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// RabbitMQ's name of its type, in the texts of its exceptions.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::Str(_) => "longstr",
            Self::Bytes(_) => "binary",
            Self::Array(_) => "array",
            Self::Table(_) => "table",
            Self::Timestamp(_) => "timestamp",
            Self::Void => "void",
        }
    }
}

/// A table inside checked bytes.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct TableRef<'a>(&'a [u8]);

impl<'a> TableRef<'a> {
    /// `raw` must have been checked or built.
    pub(in crate::broker::wire) fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// Its fields as they are on the wire, without the length before them.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its fields in order.
    #[must_use]
    pub fn iter(self) -> TableIter<'a> {
        TableIter(Input(self.0))
    }

    /// Its fields from this offset in bytes on, at which one of them begins.
    #[must_use]
    pub fn iter_from(self, offset: usize) -> TableIter<'a> {
        TableIter(Input(self.0.get(offset..).unwrap_or_default()))
    }

    /// The first field of this name.
    #[must_use]
    pub fn field(self, name: &[u8]) -> Option<ValueRef<'a>> {
        self.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_table(self) -> Table {
        Table::from_checked(bytes::Bytes::copy_from_slice(self.0))
    }
}

impl<'a> IntoIterator for TableRef<'a> {
    type Item = (&'a [u8], ValueRef<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for TableRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self
            .iter()
            .map(|(key, value)| (String::from_utf8_lossy(key), value));
        f.debug_map().entries(fields).finish()
    }
}

/// An array inside checked bytes.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct ArrayRef<'a>(&'a [u8]);

impl<'a> ArrayRef<'a> {
    /// `raw` must have been checked or built.
    pub(super) fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// Its values as they are on the wire, without the length before them.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its values in order.
    #[must_use]
    pub fn iter(self) -> ArrayIter<'a> {
        ArrayIter(Input(self.0))
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for ArrayRef<'a> {
    type Item = ValueRef<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for ArrayRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The fields of a table.
#[derive(Clone, Debug)]
pub struct TableIter<'a>(Input<'a>);

impl TableIter<'_> {
    /// The length of the fields that are left, in bytes.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.0.len()
    }
}

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a [u8], ValueRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let key = self.0.short().ok()?;
        let value = self.0.value().ok()?;
        Some((key, value))
    }
}

/// The values of an array.
#[derive(Clone, Debug)]
pub struct ArrayIter<'a>(Input<'a>);

impl<'a> Iterator for ArrayIter<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.value().ok()
    }
}

/// Checks every field of a table, nested ones too.
pub(super) fn check_table(raw: &[u8]) -> Result<(), TableError> {
    check_fields(Input(raw), MAX_DEPTH)
}

fn check_fields(mut input: Input<'_>, depth: usize) -> Result<(), TableError> {
    let depth = depth.checked_sub(1).ok_or(TableError::TooDeep)?;
    while !input.is_empty() {
        input.short()?;
        check_value(input.value()?, depth)?;
    }
    Ok(())
}

fn check_values(mut input: Input<'_>, depth: usize) -> Result<(), TableError> {
    let depth = depth.checked_sub(1).ok_or(TableError::TooDeep)?;
    while !input.is_empty() {
        check_value(input.value()?, depth)?;
    }
    Ok(())
}

fn check_value(value: ValueRef<'_>, depth: usize) -> Result<(), TableError> {
    match value {
        ValueRef::Table(table) => check_fields(Input(table.0), depth),
        ValueRef::Array(array) => check_values(Input(array.0), depth),
        _ => Ok(()),
    }
}

/// The bytes that are still to be read.
#[derive(Clone, Debug)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TableError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(TableError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], TableError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(TableError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn short(&mut self) -> Result<&'a [u8], TableError> {
        let [len] = self.array()?;
        self.slice(len.into())
    }

    fn long(&mut self) -> Result<&'a [u8], TableError> {
        let len = u32::from_be_bytes(self.array()?);
        self.slice(usize::try_from(len).map_err(|_| TableError::Truncated)?)
    }

    fn value(&mut self) -> Result<ValueRef<'a>, TableError> {
        let [tag] = self.array()?;
        Ok(match tag {
            b't' => ValueRef::Bool(self.array::<1>()? != [0]),
            b'b' => ValueRef::I8(i8::from_be_bytes(self.array()?)),
            b'B' => ValueRef::U8(u8::from_be_bytes(self.array()?)),
            b's' => ValueRef::I16(i16::from_be_bytes(self.array()?)),
            b'u' => ValueRef::U16(u16::from_be_bytes(self.array()?)),
            b'I' => ValueRef::I32(i32::from_be_bytes(self.array()?)),
            b'i' => ValueRef::U32(u32::from_be_bytes(self.array()?)),
            b'l' | b'L' => ValueRef::I64(i64::from_be_bytes(self.array()?)),
            b'f' => ValueRef::F32(f32::from_be_bytes(self.array()?)),
            b'd' => ValueRef::F64(f64::from_be_bytes(self.array()?)),
            b'D' => {
                let [scale] = self.array()?;
                ValueRef::Decimal {
                    scale,
                    value: u32::from_be_bytes(self.array()?),
                }
            }
            b'S' => ValueRef::Str(self.long()?),
            b'x' => ValueRef::Bytes(self.long()?),
            b'A' => ValueRef::Array(ArrayRef(self.long()?)),
            b'F' => ValueRef::Table(TableRef(self.long()?)),
            b'T' => ValueRef::Timestamp(u64::from_be_bytes(self.array()?)),
            b'V' => ValueRef::Void,
            unknown => return Err(TableError::UnknownTag(unknown)),
        })
    }
}
