//! A request to the running daemon, and its answer as JSON.

use std::{fmt, io, process::ExitCode, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HeaderValue, SERVER},
};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    outcome::{CliError, FAILED, MISCONFIGURED, NOT_FOUND, UNREACHABLE, finish},
    reach::{ClientTrust, DaemonAddress, DaemonStream, own_url},
    table::{Cell, Column, TableView, table},
};
use crate::{
    config::Config,
    telemetry::{escaped, escaped_json},
};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The answer.
#[derive(Debug)]
pub(super) struct HttpReply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

/// Why there is no answer of a daemon.
#[derive(Debug)]
pub(super) enum AskError {
    Connect(io::Error),
    Http(hyper::Error),
    Request(http::Error),
    /// An answer that musterd does not give: from a proxy, or another server.
    Foreign {
        status: StatusCode,
        content_type: String,
        server: String,
    },
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot be connected to: {error}"),
            Self::Http(error) if error.is_parse() => {
                write!(f, "does not speak HTTP (TLS, perhaps?): {error}")
            }
            Self::Http(error) => write!(f, "closed the connection: {error}"),
            Self::Request(error) => write!(f, "is not a usable address: {error}"),
            Self::Foreign {
                status,
                content_type,
                server,
            } => write!(
                f,
                "answered {status} with {content_type}{server}, not as musterd does: \
                 a proxy, or another server?"
            ),
            Self::Body(error) => write!(f, "sent an answer that can't be read: {error}"),
        }
    }
}

/// How answers are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    /// As JSON, with what the daemon answered.
    pub(super) json: bool,
    pub(super) view: TableView,
    /// No progress and no hints.
    pub(super) quiet: bool,
}

/// The running daemon: how it is asked, and how its answers are shown.
#[derive(Clone, Debug)]
pub(super) struct Daemon<'a> {
    pub(super) url: String,
    /// The header `Host`, if it is not what the URL says.
    host: Option<&'static str>,
    pub(super) token: Option<&'a str>,
    trust: ClientTrust,
    /// The longest that an answer is waited for.
    pub(super) timeout: Duration,
    pub(super) output: Output,
}

impl<'a> Daemon<'a> {
    /// At this address; by default where the configuration says that it listens.
    pub(super) fn at(
        address: Option<&str>,
        config: &Config,
        token: Option<&'a str>,
        trust: &ClientTrust,
    ) -> Self {
        let url = address.map_or_else(
            || own_url(config),
            |address| match address.contains("://") {
                true => address.to_owned(),
                false => format!("http://{address}"),
            },
        );
        Self {
            url,
            // Accepted whatever http.hosts says.
            host: address.is_none().then_some("localhost"),
            token,
            trust: match address {
                Some(_) => trust.clone(),
                None => trust.of_own_daemon(config),
            },
            timeout: Duration::from_secs(15),
            output: Output::default(),
        }
    }

    /// Sends one request. A good answer has `field`. Answers why there is none of musterd.
    pub(super) fn ask(
        &self,
        (method, path): (&str, &str),
        body: Option<&Value>,
        field: &str,
    ) -> Result<HttpReply, CliError> {
        let reply = ask(self, (method, path), body, field)?;
        Ok(HttpReply {
            body: self.readable(reply.body),
            ..reply
        })
    }

    /// What the daemon answered as it can be shown: JSON has its own form for control characters, words have none.
    pub(super) fn readable(&self, body: Value) -> Value {
        match self.output.json {
            true => body,
            false => printable(body),
        }
    }

    /// The body of a good answer; a refusal is an error.
    pub(super) fn get(&self, path: &str, field: &str) -> Result<Value, CliError> {
        self.send(("GET", path), None, field)
    }

    /// The same for any method.
    pub(super) fn send(
        &self,
        asked: (&str, &str),
        body: Option<&Value>,
        field: &str,
    ) -> Result<Value, CliError> {
        accepted(self.ask(asked, body, field)?)
    }

    /// Lists rows as the output wants it, or the answer itself as JSON.
    pub(super) fn list(
        &self,
        answer: &Value,
        columns: &[Column],
        rows: Vec<Vec<Cell>>,
    ) -> Result<String, CliError> {
        match self.output.json {
            true => Ok(json_text(answer)),
            false => table(columns, rows, &self.output.view),
        }
    }
}

