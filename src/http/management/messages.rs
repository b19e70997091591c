//! Single messages: published, and taken from a queue to be looked at.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    answer::{ManagementAnswer, ManagementRefusal, ok},
    ask::{Ask, required, short, text},
    exchanges::named,
    queues::known,
};
use crate::broker::{
    definitions::table_of_json,
    local::{AfterGet, LocalError, LocalPublish, ReceivedMessage},
    server::OperationRefused,
    vhost::json_table,
    wire::{Properties, ShortStr, method::basic, properties::PropertyList},
};

/// The most messages of one request.
const COUNT_MAX: u64 = 10_000;
/// No further message is taken once the bodies have so many bytes.
const BYTES_MAX: usize = 64 << 20;

/// `POST /api/exchanges/{vhost}/{name}/publish`
pub(super) async fn publish(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    let fields = ask.object()?;
    required(
        &fields,
        &["properties", "routing_key", "payload", "payload_encoding"],
    )?;
    let payload = text(&fields, "payload")?.unwrap_or_default();
    let body = match text(&fields, "payload_encoding")? {
        Some("base64") => STANDARD
            .decode(payload)
            .map_err(|_| ManagementRefusal::bad("\"payload\" is not valid base64"))?,
        Some("string") => payload.as_bytes().to_vec(),
        other => {
            let other = other.unwrap_or_default();
            let reason = format!("unsupported payload encoding \"{other}\": string or base64");
            return Err(ManagementRefusal::bad(reason));
        }
    };
    let message = LocalPublish {
        exchange: short(named(ask.later_name(1)))?,
        routing_key: short(text(&fields, "routing_key")?.unwrap_or_default())?,
        properties: properties(fields.get("properties"))?,
        body: Bytes::from(body),
    };
    let broker = ask.state.broker();
    let routed = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.publish_unless_blocked(message).await
    });
    match routed.await {
        Ok(routed) => ok(&json!({"routed": routed})),
        // RabbitMQ answers so when there is no such exchange.
        Err(OperationRefused::Refused(LocalError::Closed { code: 404, text })) => {
            Err(ManagementRefusal::bad(text))
        }
        Err(refused) => Err(refused.into()),
    }
}

fn properties(value: Option<&Value>) -> Result<Properties, ManagementRefusal> {
    let empty = Map::new();
    let fields = match value {
        Some(Value::Object(fields)) => fields,
        Some(Value::Array(items)) if items.is_empty() => &empty,
        _ => return Err(ManagementRefusal::bad("\"properties\" must be an object")),
    };
    let name = |key: &str| -> Result<Option<ShortStr>, ManagementRefusal> {
        match fields.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(value)) => short(value).map(Some),
            Some(Value::Number(value)) => short(&value.to_string()).map(Some),
            Some(_) => Err(ManagementRefusal::bad(format!(
                "property \"{key}\" must be text"
            ))),
        }
    };
    let number = |key: &str| -> Result<Option<u64>, ManagementRefusal> {
        match fields.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                ManagementRefusal::bad(format!("property \"{key}\" must be a number"))
            }),
        }
    };
    let small = |key: &str| -> Result<Option<u8>, ManagementRefusal> {
        let number = number(key)?;
        let small = number.map(u8::try_from).transpose();
        small.map_err(|_| ManagementRefusal::bad(format!("property \"{key}\" is above 255")))
    };
    let headers = match fields.get("headers") {
        None | Some(Value::Null) => None,
        Some(Value::Object(headers)) => Some(
            table_of_json(headers)
                .map_err(|why| ManagementRefusal::bad(format!("\"headers\" {why}")))?,
        ),
        Some(Value::Array(items)) if items.is_empty() => None,
        Some(_) => return Err(ManagementRefusal::bad("\"headers\" must be an object")),
    };
    let list = PropertyList {
        content_type: name("content_type")?,
        content_encoding: name("content_encoding")?,
        headers,
        delivery_mode: small("delivery_mode")?,
        priority: small("priority")?,
        correlation_id: name("correlation_id")?,
        reply_to: name("reply_to")?,
        expiration: name("expiration")?,
        message_id: name("message_id")?,
        timestamp: number("timestamp")?,
        kind: name("type")?,
        user_id: name("user_id")?,
        app_id: name("app_id")?,
        cluster_id: name("cluster_id")?,
    };
    Ok(list.build())
}

