//! The arguments of `queue.declare`, parsed and checked.

use crate::broker::{
    arguments::check_same_argument,
    exception::Exception,
    wire::{ShortStr, Table, ValueRef},
};

/// The longest time to live of a message or an unused queue: ten years, in ms.
pub const LIFE_MS_MAX: u64 = 315_360_000_000;
/// The default delivery limit of a quorum queue.
const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// The argument with the queue type.
const KIND: &str = "x-queue-type";
/// The arguments that a second declaration of a classic queue must repeat, in RabbitMQ's order; the last one is none of
/// RabbitMQ's. `x-consumer-timeout` is not among them, so that workers can be rolled out with another one.
const COMPARED_CLASSIC: [&str; 14] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    KIND,
    "x-queue-master-locator",
    "x-delivery-limit",
];
/// The same of a quorum queue.
const COMPARED_QUORUM: [&str; 15] = [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    KIND,
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
];

/// Arguments of quorum queues and streams that RabbitMQ 3.10 refuses on a classic queue. It refuses
/// `x-delivery-limit` too, which is taken here.
const NOT_CLASSIC: [&[u8]; 8] = [
    b"x-max-age",
    b"x-max-in-memory-length",
    b"x-max-in-memory-bytes",
    b"x-quorum-initial-group-size",
    b"x-initial-cluster-size",
    b"x-queue-leader-locator",
    b"x-dead-letter-strategy",
    b"x-stream-max-segment-size-bytes",
];
/// Those that it refuses on a quorum queue.
const NOT_QUORUM: [&[u8]; 7] = [
    b"x-max-priority",
    b"x-queue-mode",
    b"x-queue-version",
    b"x-queue-master-locator",
    b"x-max-age",
    b"x-initial-cluster-size",
    b"x-stream-max-segment-size-bytes",
];

/// A queue type.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum QueueKind {
    /// The usual one.
    #[default]
    Classic,
    /// Counts deliveries and drops messages beyond the delivery limit; its quorum is this one node.
    Quorum,
}

impl QueueKind {
    /// The value of `x-queue-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    /// As RabbitMQ calls it when it refuses an argument.
    pub fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
        }
    }
}

/// The behaviour of a full queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Overflow {
    /// Drops its oldest message.
    #[default]
    DropHead,
    /// Refuses the new message.
    RejectPublish,
    /// Refuses the new message and dead-letters it.
    RejectPublishDlx,
}

/// A queue's behaviour.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `x-queue-type`
    pub kind: QueueKind,
    /// `x-message-ttl`, ms
    pub message_ttl: Option<u64>,
    /// `x-expires`, ms
    pub expires: Option<u64>,
    /// `x-max-length`
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`
    pub max_length_bytes: Option<u64>,
    /// `x-max-priority`; 0: no priorities
    pub max_priority: u8,
    /// `x-overflow`
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`
    pub dead_letter_exchange: Option<ShortStr>,
    /// `x-dead-letter-routing-key`
    pub dead_letter_routing_key: Option<ShortStr>,
    /// `x-single-active-consumer`
    pub single_active_consumer: bool,
    /// `x-delivery-limit`
    pub delivery_limit: Option<u32>,
    /// `x-consumer-timeout`, ms; 0: none
    pub consumer_timeout: Option<u64>,
}

/// Other properties of a declaration, for the checks that depend on them.
#[derive(Clone, Copy, Debug)]
pub struct Properties {
    /// durable
    pub durable: bool,
    /// exclusive
    pub exclusive: bool,
    /// auto-delete
    pub auto_delete: bool,
}

/// Reads the arguments of the queue that `resource` names.
pub fn parse(
    arguments: &Table,
    properties: Properties,
    resource: &str,
) -> Result<Settings, Exception> {
    let from = Reader {
        arguments,
        resource,
    };
    // Errors are reported in RabbitMQ's order.
    let dead_letter_exchange = from.dead_letter_exchange()?;
    let kind = from.kind()?;
    let mut settings = Settings {
        kind,
        dead_letter_exchange,
        expires: from.expires()?,
        message_ttl: from.span_ms("x-message-ttl")?,
        dead_letter_routing_key: from.dead_letter_routing_key()?,
        max_length: from.unsigned("x-max-length")?,
        max_length_bytes: from.unsigned("x-max-length-bytes")?,
        max_priority: match kind {
            QueueKind::Classic => from.max_priority()?,
            QueueKind::Quorum => 0,
        },
        overflow: from.overflow()?,
        delivery_limit: from.delivery_limit(kind),
        ..Settings::default()
    };
    match kind {
        QueueKind::Classic => from.check_accepted()?,
        QueueKind::Quorum => from.check_accepted_by_quorum()?,
    }
    settings.single_active_consumer = from.bool("x-single-active-consumer")?;
    settings.consumer_timeout = from.unsigned("x-consumer-timeout")?;
    match kind {
        QueueKind::Classic => from.check_supported(&NOT_CLASSIC, kind)?,
        QueueKind::Quorum => from.check_quorum(properties)?,
    }
    Ok(settings)
}

