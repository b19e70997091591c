//! Exchanges and bindings: declared, deleted, bound, unbound.

use super::{BrokerTime, Vhost, footprint};
use crate::broker::{
    arguments::{check_same_argument, check_same_flag, inequivalent},
    exception::Exception,
    exchange::{
        Binding, BindingKey, Destination, Exchange, ExchangeId, ExchangeKind, canonical,
        headers::HeadersPattern, topic::pattern_steps,
    },
    memory::TopologyCharge,
    queue::ConnectionId,
    wire::{ShortStr, Table, ValueRef},
};

/// The arguments of `exchange.declare`.
#[derive(Clone, Debug)]
pub struct DeclareExchange {
    /// Its name.
    pub name: ShortStr,
    /// Its type.
    pub kind: ShortStr,
    /// Declared as durable.
    pub durable: bool,
    /// Deleted with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges publish to it.
    pub internal: bool,
    /// Arguments.
    pub arguments: Table,
}

/// A binding to be made or removed.
#[derive(Clone, Debug)]
pub struct BindSpec {
    /// The source exchange.
    pub source: ShortStr,
    /// The destination.
    pub target: BindTarget,
    /// The key.
    pub routing_key: ShortStr,
    /// The arguments that a headers exchange compares.
    pub arguments: Table,
}

/// The destination of a binding.
#[derive(Clone, Debug)]
pub enum BindTarget {
    /// A queue.
    Queue(ShortStr),
    /// An exchange.
    Exchange(ShortStr),
}

/// Steps that it costs to bind or unbind.
fn binding_steps(spec: &BindSpec) -> usize {
    10 + spec.arguments.as_bytes().len() / 4 + pattern_steps(&spec.routing_key)
}

fn on_default_exchange() -> Exception {
    Exception::access_refused("operation not permitted on the default exchange")
}

impl Vhost {
    /// `exchange.declare` with passive.
    pub fn check_exchange(&self, name: &ShortStr) -> Result<(), Exception> {
        if name.is_empty() {
            return Err(on_default_exchange());
        }
        self.exchange_id(name).map(drop)
    }

    /// Whether there is no exchange of this name yet. Refuses reserved names.
    pub fn lacks_exchange(&self, name: &ShortStr) -> Result<bool, Exception> {
        if name.is_empty() {
            return Err(on_default_exchange());
        }
        if self.exchange_names.contains_key(name.as_bytes()) {
            return Ok(false);
        }
        if name.starts_with(b"amq.") {
            let text = format!("exchange name '{name}' contains reserved prefix 'amq.*'");
            return Err(Exception::access_refused(text));
        }
        Ok(true)
    }

    /// Whether there is a topic exchange of this name.
    pub fn is_topic_exchange(&self, name: &ShortStr) -> bool {
        let id = self.exchange_names.get(name.as_bytes());
        let exchange = id.and_then(|id| self.exchanges.get(*id));
        exchange.is_some_and(|exchange| exchange.kind == ExchangeKind::Topic)
    }

    /// Whether a declaration makes a new exchange. Refuses one that differs from the exchange that there is.
    pub fn is_new_exchange(&self, spec: &DeclareExchange) -> Result<bool, Exception> {
        check_exchange_type(&spec.kind)?;
        let is_new = self.lacks_exchange(&spec.name)?;
        if let Some(id) = self.exchange_names.get(spec.name.as_bytes()) {
            let current = self
                .exchanges
                .get(*id)
                .ok_or_else(|| self.no_exchange(&spec.name))?;
            check_same(current, spec, &self.exchange_label(&spec.name))?;
        }
        Ok(is_new)
    }

    /// `exchange.declare`.
    pub fn declare_exchange(&mut self, spec: &DeclareExchange) -> Result<(), Exception> {
        if !self.is_new_exchange(spec)? {
            return Ok(());
        }
        let kind = check_exchange_type(&spec.kind)?;
        let alternate = alternate_exchange(&spec.arguments, &self.exchange_label(&spec.name))?;
        if self.exchanges.len() >= self.limits.exchanges.get() {
            return Err(self.too_many("exchanges", self.limits.exchanges.get()));
        }
        self.check_topology()?;
        let mut exchange = Exchange::new(spec.name.detached(), kind);
        exchange.durable = spec.durable;
        exchange.auto_delete = spec.auto_delete;
        exchange.internal = spec.internal;
        exchange.arguments = spec.arguments.detached();
        exchange.alternate = alternate;
        self.keep_exchange(&mut exchange);
        self.add_exchange(exchange);
        Ok(())
    }

