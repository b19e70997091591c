//! Sends the answers, and finds the one because of which the broker ended the connection.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesOrdered};
use lapin::{
    Channel, Confirmation, Connection, Event,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        convert::{at, properties, text, within},
        target::RabbitTarget,
    },
    AnswerInbox, PendingAnswer,
};
use crate::{
    model::{Channel as Way, FlagState},
    transport::amqp::{AmqpError, AnswerScope, ComparisonCounts, Link, Usage},
};

/// The most answers that are sent and not confirmed.
const WINDOW: usize = 256;
/// After so many failed attempts an answer is dropped.
const ATTEMPTS_MAX: u8 = 3;
/// How long an answer is kept: callers do not wait longer.
const KEPT: Duration = Duration::from_secs(60);
/// After so long without a loss of the connection, earlier losses no longer count.
const CALM: Duration = Duration::from_secs(60);
/// How long it may take to close the connection.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// connection-forced: the broker ended the connection, but not because of an answer.
const FORCED: u16 = 320;

/// Sends answers over a separate connection, while commands are taken.
#[derive(Debug)]
pub(in crate::transport::rabbitmq) struct AnswerSender {
    target: RabbitTarget,
    link: Link,
    flag: watch::Receiver<FlagState>,
    /// How many consumers of commands there are now.
    consumers: watch::Receiver<usize>,
    counts: ComparisonCounts,
    stop: CancellationToken,
    inbox: AnswerInbox,
    /// Sent and not confirmed, in order.
    under_way: VecDeque<PendingAnswer>,
    /// Those that were under way when the connection ended. They are sent one at a time, so that the one that caused
    /// it ends the connection only once more.
    again: VecDeque<PendingAnswer>,
    /// The one that received last, to be sent next.
    received: Option<PendingAnswer>,
    /// How often in a row the connection has ended.
    losses: u32,
    /// Whether that was logged.
    logged: bool,
}

struct Open {
    connection: Connection,
    channel: Arc<Channel>,
    since: Instant,
}

impl AnswerSender {
    pub(in crate::transport::rabbitmq) fn new(
        target: RabbitTarget,
        scope: AnswerScope,
        inbox: AnswerInbox,
    ) -> Self {
        Self {
            target,
            link: scope.link,
            flag: scope.flag,
            consumers: scope.consumers,
            counts: scope.counts,
            stop: scope.stop,
            inbox,
            under_way: VecDeque::new(),
            again: VecDeque::new(),
            received: None,
            losses: 0,
            logged: false,
        }
    }

    /// Runs until `stop` and until no more commands are consumed.
    pub(in crate::transport::rabbitmq) async fn run(mut self) {
        let stop = self.stop.clone();
        while let Some(usage) = self.until_wanted(&stop).await {
            self.serve(&usage, &stop).await;
            if !usage.gone().is_cancelled() {
                self.drop_all();
            }
        }
        self.drop_all();
    }

    /// None after `stop`.
    async fn until_wanted(&mut self, stop: &CancellationToken) -> Option<Usage> {
        loop {
            let wanted = self.flag.wait_for(uses_broker);
            let wanted = tokio::select! {
                () = stop.cancelled() => return None,
                wanted = wanted => wanted.is_ok(),
            };
            if !wanted {
                return None;
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = until_unwanted(&mut self.flag) => (),
                usage = self.link.until_up() => return Some(usage),
            }
        }
    }

