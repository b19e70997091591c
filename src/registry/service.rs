//! The data that readers read without a lock: the table of instances and a snapshot of each service.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use imbl::OrdMap;
use tokio::sync::watch;

use super::{ChangeStamp, Registry, Stamps};
use crate::model::{Instance, Revision, ServiceId, ServiceName};

/// How old the times of heartbeats in an encoded answer may be, in milliseconds.
const BODY_AGE_MS_MAX: u64 = 1000;

/// The tables of instances and services, written by the state alone.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) instances: papaya::HashMap<ServiceId, Arc<Instance>>,
    pub(super) services: papaya::HashMap<ServiceName, Arc<Service>>,
    pub(super) n_instances: AtomicUsize,
    pub(super) n_healthy: AtomicUsize,
    pub(super) cached: Arc<CachedBytes>,
    /// Bytes of versions that others have replaced, or that are gone.
    pub(super) replaced: AtomicU64,
    pub(super) stamps: Stamps,
}

impl Tables {
    pub(super) fn instance(&self, id: &str) -> Option<Arc<Instance>> {
        self.instances.pin().get(id).cloned()
    }

    pub(super) fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.pin().get(name).cloned()
    }

    /// The service of this name; a new one is known to have had no change after `floor`, and none after the newest stamp.
    pub(super) fn service_or_new(&self, name: &ServiceName, floor: Revision) -> Arc<Service> {
        if let Some(service) = self.service(name.as_str()) {
            return service;
        }
        let service = Arc::new(Service::new(
            name.clone(),
            floor,
            &self.cached,
            self.stamps.last(),
        ));
        self.services
            .pin()
            .insert(name.clone(), Arc::clone(&service));
        service
    }
}

/// One service: a snapshot that is replaced as a whole, and the watchers of the next one.
#[derive(Debug)]
pub struct Service {
    name: ServiceName,
    view: ArcSwap<View>,
    /// Its last change that is in the log.
    logged: AtomicU64,
    changed: OnceLock<watch::Sender<Revision>>,
    stamp: ChangeStamp,
    turn: AtomicUsize,
}

