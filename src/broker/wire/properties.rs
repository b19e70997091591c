//! A message's properties: kept as the bytes that came, checked once, read where they lie.
//!
//! A property that must change (a dead letter's headers, a reply address) is replaced. The rest of the block
//! stays byte for byte as the publisher wrote it.

mod list;

use std::{fmt, ops::Range};

use bytes::{BufMut, Bytes, BytesMut};

pub use self::list::PropertyList;
use super::{MethodId, ShortStr, Table, TableRef, WireError, wire_len};

/// How a property is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Layout {
    Octet,
    Long,
    Short,
    Table,
}

/// One property: its place in the list is its place in [`Field::ALL`], its flag counts down from
/// the highest bit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    ContentType,
    ContentEncoding,
    Headers,
    DeliveryMode,
    Priority,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Timestamp,
    Kind,
    UserId,
    AppId,
    ClusterId,
}

impl Field {
    const ALL: [Self; 14] = [
        Self::ContentType,
        Self::ContentEncoding,
        Self::Headers,
        Self::DeliveryMode,
        Self::Priority,
        Self::CorrelationId,
        Self::ReplyTo,
        Self::Expiration,
        Self::MessageId,
        Self::Timestamp,
        Self::Kind,
        Self::UserId,
        Self::AppId,
        Self::ClusterId,
    ];

    const fn flag(self) -> u16 {
        1 << (15 - self as u16)
    }

    const fn layout(self) -> Layout {
        match self {
            Self::Headers => Layout::Table,
            Self::DeliveryMode | Self::Priority => Layout::Octet,
            Self::Timestamp => Layout::Long,
            _ => Layout::Short,
        }
    }
}

/// Flag bits without a property: more flags to follow, which clients do not send, and one that
/// is unused.
const RESERVED_FLAGS: u16 = 0b11;
const FLAGS_LEN: usize = 2;

/// The properties of a message: flags and list exactly as they came.
#[derive(Clone, Eq, PartialEq)]
pub struct Properties {
    raw: Bytes,
}

impl Default for Properties {
    fn default() -> Self {
        Self::NONE
    }
}

impl Properties {
    /// No property at all.
    pub const NONE: Self = Self {
        raw: Bytes::from_static(&[0, 0]),
    };

    /// Checks flags and list, so that no getter can fail later.
    ///
    /// # Errors
    /// When the list is shorter or longer than its flags say, or the headers are malformed.
    pub fn decode(raw: Bytes) -> Result<Self, WireError> {
        let flags = flags(&raw).ok_or(WireError::Properties("the flags are missing"))?;
        if flags & RESERVED_FLAGS != 0 {
            return Err(WireError::Properties("a reserved flag is set"));
        }
        let mut at = FLAGS_LEN;
        for field in Field::ALL {
            if flags & field.flag() == 0 {
                continue;
            }
            let end = field_end(&raw, at, field.layout()).ok_or(WireError::Properties(
                "the list ends in the middle of a property",
            ))?;
            if field == Field::Headers {
                let method = MethodId::BASIC_PUBLISH;
                Table::decode(raw.slice(at + 4..end))
                    .map_err(|error| WireError::Table { method, error })?;
            }
            at = end;
        }
        if at != raw.len() {
            return Err(WireError::Properties(
                "the list is longer than its flags say",
            ));
        }
        Ok(Self { raw })
    }

    /// Flags and list as they are on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The same properties in a separate allocation.
    #[must_use]
    pub fn detached(&self) -> Self {
        if *self == Self::NONE {
            return Self::NONE;
        }
        Self {
            raw: Bytes::copy_from_slice(&self.raw),
        }
    }

    /// Every property taken apart.
    #[must_use]
    pub fn to_list(&self) -> PropertyList {
        PropertyList::read(self)
    }

