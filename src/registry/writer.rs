//! Decide, commit, apply: the one path by which anything changes.

use std::{collections::VecDeque, fmt, pin::Pin, time::Duration};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    Batch, BriefCommit, Command, CommandSender, Commit, Journal, Lost, Origin, Pending, Record,
    Refusal, Registry,
    draft::{Changes, Draft},
    forget, log, routes,
    state::{Logged, State},
};

/// The most commands that wait while a batch is committed.
const WAITING_MAX: usize = 65_536;
/// The most commands of one batch.
const BATCH_MAX: usize = 512;
/// A batch takes no further command when it has so many records, or records of so many bytes.
const BATCH_RECORDS_MAX: usize = 2048;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// The pause between two looks of a stop whether the last commit was made.
const STOP_PAUSE: Duration = Duration::from_millis(1);

/// The state that the registry's lock protects.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) state: State,
    pub(super) log: log::Writer,
    journal: Box<dyn Journal>,
    batches: u64,
    /// The changes of the batch that is decided or committed.
    changes: Changes,
    /// The commands of the batch that is being committed; none between batches.
    in_flight: Option<Vec<Box<dyn Decided>>>,
    commit: Option<Later>,
    /// Commands that came since, not yet decided.
    waiting: VecDeque<Box<dyn Waiting>>,
    closed: bool,
}

/// The result of a commit, in future.
struct Later(Pin<Box<dyn Future<Output = Result<(), Lost>> + Send>>);

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

/// A brief commit under way: should it panic, its batch is lost, and the next commands are not kept waiting.
struct Leading<'a>(&'a Registry);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let lost = Lost::Failed("the commit has panicked".into());
        if self.0.committed(Err(lost)) {
            self.0.inner.committing.notify_one();
        }
    }
}

/// A command that waits for the batch in flight.
trait Waiting: fmt::Debug + Send {
    fn decide(self: Box<Self>, draft: &mut Draft<'_>) -> Box<dyn Decided>;

    fn sender(&self) -> CommandSender;
}

/// A command whose answer waits for its commit.
trait Decided: fmt::Debug + Send {
    fn answer(self: Box<Self>, committed: &Result<(), Lost>);
}

#[derive(Debug)]
struct Queued<C: Command> {
    command: C,
    sender: CommandSender,
    answer: oneshot::Sender<Result<C::Outcome, Refusal>>,
}

#[derive(Debug)]
struct Answer<T> {
    outcome: Result<T, Refusal>,
    to: oneshot::Sender<Result<T, Refusal>>,
}

impl<C: Command> Waiting for Queued<C> {
    fn decide(self: Box<Self>, draft: &mut Draft<'_>) -> Box<dyn Decided> {
        let outcome = self.command.decide(draft);
        Box::new(Answer {
            outcome,
            to: self.answer,
        })
    }

    fn sender(&self) -> CommandSender {
        self.sender.clone()
    }
}

impl<T: fmt::Debug + Send> Decided for Answer<T> {
    fn answer(self: Box<Self>, committed: &Result<(), Lost>) {
        let answer = match committed {
            Ok(()) => self.outcome,
            Err(lost) => Err(lost.clone().into()),
        };
        // The caller may have stopped waiting.
        let _ = self.to.send(answer);
    }
}

impl Writer {
    pub(super) fn new(state: State, log: log::Writer, journal: Box<dyn Journal>) -> Self {
        Self {
            state,
            log,
            journal,
            batches: 0,
            changes: Changes::default(),
            in_flight: None,
            commit: None,
            waiting: VecDeque::new(),
            closed: false,
        }
    }

    fn commit(&mut self) -> Commit {
        self.batches += 1;
        self.journal.commit(Batch {
            number: self.batches,
            epoch: self.state.epoch,
            incarnation: self.changes.incarnation,
            records: &self.changes.records,
        })
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.in_flight.as_ref().map_or(0, Vec::len)
    }

    fn wait<C: Command>(&mut self, command: C, sender: CommandSender) -> Pending<C::Outcome> {
        if self.closed {
            return Pending::ready(Err(Refusal::Stopping));
        }
        if self.waiting.len() >= WAITING_MAX {
            return Pending::ready(Err(Refusal::Busy { max: WAITING_MAX }));
        }
        let (answer, pending) = oneshot::channel();
        self.waiting.push_back(Box::new(Queued {
            command,
            sender,
            answer,
        }));
        Pending::waiting(pending)
    }
}

impl Registry {
    /// Decides a command, commits it and shows what it changes. The answer is ready at once when the
    /// journal's is; else [`Self::run_commits`] brings it. A command that comes while a batch is
    /// committed is decided for the next one, in the order of arrival.
    ///
    /// # Errors
    /// The command is refused, or its batch is lost. Nothing has changed then.
    pub fn submit<C: Command>(
        &self,
        command: C,
        sender: impl Into<CommandSender>,
    ) -> Pending<C::Outcome> {
        self.submit_from(command, sender.into())
    }

