//! `queue.*`

use super::{Context, Session};
use crate::broker::{
    auth::Access,
    exception::Exception,
    vhost::{BindSpec, BindTarget, DeclareQueue, Declared, REPLY_TO, REPLY_TO_PREFIX},
    wire::{ShortStr, ValueRef, method::queue},
};

/// A name without line ends, as RabbitMQ takes it.
pub(super) fn clean(name: ShortStr) -> ShortStr {
    let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !name.iter().any(breaks) {
        return name;
    }
    let kept: Vec<u8> = name.iter().copied().filter(|byte| !breaks(byte)).collect();
    ShortStr::copied(&kept).unwrap_or_default()
}

impl Session {
    pub(super) fn declare_queue(
        &mut self,
        number: u16,
        declare: queue::Declare,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let name = clean(declare.queue);
        if name == REPLY_TO || name.starts_with(REPLY_TO_PREFIX.as_bytes()) {
            return self.declare_replies(number, &name, declare.nowait, context);
        }
        let connection = self.identity.connection;
        let declared = if declare.passive {
            // No name does not mean the last one here. As in RabbitMQ 3.10, this needs no permission.
            context.vhost.check_queue(&name, connection, context.now)?
        } else {
            let name = match name.is_empty() {
                true => context.vhost.queue_name(),
                false => {
                    context.vhost.check_queue_name(&name)?;
                    name
                }
            };
            self.may_queue(Access::Configure, &name)?;
            if let Some(ValueRef::Str(dead)) = declare.arguments.field(b"x-dead-letter-exchange")
                && !context.vhost.has_queue(&name)
            {
                let dead = ShortStr::copied(dead).unwrap_or_default();
                self.may_queue(Access::Read, &name)?;
                self.may_exchange(Access::Write, &dead)?;
            }
            let spec = DeclareQueue {
                name,
                durable: declare.durable,
                exclusive: declare.exclusive,
                auto_delete: declare.auto_delete,
                arguments: declare.arguments,
            };
            context
                .vhost
                .declare_queue(&spec, connection, context.now)?
        };
        self.queue_is_there(number, declared, (declare.durable, declare.nowait), context)
    }

    fn queue_is_there(
        &mut self,
        number: u16,
        declared: Declared,
        (durable, nowait): (bool, bool),
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        // Not for the daemon's own queues.
        if declared.new && durable && !context.vhost.is_stored() && self.origin.user.is_some() {
            tracing::debug!(
                queue.name = %declared.name,
                "queue \"{}\" is durable: it and its messages live as long as this daemon",
                declared.name
            );
        }
        self.channel(number)?.last_queue = declared.name.clone();
        let declare_ok = queue::DeclareOk {
            queue: declared.name,
            message_count: count(declared.messages),
            consumer_count: count(declared.consumers),
        };
        self.answer_when_done(nowait, number, &declare_ok, context);
        Ok(())
    }

    /// Declares the name of a requester of direct replies: checks that it exists. The pseudo-queue always does.
    fn declare_replies(
        &mut self,
        number: u16,
        name: &ShortStr,
        nowait: bool,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let declared = if *name == REPLY_TO {
            Declared {
                name: name.detached(),
                messages: 0,
                consumers: 1,
                new: false,
            }
        } else {
            context
                .vhost
                .check_queue(name, self.identity.connection, context.now)?
        };
        self.queue_is_there(number, declared, (false, nowait), context)
    }

    pub(super) fn bind_queue(
        &mut self,
        number: u16,
        bind: queue::Bind,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let nowait = bind.nowait;
        let spec = self.bind_spec(
            number,
            bind.queue,
            bind.exchange,
            (bind.routing_key, bind.arguments),
        )?;
        self.may_topics(
            Access::Read,
            &spec.source,
            [&spec.routing_key],
            context.vhost,
        )?;
        context.vhost.bind(&spec, self.identity.connection)?;
        self.answer_when_done(nowait, number, &queue::BindOk {}, context);
        Ok(())
    }

    pub(super) fn unbind_queue(
        &mut self,
        number: u16,
        unbind: queue::Unbind,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let spec = self.bind_spec(
            number,
            unbind.queue,
            unbind.exchange,
            (unbind.routing_key, unbind.arguments),
        )?;
        self.may_topics(
            Access::Read,
            &spec.source,
            [&spec.routing_key],
            context.vhost,
        )?;
        let connection = self.identity.connection;
        context.vhost.unbind(&spec, connection, context.now)?;
        self.answer_when_done(false, number, &queue::UnbindOk {}, context);
        Ok(())
    }

    fn bind_spec(
        &mut self,
        number: u16,
        queue: ShortStr,
        exchange: ShortStr,
        (key, arguments): (ShortStr, crate::broker::wire::Table),
    ) -> Result<BindSpec, Exception> {
        let unnamed = queue.is_empty();
        let queue = self.queue_name(number, queue)?;
        self.may_queue(Access::Write, &queue)?;
        self.may_exchange(Access::Read, &exchange)?;
        let routing_key = if unnamed && key.is_empty() {
            queue.clone()
        } else {
            key
        };
        let target = BindTarget::Queue(queue);
        Ok(BindSpec {
            source: exchange,
            target,
            routing_key,
            arguments,
        })
    }

    pub(super) fn purge_queue(
        &mut self,
        number: u16,
        purge: &queue::Purge,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let name = self.queue_name(number, purge.queue.clone())?;
        self.may_queue(Access::Read, &name)?;
        let connection = self.identity.connection;
        let purged = context.vhost.purge_queue(&name, connection, context.now)?;
        if purged > 0 && !purge.nowait {
            context.vhost.await_purge(connection, &self.peer);
        }
        let purge_ok = queue::PurgeOk {
            message_count: count(purged),
        };
        self.answer_when_done(purge.nowait, number, &purge_ok, context);
        Ok(())
    }

    pub(super) fn delete_queue(
        &mut self,
        number: u16,
        delete: &queue::Delete,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let name = self.queue_name(number, delete.queue.clone())?;
        self.may_queue(Access::Configure, &name)?;
        let deleted = context.vhost.delete_queue(
            &name,
            delete.if_unused,
            delete.if_empty,
            self.identity.connection,
            context.now,
        )?;
        let delete_ok = queue::DeleteOk {
            message_count: count(deleted),
        };
        self.answer_when_done(delete.nowait, number, &delete_ok, context);
        Ok(())
    }

    /// The queue of this name; without one, the last declared on the channel.
    pub(super) fn queue_name(
        &mut self,
        number: u16,
        name: ShortStr,
    ) -> Result<ShortStr, Exception> {
        if !name.is_empty() {
            return Ok(clean(name));
        }
        let last = &self.channel(number)?.last_queue;
        if last.is_empty() {
            return Err(Exception::not_found("no previously declared queue"));
        }
        Ok(last.clone())
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
