//! Properties as single values, to build new ones.

use bytes::{BufMut, BytesMut};

use super::{Field, Properties, ShortStr, Table, wire_len};

/// Every property by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PropertyList {
    /// MIME type.
    pub content_type: Option<ShortStr>,
    /// MIME encoding.
    pub content_encoding: Option<ShortStr>,
    /// The headers.
    pub headers: Option<Table>,
    /// 1 for transient, 2 for persistent.
    pub delivery_mode: Option<u8>,
    /// Priority in a priority queue.
    pub priority: Option<u8>,
    /// The correlation id of a request and its reply.
    pub correlation_id: Option<ShortStr>,
    /// Where a reply goes.
    pub reply_to: Option<ShortStr>,
    /// Milliseconds to live, as digits.
    pub expiration: Option<ShortStr>,
    /// The publisher's name for the message.
    pub message_id: Option<ShortStr>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The property called `type`.
    pub kind: Option<ShortStr>,
    /// The publisher's user name.
    pub user_id: Option<ShortStr>,
    /// The program that published it.
    pub app_id: Option<ShortStr>,
    /// Unused; kept from AMQP 0-9.
    pub cluster_id: Option<ShortStr>,
}

impl PropertyList {
    pub(super) fn read(from: &Properties) -> Self {
        let short = |value: Option<&[u8]>| value.map(|bytes| share(from, bytes));
        Self {
            content_type: short(from.content_type()),
            content_encoding: short(from.content_encoding()),
            headers: from.headers_table(),
            delivery_mode: from.delivery_mode(),
            priority: from.priority(),
            correlation_id: short(from.correlation_id()),
            reply_to: short(from.reply_to()),
            expiration: short(from.expiration()),
            message_id: short(from.message_id()),
            timestamp: from.timestamp(),
            kind: short(from.kind()),
            user_id: short(from.user_id()),
            app_id: short(from.app_id()),
            cluster_id: short(from.cluster_id()),
        }
    }

    /// Flags and list in one block.
    #[must_use]
    pub fn build(&self) -> Properties {
        let mut to = PropertyWriter {
            flags: 0,
            list: BytesMut::new(),
        };
        to.list.put_u16(0);
        to.short(Field::ContentType, self.content_type.as_ref());
        to.short(Field::ContentEncoding, self.content_encoding.as_ref());
        to.table(Field::Headers, self.headers.as_ref());
        to.octet(Field::DeliveryMode, self.delivery_mode);
        to.octet(Field::Priority, self.priority);
        to.short(Field::CorrelationId, self.correlation_id.as_ref());
        to.short(Field::ReplyTo, self.reply_to.as_ref());
        to.short(Field::Expiration, self.expiration.as_ref());
        to.short(Field::MessageId, self.message_id.as_ref());
        to.long(Field::Timestamp, self.timestamp);
        to.short(Field::Kind, self.kind.as_ref());
        to.short(Field::UserId, self.user_id.as_ref());
        to.short(Field::AppId, self.app_id.as_ref());
        to.short(Field::ClusterId, self.cluster_id.as_ref());
        to.finish()
    }
}

fn share(properties: &Properties, bytes: &[u8]) -> ShortStr {
    ShortStr::copied_or(bytes, |bytes| properties.raw.slice_ref(bytes))
}

struct PropertyWriter {
    flags: u16,
    list: BytesMut,
}

impl PropertyWriter {
    fn short(&mut self, field: Field, value: Option<&ShortStr>) {
        let Some(value) = value else { return };
        self.flags |= field.flag();
        self.list.put_u8(value.wire_len());
        self.list.put_slice(value);
    }

    fn octet(&mut self, field: Field, value: Option<u8>) {
        let Some(value) = value else { return };
        self.flags |= field.flag();
        self.list.put_u8(value);
    }

    fn long(&mut self, field: Field, value: Option<u64>) {
        let Some(value) = value else { return };
        self.flags |= field.flag();
        self.list.put_u64(value);
    }

    fn table(&mut self, field: Field, value: Option<&Table>) {
        let Some(value) = value else { return };
        self.flags |= field.flag();
        self.list.put_u32(wire_len(value.as_bytes().len()));
        self.list.put_slice(value.as_bytes());
    }

    fn finish(mut self) -> Properties {
        self.list[..super::FLAGS_LEN].copy_from_slice(&self.flags.to_be_bytes());
        Properties {
            raw: self.list.freeze(),
        }
    }
}
