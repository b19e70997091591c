//! A message that an operator publishes over HTTP.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{problem::Problem, read, warnings::Warnings};

/// The longest name of AMQP, in bytes.
const SHORT_BYTES_MAX: usize = 255;
/// The most headers of a message.
const HEADERS_MAX: usize = 64;
/// The longest value of a header, in bytes.
const HEADER_BYTES_MAX: usize = 4096;

/// A message and where it is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishDraft {
    /// The virtual host.
    pub vhost: Box<str>,
    /// The exchange; "" is the default one.
    pub exchange: Box<str>,
    /// The routing key.
    pub routing_key: Box<str>,
    /// The body.
    pub payload: Vec<u8>,
    /// The content type.
    pub content_type: Option<Box<str>>,
    /// The publisher's name for the message.
    pub message_id: Option<Box<str>>,
    /// The correlation id.
    pub correlation_id: Option<Box<str>>,
    /// Where a reply goes.
    pub reply_to: Option<Box<str>>,
    /// Whether a durable queue stores it.
    pub persistent: bool,
    /// Headers, as text.
    pub headers: Vec<PublishHeader>,
}

/// The name and the value of a header.
pub type PublishHeader = (Box<str>, Box<str>);

impl PublishDraft {
    /// Reads the body of a request, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        read::request(body, &[], |fields| {
            let vhost = fields.optional("vhost", short);
            let exchange = fields.optional("exchange", short);
            let routing_key = fields.optional("routing_key", short);
            let encodings = [("string", false), ("base64", true)];
            let is_base64 = fields.optional("payload_encoding", |v| read::word(v, &encodings));
            let payload = fields.required("payload", |value| {
                let text = read::text(value)?;
                match is_base64 {
                    Some(true) => (STANDARD.decode(text.trim()))
                        .map_err(|error| format!("is not base64: {error}")),
                    _ => Ok(text.as_bytes().to_vec()),
                }
            });
            let content_type = fields.optional("content_type", short);
            let message_id = fields.optional("message_id", short);
            let correlation_id = fields.optional("correlation_id", short);
            let reply_to = fields.optional("reply_to", short);
            let persistent = fields.optional("persistent", read::flag);
            let headers = fields.optional("headers", headers);
            Some(Self {
                vhost: vhost.unwrap_or_else(|| "/".into()),
                exchange: exchange.unwrap_or_default(),
                routing_key: routing_key.unwrap_or_default(),
                payload: payload?,
                content_type,
                message_id,
                correlation_id,
                reply_to,
                persistent: persistent.unwrap_or(false),
                headers: headers.unwrap_or_default(),
            })
        })
    }
}

fn short(value: &RawValue) -> Result<Box<str>, String> {
    read::line(value, SHORT_BYTES_MAX)
}

fn headers(value: &RawValue) -> Result<Vec<PublishHeader>, String> {
    let read: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_str(value.get())
        .map_err(|_| "must be an object of texts such as {\"tenant\":\"a\"}".to_owned())?;
    if read.len() > HEADERS_MAX {
        return Err(format!(
            "has {} headers, at most {HEADERS_MAX} are allowed",
            read.len()
        ));
    }
    let mut headers = Vec::with_capacity(read.len());
    for (name, value) in read {
        if name.len() > SHORT_BYTES_MAX {
            return Err(format!(
                "has a name of {} bytes, at most {SHORT_BYTES_MAX} are allowed",
                name.len()
            ));
        }
        let text = read::line(&value, HEADER_BYTES_MAX);
        headers.push((
            name.as_str().into(),
            text.map_err(|why| format!("\"{name}\" {why}"))?,
        ));
    }
    Ok(headers)
}

/// The result of a publish.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerPublished)]
pub struct PublishAnswer {
    /// Whether at least one queue has the message.
    pub routed: bool,
}

#[cfg(test)]
mod tests {
    use super::PublishDraft;

    #[track_caller]
    fn check(body: &str, expected: Result<(&str, &str, &[u8]), &str>) {
        let read = PublishDraft::read(body.as_bytes()).map(|(draft, _)| draft);
        match (read, expected) {
            (Ok(read), Ok((vhost, key, payload))) => {
                assert_eq!((&*read.vhost, &*read.routing_key), (vhost, key), "{body}");
                assert_eq!(read.payload, payload, "{body}");
            }
            (Err(problem), Err(field)) => {
                let errors = problem.errors;
                assert_eq!(errors[0].field, field, "{body}: {errors:?}");
            }
            (read, _) => panic!("{body}: {read:?}"),
        }
    }

    #[test]
    fn a_message_has_a_payload_as_text_or_base64() {
        check(r#"{"payload":"a","routing_key":"q"}"#, Ok(("/", "q", b"a")));
        check(
            r#"{"payload":"aGk=","payload_encoding":"base64","vhost":"v"}"#,
            Ok(("v", "", b"hi")),
        );
        check(r#"{"routing_key":"q"}"#, Err("payload"));
        check(
            r#"{"payload":"*","payload_encoding":"base64"}"#,
            Err("payload"),
        );
        check(
            r#"{"payload":"a","payload_encoding":"hex"}"#,
            Err("payload_encoding"),
        );
        check(r#"{"payload":"a","headers":["x"]}"#, Err("headers"));
        check(
            &format!(r#"{{"payload":"a","exchange":"{}"}}"#, "x".repeat(256)),
            Err("exchange"),
        );
    }
}