    /// Sends while commands are consumed over the current main connection.
    async fn serve(&mut self, usage: &Usage, stop: &CancellationToken) {
        let mut end = End {
            usage,
            stop,
            flag: self.flag.clone(),
            consumers: self.consumers.clone(),
        };
        self.send_again();
        loop {
            let opened = tokio::select! {
                () = usage.gone().cancelled() => return,
                opened = self.open() => opened,
            };
            let error = match opened {
                Ok(open) => {
                    let _before = self.inbox.paused.send_replace(false);
                    let ended = self.send(&open, &mut end).await;
                    let ended = ended.map_err(|error| self.resolve_failure(&open, error));
                    leave(&open).await;
                    let Err(error) = ended else {
                        return;
                    };
                    if open.since.elapsed() > CALM {
                        (self.losses, self.logged) = (0, false);
                    }
                    error
                }
                Err(error) => {
                    self.drop_old();
                    error
                }
            };
            if usage.gone().is_cancelled() {
                return;
            }
            self.losses = self.losses.saturating_add(1);
            let _before = self.inbox.paused.send_replace(true);
            let pause = self.link.backoff(self.losses);
            self.log_end(&error, pause);
            tokio::select! {
                () = usage.gone().cancelled() => return,
                () = end.reached() => return,
                () = sleep(pause) => (),
            }
        }
    }

    async fn open(&self) -> Result<Open, AmqpError> {
        let after = self.link.config().connect_timeout;
        let connection = self.target.connect("musterd answers", after.get()).await?;
        let after = self.link.config().answer_timeout;
        let opened = connection.create_channel();
        let channel = within("opening a channel", after.get(), opened).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        within("confirm.select", after.get(), confirms).await?;
        Ok(Open {
            connection,
            channel: Arc::new(channel),
            since: Instant::now(),
        })
    }

    /// Sends until the end, and then the rest.
    async fn send(&mut self, open: &Open, end: &mut End<'_>) -> Result<(), AmqpError> {
        let mut events = pin!(open.connection.events_listener());
        let mut confirms = FuturesOrdered::new();
        let after = self.link.config().answer_timeout;
        let mut is_over = false;
        loop {
            while let Some(answer) = self.next() {
                confirms.push_back(publish(&open.channel, &answer));
                self.under_way.push_back(answer);
            }
            let is_idle = confirms.is_empty();
            if is_idle && is_over {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = end.usage.gone().cancelled() => return Err(AmqpError::NotConnected),
                Some(event) = events.next() => if let Event::Error(error) = event {
                    return Err(at("answering")(error));
                },
                confirmed = timeout(after.get(), confirms.next()), if !is_idle => match confirmed {
                    // A requester's own queue may refuse it.
                    Ok(Some(Ok(_))) => drop(self.under_way.pop_front()),
                    Ok(Some(Err(error))) => return Err(at("answering")(error)),
                    Err(_) if open.connection.status().blocked() => (),
                    Ok(None) | Err(_) => {
                        return Err(AmqpError::Late { what: "answering", after: after.get() });
                    }
                },
                answer = self.inbox.answers.recv(), if self.has_window() => match answer {
                    Some(answer) => self.received = Some(answer),
                    None => is_over = true,
                },
                () = end.reached(), if is_idle => is_over = true,
            }
        }
    }

    /// Whether those that wait in the inbox may be sent.
    fn has_window(&self) -> bool {
        self.again.is_empty() && self.under_way.len() < WINDOW
    }

    /// The next one that may be sent now.
    fn next(&mut self) -> Option<PendingAnswer> {
        loop {
            let mut answer = if let Some(received) = self.received.take() {
                received
            } else if self.has_window() {
                self.inbox.answers.try_recv().ok()?
            } else if self.under_way.is_empty() {
                self.again.pop_front()?
            } else {
                return None;
            };
            if answer.since.elapsed() < KEPT {
                answer.attempts += 1;
                return Some(answer);
            }
            self.drop_answer(&answer);
        }
    }

    /// Decides for each answer that was under way at the failure whether it is sent again.
    fn resolve_failure(&mut self, open: &Open, error: AmqpError) -> AmqpError {
        let is_late = matches!(error, AmqpError::Late { .. });
        if open.connection.status().connected() && !is_late {
            // Only the channel has ended: the user may not publish answers at all.
            self.counts.sent_in_vain(self.under_way.len() as u64);
            for _ in self.under_way.drain(..) {
                self.inbox.lost.note("the broker refuses it");
            }
        } else if self.under_way.len() == 1 && is_about_an_answer(&error) {
            self.under_way.clear();
            let reason = "the broker ended the connection because of it: its reply_to is made up";
            self.inbox.lost.note(reason);
        }
        self.send_again();
        error
    }

