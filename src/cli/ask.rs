//! A request to the running daemon, and its answer as JSON.

use std::{process::ExitCode, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::{FAILED, complain};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// The longest that an answer is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Sends one request to `url` and `path`; says what went wrong when there is no answer.
pub(super) fn ask(
    method: &str,
    url: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, String> {
    let Some(address) = url.strip_prefix("http://") else {
        return Err(format!(
            "\"{url}\" can't be asked: write it as http://127.0.0.1:8000"
        ));
    };
    let address = address.trim_end_matches('/');
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no thread to run on: {error}"))?;
    let body = body.map_or_else(String::new, Value::to_string);
    runtime.block_on(async {
        match timeout(ANSWER_TIME_MAX, send(method, address, path, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(format!(
                "{url} does not answer: {error}; --url says where the daemon is"
            )),
            Err(_) => Err(format!("{url} does not answer within {ANSWER_TIME_MAX:?}")),
        }
    })
}

/// Prints what came back: as it came, or in words; or says why it was refused.
pub(super) fn tell(
    answer: Result<Answer, String>,
    as_json: bool,
    words: impl Fn(&Value) -> String,
) -> ExitCode {
    let told = answer.and_then(|answer| {
        if answer.status != 200 {
            let detail = answer.body["detail"].as_str();
            return Err(detail
                .unwrap_or("the daemon refuses without a reason")
                .to_owned());
        }
        if as_json {
            return Ok(format!("{:#}\n", answer.body));
        }
        Ok(words(&answer.body))
    });
    match told {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(message) => {
            complain(&message);
            ExitCode::from(FAILED)
        }
    }
}

/// A field of an answer as people read it: text without quotes, "-" for a field that is absent or null.
pub(super) fn shown(answer: &Value, field: &str) -> String {
    match &answer[field] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The items of a list in an answer.
pub(super) fn items<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer[field].as_array().map_or(&[], Vec::as_slice)
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn print(text: &str) {
    print!("{text}");
}

async fn send(method: &str, address: &str, path: &str, body: String) -> Result<Answer, AnyError> {
    let with_port = match address.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => address.to_owned(),
        _ => format!("{address}:80"),
    };
    let stream = TcpStream::connect(with_port).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body)?;
        Ok::<_, AnyError>(Answer { status, body })
    };
    tokio::pin!(connection);
    tokio::pin!(answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        ended = &mut connection => match ended {
            // What was read before the end may be all of it.
            Ok(()) => answered.await,
            Err(error) => Err(error.into()),
        },
    }
}
