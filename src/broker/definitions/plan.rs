//! A definitions file, read into declarations.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{
    DefinitionFault,
    fields::DefinitionFields,
    ignored::{self, IgnoredDefinition},
    users::PlannedUser,
};
use crate::broker::{
    exchange::ExchangeKind,
    policy::{PolicySource, QueuePolicy},
    queue::arguments::{self, Properties, QueueKind},
    vhost::{
        BindSpec, BindTarget, DeclareExchange, DeclareQueue, REPLY_TO_PREFIX, alternate_exchange,
        check_exchange_type,
    },
    wire::{ShortStr, Table},
};

/// More faults than these are not named.
const FAULTS_MAX: usize = 50;

/// What an import is to do.
#[derive(Debug, Default)]
pub struct ImportPlan {
    /// By the name of the vhost; also of those that the file only lists.
    pub vhosts: BTreeMap<String, VhostPlan>,
    /// The users with their permissions, in the order of their names.
    pub users: BTreeMap<String, PlannedUser>,
    /// The policies.
    pub policies: Vec<PlannedPolicy>,
    /// What is not imported.
    pub ignored: Vec<IgnoredDefinition>,
}

/// A policy to be set.
#[derive(Clone, Debug)]
pub struct PlannedPolicy {
    /// Its vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// What it says.
    pub source: PolicySource,
}

/// What is declared in one vhost.
#[derive(Debug, Default)]
pub struct VhostPlan {
    /// Declared first.
    pub exchanges: Vec<PlannedDeclaration<DeclareExchange>>,
    /// Declared then.
    pub queues: Vec<PlannedDeclaration<DeclareQueue>>,
    /// Made last.
    pub bindings: Vec<PlannedDeclaration<BindSpec>>,
    exchange_names: HashMap<ShortStr, usize>,
    queue_names: HashMap<ShortStr, usize>,
}

/// One declaration, and where the file has it.
#[derive(Debug)]
pub struct PlannedDeclaration<T> {
    /// Such as `queues[3]`.
    pub place: String,
    /// What is declared.
    pub spec: T,
}

impl VhostPlan {
    /// How many declarations there are.
    pub fn len(&self) -> usize {
        self.exchanges.len() + self.queues.len() + self.bindings.len()
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the file has its first declaration.
    pub fn first_place(&self) -> Option<&str> {
        let exchange = self.exchanges.first().map(|planned| &planned.place);
        let queue = self.queues.first().map(|planned| &planned.place);
        let binding = self.bindings.first().map(|planned| &planned.place);
        exchange.or(queue).or(binding).map(String::as_str)
    }

    /// The type of an exchange that is declared.
    pub fn exchange_kind(&self, name: &ShortStr) -> Option<ExchangeKind> {
        let planned = &self.exchanges[*self.exchange_names.get(name.as_bytes())?];
        ExchangeKind::from_name(&planned.spec.kind)
    }

    /// Whether a queue of this name is declared.
    pub fn has_queue(&self, name: &ShortStr) -> bool {
        self.queue_names.contains_key(name.as_bytes())
    }
}

impl ImportPlan {
    /// Reads a file. With `only`, it is the file of one vhost, and objects without a vhost belong to that one.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(body: &[u8], only: Option<&str>) -> Result<Self, Vec<DefinitionFault>> {
        let file = match serde_json::from_slice(body) {
            Ok(Value::Object(file)) => file,
            Ok(_) => {
                let message = "must be a JSON object with queues, exchanges and bindings";
                return Err(vec![DefinitionFault::invalid("", message)]);
            }
            Err(error) => {
                let message = format!("is no JSON: {error}");
                return Err(vec![DefinitionFault::invalid("", message)]);
            }
        };
        let mut reading = PlanReader {
            only,
            plan: Self {
                ignored: ignored::of_file(&file),
                ..Self::default()
            },
            faults: Vec::new(),
        };
        reading.vhosts(&file);
        reading.list(&file, "exchanges", PlanReader::exchange);
        reading.list(&file, "queues", PlanReader::queue);
        reading.list(&file, "bindings", PlanReader::binding);
        reading.list(&file, "users", PlanReader::user);
        reading.list(&file, "permissions", PlanReader::permission);
        reading.list(&file, "topic_permissions", PlanReader::topic_permission);
        reading.list(&file, "policies", PlanReader::policy);
        match reading.faults.is_empty() {
            true => Ok(reading.plan),
            false => Err(reading.faults),
        }
    }
}

pub(super) struct PlanReader<'a> {
    only: Option<&'a str>,
    pub(super) plan: ImportPlan,
    faults: Vec<DefinitionFault>,
}

