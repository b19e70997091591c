//! `exchange.*`

use super::{Scene, Session, queue::clean};
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
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        let name = clean(declare.exchange);
        if declare.passive {
            self.may_exchange(Access::Configure, &name)?;
            scene.vhost.check_exchange(&name)?;
            self.answer_unless(declare.nowait, number, &exchange::DeclareOk {});
            return Ok(());
        }
        check_exchange_type(&declare.kind)?;
        self.may_exchange(Access::Configure, &name)?;
        if let Some(ValueRef::Str(alternate)) = declare.arguments.field(b"alternate-exchange")
            && scene.vhost.lacks_exchange(&name)?
        {
            let alternate = ShortStr::copied(alternate).unwrap_or_default();
            self.may_exchange(Access::Read, &name)?;
            self.may_exchange(Access::Write, &alternate)?;
        }
        scene.vhost.declare_exchange(&DeclareExchange {
            name,
            kind: declare.kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
        })?;
        self.answer_unless(declare.nowait, number, &exchange::DeclareOk {});
        Ok(())
    }

    pub(super) fn delete_exchange(
        &self,
        number: u16,
        delete: &exchange::Delete,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        let name = clean(delete.exchange.clone());
        scene.vhost.check_deletable(&name)?;
        self.may_exchange(Access::Configure, &name)?;
        scene.vhost.delete_exchange(&name, delete.if_unused)?;
        self.answer_unless(delete.nowait, number, &exchange::DeleteOk {});
        Ok(())
    }

    pub(super) fn bind_exchange(
        &self,
        number: u16,
        bind: exchange::Bind,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        self.may_feed(&bind.destination, &bind.source)?;
        let spec = BindSpec {
            source: bind.source,
            target: BindTarget::Exchange(bind.destination),
            routing_key: bind.routing_key,
            arguments: bind.arguments,
        };
        scene.vhost.bind(&spec, self.identity.connection)?;
        self.answer_unless(bind.nowait, number, &exchange::BindOk {});
        Ok(())
    }

    pub(super) fn unbind_exchange(
        &self,
        number: u16,
        unbind: exchange::Unbind,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        self.may_feed(&unbind.destination, &unbind.source)?;
        let spec = BindSpec {
            source: unbind.source,
            target: BindTarget::Exchange(unbind.destination),
            routing_key: unbind.routing_key,
            arguments: unbind.arguments,
        };
        scene.vhost.unbind(&spec, self.identity.connection)?;
        self.answer_unless(unbind.nowait, number, &exchange::UnbindOk {});
        Ok(())
    }

    fn may_feed(&self, destination: &ShortStr, source: &ShortStr) -> Result<(), Exception> {
        self.may_exchange(Access::Write, destination)?;
        self.may_exchange(Access::Read, source)
    }
}