/// The body of a good answer.
pub(super) fn accepted(answer: HttpReply) -> Result<Value, CliError> {
    let body = answer.body;
    if answer.status.is_success() {
        return Ok(body);
    }
    let code = match answer.status {
        StatusCode::NOT_FOUND => NOT_FOUND,
        _ => FAILED,
    };
    Err(CliError {
        problem: Some(body.clone()),
        ..CliError::new(code, refusal(answer.status, &body))
    })
}

fn ask(
    daemon: &Daemon<'_>,
    (method, path): (&str, &str),
    body: Option<&Value>,
    field: &str,
) -> Result<HttpReply, CliError> {
    let url = &daemon.url;
    let target = target(daemon)?;
    let runtime = runtime()?;
    let limit = daemon.timeout;
    let body = body.map_or_else(String::new, Value::to_string);
    runtime.block_on(async {
        let asked = (method, &target, daemon.token);
        match timeout(limit, send(asked, &daemon.trust, path, body, field)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(url, &error)),
            Err(_) => Err(CliError::new(
                UNREACHABLE,
                format!("{url} does not answer within {limit:?}"),
            )),
        }
    })
}

pub(super) fn target(daemon: &Daemon<'_>) -> Result<DaemonAddress, CliError> {
    let parsed = DaemonAddress::parse(&daemon.url);
    let parsed =
        parsed.map_err(|error| CliError::new(MISCONFIGURED, format!("--address: {error}")))?;
    Ok(match daemon.host {
        Some(host) => DaemonAddress {
            host: host.to_owned(),
            ..parsed
        },
        None => parsed,
    })
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| format!("a thread can't be started: {error}").into())
}

pub(super) fn failed(url: &str, error: &AskError) -> CliError {
    match error {
        AskError::Connect(error) => CliError::new(
            UNREACHABLE,
            format!(
                "no daemon answers at {url}: cannot be connected to: {error}\n\
                 start one with \"musterd serve\", or name it with --address"
            ),
        ),
        error => CliError::new(
            FAILED,
            format!("{url} {error} (--address says where the daemon is)"),
        ),
    }
}

/// Gets what the daemon has at `path`, of this type, piece by piece, for as long as it takes.
pub(super) fn download(
    daemon: &Daemon<'_>,
    path: &str,
    content_type: &str,
    take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), CliError> {
    let target = target(daemon)?;
    let received = runtime()?.block_on(receive((&target, daemon), path, content_type, take));
    received.map_err(|error| failed(&daemon.url, &error))?
}

