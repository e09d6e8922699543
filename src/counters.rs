//! Counters for lists and statistics.
//!
//! Triggers insert differences in the transaction of each change (see `migrations/0003_scale.sql`), and readers sum them. This
//! module compacts the differences, so that the sums stay short.

use sqlx::{AssertSqlSafe, PgPool};

use crate::db;

/// Pages of a table that one transaction compacts: some ten thousand rows, a fraction of a second. After a long absence of
/// workers, compacting all rows at once would exceed the statement timeout.
const PAGES: i64 = 512;

/// A table of counters: rows of a group with two numbers, which readers sum.
struct Counter {
    table: &'static str,
    group: &'static str,
    numbers: [&'static str; 2],
}

const COUNTERS: [Counter; 4] = [
    Counter {
        table: "order_tally",
        group: "store_id, status",
        numbers: ["orders", "amount"],
    },
    Counter {
        table: "stock_tally",
        group: "store_id",
        numbers: ["stocked", "low"],
    },
    Counter {
        table: "product_tally",
        group: "category_id",
        numbers: ["products", "active"],
    },
    Counter {
        table: "refund_tally",
        group: "store_id",
        numbers: ["documents", "amount"],
    },
];

/// Replaces the differences of each counter with their sums. Returns the number of rows removed.
///
/// It blocks neither writers, which only insert, nor readers, which see the differences or their sum. If several workers compact at
/// once, one of them does the work. Each portion commits by itself, so that a later failure does not undo it.
pub async fn compact(db: &PgPool) -> sqlx::Result<u64> {
    let mut gone = 0;
    for counter in &COUNTERS {
        // Pages added from here on are left to the next run, so that this one ends under constant writes.
        let pages = sqlx::query_scalar!(
            r#"select pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint as "pages!""#,
            counter.table
        )
        .fetch_one(db)
        .await?;
        for first in (0..pages).step_by(usize::try_from(PAGES).unwrap_or(1)) {
            gone += db::with_timeout(compact_portion(db, counter, first)).await?;
        }
    }
    Ok(gone)
}

/// Replaces the differences in the pages from `first` on with their sums.
async fn compact_portion(db: &PgPool, counter: &Counter, first: i64) -> sqlx::Result<u64> {
    let Counter {
        table,
        group,
        numbers: [one, other],
    } = counter;
    let pages = "ctid >= $1::text::tid and ctid < $2::text::tid";
    let sql = format!(
        "with gone as (
             delete from {table} where {pages} and ({group}) in (
                 select {group} from {table} where {pages} group by {group} having count(*) > 1
             ) returning *
         ), kept as (
             insert into {table} ({group}, {one}, {other})
             select {group}, sum({one}), sum({other}) from gone
             group by {group} having sum({one}) <> 0 or sum({other}) <> 0
         )
         select from gone"
    );
    let mut tx = db.begin().await?;
    let is_mine =
        sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtext('afforo tallies')) as "locked!""#)
            .fetch_one(&mut *tx)
            .await?;
    if !is_mine {
        return Ok(0);
    }
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(format!("({first},0)"))
        .bind(format!("({},0)", first + PAGES))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}