impl PlanReader<'_> {
    fn vhosts(&mut self, file: &Map<String, Value>) {
        let Some(vhosts) = self.items(file, "vhosts") else {
            return;
        };
        for (index, vhost) in vhosts.iter().enumerate() {
            match vhost["name"].as_str() {
                Some(name) => {
                    self.plan.vhosts.entry(name.to_owned()).or_default();
                    self.plan.ignored.extend(ignored::of_vhost(vhost));
                }
                None => self.fault(DefinitionFault::invalid(
                    format!("vhosts[{index}].name"),
                    "is missing",
                )),
            }
        }
    }

    fn items<'f>(&mut self, file: &'f Map<String, Value>, key: &str) -> Option<&'f Vec<Value>> {
        match file.get(key)? {
            Value::Array(items) => Some(items),
            _ => {
                self.fault(DefinitionFault::invalid(key, "must be a list"));
                None
            }
        }
    }

    fn fault(&mut self, fault: DefinitionFault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    fn list(
        &mut self,
        file: &Map<String, Value>,
        key: &str,
        read: fn(&mut Self, &mut DefinitionFields<'_>) -> Option<()>,
    ) {
        let Some(items) = self.items(file, key) else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            let place = format!("{key}[{index}]");
            let Value::Object(fields) = item else {
                self.fault(DefinitionFault::invalid(place, "must be an object"));
                continue;
            };
            let mut fields = DefinitionFields::new(place, fields);
            // What is wrong is among the faults.
            _ = read(self, &mut fields);
            if fields.faults.is_empty() {
                let unread = fields.unread().map(|name| {
                    let name = format!("{}.{name}", fields.place);
                    IgnoredDefinition::new("field", &name, None, "it is not known here")
                });
                self.plan.ignored.extend(unread);
            }
            for fault in fields.faults {
                self.fault(fault);
            }
        }
    }

    /// The vhost that an object belongs to.
    pub(super) fn vhost(&self, fields: &mut DefinitionFields<'_>) -> Option<String> {
        let own = fields.optional_name("vhost").map(|name| name.to_string());
        match (own, self.only) {
            (Some(own), Some(only)) if own != only => {
                let message = format!("is \"{own}\", and the import is for \"{only}\"");
                fields.fault("vhost", message);
                None
            }
            (Some(own), _) => Some(own),
            (None, Some(only)) => Some(only.to_owned()),
            (None, None) => {
                let message = "is missing: for the file of one vhost, name it with ?vhost=";
                fields.fault("vhost", message);
                None
            }
        }
    }

    /// A policy that is not supported here is ignored, with the reason.
    fn policy(&mut self, fields: &mut DefinitionFields<'_>) -> Option<()> {
        let vhost = self.vhost(fields)?;
        let name = fields.name("name")?.to_string();
        let read = PolicySource::read(fields.all());
        match read.and_then(|source| QueuePolicy::new(source.clone()).map(|_| source)) {
            Ok(source) => self.plan.policies.push(PlannedPolicy {
                vhost,
                name,
                source,
            }),
            Err(fault) => {
                let reason = fault.to_string();
                let ignored = IgnoredDefinition::new("policy", &name, Some(&vhost), &reason);
                self.plan.ignored.push(ignored);
            }
        }
        Some(())
    }

    fn exchange(&mut self, fields: &mut DefinitionFields<'_>) -> Option<()> {
        let vhost = self.vhost(fields);
        let (name, kind) = (fields.name("name"), fields.name("type"));
        let durable = fields.flag("durable", None);
        let auto_delete = fields.flag("auto_delete", Some(false));
        let internal = fields.flag("internal", Some(false));
        let arguments = fields.arguments();
        let arguments = arguments.and_then(|arguments| fields.table(&arguments));
        let (vhost, spec) = (
            vhost?,
            DeclareExchange {
                name: name?,
                kind: kind?,
                durable: durable?,
                auto_delete: auto_delete?,
                internal: internal?,
                arguments: arguments?,
            },
        );
        let label = format!("exchange '{}' in vhost '{vhost}'", spec.name);
        if spec.name.is_empty() {
            fields.fault("name", "is empty: the default exchange is always there");
        }
        if let Err(exception) = check_exchange_type(&spec.kind) {
            fields.fault("type", format!("of {label}: {}", exception.explanation));
        }
        if let Err(exception) = alternate_exchange(&spec.arguments, &label) {
            fields.fault("arguments", exception.explanation);
        }
        let plan = self.plan.vhosts.entry(vhost).or_default();
        let index = plan.exchanges.len();
        let first = *plan
            .exchange_names
            .entry(spec.name.clone())
            .or_insert(index);
        if first == index {
            let place = fields.place.clone();
            plan.exchanges.push(PlannedDeclaration { place, spec });
        } else if !is_same_exchange(&plan.exchanges[first].spec, &spec) {
            defined_twice(fields, &label, &plan.exchanges[first].place);
        }
        Some(())
    }

    fn queue(&mut self, fields: &mut DefinitionFields<'_>) -> Option<()> {
        let vhost = self.vhost(fields);
        let name = fields.name("name");
        let durable = fields.flag("durable", None);
        let auto_delete = fields.flag("auto_delete", Some(false));
        let arguments = queue_arguments(fields);
        let (vhost, spec) = (
            vhost?,
            DeclareQueue {
                name: name?,
                durable: durable?,
                exclusive: false,
                auto_delete: auto_delete?,
                arguments: arguments?,
            },
        );
        let label = format!("queue '{}' in vhost '{vhost}'", spec.name);
        if spec.name.is_empty() {
            fields.fault("name", "is empty");
        }
        if spec.name.starts_with(REPLY_TO_PREFIX.as_bytes()) {
            fields.fault("name", "is that of direct replies");
        }
        let properties = Properties {
            durable: spec.durable,
            exclusive: false,
            auto_delete: spec.auto_delete,
        };
        if let Err(exception) = arguments::parse(&spec.arguments, properties, &label) {
            fields.fault("arguments", exception.explanation);
        }
        let plan = self.plan.vhosts.entry(vhost).or_default();
        let index = plan.queues.len();
        let first = *plan.queue_names.entry(spec.name.clone()).or_insert(index);
        if first == index {
            let place = fields.place.clone();
            plan.queues.push(PlannedDeclaration { place, spec });
        } else if !is_same_queue(&plan.queues[first].spec, &spec) {
            defined_twice(fields, &label, &plan.queues[first].place);
        }
        Some(())
    }

    fn binding(&mut self, fields: &mut DefinitionFields<'_>) -> Option<()> {
        let vhost = self.vhost(fields);
        let (source, destination) = (fields.name("source"), fields.name("destination"));
        let kind = fields.name("destination_type");
        let routing_key = fields.optional_name("routing_key").unwrap_or_default();
        let arguments = fields.arguments();
        let arguments = arguments.and_then(|arguments| fields.table(&arguments));
        let (vhost, source, destination, arguments) = (vhost?, source?, destination?, arguments?);
        let target = match kind?.as_bytes() {
            b"queue" => BindTarget::Queue(destination),
            b"exchange" => BindTarget::Exchange(destination),
            _ => {
                fields.fault("destination_type", "must be queue or exchange");
                return None;
            }
        };
        if source.is_empty() {
            let (what, vhost) = ("binding to the default exchange", Some(&*vhost));
            let reason = "each queue is bound to it by its name";
            let ignored = IgnoredDefinition::new(what, &fields.place, vhost, reason);
            self.plan.ignored.push(ignored);
            return None;
        }
        let spec = BindSpec {
            source,
            target,
            routing_key,
            arguments,
        };
        let plan = self.plan.vhosts.entry(vhost).or_default();
        let place = fields.place.clone();
        plan.bindings.push(PlannedDeclaration { place, spec });
        Some(())
    }
}

