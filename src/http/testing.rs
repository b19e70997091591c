//! The HTTP service without a socket, and substitutes for the rooms that it asks.

pub(super) mod fixture;
pub(super) mod live;
mod migration;
mod transport;

use std::{future::ready, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, Response, StatusCode, header},
};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;

use self::{migration::StagedMigration, transport::StagedFlag};
use super::{
    config::Config,
    rest::RestService,
    serve::{connection::HttpPeer, pipeline::Pipeline},
    state::{AppState, Deps},
};
use crate::{
    api::{
        self, CheckReport, Defaults, HealthReport, LimitUnit, LimitUse, OpenWatcher, ProbeResult,
        ReadyPart, Setting, WatcherAnswer, WatcherDraft,
    },
    catalog::{Caller, Door, Identity, Register},
    http::{BrokerPages, Probes, Readiness, SystemParts, WatcherError, Watchers},
    kv::KvStore,
    model::{CANARY, Cursor, Revision, ShownCheck, ShownChecks, Standing, Status, Timestamp},
    registry::{self, Notices, Registry},
    security::{Identities, Principal},
    telemetry::Metrics,
};

/// The substitutes.
#[derive(Debug)]
pub(super) struct Stage {
    registry: Registry,
    watchers: Mutex<Vec<WatcherAnswer>>,
    pub(super) broken: Mutex<Option<&'static str>>,
}

/// More webhooks than these are refused.
pub(super) const WATCHERS_MAX: usize = 2;

impl Probes for Stage {
    fn check_now<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<HealthReport>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert!(id != "panics", "a probe that panics: secret of the inside");
            if id == "hangs" {
                std::future::pending::<()>().await;
            }
            self.report(id)
        })
    }

    fn report_standing(&self, id: &str, check: &str, standing: Standing, text: &str) -> bool {
        let Some(instance) = self.registry.instance(id) else {
            return false;
        };
        let mut known = instance.registration.checks.iter();
        let is_reported = known.any(|one| *one.name == *check && one.is_reported());
        if is_reported {
            let shown = ShownCheck {
                name: check.into(),
                standing,
                output: text.into(),
            };
            let shown = ShownChecks([shown].into());
            self.registry.show_checks(&instance.registration, shown);
        }
        is_reported
    }

    fn report(&self, id: &str) -> Option<HealthReport> {
        let instance = self.registry.instance(id)?;
        let result = ProbeResult {
            at: Timestamp(0),
            passed: true,
            latency: Duration::from_micros(1_250),
            message: "200 OK".into(),
        };
        Some(HealthReport {
            service_id: instance.id().clone(),
            status: instance.status(),
            timestamp: Timestamp(0),
            checks: vec![CheckReport {
                name: "up".into(),
                kind: "http",
                status: Status::Healthy,
                warning: false,
                since: Timestamp(0),
                latency: Some(Duration::from_micros(1_250)),
                flapping: false,
                results: vec![result],
            }],
        })
    }
}

impl Stage {
    fn add(&self, caller: &Caller, draft: WatcherDraft) -> Result<WatcherAnswer, WatcherError> {
        let owner = match &caller.identity {
            Identity::Of(principal) => Some(principal),
            Identity::Anonymous | Identity::Daemon => None,
        };
        let mut list = self.watchers.lock();
        if list.len() >= WATCHERS_MAX {
            return Err(WatcherError::Full("there are too many webhooks".to_owned()));
        }
        if self.broken.lock().is_some() {
            return Err(WatcherError::Stopping("the daemon is stopping".to_owned()));
        }
        if draft.callback_url.contains("169.254") {
            return Err(WatcherError::Url("is a link-local address".to_owned()));
        }
        if let Err(error) = self.registry.reserve(draft.callback_url.len()) {
            return Err(WatcherError::NoRoom(error.to_string()));
        }
        let watcher = WatcherAnswer {
            id: format!("w/{}", list.len()),
            service_name: draft.service_name,
            callback_url: draft.callback_url,
            events: draft.events,
            signed: draft.secret.is_some(),
            owner: owner.map(|owner| (&**owner.name()).into()),
            owner_made: owner.and_then(Principal::made),
            canary: draft.canary,
            created_at: Timestamp(0),
            cursor: self.registry.cursor(Revision(0)),
            lag: 0,
            state: "active",
            delivered: 0,
            failed: 0,
            last_error: None,
        };
        list.push(watcher.clone());
        Ok(watcher)
    }
}

impl Watchers for Stage {
    fn add(
        &self,
        caller: &Caller,
        draft: WatcherDraft,
        _: Option<Cursor>,
    ) -> BoxFuture<'_, Result<WatcherAnswer, WatcherError>> {
        Box::pin(ready(self.add(caller, draft)))
    }

    fn list(&self) -> Vec<WatcherAnswer> {
        self.watchers.lock().clone()
    }

    fn find(&self, id: &str) -> Option<WatcherAnswer> {
        self.list().into_iter().find(|one| one.id == id)
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, WatcherError>> {
        let mut list = self.watchers.lock();
        let before = list.len();
        list.retain(|one| one.id != id);
        Box::pin(ready(Ok(list.len() < before)))
    }
}

