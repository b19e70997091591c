//! `grpc.health.v1.Health/Check` over HTTP/2; its two small messages are encoded here.

use std::{net::IpAddr, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    error::{OutboundError, RequestStep},
    http1::classify,
    stream::Stream,
};

/// The most bytes of a response: a good one has seven.
const ANSWER_BYTES_MAX: usize = 4096;
const WINDOW_BYTES: u32 = 64 * 1024;
const HEADERS_BYTES_MAX: u32 = 16 * 1024;

/// A health check call.
#[derive(Clone, Debug)]
pub struct GrpcCall {
    /// Name or address, without brackets.
    pub host: Box<str>,
    /// 1-65535.
    pub port: u16,
    /// The service asked for; empty asks for the server as a whole.
    pub service: Box<str>,
    /// Over TLS.
    pub tls: bool,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
}

/// The health of a service as its server reports it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Serving {
    /// It does not know.
    Unknown,
    /// It serves.
    Serving,
    /// It does not.
    NotServing,
    /// It has no such service.
    ServiceUnknown,
    /// A number the protocol does not have.
    Other(u64),
}

/// One HTTP/2 connection. Its tasks end with it.
#[derive(Debug)]
pub(super) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    tasks: ConnectionTasks,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.tasks.0.lock().abort_all();
    }
}

/// The executor for hyper's tasks of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionTasks(Arc<Mutex<JoinSet<()>>>);

impl<F> hyper::rt::Executor<F> for ConnectionTasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            task.await;
        });
    }
}

impl Http2 {
    pub(super) async fn open(stream: Stream, deadline: Instant) -> Result<Self, OutboundError> {
        let tasks = ConnectionTasks::default();
        let mut builder = Builder::new(tasks.clone());
        builder
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES_MAX);
        let shaking = builder.handshake(TokioIo::new(stream));
        let (sender, connection) = timeout_at(deadline, shaking)
            .await
            .map_err(|_| OutboundError::Deadline(RequestStep::Connecting))?
            .map_err(|error| classify(&error))?;
        hyper::rt::Executor::execute(&tasks, connection);
        Ok(Self { sender, tasks })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.sender.is_ready()
    }

    pub(super) async fn check(
        &mut self,
        call: &GrpcCall,
        deadline: Instant,
    ) -> Result<Serving, OutboundError> {
        let request = request(call, deadline)?;
        let late = |step| move |_| OutboundError::Deadline(step);
        let response = timeout_at(deadline, self.sender.send_request(request))
            .await
            .map_err(late(RequestStep::Answer))?
            .map_err(|error| classify(&error))?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(garbage(&format!("HTTP status {}", head.status)));
        }
        // An answer of trailers only comes as a head (gRPC over HTTP/2, "Responses").
        if head.headers.contains_key("grpc-status") {
            ended_well(&head.headers)?;
            return Err(garbage("no message"));
        }
        let (message, trailers) = timeout_at(deadline, read(body))
            .await
            .map_err(late(RequestStep::Body))??;
        ended_well(&trailers)?;
        serving(&message)
    }
}

fn garbage(why: &str) -> OutboundError {
    OutboundError::Garbage(why.into())
}

fn request(
    call: &GrpcCall,
    deadline: Instant,
) -> Result<http::Request<Full<Bytes>>, OutboundError> {
    let host = match call.host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{}", call.port),
        _ => format!("{}:{}", call.host, call.port),
    };
    let uri = Uri::builder()
        .scheme(if call.tls { "https" } else { "http" })
        .authority(host)
        .path_and_query("/grpc.health.v1.Health/Check")
        .build()
        .map_err(|_| OutboundError::Invalid {
            what: call.host.clone(),
            why: "it is not a host".into(),
        })?;
    let mut request = http::Request::new(Full::new(asking(&call.service)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // At most eight digits (gRPC over HTTP/2, "Timeout").
    let left = deadline
        .saturating_duration_since(Instant::now())
        .as_millis();
    let left = format!("{}m", left.clamp(1, 99_999_999));
    if let Ok(left) = HeaderValue::try_from(left) {
        headers.insert("grpc-timeout", left);
    }
    Ok(request)
}

/// A `HealthCheckRequest` behind its length: field 1, the service.
fn asking(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        put_varint(service.len() as u64, &mut message);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(mut value: u64, out: &mut BytesMut) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Reads a body and what follows it.
async fn read(mut body: Incoming) -> Result<(BytesMut, HeaderMap), OutboundError> {
    let mut message = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| classify(&error))?.into_data() {
            Ok(part) if message.len() + part.len() > ANSWER_BYTES_MAX => {
                return Err(garbage("the message is too long"));
            }
            Ok(part) => message.extend_from_slice(&part),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return Ok((message, trailers));
                }
            }
        }
    }
    Err(garbage("no trailers"))
}

fn ended_well(trailers: &HeaderMap) -> Result<(), OutboundError> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status").and_then(|code| code.parse().ok());
    match code {
        Some(0) => Ok(()),
        Some(code) => {
            let message =
                percent_decode_str(text("grpc-message").unwrap_or("")).decode_utf8_lossy();
            Err(OutboundError::Grpc {
                code,
                message: message.chars().take(200).collect(),
            })
        }
        None => Err(garbage("no grpc-status")),
    }
}

/// A `HealthCheckResponse` behind its length: field 1, the status.
fn serving(framed: &[u8]) -> Result<Serving, OutboundError> {
    let Some(([compressed, length @ ..], message)) = framed.split_first_chunk::<5>() else {
        return Err(garbage("no message"));
    };
    if *compressed != 0 {
        return Err(garbage("a compressed message, which was not asked for"));
    }
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(message.len()) {
        return Err(garbage("the message has another length than it says"));
    }
    let status = field_1(message).ok_or_else(|| garbage("no HealthCheckResponse"))?;
    Ok(match status {
        0 => Serving::Unknown,
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        other => Serving::Other(other),
    })
}

/// The last varint of field 1, 0 without one; other fields are skipped.
fn field_1(mut message: &[u8]) -> Option<u64> {
    let mut found = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (0, _) => return None,
            (1, 0) => found = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
