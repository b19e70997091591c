//! RabbitMQ, or another AMQP 0-9-1 broker, over a network through lapin. The only place that names that library.
//!
//! All workarounds for lapin and RabbitMQ are in this folder:
//! - `kept`: dropping a channel while it receives messages can block lapin's reader for ever.
//! - `connection`: RabbitMQ does not read from a connection whose publishers it blocks, so consumers have a
//!   separate one. And lapin may end a connection while a dropped channel is still being closed.
//! - `poison`: RabbitMQ can make a message larger than a frame, which ends the connection that delivers it.
//! - `answers`: RabbitMQ ends a connection over which a made-up `reply_to` is answered.
//! - `config::stacks`: lapin reads nested tables recursively on its own thread.

mod answers;
mod channel;
mod connection;
mod convert;
mod kept;
mod poison;
mod target;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use self::{
    answers::{AnswerInbox, AnswerOutbox, AnswerSender, LostAnswers},
    connection::Pair,
    kept::KeptChannels,
    target::RabbitTarget,
};
use super::{
    AmqpConfig, Config,
    amqp::{
        AmqpError, AnswerScope, DeadLetters,
        broker::{AmqpConnection, BrokerClient, Heard},
    },
};

/// A client of the broker of `transport.amqp_url`.
#[derive(Debug)]
pub struct RabbitMq {
    target: RabbitTarget,
    config: AmqpConfig,
    kept: KeptChannels,
    outbox: AnswerOutbox,
    /// Taken by the task that sends the answers.
    inbox: Mutex<Option<AnswerInbox>>,
    lost: LostAnswers,
}

impl RabbitMq {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// The URL or the certificates to trust cannot be read.
    pub fn new(config: &Config) -> Result<Self, AmqpError> {
        let target = RabbitTarget::new(&config.amqp_url, &config.amqp)?;
        let lost = LostAnswers::default();
        let (outbox, inbox) = AnswerOutbox::new(lost.clone());
        Ok(Self {
            target,
            config: config.amqp.clone(),
            kept: KeptChannels::default(),
            outbox,
            inbox: Mutex::new(Some(inbox)),
            lost,
        })
    }

    async fn pair(&self) -> Result<Pair, AmqpError> {
        let within = self.config.connect_timeout;
        let (sending, consuming) = tokio::try_join!(
            self.target.connect("musterd", within.get()),
            self.target.connect("musterd consumers", within.get())
        )?;
        Ok(Pair {
            sending,
            consuming,
            config: self.config.clone(),
            kept: self.kept.clone(),
            answers: self.outbox.clone(),
        })
    }
}

impl BrokerClient for RabbitMq {
    fn kind(&self) -> &'static str {
        "external"
    }

    fn url(&self) -> String {
        self.target.shown()
    }

    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn AmqpConnection>, AmqpError>> {
        Box::pin(async move {
            let connection: Arc<dyn AmqpConnection> = Arc::new(self.pair().await?);
            Ok(connection)
        })
    }

    fn repair<'a>(
        &'a self,
        error: &'a AmqpError,
        dead: &'a DeadLetters,
        heard: Heard<'a>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if poison::is_too_large(error) {
                self.remove_poison(dead, heard).await;
            }
        })
    }

    fn run_answers(&self, scope: AnswerScope) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let inbox = self.inbox.lock().take();
            if let Some(inbox) = inbox {
                let sender = AnswerSender::new(self.target.clone(), scope, inbox);
                sender.run().await;
            }
        })
    }

    fn answers_lost(&self) -> u64 {
        self.lost.total()
    }
}
