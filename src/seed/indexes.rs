//! Drops indexes before a bulk load and creates them afterwards, which takes a fraction of the time.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

/// Fewer new rows than this do not justify it.
const PAYS_FROM: usize = 5000;

/// Definitions of dropped indexes, until [`DroppedIndexes::restore`]. Both happen in one transaction: a rollback restores the
/// indexes too.
#[must_use = "the indexes would be lost"]
pub(super) struct DroppedIndexes(Vec<String>);

/// Drops the indexes of a table if most of its rows will be new, except those of constraints. Locks the table until the end of
/// the transaction.
pub(super) async fn set_aside(
    db: &mut PgConnection,
    table: &'static str,
    rows: usize,
) -> sqlx::Result<DroppedIndexes> {
    if rows <= PAYS_FROM || rows <= rows_up_to(db, table, rows).await? {
        return Ok(DroppedIndexes(Vec::new()));
    }
    let indexes = sqlx::query!(
        r#"select i.indexrelid::regclass::text as "name!", pg_get_indexdef(i.indexrelid) as "definition!"
           from pg_index i
           where i.indrelid = $1::text::regclass and not i.indisunique and i.indisvalid
               and not exists (select from pg_constraint c where c.conindid = i.indexrelid)
           order by i.indexrelid"#,
        table
    )
    .fetch_all(&mut *db)
    .await?;
    let mut definitions = Vec::with_capacity(indexes.len());
    for index in indexes {
        db.execute(AssertSqlSafe(format!("drop index {}", index.name)))
            .await?;
        definitions.push(index.definition);
    }
    Ok(DroppedIndexes(definitions))
}

impl DroppedIndexes {
    /// Creates the indexes again.
    pub async fn restore(self, db: &mut PgConnection) -> sqlx::Result<()> {
        // Until the transaction ends.
        db.execute("set local maintenance_work_mem = '512MB'").await?;
        for definition in self.0 {
            db.execute(AssertSqlSafe(definition)).await?;
        }
        Ok(())
    }
}

/// The number of rows of a table, counted up to `most`.
async fn rows_up_to(db: &mut PgConnection, table: &'static str, most: usize) -> sqlx::Result<usize> {
    let sql = format!("select count(*) from (select from {table} limit {most}) counted");
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await?;
    Ok(usize::try_from(count).unwrap_or(0))
}
