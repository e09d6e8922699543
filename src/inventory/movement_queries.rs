//! The SQL of the ledger of a stock row.

use sqlx::{PgExecutor, PgPool};

use super::movement::Movement;
use crate::{
    db::ReadPool,
    http::{PageQuery, Rows},
    timestamp::Timestamp,
};

/// Number of movements that one statement counts.
const PORTION: i64 = 100_000;

/// Counts the movements of a row, in portions. A whole portion is stored in `movement_count` through `pool`, and never counted
/// again.
async fn count(db: &ReadPool, pool: &PgPool, inventory: i64) -> sqlx::Result<i64> {
    let stored = sqlx::query!(
        r#"select h.first_movement_id as first, coalesce(latest, 0) as "latest!", coalesce(movements, 0) as "movements!"
           from history_start h
               left join movement_count c on c.first_movement_id = h.first_movement_id and inventory_id = $1"#,
        inventory
    )
    .fetch_one(db)
    .await?;
    let (mut latest, mut movements) = (stored.latest, stored.movements);
    loop {
        let portion = sqlx::query!(
            r#"select count(*) as "movements!", max(id) as latest from (
                   select id from stock_movement where inventory_id = $1 and id > $2 order by id limit $3
               ) portion"#,
            inventory,
            latest,
            PORTION
        )
        .fetch_one(db)
        .await?;
        movements += portion.movements;
        let Some(end) = portion.latest.filter(|_| portion.movements == PORTION) else {
            return Ok(movements);
        };
        latest = end;
        if let Err(error) = store(pool, inventory, stored.first, latest, movements).await {
            // The next reader counts the portion again.
            tracing::debug!(%error, "storing a number of movements failed");
        }
    }
}

/// Stores the number of movements from `first` up to `latest`. A count that reaches further stays, and one of a history that
/// began with another movement is replaced.
async fn store(pool: &PgPool, inventory: i64, first: i64, latest: i64, movements: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into movement_count as noted (inventory_id, latest, movements, first_movement_id) values ($1, $2, $3, $4)
         on conflict (inventory_id) do update set latest = excluded.latest, movements = excluded.movements,
             first_movement_id = excluded.first_movement_id
         where noted.latest < excluded.latest or noted.first_movement_id <> excluded.first_movement_id",
        inventory,
        latest,
        movements,
        first
    )
    .execute(pool)
    .await
    .map(drop)
}

/// Selects movements of a row, newest first.
macro_rules! movements {
    ($tail:literal $(, $arg:expr)*) => {
        sqlx::query_as!(
            Movement,
            r#"select m.id, m.inventory_id, m.kind, m.delta, m.quantity_after, m.order_id, m.actor, m.reason, m.reason_code,
                   m.reference, m.created_at as "created_at: Timestamp", i.store_id as "store_id?",
                   i.product_id as "product_id?", r.reversal_id as "reversed_by?"
               from stock_movement m left join inventory i on i.id = m.inventory_id
                   left join movement_reversal r on r.movement_id = m.id
               where m.inventory_id = $1 "# + $tail
            $(, $arg)*
        )
    };
}

/// Movements of a row, and their number unless they come after a key.
pub async fn list(
    db: &ReadPool,
    pool: &PgPool,
    inventory: i64,
    page: &PageQuery<Movement>,
) -> sqlx::Result<Rows<Movement>> {
    let count = match page {
        PageQuery::After(_) => None,
        _ => Some(count(db, pool, inventory).await?),
    };
    let rows = read(db, inventory, page, page.skipped(count.unwrap_or(0))).await?;
    Ok(Rows { count, rows })
}

async fn read(
    db: impl PgExecutor<'_>,
    inventory: i64,
    page: &PageQuery<Movement>,
    skipped: i64,
) -> sqlx::Result<Vec<Movement>> {
    match page {
        PageQuery::First => {
            movements!("order by m.id desc limit 20", inventory)
                .fetch_all(db)
                .await
        }
        PageQuery::Later(_) => {
            movements!(
                "order by m.id desc limit 20 offset (select $2::bigint)",
                inventory,
                skipped
            )
            .fetch_all(db)
            .await
        }
        PageQuery::After(id) => {
            movements!("and m.id < $2 order by m.id desc limit 21", inventory, id)
                .fetch_all(db)
                .await
        }
    }
}