    /// Warns once, and not when the broker is lost, which the main connection logs.
    fn log_end(&mut self, error: &AmqpError, pause: Duration) {
        let is_repeated = is_about_an_answer(error) || self.losses > 2;
        if is_repeated && !self.logged {
            self.logged = true;
            tracing::warn!(
                %error,
                "the connection for answers to commands ended: {error}; reconnecting with backoff"
            );
        } else {
            tracing::debug!(%error, "no connection for answers for {pause:?}: {error}");
        }
    }

    fn send_again(&mut self) {
        while let Some(answer) = self.under_way.pop_back() {
            if answer.attempts < ATTEMPTS_MAX {
                self.again.push_front(answer);
            } else {
                self.drop_answer(&answer);
            }
        }
    }

    /// Drops those that are too old.
    fn drop_old(&mut self) {
        while let Ok(answer) = self.inbox.answers.try_recv() {
            self.again.push_back(answer);
        }
        for answer in std::mem::take(&mut self.again) {
            if answer.since.elapsed() < KEPT {
                self.again.push_back(answer);
            } else {
                self.drop_answer(&answer);
            }
        }
    }

    fn drop_all(&mut self) {
        self.drop_old();
        for answer in std::mem::take(&mut self.again) {
            self.drop_answer(&answer);
        }
    }

    fn drop_answer(&self, answer: &PendingAnswer) {
        self.counts.sent_in_vain(1);
        let reason = match answer.attempts {
            0 => "there is no connection to send it over",
            _ => "the broker has not confirmed it",
        };
        self.inbox.lost.note(reason);
    }
}

/// When nothing more is to be sent.
struct End<'a> {
    usage: &'a Usage,
    stop: &'a CancellationToken,
    flag: watch::Receiver<FlagState>,
    consumers: watch::Receiver<usize>,
}

impl End<'_> {
    /// Returns when commands are not consumed any more.
    async fn reached(&mut self) {
        tokio::select! {
            () = self.stop.cancelled() => (),
            () = self.usage.leaving().cancelled() => (),
            () = until_unwanted(&mut self.flag) => (),
        }
        // The consumers, which hold the sender, end later.
        let _ = self.consumers.wait_for(|consumers| *consumers == 0).await;
    }
}

fn uses_broker(flagged: &FlagState) -> bool {
    flagged.modes.of(Way::Discovery).uses_broker()
}

async fn until_unwanted(flag: &mut watch::Receiver<FlagState>) {
    let unwanted = flag.wait_for(|flagged| !uses_broker(flagged));
    if unwanted.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether the broker ended the connection because of something that was sent.
fn is_about_an_answer(error: &AmqpError) -> bool {
    matches!(error, AmqpError::Broker { code: Some(code), .. } if *code != FORCED)
}

/// Closes it, if it is open.
async fn leave(open: &Open) {
    if open.connection.status().connected() {
        let closed = open.connection.close(200, "OK".into());
        if timeout(LEAVE_MAX, closed).await.is_err() {
            tracing::debug!("the connection for answers ended unclosed");
        }
    }
}

fn publish(
    channel: &Arc<Channel>,
    pending: &PendingAnswer,
) -> impl Future<Output = lapin::Result<Confirmation>> + use<> {
    let channel = Arc::clone(channel);
    let answer = pending.answer.clone();
    async move {
        let options = BasicPublishOptions::default();
        let (reply_to, properties) = (text(&answer.key), properties(&answer.properties));
        let sent = channel.basic_publish("".into(), reply_to, options, &answer.body, properties);
        sent.await?.await
    }
}
