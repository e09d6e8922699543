//! What is done with orders from time to time: deciding those that were left undecided, and the daily report.

use chrono::NaiveDate;
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::{database, money::Money};

/// Orders that are rejected together.
const TOGETHER: i64 = 1000;

/// Rejects orders that have been PENDING for five minutes, and gives back the stock that they held. Returns their ids.
///
/// Placing an order decides it, so there are such orders only where something else wrote them. One that cannot be rejected,
/// because its stock has no room for what it would get back, keeps none of the others.
pub async fn reject_stuck(db: &PgPool) -> sqlx::Result<Vec<i64>> {
    let stuck = sqlx::query_scalar!(
        "select id from orders where status = 'PENDING' and created_at < now() - interval '5 minutes' order by id limit $1",
        TOGETHER
    )
    .fetch_all(db)
    .await?;
    if stuck.is_empty() {
        return Ok(stuck);
    }
    match reject(db, &stuck).await {
        Err(error) if database::was_refused(&error) => {}
        done => return done,
    }
    let mut rejected = Vec::new();
    for order_id in stuck {
        match reject(db, &[order_id]).await {
            Ok(orders) => rejected.extend(orders),
            Err(error) => tracing::error!(order_id, %error, "an undecided order cannot be rejected"),
        }
    }
    Ok(rejected)
}

/// Rejects those of the orders that are still PENDING and nobody else is at.
async fn reject(db: &PgPool, orders: &[i64]) -> sqlx::Result<Vec<i64>> {
    let mut tx = db.begin().await?;
    let orders = sqlx::query_scalar!(
        "select id from orders where status = 'PENDING' and id = any($1) order by id for update skip locked",
        orders
    )
    .fetch_all(&mut *tx)
    .await?;
    give_back(&mut tx, &orders).await?;
    sqlx::query!(
        "update orders set status = 'REJECTED', rejection_reason = 'Order processing timeout', updated_at = now()
         where id = any($1)",
        &orders
    )
    .execute(&mut *tx)
    .await?;
    database::commit(tx).await?;
    Ok(orders)
}

/// Gives back what orders hold by the ledger, under the locks of the stock rows, which are taken in the global order.
async fn give_back(tx: &mut PgConnection, orders: &[i64]) -> sqlx::Result<()> {
    let rows = sqlx::query_scalar!(
        "select i.id from inventory i
         where (i.store_id, i.product_id) in (
             select o.store_id, item.product_id from orders o join order_item item on item.order_id = o.id
             where o.id = any($1)
         )
         order by i.store_id, i.product_id for update",
        orders
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!(
        r#"with held as (
               select inventory_id, order_id, -sum(delta)::integer as quantity from stock_movement
               where inventory_id = any($1) and order_id = any($2)
               group by inventory_id, order_id having sum(delta) < 0
           ), movement as (
               insert into stock_movement (inventory_id, order_id, kind, actor, delta, quantity_after)
               select h.inventory_id, h.order_id, 'RETURN', 'system', h.quantity,
                   i.quantity + sum(h.quantity) over (partition by h.inventory_id order by h.order_id)
               from held h join inventory i on i.id = h.inventory_id
           )
           update inventory set quantity = inventory.quantity + returned.quantity, updated_at = now()
           from (select inventory_id, sum(quantity)::integer as quantity from held group by inventory_id) returned
           where inventory.id = returned.inventory_id"#,
        &rows,
        orders
    )
    .execute(tx)
    .await
    .map(drop)
}

/// A day's orders in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyReport {
    /// All of them.
    pub total_orders: i64,
    /// Those confirmed.
    pub confirmed_orders: i64,
    /// Those rejected.
    pub rejected_orders: i64,
    /// Those not decided yet.
    pub pending_orders: i64,
    /// What the confirmed ones brought.
    pub total_revenue: Money,
}

/// Counts and stores the orders of a UTC day. `None` if the day has its report already.
pub async fn write_report(db: impl PgExecutor<'_>, day: NaiveDate) -> sqlx::Result<Option<DailyReport>> {
    sqlx::query_as!(
        DailyReport,
        r#"insert into daily_order_report
               (day, total_orders, confirmed_orders, rejected_orders, pending_orders, total_revenue)
           select $1, count(*), count(*) filter (where status = 'CONFIRMED'),
               count(*) filter (where status = 'REJECTED'), count(*) filter (where status = 'PENDING'),
               coalesce(sum(total_amount) filter (where status = 'CONFIRMED'), 0)
           from orders
           where created_at >= ($1::date)::timestamp at time zone 'UTC'
               and created_at < ($1::date + 1)::timestamp at time zone 'UTC'
           having not exists (select from daily_order_report where day = $1)
           on conflict (day) do nothing
           returning total_orders, confirmed_orders, rejected_orders, pending_orders,
               total_revenue as "total_revenue: Money""#,
        day
    )
    .fetch_optional(db)
    .await
}
