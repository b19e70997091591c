//! Rows of other rooms in the store.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use super::{RowError, StoreUnusable, blocking, journal::lost, rows};
use crate::{
    broker::{
        Broker,
        server::{POLICY_TABLE, PolicyRows, USER_TABLE, UserRows},
    },
    config::Config,
    kv::{KvRow, KvRows, StoredKv},
    migration::{self, MigrationRow},
    registry::{Lost, Notices, Registry, UnreadableRow},
    security::{self, TokenRecord, TokenRows},
    store::{Contents, Store, Writes},
    transport::{RowChange, StoredRows, StoredTransport, TransportRows},
};

/// The migration's only row.
const MIGRATION_KEY: &[u8] = b"state";

/// Rows in the store; without one they are not kept.
#[derive(Clone, Debug)]
pub(in crate::app) struct StoreRows {
    store: Option<Store>,
}

impl StoreRows {
    /// The error of rows that cannot be read.
    pub(in crate::app) fn unusable(&self, error: impl Into<RowError>) -> StoreUnusable {
        let path = self.store.as_ref().map(Store::path);
        error.into().of(path.unwrap_or_else(|| Path::new("")))
    }

    fn write(&self, mut writes: Writes) -> BoxFuture<'static, Result<(), Lost>> {
        let Some(store) = self.store.clone() else {
            return Box::pin(ready(Ok(())));
        };
        Box::pin(blocking(move || {
            let committed = store.commit_as_configured(&mut writes);
            committed.map(drop).map_err(lost)
        }))
    }
}

impl TransportRows for StoreRows {
    fn commit(&self, changes: Vec<RowChange>) -> BoxFuture<'static, Result<(), Lost>> {
        let mut writes = Writes::default();
        for RowChange { table, key, value } in &changes {
            match value {
                Some(value) => writes.put(table, key, value),
                None => writes.delete(table, key),
            }
        }
        self.write(writes)
    }

    fn are_kept(&self) -> bool {
        self.store.is_some()
    }
}

impl KvRows for StoreRows {
    fn commit(&self, rows: Vec<KvRow>) -> BoxFuture<'static, Result<(), Lost>> {
        if self.store.is_none() {
            return Box::pin(ready(Ok(())));
        }
        let mut writes = Writes::default();
        for KvRow { table, key, value } in &rows {
            match value {
                Some((head, rest)) => writes.put_with(table, key, |out| {
                    out.extend_from_slice(head);
                    out.extend_from_slice(rest);
                }),
                None => writes.delete(table, key),
            }
        }
        self.write(writes)
    }
}

impl MigrationRow for StoreRows {
    fn save(&self, row: Vec<u8>) -> BoxFuture<'static, Result<(), Lost>> {
        let mut writes = Writes::default();
        writes.put(migration::TABLE, MIGRATION_KEY, &row);
        self.write(writes)
    }
}

impl TokenRows for StoreRows {
    fn store(&self, name: &str, row: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>> {
        let mut writes = Writes::default();
        match row {
            Some(row) => writes.put(security::TABLE, name.as_bytes(), &row),
            None => writes.delete(security::TABLE, name.as_bytes()),
        }
        let written = self.write(writes);
        Box::pin(async move { written.await.map_err(|lost| lost.to_string()) })
    }

    fn survive(&self) -> bool {
        self.store.is_some()
    }
}

impl UserRows for StoreRows {
    fn store(
        &self,
        rows: Vec<(String, Option<Vec<u8>>)>,
    ) -> BoxFuture<'static, Result<(), String>> {
        let mut writes = Writes::default();
        for (name, row) in rows {
            match row {
                Some(row) => writes.put(USER_TABLE, name.as_bytes(), &row),
                None => writes.delete(USER_TABLE, name.as_bytes()),
            }
        }
        let written = self.write(writes);
        Box::pin(async move { written.await.map_err(|lost| lost.to_string()) })
    }
}

