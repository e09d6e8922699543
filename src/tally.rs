//! Tallies: what lists and statistics count, kept as it changes.
//!
//! Triggers write differences in the transaction of the change (see `migrations/0003_scale.sql`); whoever reads sums them
//! up. Here the differences are compacted, so that there is never much to sum up.

use sqlx::{PgConnection, PgPool};

/// Replaces the differences of each tally by their sums. Returns how many rows went.
///
/// Nobody waits for it: writers only add rows, and readers see the differences or their sum. Of several that compact at
/// once, one does it.
pub async fn compact(db: &PgPool) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    let is_mine =
        sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtext('afforo tallies')) as "locked!""#)
            .fetch_one(&mut *tx)
            .await?;
    if !is_mine {
        return Ok(0);
    }
    let gone =
        compact_orders(&mut tx).await? + compact_stock(&mut tx).await? + compact_products(&mut tx).await?;
    tx.commit().await?;
    Ok(gone)
}

async fn compact_orders(tx: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query!(
        "with gone as (
             delete from order_tally where (store_id, status) in (
                 select store_id, status from order_tally group by store_id, status having count(*) > 1
             ) returning *
         ), kept as (
             insert into order_tally (store_id, status, orders, amount)
             select store_id, status, sum(orders), sum(amount) from gone
             group by store_id, status having sum(orders) <> 0 or sum(amount) <> 0
         )
         select from gone"
    )
    .execute(tx)
    .await
    .map(|done| done.rows_affected())
}

async fn compact_stock(tx: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query!(
        "with gone as (
             delete from stock_tally where store_id in (
                 select store_id from stock_tally group by store_id having count(*) > 1
             ) returning *
         ), kept as (
             insert into stock_tally (store_id, stocked, low)
             select store_id, sum(stocked), sum(low) from gone
             group by store_id having sum(stocked) <> 0 or sum(low) <> 0
         )
         select from gone"
    )
    .execute(tx)
    .await
    .map(|done| done.rows_affected())
}

async fn compact_products(tx: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query!(
        "with gone as (
             delete from product_tally where category_id in (
                 select category_id from product_tally group by category_id having count(*) > 1
             ) returning *
         ), kept as (
             insert into product_tally (category_id, products, active)
             select category_id, sum(products), sum(active) from gone
             group by category_id having sum(products) <> 0 or sum(active) <> 0
         )
         select from gone"
    )
    .execute(tx)
    .await
    .map(|done| done.rows_affected())
}
