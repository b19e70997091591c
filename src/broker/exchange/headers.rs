//! Bindings of a headers exchange: which headers a message must have.

use std::collections::HashMap;

use super::{BindingId, Destination};
use crate::broker::{
    arguments::{plain, same_value},
    exception::Exception,
    memory::map_entry,
    wire::{Table, TableRef, ValueRef},
};

/// What a binding asks of a message's headers.
#[derive(Debug, Default)]
pub struct HeadersPattern {
    wanted: Table,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Mode {
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
            None | Some(ValueRef::Str(b"all")) => Mode::All,
            Some(ValueRef::Str(b"any")) => Mode::Any,
            Some(ValueRef::Str(b"all-with-x")) => Mode::AllWithX,
            Some(ValueRef::Str(b"any-with-x")) => Mode::AnyWithX,
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

    /// Whether a message with these headers is wanted.
    pub fn matches(&self, headers: TableRef<'_>) -> bool {
        let with_x = matches!(self.mode, Mode::AllWithX | Mode::AnyWithX);
        let mut wanted = self
            .wanted
            .iter()
            .filter(|(name, _)| *name != b"x-match" && (with_x || !name.starts_with(b"x-")));
        let has = |(name, value): (&[u8], ValueRef<'_>)| {
            headers
                .field(name)
                .is_some_and(|found| value == ValueRef::Void || alike(value, found))
        };
        match self.mode {
            Mode::All | Mode::AllWithX => wanted.all(has),
            Mode::Any | Mode::AnyWithX => wanted.any(has),
        }
    }
}

/// The bindings of one exchange, with an index, so that to unbind does not depend on how many there are.
#[derive(Debug, Default)]
pub struct Patterns {
    all: Vec<Bound>,
    /// Where each stands.
    places: HashMap<BindingId, usize>,
}

#[derive(Debug)]
struct Bound {
    id: BindingId,
    pattern: HeadersPattern,
    destination: Destination,
}

impl Patterns {
    /// What a binding costs here besides its arguments.
    pub const ENTRY: usize = size_of::<Bound>() * 3 / 2 + map_entry::<BindingId, usize>();

    /// Adds a binding.
    pub fn add(&mut self, id: BindingId, pattern: HeadersPattern, destination: Destination) {
        self.places.insert(id, self.all.len());
        self.all.push(Bound {
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

    /// Appends where a message with these headers goes.
    pub fn matches(&self, headers: TableRef<'_>, out: &mut Vec<Destination>) {
        let matching = self.all.iter();
        let matching = matching.filter(|bound| bound.pattern.matches(headers));
        out.extend(matching.map(|bound| bound.destination));
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