    /// Adds an exchange that is checked.
    pub(super) fn add_exchange(&mut self, mut exchange: Exchange) -> ExchangeId {
        let bytes = footprint::of_exchange(&exchange) + exchange.routing_bytes();
        exchange.charge = self.memory.charge_topology(bytes);
        let name = exchange.name.clone();
        let id = self.exchanges.insert(exchange);
        self.exchange_names.insert(name, id);
        id
    }

    /// Refuses to delete predeclared exchanges, whatever the permissions.
    pub fn check_deletable(&self, name: &ShortStr) -> Result<(), Exception> {
        if name.is_empty() {
            return Err(on_default_exchange());
        }
        if name.starts_with(b"amq.") {
            let label = self.exchange_label(name);
            let text = format!("deletion of system {label} not allowed");
            return Err(Exception::access_refused(text));
        }
        Ok(())
    }

    /// `exchange.delete`. Deleting a missing exchange succeeds.
    pub fn delete_exchange(
        &mut self,
        name: &ShortStr,
        if_unused: bool,
        connection: ConnectionId,
        now: BrokerTime,
    ) -> Result<(), Exception> {
        self.check_deletable(name)?;
        let Some(&id) = self.exchange_names.get(name.as_bytes()) else {
            return Ok(());
        };
        if if_unused && self.exchanges.get(id).is_some_and(Exchange::is_used) {
            let label = self.exchange_label(name);
            return Err(Exception::precondition(format!("{label} in use")));
        }
        self.remove_exchange(id, connection, now);
        Ok(())
    }

    /// `queue.bind` and `exchange.bind`.
    pub fn bind(&mut self, spec: &BindSpec, connection: ConnectionId) -> Result<(), Exception> {
        self.budget.spend(binding_steps(spec));
        let (source, destination) = self.ends(spec)?;
        let pattern = self.pattern(source, &spec.arguments)?;
        if let BindTarget::Queue(name) = &spec.target {
            self.usable_queue(name, connection)?;
        }
        let full = self.check_topology();
        let Some(exchange) = self.exchanges.get(source) else {
            return Err(self.no_exchange(&spec.source));
        };
        let key = BindingKey {
            destination,
            routing_key: spec.routing_key.detached(),
            arguments: canonical(&spec.arguments),
        };
        if exchange.bindings.contains_key(&key) {
            return Ok(());
        }
        full?;
        if self.bindings.len() >= self.limits.bindings.get() {
            return Err(self.too_many("bindings", self.limits.bindings.get()));
        }
        let mut binding = Binding {
            source,
            key,
            arguments: spec.arguments.detached(),
            number: 0,
            charge: TopologyCharge::default(),
        };
        self.keep_binding(&mut binding);
        self.add_binding(binding, pattern);
        Ok(())
    }

    /// The arguments that a binding of this exchange compares.
    pub(super) fn pattern(
        &self,
        source: ExchangeId,
        arguments: &Table,
    ) -> Result<HeadersPattern, Exception> {
        let kind = self.exchanges.get(source).map(|exchange| exchange.kind);
        match kind {
            Some(ExchangeKind::Headers) => HeadersPattern::parse(arguments),
            _ => Ok(HeadersPattern::default()),
        }
    }

