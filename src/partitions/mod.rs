//! Partitions of the history: `orders`, `order_item` and `stock_movement` by ranges of ids.
//!
//! The tables are plain until `afforo partitions convert`. From then on the worker makes partitions ahead of the ids, and an
//! operator can detach old ones. Nothing else in the program depends on partitions.

mod convert;
mod detach;
mod ensure;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgExecutor};

pub use convert::{Converted, convert};
pub use detach::{DetachError, Detached, detach};
pub use ensure::ensure;

use crate::db::{LOCK_TIMEOUT, retry_locked};

/// Why partitions were not changed.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// Another process holds the lock of partitions.
    #[error("another process is changing partitions: try again when it is done")]
    Busy,
    /// The tables are plain.
    #[error("the tables are not partitioned: run `afforo partitions convert` first")]
    NotPartitioned,
    /// A table was partitioned by hand.
    #[error("only some of `orders`, `order_item` and `stock_movement` are partitioned")]
    Mixed,
    /// These objects depend on the tables, and would depend on the first partitions afterwards.
    #[error("drop these first, and create them again afterwards: {}", .0.join(", "))]
    Dependents(Vec<String>),
    /// A transaction holds the tables, such as a backup.
    #[error("the tables are in use, such as by a backup: try again later")]
    InUse,
    /// Orders of the partitions are still needed.
    #[error(transparent)]
    Detach(#[from] DetachError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A table of the history.
#[derive(Clone, Copy, Debug)]
struct Table {
    name: &'static str,
    /// The column of its ranges.
    key: &'static str,
    /// The sequence of its keys.
    sequence: &'static str,
}

/// The tables in the sequence in which they are locked. Orders and their items have the same ranges.
const TABLES: [Table; 3] = [ORDERS, ITEMS, MOVEMENTS];
const ORDERS: Table = Table {
    name: "orders",
    key: "id",
    sequence: "orders_id_seq",
};
const ITEMS: Table = Table {
    name: "order_item",
    key: "order_id",
    sequence: "orders_id_seq",
};
const MOVEMENTS: Table = Table {
    name: "stock_movement",
    key: "id",
    sequence: "stock_movement_id_seq",
};

impl Table {
    /// The check constraint that proves the range of the first partition while a table is converted.
    fn bound(self) -> String {
        format!("{}_partition_bound", self.name)
    }

    /// The last id of the sequence, or 0.
    async fn last_id(self, db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
        sqlx::query_scalar!(
            r#"select coalesce(pg_sequence_last_value(to_regclass($1)), 0) as "last!""#,
            self.sequence
        )
        .fetch_one(db)
        .await
    }

    /// The partitions in the sequence of their ranges.
    async fn partitions(self, db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Range>> {
        sqlx::query_as!(
            Range,
            r#"select c.oid::regclass::text as "name!", substring(bound from 'FROM \(''(-?\d+)''\)')::bigint as first,
                   substring(bound from 'TO \(''(-?\d+)''\)')::bigint as "end!"
               from pg_inherits i join pg_class c on c.oid = i.inhrelid
                   cross join lateral pg_get_expr(c.relpartbound, c.oid) bound
               where i.inhparent = to_regclass($1) and bound ~ 'TO \(''-?\d+''\)' order by 3"#,
            self.name
        )
        .fetch_all(db)
        .await
    }
}

/// A partition.
#[derive(Clone, Debug)]
struct Range {
    name: String,
    /// The first id of the range; none for the partition that the conversion made of the table.
    first: Option<i64>,
    /// The first id beyond the range.
    end: i64,
}

/// A table of the history, a partition of it, or a detached partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The table.
    pub name: String,
    /// `table`, `partition` or `detached`.
    pub state: String,
    /// The range as PostgreSQL shows it.
    pub range: Option<String>,
    /// Number of rows, as PostgreSQL estimates it; -1 if it is unknown.
    pub rows: i64,
    /// Bytes on disk, with indexes.
    pub bytes: i64,
}

/// The tables of the history that have rows of their own.
pub async fn list(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select c.relname::text as "name!", pg_get_expr(c.relpartbound, c.oid) as range, c.reltuples::bigint as "rows!",
               pg_total_relation_size(c.oid) as "bytes!",
               case when c.relispartition then 'partition' when c.relname = history.name then 'table' else 'detached' end as "state!"
           from unnest($1::text[]) with ordinality history (name, place)
               join pg_class c on c.relname ~ ('^' || history.name || '(_\d+)?$')
           where c.relkind = 'r' and c.relnamespace = (select relnamespace from pg_class where oid = to_regclass(history.name))
           order by place, length(c.relname), c.relname"#,
        &TABLES.map(|table| table.name) as &[&str]
    )
    .fetch_all(db)
    .await
}

/// Whether the tables are partitioned.
async fn is_partitioned(db: impl PgExecutor<'_>) -> Result<bool, PartitionError> {
    let partitioned = sqlx::query_scalar!(
        r#"select count(*) as "count!" from unnest($1::text[]) name join pg_class c on c.oid = to_regclass(name)
           where c.relkind = 'p'"#,
        &TABLES.map(|table| table.name) as &[&str]
    )
    .fetch_one(db)
    .await?;
    match partitioned {
        0 => Ok(false),
        3 => Ok(true),
        _ => Err(PartitionError::Mixed),
    }
}

/// Takes the lock that every change of partitions needs, until the transaction ends. Returns false if another process holds it.
async fn lock(tx: &mut PgConnection) -> sqlx::Result<bool> {
    tx.execute("set local idle_in_transaction_session_timeout = 0")
        .await?;
    sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtext('afforo partitions')) as "locked!""#)
        .fetch_one(tx)
        .await
}

/// Runs `change` in a transaction, or at a savepoint, and repeats it after a lock timeout.
async fn with_locks(
    db: &mut PgConnection,
    change: impl AsyncFn(&mut PgConnection) -> sqlx::Result<()>,
) -> sqlx::Result<()> {
    retry_locked(db, "a change of partitions", async |db| {
        let mut tx = db.begin().await?;
        tx.execute(LOCK_TIMEOUT).await?;
        change(&mut tx).await?;
        tx.commit().await
    })
    .await
}

/// Does so while no other transaction reads or writes the history.
///
/// Every transaction that writes the history locks stock rows first, so the table of stock rows is locked first here. A transaction
/// that has taken ids from the sequences, and has not written rows with them yet, ends before.
async fn exclusively(
    db: &mut PgConnection,
    change: impl AsyncFn(&mut PgConnection) -> sqlx::Result<()>,
) -> sqlx::Result<()> {
    with_locks(db, async |tx| {
        tx.execute(
            "lock table inventory in exclusive mode;
             lock table store, orders, order_item, stock_movement in access exclusive mode",
        )
        .await?;
        change(tx).await
    })
    .await
}

/// Runs statements that are made of names in the catalog and numbers.
async fn execute(db: &mut PgConnection, statements: String) -> sqlx::Result<()> {
    db.execute(AssertSqlSafe(statements)).await.map(drop)
}
