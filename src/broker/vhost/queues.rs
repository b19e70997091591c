//! Queues: declared, looked up, purged, deleted.

use super::{REPLY_TO_PREFIX, Vhost, footprint};
use crate::broker::{
    arguments::check_same_flag,
    exception::Exception,
    queue::{
        ConnectionId, Queue, QueueId,
        arguments::{self, Properties, QueueKind, Settings},
    },
    wire::{ShortStr, Table},
};

/// The arguments of `queue.declare`.
#[derive(Clone, Debug)]
pub struct DeclareQueue {
    /// Its name.
    pub name: ShortStr,
    /// Declared as durable.
    pub durable: bool,
    /// For this connection alone.
    pub exclusive: bool,
    /// Deleted with its last consumer.
    pub auto_delete: bool,
    /// Arguments.
    pub arguments: Table,
}

/// The content of `queue.declare-ok`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declared {
    /// The queue's name.
    pub name: ShortStr,
    /// How many messages wait in it.
    pub messages: usize,
    /// How many consumers it has.
    pub consumers: usize,
    /// Whether it is new.
    pub new: bool,
}

impl Vhost {
    /// `queue.declare` with passive.
    pub fn check_queue(
        &mut self,
        name: &ShortStr,
        connection: ConnectionId,
        now: super::BrokerTime,
    ) -> Result<Declared, Exception> {
        if let Some(token) = name.strip_prefix(REPLY_TO_PREFIX.as_bytes()) {
            return self.check_replies(name, token);
        }
        let id = self.usable_queue(name, connection)?;
        self.expire(id, now);
        self.declared(id, now).ok_or_else(|| self.no_queue(name))
    }

    /// A generated queue name.
    pub fn queue_name(&mut self) -> ShortStr {
        self.random_name("amq.gen-")
    }

    /// Refuses reserved names. Checked before all other errors, as in RabbitMQ.
    pub fn check_queue_name(&self, name: &ShortStr) -> Result<(), Exception> {
        if name.starts_with(b"amq.") {
            let text = format!("queue name '{name}' contains reserved prefix 'amq.*'");
            return Err(Exception::access_refused(text));
        }
        Ok(())
    }

    /// Whether there is a queue of this name.
    pub fn has_queue(&self, name: &ShortStr) -> bool {
        self.queue_names.contains_key(name.as_bytes())
    }

    /// What a declaration makes of a new queue; none when there is such a queue. Refuses a declaration that differs
    /// from the queue that there is.
    pub fn settings_of_new(
        &self,
        spec: &DeclareQueue,
        connection: ConnectionId,
    ) -> Result<Option<Settings>, Exception> {
        if let Some(&id) = self.queue_names.get(spec.name.as_bytes()) {
            self.check_same_queue(id, spec, connection)?;
            return Ok(None);
        }
        let properties = Properties {
            durable: spec.durable,
            exclusive: spec.exclusive,
            auto_delete: spec.auto_delete,
        };
        arguments::parse(&spec.arguments, properties, &self.queue_label(&spec.name)).map(Some)
    }

    /// `queue.declare`, with a name that is checked or generated.
    pub fn declare_queue(
        &mut self,
        spec: &DeclareQueue,
        connection: ConnectionId,
        now: super::BrokerTime,
    ) -> Result<Declared, Exception> {
        if let Some(token) = spec.name.strip_prefix(REPLY_TO_PREFIX.as_bytes()) {
            return self.check_replies(&spec.name, token);
        }
        let Some(settings) = self.settings_of_new(spec, connection)? else {
            let id = self.queue_id(&spec.name)?;
            self.expire(id, now);
            return self
                .declared(id, now)
                .ok_or_else(|| self.no_queue(&spec.name));
        };
        if self.queues.len() >= self.limits.queues.get() {
            return Err(self.too_many("queues", self.limits.queues.get()));
        }
        self.check_topology()?;
        let name = spec.name.detached();
        let mut queue = Queue::new(name.clone(), spec.arguments.detached(), settings, now.ms);
        queue.durable = spec.durable && !spec.exclusive;
        queue.auto_delete = spec.auto_delete;
        queue.owner = spec.exclusive.then_some(connection);
        self.keep_queue(&mut queue);
        let id = self.add_queue(queue);
        if spec.exclusive {
            self.owned.entry(connection).or_default().insert(id);
        }
        Ok(Declared {
            name,
            messages: 0,
            consumers: 0,
            new: true,
        })
    }

