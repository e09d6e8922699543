//! Counters for lists and statistics.
//!
//! Triggers insert differences in the transaction of each change (see `migrations/0003_scale.sql`), and readers sum them. This
//! module compacts the differences, so that the sums stay short.

use sqlx::PgPool;

use crate::db;

/// Pages of a table that one transaction compacts: some ten thousand rows, a fraction of a second. After a long absence of
/// workers, compacting all rows at once would exceed the statement timeout.
const PAGES: i64 = 512;

/// Replaces the differences of each counter with their sums. Returns the number of rows removed.
///
/// It blocks neither writers, which only insert, nor readers, which see the differences or their sum. If several workers compact at
/// once, one of them does the work. Each portion commits by itself, so that a later failure does not undo it.
pub async fn compact(db: &PgPool) -> sqlx::Result<u64> {
    let mut gone = 0;
    for tally in Tally::ALL {
        // Pages added from here on are left to the next run, so that this one ends under constant writes.
        let pages = sqlx::query_scalar!(
            r#"select pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint as "pages!""#,
            tally.table()
        )
        .fetch_one(db)
        .await?;
        for first in (0..pages).step_by(usize::try_from(PAGES).unwrap_or(1)) {
            gone += db::with_timeout(compact_portion(db, tally, first)).await?;
        }
    }
    Ok(gone)
}

#[derive(Clone, Copy)]
enum Tally {
    Orders,
    Stock,
    Products,
}

impl Tally {
    const ALL: [Self; 3] = [Self::Orders, Self::Stock, Self::Products];

    fn table(self) -> &'static str {
        match self {
            Self::Orders => "order_tally",
            Self::Stock => "stock_tally",
            Self::Products => "product_tally",
        }
    }
}

/// Replaces the differences in the pages from `first` on with their sums.
async fn compact_portion(db: &PgPool, tally: Tally, first: i64) -> sqlx::Result<u64> {
    /// Groups by `$group` and sums two more columns.
    macro_rules! compact {
        ($table:literal, $group:literal, $one:literal, $other:literal, $tx:expr, $from:expr, $until:expr) => {
            sqlx::query!(
                "with gone as (
                     delete from "
                    + $table
                    + " where ctid >= $1::text::tid and ctid < $2::text::tid and ("
                    + $group
                    + ") in (
                         select "
                    + $group
                    + " from "
                    + $table
                    + "
                         where ctid >= $1::text::tid and ctid < $2::text::tid group by "
                    + $group
                    + " having count(*) > 1
                     ) returning *
                 ), kept as (
                     insert into "
                    + $table
                    + " ("
                    + $group
                    + ", "
                    + $one
                    + ", "
                    + $other
                    + ")
                     select "
                    + $group
                    + ", sum("
                    + $one
                    + "), sum("
                    + $other
                    + ") from gone
                     group by "
                    + $group
                    + " having sum("
                    + $one
                    + ") <> 0 or sum("
                    + $other
                    + ") <> 0
                 )
                 select from gone",
                $from,
                $until
            )
            .execute($tx)
            .await?
        };
    }
    let mut tx = db.begin().await?;
    let is_mine =
        sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtext('afforo tallies')) as "locked!""#)
            .fetch_one(&mut *tx)
            .await?;
    if !is_mine {
        return Ok(0);
    }
    let (from, until) = (format!("({first},0)"), format!("({},0)", first + PAGES));
    let done = match tally {
        Tally::Orders => compact!(
            "order_tally",
            "store_id, status",
            "orders",
            "amount",
            &mut *tx,
            from,
            until
        ),
        Tally::Stock => compact!("stock_tally", "store_id", "stocked", "low", &mut *tx, from, until),
        Tally::Products => compact!(
            "product_tally",
            "category_id",
            "products",
            "active",
            &mut *tx,
            from,
            until
        ),
    };
    tx.commit().await?;
    Ok(done.rows_affected())
}
