//! Bindings of a headers exchange.

use std::{cell::OnceCell, collections::HashMap};

use super::{BindingId, Destination};
use crate::broker::{
    arguments::{plain, same_value},
    budget::Budget,
    exception::Exception,
    memory::map_entry,
    pieces::{List, SplitMap},
    wire::{Table, TableRef, ValueRef},
};

/// Fewer bytes of headers are searched faster without an index.
const INDEXED_BYTES_MIN: usize = 256;
/// The bindings that each call of a search looks at, whatever its budget.
const LOOKED_AT_MIN: usize = 1024;

/// The headers that a binding requires.
#[derive(Debug, Default)]
pub struct HeadersPattern {
    wanted: Table,
    mode: MatchMode,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum MatchMode {
    #[default]
    All,
    Any,
    AllWithX,
    AnyWithX,
}

impl HeadersPattern {
    /// Reads a binding's arguments.
    pub fn parse(arguments: &Table) -> Result<Self, Exception> {
        let mode = match arguments.field(b"x-match") {
            None | Some(ValueRef::Str(b"all")) => MatchMode::All,
            Some(ValueRef::Str(b"any")) => MatchMode::Any,
            Some(ValueRef::Str(b"all-with-x")) => MatchMode::AllWithX,
            Some(ValueRef::Str(b"any-with-x")) => MatchMode::AnyWithX,
            Some(ValueRef::Str(other)) => {
                let other = String::from_utf8_lossy(other);
                return Err(Exception::precondition(format!(
                    "Invalid x-match field value <<\"{other}\">>; expected all, any, all-with-x, or any-with-x"
                )));
            }
            Some(other) => {
                return Err(Exception::precondition(format!(
                    "Invalid x-match field type {} (value {}); expected longstr",
                    other.type_name(),
                    plain(other)
                )));
            }
        };
        let wanted = arguments.detached();
        Ok(Self { wanted, mode })
    }

    /// Whether a message with these headers is wanted; counts each header that it looks for.
    pub fn matches(&self, headers: &Headers<'_>, budget: &mut Budget) -> bool {
        let with_x = matches!(self.mode, MatchMode::AllWithX | MatchMode::AnyWithX);
        let mut looked_at = 1;
        let mut wanted = self
            .wanted
            .iter()
            .inspect(|_| looked_at += 1)
            .filter(|(name, _)| *name != b"x-match" && (with_x || !name.starts_with(b"x-")));
        let has = |(name, value): (&[u8], ValueRef<'_>)| {
            headers
                .field(name)
                .is_some_and(|found| value == ValueRef::Void || alike(value, found))
        };
        let matches = match self.mode {
            MatchMode::All | MatchMode::AllWithX => wanted.all(has),
            MatchMode::Any | MatchMode::AnyWithX => wanted.any(has),
        };
        budget.spend(looked_at);
        matches
    }
}

/// The headers of a message, indexed if there are many.
#[derive(Debug)]
pub struct Headers<'a> {
    all: TableRef<'a>,
    index: OnceCell<HashMap<&'a [u8], ValueRef<'a>>>,
}

impl<'a> Headers<'a> {
    /// The headers of a message that has these, or none.
    pub fn new(headers: Option<TableRef<'a>>) -> Self {
        Self {
            all: headers.unwrap_or_default(),
            index: OnceCell::new(),
        }
    }

    /// Indexes the headers if there are many.
    fn prepare(&self, budget: &mut Budget) {
        if self.all.as_bytes().len() < INDEXED_BYTES_MIN || self.index.get().is_some() {
            return;
        }
        let index = self.index.get_or_init(|| {
            let mut index = HashMap::new();
            for (name, value) in self.all.iter() {
                index.entry(name).or_insert(value);
            }
            index
        });
        budget.spend(index.len());
    }

    /// The first header of this name.
    fn field(&self, name: &[u8]) -> Option<ValueRef<'a>> {
        match self.index.get() {
            Some(index) => index.get(name).copied(),
            None => self.all.field(name),
        }
    }
}

/// The bindings of one exchange, with an index so that removal takes constant time.
#[derive(Debug, Default)]
pub struct Patterns {
    all: List<BoundPattern>,
    /// The index of each.
    places: SplitMap<BindingId, usize>,
}

#[derive(Debug)]
struct BoundPattern {
    id: BindingId,
    pattern: HeadersPattern,
    destination: Destination,
}

impl Patterns {
    /// The memory of a binding here besides its arguments.
    pub const ENTRY: usize = size_of::<BoundPattern>() * 3 / 2 + map_entry::<BindingId, usize>();

    /// Adds a binding.
    pub fn add(&mut self, id: BindingId, pattern: HeadersPattern, destination: Destination) {
        self.places.insert(id, self.all.len());
        self.all.push(BoundPattern {
            id,
            pattern,
            destination,
        });
    }

    /// Takes a binding away.
    pub fn remove(&mut self, id: BindingId) {
        let Some(index) = self.places.remove(&id) else {
            return;
        };
        self.all.swap_remove(index);
        if let Some(moved) = self.all.get(index) {
            self.places.insert(moved.id, index);
        }
        if self.all.is_empty() {
            *self = Self::default();
        }
    }

    /// Appends where a message with these headers goes, as far as the budget allows; whether that was all. `left`
    /// holds how many bindings are left for the next call. The last ones come first, since [`Self::remove`] moves the
    /// last one: none is left out that is there all the time.
    pub fn matches(
        &self,
        headers: &Headers<'_>,
        left: &mut Option<usize>,
        budget: &mut Budget,
        out: &mut Vec<Destination>,
    ) -> bool {
        headers.prepare(budget);
        let mut count = left.unwrap_or(self.all.len()).min(self.all.len());
        // The index may have used up the budget: a call that looks at no binding would never end.
        let least = count.saturating_sub(LOOKED_AT_MIN);
        while let Some(bound) = count.checked_sub(1).and_then(|index| self.all.get(index)) {
            if count < least && budget.is_overdrawn() {
                *left = Some(count);
                return false;
            }
            count -= 1;
            if bound.pattern.matches(headers, budget) {
                out.push(bound.destination);
            }
        }
        *left = None;
        true
    }

    /// Takes them apart, one at each step of the iterator.
    pub fn into_pieces(self) -> impl Iterator<Item = ()> + Send {
        let places = self.places.into_iter().map(drop);
        self.all.into_iter().map(drop).chain(places)
    }
}

/// Whether two values are the same to a headers exchange, which has byte arrays and strings alike.
fn alike(wanted: ValueRef<'_>, found: ValueRef<'_>) -> bool {
    match (wanted, found) {
        (ValueRef::Str(a), ValueRef::Bytes(b)) | (ValueRef::Bytes(a), ValueRef::Str(b)) => a == b,
        _ => same_value(wanted, found),
    }
}

#[cfg(test)]
mod tests;
