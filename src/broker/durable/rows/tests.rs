use bytes::Bytes;

use super::{BindingEnd, BindingRow, ExchangeRow, QueueRow};
use crate::broker::{
    exchange::ExchangeKind,
    wire::{ShortStr, Table, table::TableBuilder},
};

fn short(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

fn arguments() -> Table {
    let mut table = TableBuilder::new();
    table.put_long("x-max-length", 7);
    table.put_str("x-dead-letter-exchange", b"dead");
    table.build()
}

#[test]
fn rows_are_read_as_they_were_written_and_cut_ones_are_refused() {
    let exchange = ExchangeRow {
        vhost: short("/"),
        name: short("orders"),
        kind: ExchangeKind::Headers,
        auto_delete: false,
        internal: true,
        arguments: arguments(),
    };
    let queue = QueueRow {
        vhost: short("other"),
        name: short(&"q".repeat(255)),
        auto_delete: true,
        arguments: arguments(),
    };
    let binding = BindingRow {
        vhost: short("/"),
        source: 3,
        destination: BindingEnd::Exchange(u64::MAX),
        routing_key: short("a.*.#"),
        arguments: Table::EMPTY,
    };
    let row = Bytes::from(exchange.encode());
    assert_eq!(ExchangeRow::decode(9, row.clone()), Ok(exchange));
    assert!(ExchangeRow::decode(9, row.slice(..row.len() - 1)).is_err());
    let row = Bytes::from(queue.encode());
    assert_eq!(QueueRow::decode(9, row.clone()), Ok(queue));
    assert!(QueueRow::decode(9, row.slice(..20)).is_err());
    let row = Bytes::from(binding.encode());
    assert_eq!(BindingRow::decode(9, row.clone()), Ok(binding));
    let error = BindingRow::decode(9, row.slice(1..)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("row 9 of table \"broker.bindings\"")
    );
}