impl PolicyRows for StoreRows {
    fn store(&self, key: Vec<u8>, row: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>> {
        let mut writes = Writes::default();
        match row {
            Some(row) => writes.put(POLICY_TABLE, &key, &row),
            None => writes.delete(POLICY_TABLE, &key),
        }
        let written = self.write(writes);
        Box::pin(async move { written.await.map_err(|lost| lost.to_string()) })
    }
}

/// The store for rooms that keep rows in it, and what they stored in an earlier run.
#[derive(Debug)]
pub(in crate::app) struct Kept {
    pub(in crate::app) rows: StoreRows,
    pub(in crate::app) transport: StoredTransport,
    pub(in crate::app) migration: Option<Bytes>,
    /// Tokens that were made at run time.
    pub(in crate::app) tokens: Vec<TokenRecord>,
    /// Users of the broker that were made at run time.
    pub(in crate::app) users: StoredRows,
    /// Policies of the broker.
    pub(in crate::app) policies: StoredRows,
    /// Keys and sessions.
    pub(in crate::app) kv: StoredKv,
}

impl Kept {
    /// Reads the rows.
    pub(in crate::app) async fn read(
        store: Option<Store>,
        contents: Option<Contents>,
    ) -> Result<Self, StoreUnusable> {
        let rows = StoreRows { store };
        let Some(contents) = contents else {
            return Ok(Self {
                rows,
                transport: StoredTransport::default(),
                migration: None,
                tokens: Vec::new(),
                users: StoredRows::default(),
                policies: StoredRows::default(),
                kv: StoredKv::default(),
            });
        };
        let read = blocking(move || read_all(&contents)).await;
        match read {
            Ok((transport, migration, tokens, [users, policies], kv)) => Ok(Self {
                rows,
                transport,
                migration,
                tokens,
                users,
                policies,
                kv,
            }),
            Err(error) => Err(rows.unusable(error)),
        }
    }
}

impl Kept {
    /// Puts back the broker's users, and stores changes of them from now on.
    pub(in crate::app) fn restore_users(&self, broker: &Broker) -> Result<(), StoreUnusable> {
        let rows = self.users.iter().map(|(name, row)| (&**name, &**row));
        let restored = broker.restore_users(rows, Arc::new(self.rows.clone()));
        restored.map_err(|error| {
            tracing::error!("{error}");
            self.rows.unusable(UnreadableRow { table: USER_TABLE })
        })
    }

    /// Puts back the broker's policies, and stores changes of them from now on.
    pub(in crate::app) async fn restore_policies(
        &self,
        broker: &Broker,
    ) -> Result<(), StoreUnusable> {
        let rows = self.policies.iter().map(|(key, row)| (&**key, &**row));
        let keeper = Arc::new(self.rows.clone());
        let restored = broker.restore_policies(rows, keeper).await;
        restored.map_err(|error| {
            tracing::error!("{error}");
            let table = POLICY_TABLE;
            self.rows.unusable(UnreadableRow { table })
        })
    }

    /// The notices of the daemon. With a store the epoch is that of earlier runs, so numbers begin with the time, in
    /// milliseconds, to differ from theirs.
    pub(in crate::app) fn notices(&self, config: &Config, registry: &Registry) -> Arc<Notices> {
        let started_ms = registry.clock().now().wall.0.unsigned_abs();
        let before = match self.rows.are_kept() {
            true => started_ms,
            false => 0,
        };
        let max = config.migration.notices_max.get();
        Arc::new(Notices::after(before, max))
    }
}

type AllRows = (
    StoredTransport,
    Option<Bytes>,
    Vec<TokenRecord>,
    [StoredRows; 2],
    StoredKv,
);

fn read_all(contents: &Contents) -> Result<AllRows, RowError> {
    let rows_of = |table| rows(contents, table).collect::<Result<StoredRows, RowError>>();
    let migration = rows_of(migration::TABLE)?;
    let migration = migration.into_iter().next().map(|(_, row)| row);
    let tokens = rows_of(security::TABLE)?;
    let tokens = tokens.iter().map(|(key, row)| {
        let read = TokenRecord::read(key, row);
        read.map_err(|_| UnreadableRow {
            table: security::TABLE,
        })
    });
    let tokens = tokens.collect::<Result<_, _>>()?;
    let of_broker = [rows_of(USER_TABLE)?, rows_of(POLICY_TABLE)?];
    let transport = StoredTransport::read(rows_of)?;
    let kv = StoredKv::read(rows_of)?;
    Ok((transport, migration, tokens, of_broker, kv))
}