    /// Adds a queue that is checked.
    pub(super) fn add_queue(&mut self, mut queue: Queue) -> QueueId {
        let name = queue.name.clone();
        self.follow_in(&mut queue);
        queue.stamped = self.stamp.queues.contains(&name);
        queue.settle_within = self.settle_within(queue.settings.consumer_timeout);
        queue.charge = self.memory.charge_topology(footprint::of_queue(&queue));
        queue.ready = queue.ready.counted(self.memory.charge(0));
        let id = self.queues.insert(queue);
        self.queue_names.insert(name, id);
        self.arm(id);
        id
    }

    fn check_same_queue(
        &self,
        id: QueueId,
        spec: &DeclareQueue,
        connection: ConnectionId,
    ) -> Result<(), Exception> {
        let label = self.queue_label(&spec.name);
        let Some(queue) = self.queues.get(id) else {
            return Err(self.no_queue(&spec.name));
        };
        let owner = spec.exclusive.then_some(connection);
        if queue.owner != owner {
            return Err(self.locked(&spec.name));
        }
        if !spec.exclusive {
            check_same_flag("durable", queue.durable, spec.durable, &label)?;
        }
        check_same_flag("auto_delete", queue.auto_delete, spec.auto_delete, &label)?;
        let kind = queue.settings.kind;
        arguments::check_same(kind, &queue.arguments, &spec.arguments, &label)
    }

    fn declared(&mut self, id: QueueId, now: super::BrokerTime) -> Option<Declared> {
        let queue = self.queues.get_mut(id)?;
        queue.unused_since = now.ms;
        Some(Declared {
            name: queue.name.clone(),
            messages: queue.ready.len(),
            consumers: queue.rotation.len(),
            new: false,
        })
    }

    /// `queue.purge`: how many messages were waiting.
    pub fn purge_queue(
        &mut self,
        name: &ShortStr,
        connection: ConnectionId,
        now: super::BrokerTime,
    ) -> Result<usize, Exception> {
        let id = self.usable_queue(name, connection)?;
        Ok(self.purge(id, connection, now))
    }

    /// `queue.delete`: how many messages were waiting. Deleting a missing queue succeeds with 0.
    pub fn delete_queue(
        &mut self,
        name: &ShortStr,
        if_unused: bool,
        if_empty: bool,
        connection: ConnectionId,
        now: super::BrokerTime,
    ) -> Result<usize, Exception> {
        if !self.queue_names.contains_key(name.as_bytes()) {
            return Ok(0);
        }
        let id = self.usable_queue(name, connection)?;
        let label = self.queue_label(name);
        if let Some(queue) = self.queues.get(id) {
            if queue.settings.kind == QueueKind::Quorum {
                check_plain_delete(&label, if_unused, if_empty)?;
            }
            if if_unused && !queue.rotation.is_empty() {
                return Err(Exception::precondition(format!("{label} in use")));
            }
            if if_empty && !queue.ready.is_empty() {
                return Err(Exception::precondition(format!("{label} not empty")));
            }
        }
        Ok(self.remove_queue(id, connection, now))
    }
}

/// RabbitMQ deletes a quorum queue only without conditions.
fn check_plain_delete(queue: &str, if_unused: bool, if_empty: bool) -> Result<(), Exception> {
    let flag = match (if_unused, if_empty) {
        (false, false) => return Ok(()),
        (true, _) => "if-unused",
        (false, true) => "if-empty",
    };
    Err(Exception::not_implemented(format!(
        "cannot delete {queue}. queue.delete operations with {flag} flag set are not supported by \
         quorum queues"
    )))
}
