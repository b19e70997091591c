//! Bindings of a headers exchange.

use std::hash::{BuildHasher, RandomState};

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
/// Steps that each call of a search may take, whatever is left of the budget: otherwise it might never end.
const CALL_STEPS_MIN: i64 = 1024;
/// Bytes of values that are compared in a step.
const COMPARED_PER_STEP: usize = 1024;
/// Bytes of headers without an index that are read in a step.
const READ_PER_STEP: usize = 64;

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

    /// Whether a message with these headers is wanted. None when the call has to end: `read` says how many bytes of
    /// the arguments are compared by then. Counts each header that it looks for, and the bytes of its value.
    fn matches(
        &self,
        headers: &Headers<'_>,
        read: &mut usize,
        call: &mut SearchCall<'_>,
    ) -> Option<bool> {
        let with_x = matches!(self.mode, MatchMode::AllWithX | MatchMode::AnyWithX);
        let is_any = matches!(self.mode, MatchMode::Any | MatchMode::AnyWithX);
        let all = self.wanted.view();
        let mut wanted = all.iter_from(*read);
        loop {
            *read = all.as_bytes().len() - wanted.left();
            if call.has_to_end() {
                return None;
            }
            if *read == 0 {
                call.budget.spend(1);
            }
            let Some((name, value)) = wanted.next() else {
                return Some(!is_any);
            };
            call.budget
                .spend(headers.steps() + compared(value) / COMPARED_PER_STEP);
            if name == b"x-match" || !with_x && name.starts_with(b"x-") {
                continue;
            }
            let found = headers.field(name);
            let has = found.is_some_and(|found| value == ValueRef::Void || alike(value, found));
            if has == is_any {
                return Some(has);
            }
        }
    }
}

/// The bytes of a value that are compared.
fn compared(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Str(bytes) | ValueRef::Bytes(bytes) => bytes.len(),
        ValueRef::Array(array) => array.as_bytes().len(),
        ValueRef::Table(table) => table.as_bytes().len(),
        _ => 0,
    }
}

/// The budget of one call of a search.
struct SearchCall<'a> {
    budget: &'a mut Budget,
    /// The call may continue until the turn has used so many steps.
    least: i64,
}

impl<'a> SearchCall<'a> {
    fn new(budget: &'a mut Budget) -> Self {
        let least = budget.used() + CALL_STEPS_MIN;
        Self { budget, least }
    }

    fn has_to_end(&self) -> bool {
        self.budget.is_overdrawn() && self.budget.used() >= self.least
    }
}

/// The headers of a message, indexed if there are many.
#[derive(Debug)]
pub struct Headers<'a> {
    all: TableRef<'a>,
    index: Option<Box<HeadersIndex>>,
}

/// An index of a message's headers by name, made in several turns if there are many.
#[derive(Debug, Default)]
pub struct HeadersIndex {
    /// The offset of the first header by the hash of its name.
    first: SplitMap<u64, usize>,
    hasher: RandomState,
    len: usize,
    /// Bytes of the headers that are read so far.
    read: usize,
}

impl HeadersIndex {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.len * map_entry::<u64, usize>()
    }

    fn add(&mut self, name: &[u8], offset: usize) {
        let entry = self.first.entry(self.hasher.hash_one(name));
        if let std::collections::hash_map::Entry::Vacant(entry) = entry {
            entry.insert(offset);
            self.len += 1;
        }
    }
}

impl<'a> Headers<'a> {
    /// The headers of a message that has these, or none, with what [`Self::into_index`] has given for them earlier.
    pub fn new(headers: Option<TableRef<'a>>, index: Option<Box<HeadersIndex>>) -> Self {
        Self {
            all: headers.unwrap_or_default(),
            index,
        }
    }

    /// The index so far, for the same headers in a later turn.
    pub fn into_index(self) -> Option<Box<HeadersIndex>> {
        self.index
    }

    /// Indexes the headers if there are many; whether that is done.
    fn prepare(&mut self, call: &mut SearchCall<'_>) -> bool {
        let length = self.all.as_bytes().len();
        if length < INDEXED_BYTES_MIN {
            return true;
        }
        let index = self.index.get_or_insert_default();
        let mut fields = self.all.iter_from(index.read);
        while !call.has_to_end() {
            let offset = length - fields.left();
            let Some((name, _)) = fields.next() else {
                return true;
            };
            call.budget.spend(1);
            index.add(name, offset);
            index.read = length - fields.left();
        }
        fields.left() == 0
    }

    /// Steps that it costs to look for one.
    fn steps(&self) -> usize {
        match self.index {
            Some(_) => 1,
            None => 1 + self.all.as_bytes().len() / READ_PER_STEP,
        }
    }

    /// The first header of this name.
    fn field(&self, name: &[u8]) -> Option<ValueRef<'a>> {
        let Some(index) = &self.index else {
            return self.all.field(name);
        };
        let offset = *index.first.get(&index.hasher.hash_one(name))?;
        match self.all.iter_from(offset).next() {
            Some((found, value)) if found == name => Some(value),
            // Another name with the same hash.
            _ => self.all.field(name),
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

/// Progress of a search.
#[derive(Debug, Default)]
pub struct PatternSearch {
    /// How many bindings are left; none: all of them.
    left: Option<usize>,
    /// The binding that was not compared to its end, and how many bytes of its arguments were.
    begun: Option<(BindingId, usize)>,
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

    /// Appends where a message with these headers goes, as far as the budget allows; whether that was all. `search`
    /// holds what is left for the next call. The last ones come first, since [`Self::remove`] moves the last one: none
    /// is left out that is there all the time.
    pub fn matches(
        &self,
        headers: &mut Headers<'_>,
        search: &mut PatternSearch,
        budget: &mut Budget,
        out: &mut Vec<Destination>,
    ) -> bool {
        let mut call = SearchCall::new(budget);
        if !headers.prepare(&mut call) {
            return false;
        }
        let mut count = search.left.unwrap_or(self.all.len()).min(self.all.len());
        while let Some(bound) = count.checked_sub(1).and_then(|index| self.all.get(index)) {
            let mut read = match search.begun.take() {
                Some((id, read)) if id == bound.id => read,
                _ => 0,
            };
            let Some(is_wanted) = bound.pattern.matches(headers, &mut read, &mut call) else {
                search.left = Some(count);
                search.begun = Some((bound.id, read));
                return false;
            };
            if is_wanted {
                out.push(bound.destination);
            }
            count -= 1;
        }
        *search = PatternSearch::default();
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
