//! Tidying up: no sale depends on it.

use std::time::Duration;

use sqlx::PgPool;

use crate::{
    db,
    ledger::{self, RowKey},
};

/// Most items of a transaction: orders for their stock rows wait meanwhile.
const MOST: usize = 100;

/// Frees the units of expired reservations. Returns the number of items.
pub async fn sweep(db: &PgPool) -> sqlx::Result<usize> {
    let mut freed = 0;
    loop {
        let items = db::retry(|| sweep_some(db)).await?;
        freed += items;
        if items < MOST {
            return Ok(freed);
        }
    }
}

async fn sweep_some(db: &PgPool) -> sqlx::Result<usize> {
    let mut tx = db.begin().await?;
    let due = sqlx::query_scalar!(
        "select inventory_id from reservation_item
         where reserved > 0 and expires_at <= statement_timestamp() order by expires_at limit $1",
        i64::try_from(MOST).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *tx)
    .await?;
    let keys: Vec<RowKey> = due.into_iter().map(RowKey::Id).collect();
    // Which frees what has expired.
    ledger::lock_rows(&mut tx, &keys, None, &[], false).await?;
    db::commit(tx).await?;
    Ok(keys.len())
}

/// Deletes up to `limit` reservations that ended this long ago. Returns their number.
pub async fn purge(db: &PgPool, keep: Duration, limit: i64) -> sqlx::Result<u64> {
    sqlx::query!(
        "delete from reservation where id in (
             select r.id from reservation r
             where status <> 'ACTIVE' and updated_at < now() - make_interval(secs => $1)
                 and not exists (select from reservation_item i where i.reservation_id = r.id and i.reserved > 0)
             order by updated_at limit $2)",
        keep.as_secs_f64(),
        limit
    )
    .execute(db)
    .await
    .map(|deleted| deleted.rows_affected())
}
