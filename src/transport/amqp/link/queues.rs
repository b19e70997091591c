//! Queues of the daemon that cannot be used, for example because they exist with other arguments.
//! Each stops the channel that needs it and no other.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{Link, LinkInner};
use crate::{
    model::{Channel, Modes},
    transport::amqp::{
        AmqpError, Usage,
        broker::{AmqpChannel, AmqpConnection, Purpose},
        names,
    },
};

/// Why queues cannot be used, by name.
#[derive(Debug, Default)]
pub(in crate::transport::amqp) struct BrokenQueues(Mutex<BTreeMap<&'static str, String>>);

impl BrokenQueues {
    /// A queue cannot be used; logged once.
    fn note(&self, queue: &'static str, error: &AmqpError) {
        let message = format!("queue \"{queue}\" cannot be used: {error}");
        if self.0.lock().insert(queue, message).is_none() {
            let fix = match error.refusal() {
                Some(_) => "delete it, and musterd declares it again",
                None => "musterd tries again",
            };
            tracing::warn!(
                queue.name = queue,
                %error,
                "queue \"{queue}\" cannot be used: {error}; {fix}"
            );
        }
    }

    /// A queue can be used.
    fn mended(&self, queue: &'static str) {
        if self.0.lock().remove(queue).is_some() {
            tracing::info!(queue.name = queue, "queue \"{queue}\" can be used again");
        }
    }

    /// A queue can be used; or it cannot, if it was the broker that refused it.
    pub(in crate::transport::amqp) fn note_declared(
        &self,
        queue: &'static str,
        declared: &Result<(), AmqpError>,
    ) {
        match declared {
            Ok(()) => self.mended(queue),
            Err(error) if error.is_of_declaration() => self.note(queue, error),
            Err(_) => (),
        }
    }

    /// Whether a queue cannot be used.
    pub(in crate::transport::amqp) fn is_broken(&self, queue: &str) -> bool {
        self.0.lock().contains_key(queue)
    }

    /// The first queue that a channel needs in these modes and that cannot be used.
    pub(in crate::transport::amqp) fn in_use(&self, modes: Modes) -> Option<String> {
        let broken = self.0.lock();
        let used = Channel::ALL
            .into_iter()
            .filter(|channel| modes.of(*channel).uses_broker());
        let mut queues = used.flat_map(|channel| names::queues_of(channel).iter());
        queues.find_map(|queue| broken.get(queue).cloned())
    }
}

impl Link {
    /// Declares the exchange and the queues that are consumed over a connection of its own, so that they exist
    /// before clients can connect. Nothing is retried: what cannot be declared is logged, and declared again when
    /// it is needed.
    pub(in crate::transport::amqp) async fn declare_first(&self) {
        let shared = &self.shared;
        let declared = async {
            let connection = shared.client.connect().await?;
            shared.declare_consumed(&*connection).await.map(drop)
        };
        if let Err(error) = declared.await {
            let url = shared.client.url();
            tracing::warn!(
                broker.url = url,
                %error,
                "the broker at {url} cannot be used: {error}; delete what was declared there by others"
            );
        }
    }

    /// Declares everything again over a connection that is up: the exchange may have been deleted, and with it
    /// the bindings.
    pub(in crate::transport::amqp) async fn declare_all(
        &self,
        usage: &Usage,
    ) -> Result<(), AmqpError> {
        self.shared.declare_all(usage.connection()).await
    }
}

impl LinkInner {
    /// Declares everything that the daemon uses.
    pub(super) async fn declare_all(
        &self,
        connection: &dyn AmqpConnection,
    ) -> Result<(), AmqpError> {
        let mut channel = self.declare_consumed(connection).await?;
        match names::declare_dead(&mut *channel).await {
            Ok(()) => channel.close().await,
            // Its arguments do not matter.
            Err(error) if error.is_of_declaration() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Declares the exchange, which everything needs, and each queue that can be declared. Answers with an open
    /// channel. No queue is bound to an exchange of another type.
    async fn declare_consumed(
        &self,
        connection: &dyn AmqpConnection,
    ) -> Result<Box<dyn AmqpChannel>, AmqpError> {
        let mut channel = connection.open(Purpose::Send).await?;
        names::declare_exchange(&mut *channel).await?;
        for queue in names::consumed() {
            let declared = names::declare_queue(&mut *channel, queue).await;
            self.broken.note_declared(queue, &declared);
            match declared {
                Ok(()) => (),
                Err(error) if error.is_of_declaration() => {
                    channel = connection.open(Purpose::Send).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(channel)
    }
}
