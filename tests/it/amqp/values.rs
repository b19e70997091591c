//! Field tables: every type tag RabbitMQ knows, in the order of the wire, as bytes and as text.
//! A value's text is its tag and then the value: `l5`, `Sword`, `t1`, `V`, `A[l1,Sx]`, `F{a=l1}`.

use super::text::{Cursor, quote};

/// A table keeps the order and the duplicates of the wire.
pub(super) type Table = Vec<(Vec<u8>, Value)>;

/// A field value together with its tag.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// b B s u I i l L and T, in as many octets as the tag says.
    Integer(u8, i64),
    /// f or d, as the bits came.
    Bits(u8, u64),
    Boolean(bool),
    Decimal(u8, u32),
    /// S or x.
    Octets(u8, Vec<u8>),
    Array(Vec<Self>),
    Nested(Table),
    Void,
}

/// How many octets a fixed-size tag takes.
fn width(tag: u8) -> usize {
    match tag {
        b'b' | b'B' | b't' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        _ => 8,
    }
}

/// Cuts pieces off a buffer; `None` where it ends too early.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(size)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn number(&mut self, size: usize) -> Option<u64> {
        Some(
            self.take(size)?
                .iter()
                .fold(0, |sum, octet| sum << 8 | u64::from(*octet)),
        )
    }

    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let size = self.number(1)?;
        self.take(usize::try_from(size).ok()?)
    }

    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let size = self.number(4)?;
        self.take(usize::try_from(size).ok()?)
    }

    pub(super) fn table(&mut self) -> Option<Table> {
        let mut inside = Reader(self.long()?);
        let mut table = Table::new();
        while !inside.0.is_empty() {
            let key = inside.short()?.to_vec();
            table.push((key, inside.value()?));
        }
        Some(table)
    }

    fn value(&mut self) -> Option<Value> {
        let tag = self.take(1)?[0];
        Some(match tag {
            b't' => Value::Boolean(self.number(1)? != 0),
            b'b' | b'B' | b's' | b'u' | b'I' | b'i' | b'l' | b'L' | b'T' => {
                let raw = self.number(width(tag))?;
                let shift = 64 - 8 * width(tag);
                let signed = (raw << shift).cast_signed() >> shift;
                let unsigned = matches!(tag, b'B' | b'u' | b'i' | b'T');
                Value::Integer(tag, if unsigned { raw.cast_signed() } else { signed })
            }
            b'f' | b'd' => Value::Bits(tag, self.number(width(tag))?),
            b'D' => Value::Decimal(self.take(1)?[0], u32::try_from(self.number(4)?).ok()?),
            b'S' | b'x' => Value::Octets(tag, self.long()?.to_vec()),
            b'A' => {
                let mut inside = Reader(self.long()?);
                let mut array = Vec::new();
                while !inside.0.is_empty() {
                    array.push(inside.value()?);
                }
                Value::Array(array)
            }
            b'F' => Value::Nested(self.table()?),
            b'V' => Value::Void,
            _ => return None,
        })
    }
}

/// The last `size` octets of a number, highest first.
pub(super) fn put_number(out: &mut Vec<u8>, number: u64, size: usize) {
    out.extend_from_slice(&number.to_be_bytes()[8 - size..]);
}

pub(super) fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    put_number(out, text.len() as u64, 1);
    out.extend_from_slice(text);
}

pub(super) fn put_long(out: &mut Vec<u8>, octets: &[u8]) {
    put_number(out, octets.len() as u64, 4);
    out.extend_from_slice(octets);
}

pub(super) fn put_table(out: &mut Vec<u8>, table: &Table) {
    let mut inside = Vec::new();
    for (key, value) in table {
        put_short(&mut inside, key);
        put_value(&mut inside, value);
    }
    put_long(out, &inside);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Integer(tag, number) => {
            out.push(*tag);
            put_number(out, number.cast_unsigned(), width(*tag));
        }
        Value::Bits(tag, bits) => {
            out.push(*tag);
            put_number(out, *bits, width(*tag));
        }
        Value::Boolean(truth) => out.extend_from_slice(&[b't', u8::from(*truth)]),
        Value::Decimal(scale, number) => {
            out.extend_from_slice(&[b'D', *scale]);
            put_number(out, u64::from(*number), 4);
        }
        Value::Octets(tag, octets) => {
            out.push(*tag);
            put_long(out, octets);
        }
        Value::Array(array) => {
            let mut inside = Vec::new();
            array.iter().for_each(|value| put_value(&mut inside, value));
            out.push(b'A');
            put_long(out, &inside);
        }
        Value::Nested(table) => {
            out.push(b'F');
            put_table(out, table);
        }
        Value::Void => out.push(b'V'),
    }
}

/// `{key=value,…}`
pub(super) fn read_table(cursor: &mut Cursor<'_>) -> Table {
    let mut table = Table::new();
    cursor.expect('{');
    while !cursor.eat('}') {
        let key = cursor.key();
        cursor.expect('=');
        table.push((key, read_value(cursor)));
        cursor.eat(',');
    }
    table
}

fn read_value(cursor: &mut Cursor<'_>) -> Value {
    let tag = cursor.any();
    match tag {
        't' => Value::Boolean(cursor.number() != 0),
        'f' => Value::Bits(
            b'f',
            u64::from(cursor.word_text().parse::<f32>().unwrap().to_bits()),
        ),
        'd' => Value::Bits(b'd', cursor.word_text().parse::<f64>().unwrap().to_bits()),
        'D' => {
            let scale = u8::try_from(cursor.number()).unwrap();
            cursor.expect(':');
            Value::Decimal(scale, u32::try_from(cursor.number()).unwrap())
        }
        'S' | 'x' => Value::Octets(u8::try_from(tag).unwrap(), cursor.word()),
        'A' => {
            let mut array = Vec::new();
            cursor.expect('[');
            while !cursor.eat(']') {
                array.push(read_value(cursor));
                cursor.eat(',');
            }
            Value::Array(array)
        }
        'F' => Value::Nested(read_table(cursor)),
        'V' => Value::Void,
        _ => Value::Integer(u8::try_from(tag).unwrap(), cursor.number()),
    }
}

/// A dead-lettered message's headers are a map to everybody who reads them: in the order of their keys.
pub(super) fn write_table(out: &mut String, table: &Table) {
    let mut table: Vec<_> = table.iter().collect();
    if table
        .iter()
        .any(|(key, _)| key == b"x-death" || key == b"routing-keys")
    {
        table.sort_by(|one, other| one.0.cmp(&other.0));
    }
    out.push('{');
    for (index, (key, value)) in table.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&quote(key));
        out.push('=');
        write_value(out, value);
    }
    out.push('}');
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the bits of an f32 were read from 4 octets"
)]
fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Integer(tag, number) => out.push_str(&format!("{}{number}", char::from(*tag))),
        Value::Bits(b'f', bits) => out.push_str(&format!("f{}", f32::from_bits(*bits as u32))),
        Value::Bits(_, bits) => out.push_str(&format!("d{}", f64::from_bits(*bits))),
        Value::Boolean(truth) => out.push_str(if *truth { "t1" } else { "t0" }),
        Value::Decimal(scale, number) => out.push_str(&format!("D{scale}:{number}")),
        Value::Octets(tag, octets) => {
            out.push_str(&format!("{}{}", char::from(*tag), quote(octets)));
        }
        Value::Array(array) => {
            out.push_str("A[");
            for (index, value) in array.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, value);
            }
            out.push(']');
        }
        Value::Nested(table) => {
            out.push('F');
            write_table(out, table);
        }
        Value::Void => out.push('V'),
    }
}
