//! The handle of everybody who reads or writes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    KvFollowing, KvFound, KvLimits, KvOperation, KvRefusal, KvRows, KvSession, KvState, KvTopic,
    KvWriter, NoKvRows, SessionDraft, SessionOwner, StoredKv, TransactionFault,
    command::{KvAnswer, KvCommand},
    user_events::UserEvents,
    waits::KvWaits,
    writer::KvRequest,
};
use crate::registry::{Clock, Notices};

/// How many requests wait for the writer; more wait for their turn to wait.
const REQUESTS_MAX: usize = 256;

/// A cheap handle to all keys, sessions and user events.
#[derive(Clone, Debug)]
pub struct KvStore {
    pub(super) inner: Arc<KvInner>,
}

#[derive(Debug)]
pub(super) struct KvInner {
    pub(super) state: ArcSwap<KvState>,
    pub(super) waits: Arc<KvWaits>,
    pub(super) limits: KvLimits,
    pub(super) clock: Clock,
    pub(super) user_events: UserEvents,
    requests: mpsc::Sender<KvRequest>,
}

impl KvStore {
    /// Opens it with what an earlier run has stored. Nothing is decided before the writer runs. `notices` takes the
    /// user events, for those who publish them.
    pub fn open(
        limits: KvLimits,
        stored: StoredKv,
        rows: Arc<dyn KvRows>,
        clock: Clock,
        notices: Arc<Notices>,
    ) -> (Self, KvWriter) {
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let state = stored.state(&limits, clock.now());
        let inner = Arc::new(KvInner {
            state: ArcSwap::from_pointee(state),
            waits: Arc::default(),
            limits,
            clock,
            user_events: UserEvents::new(notices),
            requests,
        });
        let store = Self { inner };
        (store.clone(), KvWriter::new(store, received, rows))
    }

    /// An empty store for servers without keys: every write is refused as at a stop.
    pub fn without_writer(clock: Clock) -> Self {
        let (notices, stored) = (Arc::new(Notices::new(1)), StoredKv::default());
        let rows = Arc::new(NoKvRows);
        Self::open(KvLimits::default(), stored, rows, clock, notices).0
    }

    /// Everything, as it is now. It does not change any more.
    pub fn state(&self) -> Arc<KvState> {
        self.inner.state.load_full()
    }

    /// The limits.
    pub fn limits(&self) -> &KvLimits {
        &self.inner.limits
    }

    /// Follows what is read from now on.
    pub fn follow(&self, topic: KvTopic) -> KvFollowing {
        self.inner.waits.follow(topic)
    }

    /// The user events.
    pub fn user_events(&self) -> &UserEvents {
        &self.inner.user_events
    }

    /// All operations take effect, or none: then every fault with the number of its operation.
    ///
    /// # Errors
    /// The change could not be stored, or the daemon is stopping.
    pub async fn transact(
        &self,
        operations: Vec<KvOperation>,
    ) -> Result<Result<Vec<KvFound>, Vec<(usize, TransactionFault)>>, KvRefusal> {
        match self.ask(KvCommand::Transaction(operations)).await? {
            KvAnswer::Transaction(answer) => Ok(answer),
            KvAnswer::Session(_) => Err(KvRefusal::Stopping),
        }
    }

    /// Creates a session.
    ///
    /// # Errors
    /// There are too many, the change could not be stored, or the daemon is stopping.
    pub async fn create_session(&self, draft: SessionDraft) -> Result<Uuid, KvRefusal> {
        let id = random_id();
        self.session(KvCommand::CreateSession(id, draft)).await?;
        Ok(id)
    }

    /// Ends a session; none when there is no such session.
    ///
    /// # Errors
    /// It belongs to another identity, the change could not be stored, or the daemon is stopping.
    pub async fn end_session(
        &self,
        id: Uuid,
        by: SessionOwner,
    ) -> Result<Option<Arc<KvSession>>, KvRefusal> {
        self.session(KvCommand::EndSession(id, by)).await
    }

    /// Begins the time to live of a session again; none when there is no such session.
    ///
    /// # Errors
    /// It belongs to another identity, or the daemon is stopping.
    pub async fn renew_session(
        &self,
        id: Uuid,
        by: SessionOwner,
    ) -> Result<Option<Arc<KvSession>>, KvRefusal> {
        self.session(KvCommand::RenewSession(id, by)).await
    }

    async fn session(&self, command: KvCommand) -> Result<Option<Arc<KvSession>>, KvRefusal> {
        match self.ask(command).await? {
            KvAnswer::Session(session) => Ok(session),
            KvAnswer::Transaction(_) => Err(KvRefusal::Stopping),
        }
    }

    async fn ask(&self, command: KvCommand) -> Result<KvAnswer, KvRefusal> {
        let (answer, answered) = oneshot::channel();
        let request = KvRequest { command, answer };
        let sent = self.inner.requests.send(request).await;
        sent.map_err(|_| KvRefusal::Stopping)?;
        answered.await.map_err(|_| KvRefusal::Stopping)?
    }
}

/// A random id, as clients know it.
pub(super) fn random_id() -> Uuid {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid()
}