impl Service {
    fn new(name: ServiceName, floor: Revision, cached: &Arc<CachedBytes>, stamp: u64) -> Self {
        let view = View::new(floor, OrdMap::new(), Arc::clone(cached));
        Self {
            name,
            view: ArcSwap::from_pointee(view),
            logged: AtomicU64::new(floor.0),
            changed: OnceLock::new(),
            stamp: ChangeStamp::new(stamp),
            turn: AtomicUsize::new(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Its instances now; the snapshot never changes.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Counts up at each call, for picking in turn.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Its last change.
    pub fn logged(&self) -> Revision {
        Revision(self.logged.load(Ordering::Acquire))
    }

    pub(super) fn set_logged(&self, revision: Revision) {
        self.logged.store(revision.0, Ordering::Release);
    }

    /// Moves with each change of an instance that is shown, also with those that have no revision. Follow it only
    /// while the service is followed.
    pub fn stamp(&self) -> &ChangeStamp {
        &self.stamp
    }

    pub(super) fn wake(&self) {
        self.stamp.wake();
        if let Some(changed) = self.changed.get() {
            changed.send_replace(self.logged());
        }
    }

    pub(super) fn follow(&self) -> watch::Receiver<Revision> {
        let sender = self
            .changed
            .get_or_init(|| watch::Sender::new(self.logged()));
        let receiver = sender.subscribe();
        // The sender may have been made before the last change and seen none of it.
        sender.send_if_modified(|sent| {
            let logged = self.logged();
            let late = *sent < logged;
            *sent = (*sent).max(logged);
            late
        });
        receiver
    }

    pub(super) fn is_followed(&self) -> bool {
        self.changed
            .get()
            .is_some_and(|changed| changed.receiver_count() > 0)
    }

    pub(super) fn put(&self, instance: Arc<Instance>, revision: Revision) {
        let view = self.view.load();
        let mut instances = view.instances.clone();
        instances.insert(instance.id().clone(), instance);
        self.show(&view, revision, instances);
    }

    pub(super) fn remove(&self, id: &ServiceId, revision: Revision) {
        let view = self.view.load();
        let mut instances = view.instances.clone();
        instances.remove(id);
        self.show(&view, revision, instances);
    }

    /// Takes over the instances of an earlier run; its last change is known already.
    pub(super) fn fill(&self, instances: Vec<(ServiceId, Arc<Instance>)>) {
        let view = self.view.load();
        self.show(&view, self.logged(), instances.into_iter().collect());
    }

    /// A change that leaves the instances as they are.
    pub(super) fn touch(&self, revision: Revision) {
        let view = self.view.load();
        self.show(&view, revision, view.instances.clone());
    }

    fn show(&self, old: &View, revision: Revision, instances: OrdMap<ServiceId, Arc<Instance>>) {
        let view = View::new(revision, instances, Arc::clone(&old.cached));
        self.view.store(Arc::new(view));
    }
}

/// One service at one revision.
#[derive(Debug)]
pub struct View {
    /// The last change of this service, and of no other.
    pub revision: Revision,
    /// Its instances, by id.
    pub instances: OrdMap<ServiceId, Arc<Instance>>,
    body_all: ArcSwapOption<CachedBody>,
    body_healthy: ArcSwapOption<CachedBody>,
    cached: Arc<CachedBytes>,
    healthy: OnceLock<Box<[Arc<Instance>]>>,
}

impl View {
    fn new(
        revision: Revision,
        instances: OrdMap<ServiceId, Arc<Instance>>,
        cached: Arc<CachedBytes>,
    ) -> Self {
        Self {
            revision,
            instances,
            body_all: ArcSwapOption::empty(),
            body_healthy: ArcSwapOption::empty(),
            cached,
            healthy: OnceLock::new(),
        }
    }

    /// The instances that may get traffic, by id; found once per view.
    pub fn healthy(&self) -> &[Arc<Instance>] {
        self.healthy.get_or_init(|| {
            let healthy = self
                .instances
                .values()
                .filter(|instance| instance.is_healthy());
            healthy.cloned().collect()
        })
    }
}

impl View {
    /// The encoded list of all or of the healthy instances: the one that was made within the last
    /// second, or what `make` gives.
    pub fn encoded(
        &self,
        healthy_only: bool,
        now_ms: u64,
        make: impl FnOnce(&mut dyn Iterator<Item = &Arc<Instance>>) -> Vec<u8>,
    ) -> Bytes {
        let slot = if healthy_only {
            &self.body_healthy
        } else {
            &self.body_all
        };
        if let Some(body) = &*slot.load()
            && now_ms.saturating_sub(body.made_ms) < BODY_AGE_MS_MAX
        {
            return body.bytes.clone();
        }
        let made = if healthy_only {
            make(&mut self.healthy().iter())
        } else {
            make(&mut self.instances.values())
        };
        let bytes = Bytes::from(made.into_boxed_slice());
        let body = CachedBody::new(bytes.clone(), now_ms, Arc::clone(&self.cached));
        slot.store(Some(Arc::new(body)));
        bytes
    }
}

/// The bytes of all encoded answers that are kept, and those that other rooms reserved.
#[derive(Debug, Default)]
pub(super) struct CachedBytes(AtomicUsize);

impl CachedBytes {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sub(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// An encoded answer and when it was made: the times of heartbeats in it grow old.
#[derive(Debug)]
struct CachedBody {
    bytes: Bytes,
    /// On the registry's monotonic clock.
    made_ms: u64,
    cached: Arc<CachedBytes>,
}

impl CachedBody {
    fn new(bytes: Bytes, made_ms: u64, cached: Arc<CachedBytes>) -> Self {
        cached.add(bytes.len());
        Self {
            bytes,
            made_ms,
            cached,
        }
    }
}

impl Drop for CachedBody {
    fn drop(&mut self) {
        self.cached.sub(self.bytes.len());
    }
}

/// Follows one service, which may not exist yet, until it is dropped.
#[derive(Debug)]
pub struct Following {
    /// None only while it is dropped.
    receiver: Option<watch::Receiver<Revision>>,
    service: Arc<Service>,
    registry: Registry,
}

impl Following {
    pub(super) fn new(service: Arc<Service>, registry: Registry) -> Self {
        Self {
            receiver: Some(service.follow()),
            service,
            registry,
        }
    }

    /// The service that is followed.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Waits for a change since the last call or since the following began. Cancel safe.
    pub async fn changed(&mut self) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        if receiver.changed().await.is_err() {
            // The sender is in the service that is held here.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // The receiver first, so that the registry sees whether other followers remain.
        drop(self.receiver.take());
        self.registry.forget_if_idle(self.service.name());
    }
}
