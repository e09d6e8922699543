//! What is done with orders from time to time: deciding those that were left undecided, and the daily report.

use chrono::{Days, NaiveDate};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::{db, money::Money};

/// Orders that are rejected together.
const TOGETHER: i64 = 250;

/// Rejects orders that have been PENDING for five minutes, and gives back the stock that they held. Returns their ids.
///
/// Placing an order decides it, so there are such orders only where something else wrote them. One that cannot be rejected,
/// because its stock has no room for what it would get back, keeps none of the others: those after it have their turn in
/// the same run, however many cannot be rejected.
pub async fn reject_stuck(db: &PgPool) -> sqlx::Result<Vec<i64>> {
    let (mut rejected, mut last) = (Vec::new(), 0);
    loop {
        let stuck = sqlx::query_scalar!(
            "select id from orders
             where status = 'PENDING' and created_at < now() - interval '5 minutes' and id > $1 order by id limit $2",
            last,
            TOGETHER
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

/// Rejects orders together, or where PostgreSQL refuses that one by one.
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

/// Rejects those of the orders that are still PENDING and nobody else is at.
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
        "update orders set status = 'REJECTED', total_amount = 0, rejection_reason = 'Order processing timeout',
             updated_at = now()
         where id = any($1)",
        &orders
    )
    .execute(&mut *tx)
    .await?;
    give_back(&mut tx, &orders, &stock).await?;
    db::commit(tx).await?;
    Ok(orders)
}

/// Locks the stock rows that orders may hold something of, in the global order.
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

/// Removes the items of orders that are about to be rejected: a rejected order has none. The audit log keeps them.
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

/// Gives back to locked stock rows what rejected orders hold of them by the ledger. A row that no other order took from is
/// not known as ordered any more.
async fn give_back(tx: &mut PgConnection, orders: &[i64], stock: &[i64]) -> sqlx::Result<()> {
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
           update inventory set quantity = inventory.quantity + returned.quantity, updated_at = now(),
               ordered = exists (
                   select from stock_movement m join orders o on o.id = m.order_id
                   where m.inventory_id = inventory.id and m.kind = 'ORDER' and o.status <> 'REJECTED'
               )
           from (select inventory_id, sum(quantity)::integer as quantity from held group by inventory_id) returned
           where inventory.id = returned.inventory_id"#,
        stock,
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

/// How many days before a day are reported on with it, where nobody did.
const CAUGHT_UP: u64 = 31;

/// The days up to this one that have no report, the first first: no further back than a month, and not before there was an
/// order or a report.
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
