//! The one task that changes anything: it decides requests in batches, commits their rows, shows the result, answers, and
//! wakes the readers of what changed. It also ends sessions that are not renewed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    KvRefusal, KvRows, KvStore, KvVerb, SessionOwner,
    command::{KvAnswer, KvCommand},
    deadlines::Deadlines,
    draft::KvDraft,
    rows::rows_of,
};

/// The most requests of a batch.
const BATCH_MAX: usize = 128;
/// A batch takes no more requests when its values have this size.
const BATCH_BYTES: usize = 4 << 20;
/// The most sessions that end in a batch because of their time.
const DUE_MAX: usize = 64;
/// Sessions whose end could not be stored end so much later.
const RETRY: Duration = Duration::from_secs(1);
/// No session has a time to live.
const FAR: Duration = Duration::from_secs(3600);

/// A request and where its answer goes.
#[derive(Debug)]
pub(super) struct KvRequest {
    pub(super) command: KvCommand,
    pub(super) answer: oneshot::Sender<Result<KvAnswer, KvRefusal>>,
}

impl KvRequest {
    fn bytes(&self) -> usize {
        let KvCommand::Transaction(operations) = &self.command else {
            return 0;
        };
        let sizes = operations.iter().map(|one| match &one.verb {
            KvVerb::Set(value, _)
            | KvVerb::Cas(value, ..)
            | KvVerb::Lock(value, ..)
            | KvVerb::Unlock(value, ..) => value.len(),
            _ => 0,
        });
        sizes.sum()
    }
}

/// Decides and commits, until it is stopped.
#[derive(Debug)]
pub struct KvWriter {
    store: KvStore,
    requests: mpsc::Receiver<KvRequest>,
    rows: Arc<dyn KvRows>,
    deadlines: Deadlines,
    retry_at: Option<Instant>,
}

type KvDecision = (
    oneshot::Sender<Result<KvAnswer, KvRefusal>>,
    Result<KvAnswer, KvRefusal>,
);

impl KvWriter {
    pub(super) fn new(
        store: KvStore,
        requests: mpsc::Receiver<KvRequest>,
        rows: Arc<dyn KvRows>,
    ) -> Self {
        Self {
            store,
            requests,
            rows,
            deadlines: Deadlines::default(),
            retry_at: None,
        }
    }

    /// Runs until `stop`, and then until the requests that wait are answered.
    pub async fn run(mut self, stop: CancellationToken) {
        // Sessions of an earlier run have their whole time again.
        let state = self.store.state();
        for session in state.sessions().found {
            self.begin_time(session.id);
        }
        drop(state);
        loop {
            let next_end = self.next_end();
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                request = self.requests.recv() => request,
                () = sleep_until(next_end) => None,
            };
            let batch = self.batch(first);
            self.decide(batch).await;
        }
        self.requests.close();
        while let Some(first) = self.requests.recv().await {
            let batch = self.batch(Some(first));
            self.decide(batch).await;
        }
    }

    /// When the next session ends.
    fn next_end(&self) -> Instant {
        let next = self.deadlines.next();
        let next = next.map(|at_ms| self.store.inner.clock.instant_of(at_ms));
        let next = next.unwrap_or_else(|| Instant::now() + FAR);
        self.retry_at.map_or(next, |retry_at| next.max(retry_at))
    }

    /// The first request, and those that wait behind it.
    fn batch(&mut self, first: Option<KvRequest>) -> Vec<KvRequest> {
        let mut batch = Vec::from_iter(first);
        let mut bytes: usize = batch.iter().map(KvRequest::bytes).sum();
        while !batch.is_empty() && batch.len() < BATCH_MAX && bytes < BATCH_BYTES {
            let Ok(request) = self.requests.try_recv() else {
                break;
            };
            bytes += request.bytes();
            batch.push(request);
        }
        batch
    }

    async fn decide(&mut self, batch: Vec<KvRequest>) {
        let inner = Arc::clone(&self.store.inner);
        let now = inner.clock.now();
        let state = inner.state.load_full();
        let mut draft = KvDraft::new((*state).clone(), inner.limits, now.mono_ms);
        drop(state);
        let is_late = self
            .retry_at
            .is_none_or(|retry_at| Instant::now() >= retry_at);
        let due = self.deadlines.due(now.mono_ms, DUE_MAX);
        for id in due.into_iter().filter(|_| is_late) {
            // The end of a session by its time has no caller: there is no answer to give.
            let _ = draft.end_session(id, &SessionOwner::Any);
        }
        let decided = batch.into_iter().map(|request| {
            let answer = self.decide_one(&mut draft, request.command, now.mono_ms);
            (request.answer, answer)
        });
        let decided: Vec<KvDecision> = decided.collect();
        if draft.changes.is_empty() {
            return answer(decided);
        }
        let rows = rows_of(&draft.state, &draft.changes, now);
        if let Err(lost) = self.rows.commit(rows).await {
            self.retry_at = Some(Instant::now() + RETRY);
            let refusal = KvRefusal::from(lost);
            let refused = decided.into_iter();
            return answer(refused.map(|(to, _)| (to, Err(refusal.clone()))).collect());
        }
        self.retry_at = None;
        let KvDraft { state, changes, .. } = draft;
        inner.state.store(Arc::new(state));
        for id in &changes.sessions {
            self.begin_time(*id);
        }
        answer(decided);
        inner.waits.wake(&changes);
    }

    fn decide_one(
        &mut self,
        draft: &mut KvDraft,
        command: KvCommand,
        now_ms: u64,
    ) -> Result<KvAnswer, KvRefusal> {
        match command {
            KvCommand::Transaction(operations) => {
                Ok(KvAnswer::Transaction(draft.transact(&operations)))
            }
            KvCommand::CreateSession(id, session) => {
                let session = draft.create_session(id, session)?;
                Ok(KvAnswer::Session(Some(session)))
            }
            KvCommand::EndSession(id, by) => Ok(KvAnswer::Session(draft.end_session(id, &by)?)),
            KvCommand::RenewSession(id, by) => {
                let session = draft.may_change(id, &by)?;
                if let Some(ttl) = session.as_ref().and_then(|session| session.draft.ttl) {
                    self.deadlines.set(id, now_ms + ms(ttl));
                }
                Ok(KvAnswer::Session(session))
            }
        }
    }

    /// Begins the time of a new session, and forgets that of one that has ended.
    fn begin_time(&mut self, id: uuid::Uuid) {
        let session = self.store.state().session(id).found;
        let ttl = session.as_ref().and_then(|session| session.draft.ttl);
        match ttl {
            Some(_) if self.deadlines.has(id) => (),
            Some(ttl) => {
                let now_ms = self.store.inner.clock.now().mono_ms;
                self.deadlines.set(id, now_ms + ms(ttl));
            }
            None => self.deadlines.remove(id),
        }
    }
}

fn answer(decided: Vec<KvDecision>) {
    for (to, answer) in decided {
        // A client that is gone needs no answer.
        let _ = to.send(answer);
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
