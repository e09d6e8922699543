//! Makes partitions ahead of the ids, so that there is one for every insert.

use sqlx::{Acquire, PgConnection, Postgres};

use super::{TABLES, Table, execute, lock};
use crate::db::LOCK_TIMEOUT;

/// Ranges beyond the one of the current id.
const AHEAD: i64 = 2;

/// Makes the partitions that are missing. Returns their names: none if the tables are not partitioned, or if another process
/// changes partitions. Drops the bounds that an interrupted conversion has left.
///
/// Attaching a partition blocks neither readers nor writers of the history, and does not wait for a backup.
pub async fn ensure<'c>(db: impl Acquire<'c, Database = Postgres>) -> sqlx::Result<Vec<String>> {
    let mut tx = db.begin().await?;
    if !lock(&mut tx).await? {
        return Ok(Vec::new());
    }
    execute(&mut tx, LOCK_TIMEOUT.to_owned()).await?;
    let made = make_missing(&mut tx, None).await?;
    drop_bounds(&mut tx).await?;
    tx.commit().await?;
    Ok(made)
}

/// Makes the missing partitions of each table, with ranges of `size` or as wide as the last one.
pub(super) async fn make_missing(tx: &mut PgConnection, size: Option<i64>) -> sqlx::Result<Vec<String>> {
    let mut made = Vec::new();
    for table in TABLES {
        let ranges = table.partitions(&mut *tx).await?;
        let Some(last) = ranges.last() else { continue };
        let Some(size) = size.or(last.first.map(|first| last.end - first)) else {
            continue;
        };
        let current = table.last_id(&mut *tx).await?;
        let mut first = last.end;
        while first <= current + AHEAD * size {
            made.push(make(tx, table, first, first + size).await?);
            first += size;
        }
    }
    Ok(made)
}

/// Makes a table like the partitioned one, and attaches it. `create table … partition of` would lock out readers.
async fn make(
    tx: &mut PgConnection,
    Table { name, .. }: Table,
    first: i64,
    end: i64,
) -> sqlx::Result<String> {
    let partition = format!("{name}_{first}");
    let statements = format!(
        "create table {partition} (like {name} including all excluding identity);
         alter table {name} attach partition {partition} for values from ({first}) to ({end})"
    );
    execute(tx, statements).await?;
    Ok(partition)
}

/// Drops the bounds of an interrupted conversion: inserts beyond them would fail.
pub(super) async fn drop_bounds(tx: &mut PgConnection) -> sqlx::Result<()> {
    for table in TABLES {
        let bound = table.bound();
        let is_left = sqlx::query_scalar!(
            r#"select exists (select from pg_constraint where conrelid = to_regclass($1) and conname = $2::text) as "exists!""#,
            table.name,
            bound
        );
        if is_left.fetch_one(&mut *tx).await? {
            execute(tx, format!("alter table {} drop constraint {bound}", table.name)).await?;
        }
    }
    Ok(())
}