impl Readiness for Stage {
    fn parts(&self) -> Vec<ReadyPart> {
        let broken = *self.broken.lock();
        vec![ReadyPart {
            name: "stage",
            ok: broken.is_none(),
            detail: broken.unwrap_or("fine").to_owned(),
        }]
    }
}

impl SystemParts for Stage {
    fn limits(&self) -> Vec<LimitUse> {
        vec![LimitUse {
            name: "seats",
            key: "stage.seats_max",
            used: 3,
            max: 4,
            unit: LimitUnit::Count,
            when_full: "the door is closed",
        }]
    }

    fn callbacks(&self) -> Vec<OpenWatcher> {
        Vec::new()
    }

    fn settings(&self) -> Arc<Vec<Setting>> {
        Arc::new(vec![Setting {
            key: "stage.seats_max".to_owned(),
            value: "4".to_owned(),
            source: "command line".to_owned(),
            default: Some("8".to_owned()),
            about: "The most seats".to_owned(),
        }])
    }
}

/// The API without a port.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) pipeline: Pipeline<RestService>,
    pub(super) shared: AppState,
    pub(super) stage: Arc<Stage>,
    pub(super) migration: Arc<StagedMigration>,
    pub(super) notices: Arc<Notices>,
}

/// An answer, its body as JSON where it is.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
    pub(super) bytes: bytes::Bytes,
}

impl Answered {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

impl Api {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        Self::with_registry(config, registry::Config::default())
    }

    pub(super) fn with_registry(config: Config, registry: registry::Config) -> Self {
        Self::staged(config, registry, None, Identities::default())
    }

    pub(super) fn guarded(identities: Identities) -> Self {
        Self::staged(
            Config::default(),
            registry::Config::default(),
            None,
            identities,
        )
    }

    pub(super) fn with_broker(config: Config, broker: Arc<dyn BrokerPages>) -> Self {
        let registry = registry::Config::default();
        Self::staged(config, registry, Some(broker), Identities::default())
    }

    fn staged(
        config: Config,
        registry: registry::Config,
        broker: Option<Arc<dyn BrokerPages>>,
        identities: Identities,
    ) -> Self {
        let registry = Registry::new(registry);
        let stage = Arc::new(Stage {
            registry: registry.clone(),
            watchers: Mutex::default(),
            broken: Mutex::default(),
        });
        let migration = Arc::new(StagedMigration::default());
        let notices = Arc::new(Notices::new(64));
        let kv = KvStore::without_writer(registry.clock().clone());
        let rooms = Deps {
            registry,
            metrics: Metrics::default(),
            defaults: Defaults::default(),
            probes: Arc::<Stage>::clone(&stage),
            watchers: Arc::<Stage>::clone(&stage),
            readiness: Arc::<Stage>::clone(&stage),
            transports: Arc::new(StagedFlag::default()),
            broker,
            broker_users: None,
            snapshots: None,
            migration: Arc::<StagedMigration>::clone(&migration),
            notices: Arc::clone(&notices),
            identities,
            system: Arc::<Stage>::clone(&stage),
            kv,
        };
        let shared = AppState::new(config, rooms).unwrap();
        let pipeline = Pipeline::new(RestService::new(shared.clone()), Arc::clone(&shared.serve));
        Self {
            pipeline,
            shared,
            stage,
            migration,
            notices,
        }
    }

    /// A request with headers, as pairs.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answered {
        let response = self.sent(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answered {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes,
        }
    }

    /// The same without a body, whose answer may be endless.
    pub(super) async fn answered(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        self.sent(method, path, headers, "").await
    }

    async fn sent(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response<Body> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path);
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, peer) = (
            request.body(body.into()).unwrap(),
            HttpPeer::without_connection(),
        );
        self.pipeline.answer(request, &peer).await
    }

    /// A request that must be answered with this code.
    #[track_caller]
    pub(super) fn expect(
        &self,
        code: u16,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> impl Future<Output = Answered> {
        let caller = std::panic::Location::caller();
        let what = format!("{method} {path} ({caller})");
        let answered = self.ask(method, path, &[], body);
        async move {
            let answered = answered.await;
            let text = String::from_utf8_lossy(&answered.bytes);
            assert_eq!(answered.status.as_u16(), code, "{what}: {text}");
            if code >= 400 {
                let kind = answered.header(header::CONTENT_TYPE.as_str());
                assert_eq!(kind, "application/problem+json", "{what}");
                assert_eq!(answered.json["status"], code, "{what}");
            }
            answered
        }
    }

    /// Registers an instance with these further fields.
    pub(super) async fn register(&self, service: &str, id: &str, more: &Value) -> Answered {
        let mut body = serde_json::json!({
            "service_id": id, "service_name": service, "host": "127.0.0.1", "port": 8080,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        self.expect(200, "POST", "/services/register", body.to_string())
            .await
    }

    /// Registers an instance as the migration's canary does, whose name is reserved.
    pub(super) async fn register_canary(&self, id: &str, more: &Value) {
        let mut body = serde_json::json!({
            "service_id": id, "service_name": CANARY, "host": "127.0.0.1", "port": 8080,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let parsed = api::registration(body.to_string().as_bytes(), &Defaults::default()).unwrap();
        let register = Register {
            registration: parsed.registration,
            incarnation: None,
        };
        let caller = Caller::daemon(Door::Canary);
        self.shared.catalog.write(&caller, register).await.unwrap();
    }
}
