//! `exchange.*`

use super::{Context, Session, queue::clean};
use crate::broker::{
    auth::Access,
    exception::Exception,
    vhost::{BindSpec, BindTarget, DeclareExchange, check_exchange_type},
    wire::{ShortStr, ValueRef, method::exchange},
};

impl Session {
    pub(super) fn declare_exchange(
        &self,
        number: u16,
        declare: exchange::Declare,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let name = clean(declare.exchange);
        if declare.passive {
            context.vhost.check_exchange(&name)?;
            self.answer_unless(declare.nowait, number, &exchange::DeclareOk {});
            return Ok(());
        }
        check_exchange_type(&declare.kind)?;
        self.may_exchange(Access::Configure, &name)?;
        if let Some(ValueRef::Str(alternate)) = declare.arguments.field(b"alternate-exchange")
            && context.vhost.lacks_exchange(&name)?
        {
            let alternate = ShortStr::copied(alternate).unwrap_or_default();
            self.may_exchange(Access::Read, &name)?;
            self.may_exchange(Access::Write, &alternate)?;
        }
        context.vhost.declare_exchange(&DeclareExchange {
            name,
            kind: declare.kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
        })?;
        self.answer_when_done(declare.nowait, number, &exchange::DeclareOk {}, context);
        Ok(())
    }

    pub(super) fn delete_exchange(
        &self,
        number: u16,
        delete: &exchange::Delete,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let name = clean(delete.exchange.clone());
        context.vhost.check_deletable(&name)?;
        self.may_exchange(Access::Configure, &name)?;
        let (connection, now) = (self.identity.connection, context.now);
        (context.vhost).delete_exchange(&name, delete.if_unused, connection, now)?;
        self.answer_when_done(delete.nowait, number, &exchange::DeleteOk {}, context);
        Ok(())
    }

    pub(super) fn bind_exchange(
        &self,
        number: u16,
        bind: exchange::Bind,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        self.may_feed(&bind.destination, &bind.source)?;
        self.may_topics(
            Access::Read,
            &bind.source,
            [&bind.routing_key],
            context.vhost,
        )?;
        let spec = BindSpec {
            source: bind.source,
            target: BindTarget::Exchange(bind.destination),
            routing_key: bind.routing_key,
            arguments: bind.arguments,
        };
        context.vhost.bind(&spec, self.identity.connection)?;
        self.answer_when_done(bind.nowait, number, &exchange::BindOk {}, context);
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &self,
        number: u16,
        unbind: exchange::Unbind,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        self.may_feed(&unbind.destination, &unbind.source)?;
        self.may_topics(
            Access::Read,
            &unbind.source,
            [&unbind.routing_key],
            context.vhost,
        )?;
        let spec = BindSpec {
            source: unbind.source,
            target: BindTarget::Exchange(unbind.destination),
            routing_key: unbind.routing_key,
            arguments: unbind.arguments,
        };
        let connection = self.identity.connection;
        context.vhost.unbind(&spec, connection, context.now)?;
        self.answer_when_done(unbind.nowait, number, &exchange::UnbindOk {}, context);
        Ok(())
    }

    fn may_feed(&self, destination: &ShortStr, source: &ShortStr) -> Result<(), Exception> {
        self.may_exchange(Access::Write, destination)?;
        self.may_exchange(Access::Read, source)
    }
}