    /// Adds a binding that is checked.
    pub(super) fn add_binding(&mut self, mut binding: Binding, pattern: HeadersPattern) {
        let Some(exchange) = self.exchanges.get_mut(binding.source) else {
            return;
        };
        let key = binding.key.clone();
        let destination = key.destination;
        let bytes = footprint::of_binding(&binding, exchange.kind);
        binding.charge = self.memory.charge_topology(bytes);
        let id = self.bindings.insert(binding);
        exchange.attach(id, &key, pattern);
        exchange
            .charge
            .set(footprint::of_exchange(exchange) + exchange.routing_bytes());
        exchange.bindings.insert(key, id);
        match destination {
            Destination::Queue(queue) => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.bindings.insert(id);
                }
            }
            Destination::Exchange(exchange) => {
                if let Some(exchange) = self.exchanges.get_mut(exchange) {
                    exchange.inbound.insert(id);
                }
            }
        }
    }

    /// `queue.unbind` and `exchange.unbind`; a binding that is not there is unbound already, even one
    /// of another connection's own queue.
    pub fn unbind(
        &mut self,
        spec: &BindSpec,
        connection: ConnectionId,
        now: BrokerTime,
    ) -> Result<(), Exception> {
        self.budget.spend(binding_steps(spec));
        if spec.source.is_empty() {
            return Err(on_default_exchange());
        }
        let destination = match &spec.target {
            BindTarget::Queue(name) => {
                let id = self.queue_names.get(name.as_bytes());
                id.copied().map(Destination::Queue)
            }
            BindTarget::Exchange(name) if name.is_empty() => return Err(on_default_exchange()),
            BindTarget::Exchange(name) => {
                let id = self.exchange_names.get(name.as_bytes());
                id.copied().map(Destination::Exchange)
            }
        };
        let source = self.exchange_names.get(spec.source.as_bytes());
        let source = source.and_then(|id| self.exchanges.get(*id));
        let (Some(source), Some(destination)) = (source, destination) else {
            return Ok(());
        };
        let key = BindingKey {
            destination,
            routing_key: spec.routing_key.clone(),
            arguments: canonical(&spec.arguments),
        };
        let Some(&id) = source.bindings.get(&key) else {
            return Ok(());
        };
        if let BindTarget::Queue(name) = &spec.target {
            self.usable_queue(name, connection)?;
        }
        self.remove_binding(id, connection, now);
        Ok(())
    }

    /// Both ends of a binding. When both are missing, the error names the source.
    fn ends(&self, spec: &BindSpec) -> Result<(ExchangeId, Destination), Exception> {
        let to_default = matches!(&spec.target, BindTarget::Exchange(name) if name.is_empty());
        if spec.source.is_empty() || to_default {
            return Err(on_default_exchange());
        }
        let source = self.exchange_id(&spec.source)?;
        let destination = match &spec.target {
            BindTarget::Queue(name) => Destination::Queue(self.queue_id(name)?),
            BindTarget::Exchange(name) => Destination::Exchange(self.exchange_id(name)?),
        };
        Ok((source, destination))
    }
}

/// Parses an exchange type. Checked before all other errors, as in RabbitMQ.
pub fn check_exchange_type(name: &ShortStr) -> Result<ExchangeKind, Exception> {
    ExchangeKind::from_name(name).ok_or_else(|| {
        let text = format!("unknown exchange type '{name}'");
        Exception::precondition(text)
    })
}

/// The exchange that gets what another cannot route.
pub fn alternate_exchange(arguments: &Table, label: &str) -> Result<Option<ShortStr>, Exception> {
    match arguments.field(b"alternate-exchange") {
        None => Ok(None),
        Some(ValueRef::Str(name)) if name.len() <= ShortStr::MAX_LEN => Ok(ShortStr::copied(name)),
        Some(other) => Err(Exception::precondition(format!(
            "invalid type '{}' for arg 'alternate-exchange' in {label}",
            other.type_name()
        ))),
    }
}

fn check_same(current: &Exchange, spec: &DeclareExchange, label: &str) -> Result<(), Exception> {
    if spec.kind != current.kind.name() {
        let received = format!("'{}'", spec.kind);
        return Err(inequivalent(
            "type",
            label,
            &received,
            &format!("'{}'", current.kind.name()),
        ));
    }
    check_same_flag("durable", current.durable, spec.durable, label)?;
    check_same_flag("auto_delete", current.auto_delete, spec.auto_delete, label)?;
    check_same_flag("internal", current.internal, spec.internal, label)?;
    check_same_argument(
        "alternate-exchange",
        &current.arguments,
        &spec.arguments,
        label,
    )
}
