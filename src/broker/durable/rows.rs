//! The contents of a topology's rows.

use bytes::Bytes;

use super::{
    TopologyTable,
    reader::{RowReader, put_short, put_u64},
};
use crate::broker::{
    exchange::ExchangeKind,
    wire::{ShortStr, Table},
};

const VERSION: u8 = 1;
const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;

/// A row that is damaged, or that a later version wrote.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("row {number} of table \"{}\" cannot be read: it is damaged, or a later version wrote it", table.name())]
pub struct UnreadableTopologyRow {
    /// The table.
    pub table: TopologyTable,
    /// The number of the row.
    pub number: u64,
}

/// A durable exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeRow {
    /// The vhost that it belongs to.
    pub vhost: ShortStr,
    /// Its name.
    pub name: ShortStr,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Deleted with its last binding.
    pub auto_delete: bool,
    /// Only other exchanges publish to it.
    pub internal: bool,
    /// Its arguments as declared.
    pub arguments: Table,
}

/// A durable queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueRow {
    /// The vhost that it belongs to.
    pub vhost: ShortStr,
    /// Its name.
    pub name: ShortStr,
    /// Deleted with its last consumer.
    pub auto_delete: bool,
    /// Its arguments as declared.
    pub arguments: Table,
}

/// Where a durable binding leads, by the number of the row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BindingEnd {
    /// A queue.
    Queue(u64),
    /// An exchange.
    Exchange(u64),
}

/// A durable binding. It names its ends by their numbers, so that it never belongs to a later exchange or queue of the
/// same name.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingRow {
    /// The vhost that it belongs to.
    pub vhost: ShortStr,
    /// The source exchange.
    pub source: u64,
    /// The destination.
    pub destination: BindingEnd,
    /// The key it was made with.
    pub routing_key: ShortStr,
    /// Its arguments as declared.
    pub arguments: Table,
}

impl ExchangeRow {
    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_short(&mut out, &self.vhost);
        put_short(&mut out, &self.name);
        out.push(kind_octet(self.kind));
        let auto_delete = if self.auto_delete { AUTO_DELETE } else { 0 };
        let internal = if self.internal { INTERNAL } else { 0 };
        out.push(auto_delete | internal);
        out.extend_from_slice(self.arguments.as_bytes());
        out
    }

    /// The row of this number.
    ///
    /// # Errors
    /// It is not understood.
    pub fn decode(number: u64, row: Bytes) -> Result<Self, UnreadableTopologyRow> {
        let table = TopologyTable::Exchanges;
        Self::read(RowReader::new(row)).ok_or(UnreadableTopologyRow { table, number })
    }

    fn read(mut row: RowReader) -> Option<Self> {
        row.u8().filter(|version| *version == VERSION)?;
        let (vhost, name) = (row.short()?, row.short()?);
        let kind = kind_of(row.u8()?)?;
        let flags = row.u8()?;
        Some(Self {
            vhost,
            name,
            kind,
            auto_delete: flags & AUTO_DELETE != 0,
            internal: flags & INTERNAL != 0,
            arguments: row.table()?,
        })
    }
}

impl QueueRow {
    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_short(&mut out, &self.vhost);
        put_short(&mut out, &self.name);
        out.push(if self.auto_delete { AUTO_DELETE } else { 0 });
        out.extend_from_slice(self.arguments.as_bytes());
        out
    }

    /// The row of this number.
    ///
    /// # Errors
    /// It is not understood.
    pub fn decode(number: u64, row: Bytes) -> Result<Self, UnreadableTopologyRow> {
        let table = TopologyTable::Queues;
        Self::read(RowReader::new(row)).ok_or(UnreadableTopologyRow { table, number })
    }

    fn read(mut row: RowReader) -> Option<Self> {
        row.u8().filter(|version| *version == VERSION)?;
        Some(Self {
            vhost: row.short()?,
            name: row.short()?,
            auto_delete: row.u8()? & AUTO_DELETE != 0,
            arguments: row.table()?,
        })
    }
}

impl BindingRow {
    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_short(&mut out, &self.vhost);
        put_u64(&mut out, self.source);
        let (octet, number) = match self.destination {
            BindingEnd::Queue(number) => (0, number),
            BindingEnd::Exchange(number) => (1, number),
        };
        out.push(octet);
        put_u64(&mut out, number);
        put_short(&mut out, &self.routing_key);
        out.extend_from_slice(self.arguments.as_bytes());
        out
    }

    /// The row of this number.
    ///
    /// # Errors
    /// It is not understood.
    pub fn decode(number: u64, row: Bytes) -> Result<Self, UnreadableTopologyRow> {
        let table = TopologyTable::Bindings;
        Self::read(RowReader::new(row)).ok_or(UnreadableTopologyRow { table, number })
    }

    fn read(mut row: RowReader) -> Option<Self> {
        row.u8().filter(|version| *version == VERSION)?;
        let (vhost, source) = (row.short()?, row.u64()?);
        let destination = match row.u8()? {
            0 => BindingEnd::Queue(row.u64()?),
            1 => BindingEnd::Exchange(row.u64()?),
            _ => return None,
        };
        Some(Self {
            vhost,
            source,
            destination,
            routing_key: row.short()?,
            arguments: row.table()?,
        })
    }
}

fn kind_octet(kind: ExchangeKind) -> u8 {
    match kind {
        ExchangeKind::Direct => 0,
        ExchangeKind::Fanout => 1,
        ExchangeKind::Topic => 2,
        ExchangeKind::Headers => 3,
    }
}

fn kind_of(octet: u8) -> Option<ExchangeKind> {
    match octet {
        0 => Some(ExchangeKind::Direct),
        1 => Some(ExchangeKind::Fanout),
        2 => Some(ExchangeKind::Topic),
        3 => Some(ExchangeKind::Headers),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