    fn submit_from<C: Command>(&self, command: C, sender: CommandSender) -> Pending<C::Outcome> {
        let now = self.clock().now();
        let mut guard = self.inner.writer.lock();
        let writer = &mut *guard;
        if writer.in_flight.is_some() {
            return writer.wait(command, sender);
        }
        writer.changes.begin(&writer.state);
        let mut draft = Draft {
            state: &writer.state,
            changes: &mut writer.changes,
            origin: Origin {
                now,
                connection: sender.connection,
            },
            rights: sender.rights.as_deref(),
        };
        let outcome = command.decide(&mut draft);
        match writer.commit() {
            Commit::Done(Ok(())) => {
                self.show(writer);
                Pending::ready(outcome)
            }
            Commit::Done(Err(lost)) => Pending::ready(Err(lost.into())),
            // Nobody would poll the commit.
            Commit::Later(_) if writer.closed => Pending::ready(Err(Refusal::Stopping)),
            Commit::Brief(_) if writer.closed => Pending::ready(Err(Refusal::Stopping)),
            Commit::Later(later) => {
                let (to, pending) = oneshot::channel();
                writer.in_flight = Some(vec![Box::new(Answer { outcome, to })]);
                writer.commit = Some(Later(later));
                drop(guard);
                self.inner.committing.notify_one();
                Pending::waiting(pending)
            }
            Commit::Brief(commit) => {
                let (to, pending) = oneshot::channel();
                writer.in_flight = Some(vec![Box::new(Answer { outcome, to })]);
                drop(guard);
                self.lead(commit);
                Pending::waiting(pending)
            }
        }
    }

    /// Makes a commit that takes microseconds on the thread that asks for it: to wake another one would take longer.
    /// The thread of [`Self::run_commits`] makes what came meanwhile.
    fn lead(&self, commit: BriefCommit) {
        let leading = Leading(self);
        let committed = commit();
        std::mem::forget(leading);
        if self.committed(committed) {
            self.inner.committing.notify_one();
        }
    }

    /// Brings the answers of a journal that takes time, until `stop` and until everything is answered. A
    /// journal that always answers at once does not need this.
    pub async fn run_commits(self, stop: CancellationToken) {
        loop {
            let later = self.inner.writer.lock().commit.take();
            if let Some(Later(later)) = later {
                let committed = later.await;
                self.committed(committed);
                continue;
            }
            tokio::select! {
                () = self.inner.committing.notified() => (),
                () = stop.cancelled() => {
                    {
                        let mut writer = self.inner.writer.lock();
                        if writer.in_flight.is_none() {
                            writer.closed = true;
                            return;
                        }
                    }
                    // Another thread makes a brief commit.
                    tokio::time::sleep(STOP_PAUSE).await;
                }
            }
        }
    }

    /// Ends the batch in flight and begins the next ones with the commands that came meanwhile. Whether the thread of
    /// [`Self::run_commits`] has one to make.
    fn committed(&self, committed: Result<(), Lost>) -> bool {
        let mut committed = committed;
        let mut guard = self.inner.writer.lock();
        let writer = &mut *guard;
        loop {
            if committed.is_ok() {
                self.show(writer);
            }
            for decided in writer.in_flight.take().unwrap_or_default() {
                decided.answer(&committed);
            }
            if writer.waiting.is_empty() {
                return false;
            }
            writer.in_flight = Some(self.decide_waiting(writer));
            writer.commit = Some(Later(match writer.commit() {
                Commit::Done(done) => {
                    committed = done;
                    continue;
                }
                Commit::Later(later) => later,
                Commit::Brief(commit) => Box::pin(async move { commit() }),
            }));
            return true;
        }
    }

    /// Decides the commands of the next batch, each on top of those before it.
    fn decide_waiting(&self, writer: &mut Writer) -> Vec<Box<dyn Decided>> {
        let n = writer.waiting.len().min(BATCH_MAX);
        let now = self.clock().now();
        writer.changes.begin(&writer.state);
        let mut decided = Vec::with_capacity(n);
        let (mut counted, mut bytes) = (0, 0);
        while decided.len() < n && counted < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(one) = writer.waiting.pop_front() else {
                break;
            };
            let sender = one.sender();
            let origin = Origin {
                now,
                connection: sender.connection,
            };
            let mut draft = Draft {
                state: &writer.state,
                changes: &mut writer.changes,
                origin,
                rights: sender.rights.as_deref(),
            };
            decided.push(one.decide(&mut draft));
            writer.changes.show();
            let new = &writer.changes.records[counted..];
            bytes += new.iter().map(Record::bytes).sum::<usize>();
            counted += new.len();
        }
        decided
    }

    /// Applies a committed batch: the tables first, then the log, then readers are woken.
    fn show(&self, writer: &mut Writer) {
        let Writer {
            state,
            log,
            changes,
            ..
        } = writer;
        for effect in changes.effects.drain(..) {
            state.take(effect);
        }
        let before = state.revision;
        // At once, and ahead of the log: each change makes the whole list again.
        if let Some((revision, changes)) = routes::changes_of(&changes.records) {
            self.inner.route_table.publish(revision, &changes);
        }
        let mut routes_changed = false;
        for record in &changes.records {
            routes_changed |= self.show_one(state, log, record);
        }
        if state.revision == before {
            return;
        }
        if routes_changed {
            let changed = &self.inner.route_table.changed;
            changed.send_replace(state.revision);
        }
        self.wake_or_defer();
    }

    /// Applies one record. True when it changed a route.
    pub(super) fn show_one(
        &self,
        state: &mut State,
        log: &mut log::Writer,
        record: &Record,
    ) -> bool {
        let Some(logged) = state.apply(record) else {
            return false;
        };
        let Logged {
            event,
            previous,
            service,
        } = logged;
        let revision = event.revision;
        log.append(event, previous, |name, gone| {
            state.floor = gone;
            forget(&state.table, name, gone);
        });
        // A service gets its change before `newest` moves: a reader of `newest` finds all changes up to
        // it.
        if let Some(service) = &service {
            service.set_logged(revision);
        }
        log.publish(revision);
        match service {
            Some(service) => service.wake(),
            None => return true,
        }
        false
    }
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NoSpace => Self::NoSpace,
            Lost::Failed(detail) => Self::NotCommitted { detail },
        }
    }
}
