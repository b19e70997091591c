//! The topology of the broker on the store.

use bytes::Bytes;

use crate::{
    broker::durable::{
        EachRow, TopologyChange, TopologyFault, TopologyStore, TopologyTable, UnreadableTopologyRow,
    },
    store::{Store, StoreError, Writes},
};

/// Each commit of the topology is one of the store.
#[derive(Debug)]
pub(in crate::app) struct StoreTopology(pub(in crate::app) Store);

impl TopologyStore for StoreTopology {
    fn commit(&self, changes: &[TopologyChange]) -> Result<(), TopologyFault> {
        let mut writes = Writes::default();
        for change in changes {
            let (table, key) = (change.table.name(), change.number.to_be_bytes());
            match &change.value {
                Some(value) => writes.put(table, &key, value),
                None => writes.delete(table, &key),
            }
        }
        let committed = self.0.commit_as_configured(&mut writes);
        committed.map(drop).map_err(fault)
    }

    fn sync(&self) -> Result<(), TopologyFault> {
        self.0.sync().map_err(fault)
    }

    fn read(&self, table: TopologyTable, each: &mut EachRow<'_>) -> Result<(), TopologyFault> {
        let contents = self.0.contents().map_err(fault)?;
        for row in contents.table(table.name()) {
            let (key, value): (Bytes, Bytes) = row.map_err(fault)?;
            let Ok(key) = key[..].try_into() else {
                return Err(UnreadableTopologyRow { table, number: 0 }.into());
            };
            each(u64::from_be_bytes(key), value)?;
        }
        Ok(())
    }
}

fn fault(error: StoreError) -> TopologyFault {
    match error {
        StoreError::Full => TopologyFault::Full,
        error => TopologyFault::Failed(super::super::chain(&error).into()),
    }
}
