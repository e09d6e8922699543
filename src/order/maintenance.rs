//! Periodic work on orders: rejecting orders that stay PENDING, and the daily report.

use chrono::{Days, NaiveDate};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::{db, money::Money};

/// Orders that one transaction rejects.
const BATCH_SIZE: i64 = 250;

/// Rejects orders that have been PENDING for five minutes, and returns their stock. Returns their ids.
///
/// Placing an order decides it, so only other writers leave PENDING orders. An order that cannot be rejected, because its stock
/// row would exceed the largest quantity, does not stop the others.
pub async fn reject_stuck(db: &PgPool) -> sqlx::Result<Vec<i64>> {
    let (mut rejected, mut last) = (Vec::new(), 0);
    loop {
        let stuck = sqlx::query_scalar!(
            "select id from orders
             where status = 'PENDING' and created_at < now() - interval '5 minutes' and id > $1 order by id limit $2",
            last,
            BATCH_SIZE
        )
        .fetch_all(db)
        .await?;
        let Some(end) = stuck.last() else {
            return Ok(rejected);
        };
        last = *end;
        rejected.extend(reject_each(db, stuck).await?);
    }
}

/// Rejects orders in one transaction, or one by one if PostgreSQL reports an error.
async fn reject_each(db: &PgPool, stuck: Vec<i64>) -> sqlx::Result<Vec<i64>> {
    match reject(db, &stuck).await {
        Err(error) if db::is_server_error(&error) => {}
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

/// Rejects the orders that are still PENDING and not locked by another transaction.
async fn reject(db: &PgPool, orders: &[i64]) -> sqlx::Result<Vec<i64>> {
    let mut tx = db.begin().await?;
    let orders = sqlx::query_scalar!(
        "select id from orders where status = 'PENDING' and id = any($1) order by id for update skip locked",
        orders
    )
    .fetch_all(&mut *tx)
    .await?;
    let stock = lock_stock(&mut tx, &orders).await?;
    remove_items(&mut tx, &orders).await?;
    sqlx::query!(
        "with freed as (
             delete from order_reference r using orders o
             where o.id = any($1) and r.store_id = o.store_id and r.reference = o.external_reference and r.order_id = o.id
         )
         update orders set status = 'REJECTED', total_amount = 0, rejection_reason = 'Order processing timeout',
             updated_at = now()
         where id = any($1)",
        &orders
    )
    .execute(&mut *tx)
    .await?;
    return_stock(&mut tx, &orders, &stock).await?;
    db::commit(tx).await?;
    Ok(orders)
}

/// Locks the stock rows of the orders' items, in the global lock order.
async fn lock_stock(tx: &mut PgConnection, orders: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select i.id from inventory i
         where (i.store_id, i.product_id) in (
             select o.store_id, item.product_id from orders o join order_item item on item.order_id = o.id
             where o.id = any($1)
         )
         order by i.store_id, i.product_id for update",
        orders
    )
    .fetch_all(tx)
    .await
}

/// Removes the items of the orders: a rejected order has none. The audit log keeps them.
async fn remove_items(tx: &mut PgConnection, orders: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "with gone as (
             delete from order_item where order_id = any($1) returning order_id, id, product_id, quantity, unit_price
         ), item as (
             select order_id, json_agg(json_build_object(
                 'product_id', product_id, 'quantity', quantity, 'unit_price', unit_price::text) order by id) as items
             from gone group by order_id
         )
         insert into audit_log (actor, action, subject, before, after)
         select 'system', 'order.rejected', 'order:' || o.id,
             json_build_object('status', o.status, 'total_amount', o.total_amount::text,
                 'items', coalesce(item.items, '[]'::json)),
             json_build_object('status', 'REJECTED', 'total_amount', '0.00', 'items', '[]'::json)
         from orders o left join item on item.order_id = o.id where o.id = any($1) order by o.id",
        orders
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Returns to locked stock rows what the rejected orders took from them, according to the ledger. Clears `ordered` on rows that no
/// other order took from. The sum also has detached orders; it is only needed for rows without a decided order.
async fn return_stock(tx: &mut PgConnection, orders: &[i64], stock: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        r#"with held as (
               select inventory_id, order_id, -sum(delta)::integer as quantity from stock_movement
               where inventory_id = any($1) and order_id = any($2)
               group by inventory_id, order_id having sum(delta) < 0
           ), movement as (
               insert into stock_movement (inventory_id, order_id, kind, actor, delta, quantity_after, created_at)
               select h.inventory_id, h.order_id, 'RETURN', 'system', h.quantity,
                   i.quantity + sum(h.quantity) over (partition by h.inventory_id order by h.order_id),
                   greatest(statement_timestamp(), i.updated_at)
               from held h join inventory i on i.id = h.inventory_id
           )
           update inventory set quantity = inventory.quantity + returned.quantity,
               updated_at = greatest(statement_timestamp(), inventory.updated_at),
               ordered = exists (
                   select from stock_movement m join orders o on o.id = m.order_id
                   where m.inventory_id = inventory.id and m.kind = 'ORDER' and o.status <> 'REJECTED'
               ) or returned.quantity
                   + coalesce((select order_delta from opening_balance b where b.inventory_id = inventory.id), 0)
                   + (select coalesce(sum(m.delta), 0) from stock_movement m
                      where m.inventory_id = inventory.id and m.order_id is not null) < 0
           from (select inventory_id, sum(quantity)::integer as quantity from held group by inventory_id) returned
           where inventory.id = returned.inventory_id"#,
        stock,
        orders
    )
    .execute(tx)
    .await
    .map(drop)
}

/// The orders of a day in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyReport {
    /// Number of orders.
    pub total_orders: i64,
    /// Number of confirmed orders.
    pub confirmed_orders: i64,
    /// Number of rejected orders.
    pub rejected_orders: i64,
    /// Number of orders without a decision.
    pub pending_orders: i64,
    /// Sum of the confirmed orders' totals.
    pub total_revenue: Money,
}

/// How many days the report catches up after workers were absent.
const CAUGHT_UP: u64 = 31;

/// The days up to `day` without a report, in sequence: at most 31 days back, and not before the first order or report.
pub async fn unreported(db: impl PgExecutor<'_>, day: NaiveDate) -> sqlx::Result<Vec<NaiveDate>> {
    sqlx::query_scalar!(
        r#"select missing::date as "day!" from generate_series($1::date, $2::date, interval '1 day') missing
           where not exists (select from daily_order_report r where r.day = missing::date)
               and (missing::date = $2
                   or exists (select from daily_order_report r where r.day < missing::date)
                   or exists (select from orders where created_at < (missing::date + 1)::timestamp at time zone 'UTC'))
           order by missing"#,
        day.checked_sub_days(Days::new(CAUGHT_UP)).unwrap_or(day),
        day
    )
    .fetch_all(db)
    .await
}

/// Counts the orders of a UTC day and stores the report. `None` if the day has one already.
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
