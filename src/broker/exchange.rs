//! Exchanges: where a message goes, by key or by headers. Finds destinations, moves nothing.

pub mod headers;
pub mod targets;
pub mod topic;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    headers::{Headers, HeadersPattern, PatternSearch, Patterns},
    targets::Targets,
    topic::{TopicSearch, TopicTrie},
};
use super::{
    budget::Budget,
    memory::{TopologyCharge, map_entry},
    pieces::SplitMap,
    queue::QueueId,
    slab::Id,
    wire::{ShortStr, Table, table::TableBuilder},
};

/// Names an exchange within its vhost.
pub type ExchangeId = Id<Exchange>;
/// Names a binding within its vhost.
pub type BindingId = Id<Binding>;

/// How an exchange routes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExchangeKind {
    /// By the whole key.
    Direct,
    /// To all bound destinations.
    Fanout,
    /// By patterns of words.
    Topic,
    /// By headers.
    Headers,
}

impl ExchangeKind {
    /// The kind of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"direct" => Some(Self::Direct),
            b"fanout" => Some(Self::Fanout),
            b"topic" => Some(Self::Topic),
            b"headers" => Some(Self::Headers),
            _ => None,
        }
    }

    /// Whether the routing key matters to it.
    pub fn uses_key(self) -> bool {
        matches!(self, Self::Direct | Self::Topic)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// Where a binding leads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Destination {
    /// A queue.
    Queue(QueueId),
    /// Another exchange.
    Exchange(ExchangeId),
}

/// The identity of a binding.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BindingKey {
    /// The destination.
    pub destination: Destination,
    /// The key it was made with.
    pub routing_key: ShortStr,
    /// Its arguments in canonical order.
    pub arguments: Vec<u8>,
}

/// A binding as it is listed.
#[derive(Debug)]
pub struct Binding {
    /// The source exchange.
    pub source: ExchangeId,
    /// Its destination, routing key and arguments, which identify it.
    pub key: BindingKey,
    /// Its arguments as declared.
    pub arguments: Table,
    /// The number of its stored row; 0: none.
    pub number: u64,
    /// Counts it, with its places at both ends.
    pub charge: TopologyCharge,
}

/// An exchange.
#[derive(Debug)]
pub struct Exchange {
    /// Its name.
    pub name: ShortStr,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Declared as durable.
    pub durable: bool,
    /// Deleted with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges publish to it.
    pub internal: bool,
    /// Its arguments as declared.
    pub arguments: Table,
    /// The alternate exchange.
    pub alternate: Option<ShortStr>,
    /// The bindings that start here.
    pub bindings: BTreeMap<BindingKey, BindingId>,
    /// The bindings from other exchanges that lead here.
    pub inbound: BTreeSet<BindingId>,
    /// The epoch of the last message that was routed here.
    pub seen: u64,
    /// How many messages were published to it.
    pub published: u64,
    /// The number of its stored row, or of a predeclared exchange; 0: it is not durable.
    pub number: u64,
    /// Counts the exchange and what it routes by, without its bindings.
    pub charge: TopologyCharge,
    /// How it finds destinations.
    pub router: Router,
}

/// How an exchange finds the destinations of a message.
#[derive(Debug)]
pub enum Router {
    /// By the whole key.
    Direct(SplitMap<ShortStr, Targets<Destination>>),
    /// All of them.
    Fanout(Targets<Destination>),
    /// By patterns of words.
    Topic(TopicTrie<Destination>),
    /// By headers.
    Headers(Patterns),
}

/// The rest of the search for one message's destinations.
#[derive(Debug, Default)]
pub struct Search {
    topic: Option<Box<TopicSearch>>,
    headers: PatternSearch,
}

impl Search {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.topic.as_ref().map_or(0, |topic| topic.bytes())
    }
}

/// The parts of a router, a small one at each step of the iterator.
pub type RouterPieces = Box<dyn Iterator<Item = ()> + Send>;

impl Router {
    /// Takes it apart, a small piece at each step of the iterator.
    pub fn into_pieces(self) -> RouterPieces {
        match self {
            Self::Direct(keys) => Box::new(keys.into_iter().flat_map(|(_, all)| pieces(all))),
            Self::Fanout(all) => Box::new(pieces(all)),
            Self::Topic(trie) => Box::new(trie.into_pieces()),
            Self::Headers(patterns) => Box::new(patterns.into_pieces()),
        }
    }
}

/// Takes destinations apart, at least one step.
fn pieces(all: Targets<Destination>) -> impl Iterator<Item = ()> + Send {
    all.into_pieces().chain(std::iter::once(()))
}