/// Refuses a second declaration with other arguments.
pub fn check_same(
    kind: QueueKind,
    current: &Table,
    received: &Table,
    resource: &str,
) -> Result<(), Exception> {
    if current == received {
        return Ok(());
    }
    let compared: &[&str] = match kind {
        QueueKind::Classic => &COMPARED_CLASSIC,
        QueueKind::Quorum => &COMPARED_QUORUM,
    };
    let both_classic = is_classic(current) && is_classic(received);
    compared
        .iter()
        .filter(|key| **key != KIND || !both_classic)
        .try_for_each(|key| check_same_argument(key, current, received, resource))
}

/// Whether these arguments ask for a classic queue, which those without a type do too.
fn is_classic(arguments: &Table) -> bool {
    matches!(
        arguments.field(KIND.as_bytes()),
        None | Some(ValueRef::Str(b"classic"))
    )
}

/// 406 for an argument that queues of this type do not support.
pub fn unsupported(name: &[u8], resource: &str, kind: QueueKind) -> Exception {
    Exception::precondition(format!(
        "invalid arg '{}' for {resource} of queue type {}",
        String::from_utf8_lossy(name),
        kind.module()
    ))
}

struct Reader<'a> {
    arguments: &'a Table,
    resource: &'a str,
}

impl Reader<'_> {
    fn value(&self, key: &str) -> Option<ValueRef<'_>> {
        self.arguments.field(key.as_bytes())
    }

    fn invalid(&self, key: &str, why: impl std::fmt::Display) -> Exception {
        Exception::precondition(format!("invalid arg '{key}' for {}: {why}", self.resource))
    }

    fn unacceptable(&self, key: &str, value: ValueRef<'_>) -> Exception {
        self.invalid(
            key,
            format_args!("{{unacceptable_type,{}}}", value.type_name()),
        )
    }

    /// A number of any width and sign.
    fn integer(&self, key: &str) -> Result<Option<i64>, Exception> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Some(number) = value.as_integer() else {
            let why = format!("\"expected integer, got {}\"", value.type_name());
            return Err(self.invalid(key, why));
        };
        Ok(Some(number))
    }

    fn unsigned(&self, key: &str) -> Result<Option<u64>, Exception> {
        let Some(number) = self.integer(key)? else {
            return Ok(None);
        };
        match u64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.invalid(key, format_args!("{{value_negative,{number}}}"))),
        }
    }

    /// A time that is not beyond [`LIFE_MS_MAX`].
    fn span_ms(&self, key: &str) -> Result<Option<u64>, Exception> {
        let span_ms = self.unsigned(key)?;
        match span_ms {
            Some(ms) if ms > LIFE_MS_MAX => {
                Err(self.invalid(key, format_args!("{{value_too_large,{ms}}}")))
            }
            _ => Ok(span_ms),
        }
    }

    fn expires(&self) -> Result<Option<u64>, Exception> {
        let expires = self.span_ms("x-expires")?;
        if expires == Some(0) {
            return Err(self.invalid("x-expires", "{value_zero,0}"));
        }
        Ok(expires)
    }

    fn max_priority(&self) -> Result<u8, Exception> {
        let Some(number) = self.unsigned("x-max-priority")? else {
            return Ok(0);
        };
        u8::try_from(number).map_err(|_| {
            self.invalid(
                "x-max-priority",
                format_args!("{{max_value_exceeded,{number}}}"),
            )
        })
    }

    /// Like RabbitMQ: what is no number is as good as nothing, a negative one is no limit.
    fn delivery_limit(&self, kind: QueueKind) -> Option<u32> {
        let limit = self.value("x-delivery-limit");
        match limit.and_then(ValueRef::as_integer) {
            Some(limit) => u32::try_from(limit).ok(),
            None if kind == QueueKind::Quorum => Some(QUORUM_DELIVERY_LIMIT),
            None => None,
        }
    }

    fn bool(&self, key: &str) -> Result<bool, Exception> {
        match self.value(key) {
            None => Ok(false),
            Some(ValueRef::Bool(value)) => Ok(value),
            Some(other) => Err(self.unacceptable(key, other)),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&[u8]>, Exception> {
        match self.value(key) {
            None => Ok(None),
            Some(ValueRef::Str(text)) => Ok(Some(text)),
            Some(other) => Err(self.unacceptable(key, other)),
        }
    }

    fn overflow(&self) -> Result<Overflow, Exception> {
        match self.text("x-overflow")? {
            None | Some(b"drop-head") => Ok(Overflow::DropHead),
            Some(b"reject-publish") => Ok(Overflow::RejectPublish),
            Some(b"reject-publish-dlx") => Ok(Overflow::RejectPublishDlx),
            Some(_) => Err(self.invalid("x-overflow", "invalid_overflow")),
        }
    }

    fn kind(&self) -> Result<QueueKind, Exception> {
        match self.value(KIND) {
            None | Some(ValueRef::Str(b"classic")) => Ok(QueueKind::Classic),
            Some(ValueRef::Str(b"quorum")) => Ok(QueueKind::Quorum),
            Some(ValueRef::Str(b"stream")) => Err(Exception::precondition(format!(
                "invalid arg 'x-queue-type' for {}: queue type 'stream' is not supported",
                self.resource
            ))),
            Some(ValueRef::Str(other)) => Err(Exception::precondition(format!(
                "invalid arg 'x-queue-type' for {}: \"unsupported queue type '{}'\"",
                self.resource,
                String::from_utf8_lossy(other)
            ))),
            Some(other) => Err(self.unacceptable(KIND, other)),
        }
    }

    fn check_quorum(&self, properties: Properties) -> Result<(), Exception> {
        self.check_supported(&NOT_QUORUM, QueueKind::Quorum)?;
        let refused = [
            (properties.auto_delete, "auto-delete"),
            (properties.exclusive, "exclusive-owner"),
            (!properties.durable, "non-durable"),
        ];
        if let Some((_, property)) = refused.iter().find(|(refused, _)| *refused) {
            let text = format!("invalid property '{property}' for {}", self.resource);
            return Err(Exception::precondition(text));
        }
        Ok(())
    }

    fn check_supported(&self, refused: &[&[u8]], kind: QueueKind) -> Result<(), Exception> {
        let mut names = self.arguments.iter().map(|(name, _)| name);
        match names.find(|name| refused.contains(name)) {
            Some(name) => Err(unsupported(name, self.resource, kind)),
            None => Ok(()),
        }
    }

    fn dead_letter_exchange(&self) -> Result<Option<ShortStr>, Exception> {
        let key = "x-dead-letter-exchange";
        match self.value(key) {
            None => Ok(None),
            Some(ValueRef::Str(text)) => self.short(key, text).map(Some),
            Some(other) => Err(Exception::precondition(format!(
                "invalid type '{}' for arg '{key}' in {}",
                other.type_name(),
                self.resource
            ))),
        }
    }

    fn dead_letter_routing_key(&self) -> Result<Option<ShortStr>, Exception> {
        let key = "x-dead-letter-routing-key";
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        if self.value("x-dead-letter-exchange").is_none() {
            return Err(self.invalid(key, "routing_key_but_no_dlx_defined"));
        }
        self.short(key, text).map(Some)
    }

    fn short(&self, key: &str, text: &[u8]) -> Result<ShortStr, Exception> {
        ShortStr::copied(text)
            .ok_or_else(|| self.invalid(key, format_args!("longer than {}", ShortStr::MAX_LEN)))
    }

    /// The same for a quorum queue.
    fn check_accepted_by_quorum(&self) -> Result<(), Exception> {
        match self.text("x-dead-letter-strategy")? {
            None | Some(b"at-most-once" | b"at-least-once") => {}
            Some(_) => return Err(self.invalid("x-dead-letter-strategy", "invalid_dlx_strategy")),
        }
        self.unsigned("x-max-in-memory-length")?;
        self.unsigned("x-max-in-memory-bytes")?;
        if self.unsigned("x-quorum-initial-group-size")? == Some(0) {
            return Err(self.invalid("x-quorum-initial-group-size", "{value_zero,0}"));
        }
        match self.text("x-queue-leader-locator")? {
            None | Some(b"client-local" | b"random" | b"least-leaders" | b"balanced") => Ok(()),
            Some(_) => Err(self.invalid("x-queue-leader-locator", "invalid_queue_locator_arg")),
        }
    }

    /// Arguments that are accepted and change nothing here must still be well-formed.
    fn check_accepted(&self) -> Result<(), Exception> {
        match self.text("x-queue-mode")? {
            None | Some(b"default" | b"lazy") => {}
            Some(other) => {
                let mode = String::from_utf8_lossy(other);
                let why = format!("\"unsupported queue mode '{mode}'\"");
                return Err(self.invalid("x-queue-mode", why));
            }
        }
        match self.integer("x-queue-version")? {
            None | Some(1 | 2) => Ok(()),
            Some(other) => {
                let why = format!("\"unsupported queue version '{other}'\"");
                Err(self.invalid("x-queue-version", why))
            }
        }
    }
}
