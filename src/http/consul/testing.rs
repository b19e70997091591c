//! This door without a socket.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    config::Config,
    service::ConsulService,
    state::{ConsulControls, ConsulState},
};
use crate::{
    http::{
        serve::{connection::HttpPeer, pipeline::Pipeline},
        testing::Api,
    },
    security::Identities,
};

/// Controls that only count.
#[derive(Debug, Default)]
pub(super) struct StagedControls {
    pub(super) asked: parking_lot::Mutex<Vec<&'static str>>,
}

impl ConsulControls for StagedControls {
    fn reload(&self) {
        self.asked.lock().push("reload");
    }

    fn leave(&self) {
        self.asked.lock().push("leave");
    }

    fn follow_log(&self, level: tracing::Level) -> Option<mpsc::Receiver<Box<str>>> {
        let (sender, receiver) = mpsc::channel(1);
        sender.try_send(format!("{level} line\n").into()).unwrap();
        Some(receiver)
    }
}

/// Both doors to one registry.
#[derive(Clone, Debug)]
pub(super) struct ConsulDoor {
    pub(super) rest: Arc<Api>,
    pub(super) controls: Arc<StagedControls>,
    pipeline: Arc<Pipeline<ConsulService>>,
}

/// An answer, its body as JSON where it is.
#[derive(Debug)]
pub(super) struct ConsulAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
    pub(super) text: String,
}

impl ConsulAnswer {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(super) fn index(&self) -> u64 {
        self.header("x-consul-index").parse().expect("an index")
    }

    /// A text of every item of a list.
    pub(super) fn each(&self, pointer: &str) -> Vec<&str> {
        let items = self.json.as_array().expect("a list").iter();
        items
            .map(|item| item.pointer(pointer).and_then(Value::as_str).unwrap_or("?"))
            .collect()
    }
}

impl ConsulDoor {
    pub(super) fn new() -> Self {
        Self::with(Config::default(), Identities::default())
    }

    pub(super) fn with(config: Config, identities: Identities) -> Self {
        let rest = Api::guarded(identities);
        let config = Config {
            node_name: "n1".to_owned(),
            ..config
        };
        let controls = Arc::<StagedControls>::default();
        let address = ([127, 0, 0, 1], 8500).into();
        let own = Arc::<StagedControls>::clone(&controls);
        let state = ConsulState::new(rest.shared.clone(), config, address, own);
        let serve = Arc::clone(&state.serve);
        let pipeline = Pipeline::new(ConsulService::new(state), serve);
        Self {
            rest: Arc::new(rest),
            controls,
            pipeline: Arc::new(pipeline),
        }
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> ConsulAnswer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let peer = HttpPeer::without_connection();
        let response = self.pipeline.answer(request, &peer).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        ConsulAnswer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// A read that must be answered with 200.
    #[track_caller]
    pub(super) fn get(&self, path: &str) -> impl Future<Output = ConsulAnswer> {
        self.expect(200, "GET", path, "")
    }

    /// A change that must be answered with 200.
    #[track_caller]
    pub(super) fn put(&self, path: &str, body: &str) -> impl Future<Output = ConsulAnswer> {
        self.expect(200, "PUT", path, body)
    }

    /// A request that must be answered with this code.
    #[track_caller]
    pub(super) fn expect(
        &self,
        code: u16,
        method: &str,
        path: &str,
        body: &str,
    ) -> impl Future<Output = ConsulAnswer> {
        let caller = std::panic::Location::caller();
        let (own, method, path, body) = (
            self.clone(),
            method.to_owned(),
            path.to_owned(),
            body.to_owned(),
        );
        async move {
            let answer = own.ask(&method, &path, &[], &body).await;
            let text = &answer.text;
            assert_eq!(
                answer.status.as_u16(),
                code,
                "{method} {path} ({caller}): {text}"
            );
            answer
        }
    }
}