    /// MIME type.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        self.short(Field::ContentType)
    }

    /// MIME encoding.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&[u8]> {
        self.short(Field::ContentEncoding)
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> Option<TableRef<'_>> {
        self.value(Field::Headers)
            .and_then(|bytes| bytes.get(4..))
            .map(TableRef::new)
    }

    /// The headers as a separate table, which shares the bytes.
    #[must_use]
    pub fn headers_table(&self) -> Option<Table> {
        let headers = self.headers()?;
        Some(Table::from_checked(self.raw.slice_ref(headers.as_bytes())))
    }

    /// 1 for transient, 2 for persistent; there is no other.
    #[must_use]
    pub fn delivery_mode(&self) -> Option<u8> {
        self.octet(Field::DeliveryMode)
    }

    /// Whether it shall survive the broker.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode() == Some(2)
    }

    /// Priority in a priority queue.
    #[must_use]
    pub fn priority(&self) -> Option<u8> {
        self.octet(Field::Priority)
    }

    /// The correlation id of a request and its reply.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&[u8]> {
        self.short(Field::CorrelationId)
    }

    /// Where a reply goes.
    #[must_use]
    pub fn reply_to(&self) -> Option<&[u8]> {
        self.short(Field::ReplyTo)
    }

    /// Milliseconds to live, as digits.
    #[must_use]
    pub fn expiration(&self) -> Option<&[u8]> {
        self.short(Field::Expiration)
    }

    /// The publisher's name for the message.
    #[must_use]
    pub fn message_id(&self) -> Option<&[u8]> {
        self.short(Field::MessageId)
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> Option<u64> {
        self.value(Field::Timestamp)?
            .first_chunk()
            .copied()
            .map(u64::from_be_bytes)
    }

    /// The property called `type`.
    #[must_use]
    pub fn kind(&self) -> Option<&[u8]> {
        self.short(Field::Kind)
    }

    /// The publisher's user name, checked against the login.
    #[must_use]
    pub fn user_id(&self) -> Option<&[u8]> {
        self.short(Field::UserId)
    }

    /// The program that published it.
    #[must_use]
    pub fn app_id(&self) -> Option<&[u8]> {
        self.short(Field::AppId)
    }

    /// Unused; kept from AMQP 0-9.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&[u8]> {
        self.short(Field::ClusterId)
    }

    /// The same with these headers.
    #[must_use]
    pub fn with_headers(&self, headers: &Table) -> Self {
        let mut value = BytesMut::with_capacity(4 + headers.as_bytes().len());
        value.put_u32(wire_len(headers.as_bytes().len()));
        value.put_slice(headers.as_bytes());
        self.replaced(Field::Headers, &value)
    }

    /// The same without headers.
    #[must_use]
    pub fn without_headers(&self) -> Self {
        self.removed(Field::Headers)
    }

    /// The same with this reply address.
    #[must_use]
    pub fn with_reply_to(&self, reply_to: &ShortStr) -> Self {
        let mut value = [0; 1 + ShortStr::MAX_LEN];
        value[0] = reply_to.wire_len();
        value[1..=reply_to.len()].copy_from_slice(reply_to);
        self.replaced(Field::ReplyTo, &value[..=reply_to.len()])
    }

    /// The same without a time to live.
    #[must_use]
    pub fn without_expiration(&self) -> Self {
        self.removed(Field::Expiration)
    }

    fn octet(&self, field: Field) -> Option<u8> {
        self.value(field)?.first().copied()
    }

    fn short(&self, field: Field) -> Option<&[u8]> {
        self.value(field)?.get(1..)
    }

    /// A property as it is on the wire.
    fn value(&self, field: Field) -> Option<&[u8]> {
        if self.flags() & field.flag() == 0 {
            return None;
        }
        self.raw.get(self.place(field))
    }

    fn flags(&self) -> u16 {
        flags(&self.raw).unwrap_or(0)
    }

    /// Where a property is, or would be when it is not there.
    fn place(&self, field: Field) -> Range<usize> {
        let flags = self.flags();
        let mut at = FLAGS_LEN;
        for earlier in Field::ALL {
            let present = flags & earlier.flag() != 0;
            let end = match present {
                true => field_end(&self.raw, at, earlier.layout()).unwrap_or(self.raw.len()),
                false => at,
            };
            if earlier == field {
                return at..end;
            }
            at = end;
        }
        at..at
    }

    fn replaced(&self, field: Field, value: &[u8]) -> Self {
        self.spliced(field, self.flags() | field.flag(), value)
    }

    fn removed(&self, field: Field) -> Self {
        if self.flags() & field.flag() == 0 {
            return self.clone();
        }
        self.spliced(field, self.flags() & !field.flag(), &[])
    }

    fn spliced(&self, field: Field, flags: u16, value: &[u8]) -> Self {
        let place = self.place(field);
        let len = self.raw.len() - place.len() + value.len();
        let mut raw = BytesMut::with_capacity(len);
        raw.put_u16(flags);
        raw.put_slice(&self.raw[FLAGS_LEN..place.start]);
        raw.put_slice(value);
        raw.put_slice(&self.raw[place.end..]);
        Self { raw: raw.freeze() }
    }
}

fn flags(raw: &[u8]) -> Option<u16> {
    raw.first_chunk().copied().map(u16::from_be_bytes)
}

/// Where a property that starts at `at` ends, if it is all there.
fn field_end(raw: &[u8], at: usize, layout: Layout) -> Option<usize> {
    let rest = raw.get(at..)?;
    let len = match layout {
        Layout::Octet => 1,
        Layout::Long => 8,
        Layout::Short => 1 + usize::from(*rest.first()?),
        Layout::Table => {
            let len = u32::from_be_bytes(*rest.first_chunk()?);
            usize::try_from(len).ok()?.checked_add(4)?
        }
    };
    (len <= rest.len()).then(|| at + len)
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_list().fmt(f)
    }
}

#[cfg(test)]
mod tests;