/// The inner error says why the daemon refuses, or why the pieces cannot be taken.
pub(super) async fn receive(
    (target, daemon): (&DaemonAddress, &Daemon<'_>),
    path: &str,
    content_type: &str,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Result<(), CliError>, AskError> {
    let (mut sender, connection) = connect(target, &daemon.trust).await?;
    let request = request(("GET", target, daemon.token), path, String::new())?;
    let received = async {
        let answer = sender.send_request(request).await.map_err(AskError::Http)?;
        let (head, mut body) = answer.into_parts();
        if head.status != StatusCode::OK {
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(AskError::Body)?.to_bytes();
            let Some(problem) = problem(&head.headers, &body) else {
                return Err(foreign(head.status, &head.headers));
            };
            let refused = HttpReply {
                status: head.status,
                body: daemon.readable(problem),
            };
            return Ok(accepted(refused).map(drop));
        }
        if !has_type(&head.headers, content_type) {
            return Err(foreign(head.status, &head.headers));
        }
        while let Some(frame) = body.frame().await {
            let piece = frame.map_err(AskError::Http)?.into_data();
            if let Err(error) = take(&piece.unwrap_or_default()) {
                return Ok(Err(format!("it can't be written: {error}").into()));
            }
        }
        Ok(Ok(()))
    };
    drive(connection, received).await
}

/// Prints the answer, as JSON or in words, or the reason of a refusal.
pub(super) fn print_answer(
    daemon: &Daemon<'_>,
    answer: Result<HttpReply, CliError>,
    words: impl Fn(&Value) -> String,
) -> ExitCode {
    let as_json = daemon.output.json;
    let shown = answer.and_then(accepted).map(|body| match as_json {
        true => json_text(&body),
        false => words(&body),
    });
    finish(shown, as_json)
}

/// An answer as JSON; no text in it steers a terminal.
pub(super) fn json_text(answer: &Value) -> String {
    escaped_json(&format!("{answer:#}\n")).into_owned()
}

/// A field of an answer as people read it: text without quotes, "-" for a field that is absent or null.
pub(super) fn shown(answer: &Value, field: &str) -> String {
    match &answer[field] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A name as a part of a path or a value of a query.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// The items of a list in an answer.
pub(super) fn items<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer[field].as_array().map_or(&[], Vec::as_slice)
}

/// The same with the control characters of all texts escaped, so that none steers the terminal.
pub(super) fn printable(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(escaped(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(printable).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(key, value)| (escaped(&key).into_owned(), printable(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

async fn send(
    of: (&str, &DaemonAddress, Option<&str>),
    trust: &ClientTrust,
    path: &str,
    body: String,
    field: &str,
) -> Result<HttpReply, AskError> {
    let (mut sender, connection) = connect(of.1, trust).await?;
    let request = request(of, path, body)?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(AskError::Http)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(AskError::Body)?.to_bytes();
        if head.status == StatusCode::NO_CONTENT {
            return Ok(HttpReply {
                status: head.status,
                body: Value::Null,
            });
        }
        let body = problem(&head.headers, &body).or_else(|| expected(&body, field));
        let body = body.ok_or_else(|| foreign(head.status, &head.headers))?;
        Ok(HttpReply {
            status: head.status,
            body,
        })
    };
    drive(connection, answered).await
}

type Sender = http1::SendRequest<Full<Bytes>>;
type ClientConnection = http1::Connection<TokioIo<DaemonStream>, Full<Bytes>>;

async fn connect(
    target: &DaemonAddress,
    trust: &ClientTrust,
) -> Result<(Sender, ClientConnection), AskError> {
    let connected = trust.connect(&target.address, target.is_encrypted).await;
    let stream = connected.map_err(AskError::Connect)?;
    let made = http1::handshake(TokioIo::new(stream)).await;
    made.map_err(AskError::Http)
}

fn request(
    (method, target, token): (&str, &DaemonAddress, Option<&str>),
    path: &str,
    body: String,
) -> Result<Request<Full<Bytes>>, AskError> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", target.prefix))
        .header("host", &target.host)
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(body)));
    request.map_err(AskError::Request)
}

/// Runs the connection while an answer is read from it.
async fn drive<T>(
    connection: ClientConnection,
    answered: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    tokio::pin!(connection);
    tokio::pin!(answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        ended = &mut connection => match ended {
            // The bytes read before the end may be the whole answer.
            Ok(()) => answered.await,
            Err(error) => Err(AskError::Http(error)),
        },
    }
}

/// The body of a refusal by musterd.
fn problem(headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    match has_type(headers, "application/problem+json") {
        true => serde_json::from_slice(body).ok(),
        false => None,
    }
}

/// The body of an answer that has this field; without a name, of any answer in JSON.
fn expected(body: &[u8], field: &str) -> Option<Value> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let has = field.is_empty() || body.get(field).is_some();
    has.then_some(body)
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let is = |value: &HeaderValue| value.as_bytes().starts_with(wanted.as_bytes());
    headers.get(CONTENT_TYPE).is_some_and(is)
}

fn refusal(status: StatusCode, problem: &Value) -> String {
    let detail = problem["detail"].as_str().unwrap_or("no reason is given");
    format!("refused with {}: {detail}", status.as_u16())
}

fn foreign(status: StatusCode, headers: &HeaderMap) -> AskError {
    let text = |name| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let content_type = text(CONTENT_TYPE).map_or_else(|| "no content type".into(), String::from);
    AskError::Foreign {
        status,
        content_type,
        server: text(SERVER).map_or_else(String::new, |server| format!(" by {server}")),
    }
}

#[cfg(test)]
mod tests;
