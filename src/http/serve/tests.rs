//! The server with a service made for tests: nothing here knows the REST API.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Request, Response},
    routing::get,
};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Cors, HttpService, ServeLimits, ServeState,
    access::AccessPolicy,
    bind,
    connection::HttpPeer,
    metrics::{MetricsByPath, RouteMetrics, ServeMetrics},
    serve,
};
use crate::{
    http::{
        config::Config,
        serve::{metrics::RouteSpec, pipeline::Pipeline},
    },
    telemetry::{Metrics, testing::LoggedText},
};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One route, and a fast path.
#[derive(Debug)]
struct Greeting {
    router: Router,
    metrics: MetricsByPath,
}

impl HttpService for Greeting {
    type Fast = ();

    fn fast_path<B>(&self, request: &Request<B>) -> Option<()> {
        let path = request.uri().path();
        assert_ne!(path, "/panics", "a fault outside of the endpoints");
        (path == "/fast").then_some(())
    }

    fn fast_metrics(&self, (): ()) -> &RouteMetrics {
        self.metrics.find("/fast")
    }

    async fn answer_fast<B>(&self, (): (), _: Request<B>, _: &HttpPeer) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Send> + Send + Unpin,
    {
        Response::new("fast".into())
    }

    fn router(&self) -> &Router {
        &self.router
    }

    fn metrics_of(&self, path: &str) -> &RouteMetrics {
        self.metrics.find(path)
    }
}

const FULL: &str = "HTTP/1.1 503 Service Unavailable";

/// The first line and the body of the next answer that does not refuse the connection.
async fn accepted(address: std::net::SocketAddr, path: &str, host: &str) -> (String, String) {
    loop {
        // The last connection may not have ended yet.
        let answered = ask(address, path, host).await;
        if answered.0 != FULL {
            return answered;
        }
    }
}

/// The first line of an answer and its body.
async fn ask(address: std::net::SocketAddr, path: &str, host: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is refused may be reset behind its answer.
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((FULL, ""));
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn pipeline(connections_max: usize) -> Pipeline<Greeting> {
    let metrics = Metrics::default();
    let access = AccessPolicy::new(&[], &Cors::default()).unwrap();
    let limits = ServeLimits {
        connections_max,
        ..Config::default().serve_limits()
    };
    let state = ServeState::new(limits, access, ServeMetrics::new(&metrics), Box::new(|| 0));
    let spec = |path: &str| RouteSpec {
        path: path.to_owned(),
        time_max: None,
        parameters: Vec::new(),
        failures: None,
    };
    let service = Greeting {
        router: Router::new().route("/slow", get(|| async { "slow" })),
        metrics: MetricsByPath::new(&state.metrics, ["/slow", "/fast"].map(spec)),
    };
    Pipeline::new(service, state.into())
}

#[tokio::test]
async fn any_service_is_served_on_several_listeners_with_the_same_limits() {
    let pipeline = pipeline(1);
    let (one, two) = (
        bind("one.listen", "127.0.0.1:0").await.unwrap(),
        bind("two.listen", "127.0.0.1:0").await.unwrap(),
    );
    let addresses = [one.local_addr(), two.local_addr()];
    let stop = CancellationToken::new();
    let mut served = JoinSet::new();
    served.spawn(serve(vec![one, two], pipeline, stop.clone()));
    for address in addresses {
        for (path, host, line, body) in [
            ("/slow", "localhost", "HTTP/1.1 200 OK", "slow"),
            ("/fast", "localhost", "HTTP/1.1 200 OK", "fast"),
            (
                "/fast",
                "evil.example",
                "HTTP/1.1 421 Misdirected Request",
                "evil.example",
            ),
        ] {
            let answered = accepted(address, path, host).await;
            assert_eq!(answered.0, line, "{path} {host}");
            assert!(answered.1.contains(body), "{}", answered.1);
        }
    }
    let _open = TcpStream::connect(addresses[0]).await.unwrap();
    let refused = async {
        // The first one may be accepted after the second.
        loop {
            let answered = ask(addresses[1], "/fast", "localhost").await;
            if answered.0 == FULL {
                return;
            }
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    stop.cancel();
    let ended = timeout(PATIENCE, served.join_next()).await;
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_whose_task_panics_is_named_and_closed_alone() {
    let logged = LoggedText::start();
    let bound = bind("one.listen", "127.0.0.1:0").await.unwrap();
    let address = bound.local_addr();
    let stop = CancellationToken::new();
    let mut served = JoinSet::new();
    served.spawn(serve(vec![bound], pipeline(10), stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let client = stream.local_addr().unwrap();
    let request = b"GET /panics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert_eq!(answer, b"");
    assert_eq!(ask(address, "/slow", "localhost").await.1, "slow");
    let text = logged.text();
    let named = format!("the connection of {client} is closed: its task panicked");
    assert!(text.contains(&named), "{text}");
    stop.cancel();
    let ended = timeout(PATIENCE, served.join_next()).await;
    ended.unwrap().unwrap().unwrap();
}