/// The arguments of a queue, with its type where the file has that only beside them.
fn queue_arguments(fields: &mut DefinitionFields<'_>) -> Option<Table> {
    const KIND: &str = "x-queue-type";
    let mut arguments = fields.arguments();
    if let Some(kind) = fields.text("type") {
        let known = [QueueKind::Classic, QueueKind::Quorum].map(QueueKind::name);
        if !known.contains(&kind) {
            let message = format!("queue type '{kind}' is not supported: classic and quorum are");
            fields.fault("type", message);
            return None;
        }
        let arguments = arguments.as_mut()?;
        match arguments.get(KIND) {
            Some(own) if own != kind => {
                let message = format!("is {kind}, and {KIND} among the arguments is {own}");
                fields.fault("type", message);
                return None;
            }
            None if kind != QueueKind::Classic.name() => {
                arguments.insert(KIND.to_owned(), kind.into());
            }
            _ => {}
        }
    }
    fields.table(&arguments?)
}

fn defined_twice(fields: &mut DefinitionFields<'_>, label: &str, first: &str) {
    let message = format!("{label} is defined otherwise at {first}");
    fields.fault("name", message);
}

fn is_same_exchange(one: &DeclareExchange, other: &DeclareExchange) -> bool {
    let properties = |spec: &DeclareExchange| (spec.durable, spec.auto_delete, spec.internal);
    one.kind == other.kind
        && properties(one) == properties(other)
        && one.arguments == other.arguments
}

fn is_same_queue(one: &DeclareQueue, other: &DeclareQueue) -> bool {
    let properties = |spec: &DeclareQueue| (spec.durable, spec.auto_delete);
    properties(one) == properties(other) && one.arguments == other.arguments
}