impl Exchange {
    /// An exchange that nothing is bound to.
    pub fn new(name: ShortStr, kind: ExchangeKind) -> Self {
        let router = match kind {
            ExchangeKind::Direct => Router::Direct(SplitMap::default()),
            ExchangeKind::Fanout => Router::Fanout(Targets::default()),
            ExchangeKind::Topic => Router::Topic(TopicTrie::default()),
            ExchangeKind::Headers => Router::Headers(Patterns::default()),
        };
        Self {
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: Table::EMPTY,
            alternate: None,
            bindings: BTreeMap::new(),
            inbound: BTreeSet::new(),
            seen: 0,
            published: 0,
            number: 0,
            charge: TopologyCharge::default(),
            router,
        }
    }

    /// Whether anything is bound to it.
    pub fn is_used(&self) -> bool {
        !self.bindings.is_empty()
    }

    /// Adds a binding to the router.
    pub fn attach(&mut self, id: BindingId, key: &BindingKey, pattern: HeadersPattern) {
        let destination = key.destination;
        match &mut self.router {
            Router::Direct(keys) => {
                keys.entry(key.routing_key.clone())
                    .or_default()
                    .add(destination);
            }
            Router::Fanout(all) => all.add(destination),
            Router::Topic(trie) => trie.insert(&key.routing_key, destination),
            Router::Headers(patterns) => patterns.add(id, pattern, destination),
        }
    }

    /// The memory of its routing index, without the parts that single bindings pay for.
    pub fn routing_bytes(&self) -> usize {
        match &self.router {
            Router::Topic(trie) => trie.bytes(),
            Router::Direct(_) | Router::Fanout(_) | Router::Headers(_) => 0,
        }
    }

    /// The memory of a binding in the routing index of such an exchange; `arguments` is the size of its
    /// arguments in bytes.
    pub fn route_bytes(kind: ExchangeKind, arguments: usize) -> usize {
        const TARGETS: usize = 4 * size_of::<Destination>();
        match kind {
            ExchangeKind::Direct => map_entry::<ShortStr, Targets<Destination>>() + TARGETS,
            ExchangeKind::Fanout | ExchangeKind::Topic => TARGETS,
            ExchangeKind::Headers => Patterns::ENTRY + arguments,
        }
    }

    /// Removes a binding from the router. The parts are large and to be dropped one by one.
    pub fn detach(&mut self, id: BindingId, key: &BindingKey) -> Option<RouterPieces> {
        let destination = key.destination;
        match &mut self.router {
            Router::Direct(keys) => {
                if let Some(all) = keys.get_mut(key.routing_key.as_bytes()) {
                    all.remove(destination);
                    if all.is_empty() {
                        keys.remove(key.routing_key.as_bytes());
                    }
                }
            }
            Router::Fanout(all) => all.remove(destination),
            Router::Topic(trie) => {
                let empty = trie.remove(&key.routing_key, destination)?;
                return Some(Box::new(empty.into_pieces()));
            }
            Router::Headers(patterns) => patterns.remove(id),
        }
        None
    }

    /// Appends the destinations for a message, some perhaps more than once, as far as the budget allows; whether
    /// that was all. `search` holds the rest for the next call with the same key and headers.
    pub fn route(
        &mut self,
        routing_key: &[u8],
        headers: &mut Headers<'_>,
        search: &mut Search,
        budget: &mut Budget,
        out: &mut Vec<Destination>,
    ) -> bool {
        let all = match &mut self.router {
            Router::Direct(keys) => match keys.get(routing_key) {
                Some(all) => all.as_slice(),
                None => &[],
            },
            Router::Fanout(all) => all.as_slice(),
            Router::Topic(trie) => {
                return trie.matches(routing_key, &mut search.topic, budget, out);
            }
            Router::Headers(patterns) => {
                return patterns.matches(headers, &mut search.headers, budget, out);
            }
        };
        budget.spend(1 + all.len() / 32);
        out.extend_from_slice(all);
        true
    }
}

/// Arguments in an order that only depends on what they are.
pub fn canonical(arguments: &Table) -> Vec<u8> {
    let mut builder = TableBuilder::new();
    let mut ends: Vec<_> = Vec::new();
    for (name, value) in arguments {
        // Numbers have more than one spelling.
        builder.put(name, value);
        ends.push(builder.len());
    }
    let written = builder.build();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let fields = starts
        .zip(&ends)
        .map(|(start, end)| &written.as_bytes()[start..*end]);
    // Most fields differ in their first bytes, which are compared as one number.
    let mut fields: Vec<_> = fields.map(|field| (beginning(field), field)).collect();
    fields.sort_unstable();
    let mut sorted = Vec::with_capacity(written.as_bytes().len());
    for (_, field) in fields {
        sorted.extend_from_slice(field);
    }
    sorted
}

/// The first bytes of a field, as a number that sorts as they do.
fn beginning(field: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = field.len().min(8);
    first[..length].copy_from_slice(&field[..length]);
    u64::from_be_bytes(first)
}