/// `POST /api/queues/{vhost}/{name}/get`
pub(super) async fn get(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    known(&ask, vhost).await?;
    let fields = ask.object()?;
    required(&fields, &["count", "ackmode", "encoding"])?;
    let number = |key: &str| match fields.get(key) {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(digits)) => digits.parse().ok(),
        _ => None,
    };
    let count = number("count").filter(|count| *count <= COUNT_MAX);
    let count = count.and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or_else(|| {
        ManagementRefusal::bad(format!("\"count\" must be a number of at most {COUNT_MAX}"))
    })?;
    let after = match text(&fields, "ackmode")? {
        Some("ack_requeue_false") => AfterGet::Ack,
        Some("reject_requeue_false") => AfterGet::Reject,
        Some("ack_requeue_true" | "reject_requeue_true") => AfterGet::Requeue,
        _ => {
            let reason = "\"ackmode\" must be ack_requeue_true, ack_requeue_false, reject_requeue_true or \
                          reject_requeue_false";
            return Err(ManagementRefusal::bad(reason));
        }
    };
    let is_base64 = match text(&fields, "encoding")? {
        Some("base64") => true,
        Some("auto") => false,
        _ => {
            return Err(ManagementRefusal::bad(
                "\"encoding\" must be auto or base64",
            ));
        }
    };
    let truncate = number("truncate").and_then(|bytes| usize::try_from(bytes).ok());
    let queue = short(ask.later_name(1))?;
    let broker = ask.state.broker();
    let got = broker.operate(&ask.user, vhost, async move |mut channel| {
        channel.get_some(&queue, count, BYTES_MAX, after).await
    });
    let got = got.await?;
    let shown = got
        .iter()
        .map(|(head, message)| shown(head, message, is_base64, truncate));
    ok(&shown.collect::<Value>())
}

fn shown(
    head: &basic::GetOk,
    message: &ReceivedMessage,
    is_base64: bool,
    truncate: Option<usize>,
) -> Value {
    let body = &message.body;
    let part = &body[..truncate.unwrap_or(usize::MAX).min(body.len())];
    let (payload, encoding) = match std::str::from_utf8(part) {
        Ok(payload) if !is_base64 => (payload.to_owned(), "string"),
        _ => (STANDARD.encode(part), "base64"),
    };
    json!({
        "payload_bytes": body.len(),
        "redelivered": head.redelivered,
        "exchange": head.exchange.to_string(),
        "routing_key": head.routing_key.to_string(),
        "message_count": head.message_count,
        "properties": shown_properties(&message.properties),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// Those that the message has; an empty list if it has none, as in RabbitMQ.
fn shown_properties(properties: &Properties) -> Value {
    let list = properties.to_list();
    let mut shown = Map::new();
    let texts = [
        ("content_type", &list.content_type),
        ("content_encoding", &list.content_encoding),
        ("correlation_id", &list.correlation_id),
        ("reply_to", &list.reply_to),
        ("expiration", &list.expiration),
        ("message_id", &list.message_id),
        ("type", &list.kind),
        ("user_id", &list.user_id),
        ("app_id", &list.app_id),
        ("cluster_id", &list.cluster_id),
    ];
    for (name, value) in texts {
        shown.extend(
            value
                .as_ref()
                .map(|value| (name.to_owned(), value.to_string().into())),
        );
    }
    let numbers = [
        ("delivery_mode", list.delivery_mode.map(u64::from)),
        ("priority", list.priority.map(u64::from)),
        ("timestamp", list.timestamp),
    ];
    for (name, value) in numbers {
        shown.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    if let Some(headers) = &list.headers {
        shown.insert("headers".to_owned(), json_table(headers));
    }
    match shown.is_empty() {
        true => json!([]),
        false => Value::Object(shown),
    }
}
