//! Detaches old partitions, and notes what counters, stock and deletions need to know of them.
//!
//! Reading the partitions may take minutes. Meanwhile locks in share mode keep them unchanged, which delays no other request.
//! Then the tables are locked for a fraction of a second.

use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};

use super::{
    ITEMS, MOVEMENTS, ORDERS, PartitionError, Range, Table, exclusively, execute, is_partitioned, lock,
    with_locks,
};

/// Why partitions are not detached, with the first such order.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// Reports, the overview and stored responses use recent orders.
    #[error("order {0} is less than {days} days old: detach older orders only", days = KEPT_DAYS)]
    Recent(i64),
    /// The worker has to reject the order first.
    #[error("order {0} is pending: the worker rejects orders that stay pending")]
    Pending(i64),
    /// The confirmation needs the order.
    #[error("order {0} is in the outbox: wait until it is confirmed, or retry its dead letter")]
    Outbox(i64),
    /// The message needs the order.
    #[error("order {0} has an undelivered message: wait for it, or retry or drop its dead letter")]
    Undelivered(i64),
    /// An order has units that are not handed over.
    #[error("order {0} has units that are not handed over")]
    Committed(i64),
    /// Partitions were changed by hand.
    #[error("`order_item` has no partitions that end with order {0}, as `orders` has")]
    Unequal(i64),
}

/// Orders younger than this stay. Daily reports are made up for 31 days, and the overview shows 30.
const KEPT_DAYS: i32 = 35;

/// The result of a detachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detached {
    /// The detached partitions, which are tables now.
    pub partitions: Vec<String>,
    /// The first order that stays, if orders were detached.
    pub first_order: Option<i64>,
}

/// Detaches the partitions of orders and items that end with order `before` or earlier, and the partitions of movements that
/// belong to none of the orders that stay.
pub async fn detach(options: &PgConnectOptions, before: i64) -> Result<Detached, PartitionError> {
    let mut db = PgConnection::connect_with(options).await?;
    let mut tx = db.begin_with("begin isolation level read committed").await?;
    if !lock(&mut tx).await? {
        return Err(PartitionError::Busy);
    }
    let detached = detach_locked(&mut tx, before).await;
    // A refusal frees the lock too, before the caller tries again.
    if detached.is_err() {
        tx.rollback().await?;
        return detached;
    }
    tx.commit().await?;
    db.execute("analyze orders, order_item, stock_movement").await?;
    db.close().await?;
    detached
}

async fn detach_locked(tx: &mut PgConnection, before: i64) -> Result<Detached, PartitionError> {
    if !is_partitioned(&mut *tx).await? {
        return Err(PartitionError::NotPartitioned);
    }
    let orders = past(tx, ORDERS, before).await?;
    let Some(first_order) = orders.last().map(|range| range.end) else {
        return Ok(Detached::default());
    };
    let items = past(tx, ITEMS, first_order).await?;
    if items.last().map(|range| range.end) != Some(first_order) {
        return Err(DetachError::Unequal(first_order).into());
    }
    freeze(tx, &orders).await?;
    freeze(tx, &items).await?;
    refuse_unfinished(tx, first_order).await?;
    note_orders(tx, first_order).await?;
    let movements = movements_before(tx, first_order).await?;
    if let Some(last) = movements.last() {
        note_movements(tx, last.end).await?;
    }
    let partitions = [(ORDERS, orders), (ITEMS, items), (MOVEMENTS, movements)];
    exclusively(tx, async |tx| {
        for (table, ranges) in &partitions {
            for range in ranges {
                detach_one(tx, *table, range).await?;
            }
        }
        Ok(())
    })
    .await?;
    let names = partitions.into_iter().flat_map(|(_, ranges)| ranges);
    Ok(Detached {
        partitions: names.map(|range| range.name).collect(),
        first_order: Some(first_order),
    })
}

/// The partitions that end with `before` or earlier, and before the current id.
async fn past(tx: &mut PgConnection, table: Table, before: i64) -> sqlx::Result<Vec<Range>> {
    let end = before.min(table.last_id(&mut *tx).await?);
    let mut ranges = table.partitions(tx).await?;
    ranges.retain(|range| range.end <= end);
    Ok(ranges)
}

/// Waits for transactions that write to the partitions, and blocks further writes until this transaction ends.
async fn freeze(tx: &mut PgConnection, ranges: &[Range]) -> sqlx::Result<()> {
    for range in ranges {
        let lock = format!("lock table {} in share mode", range.name);
        with_locks(tx, async |tx| execute(tx, lock.clone()).await).await?;
    }
    Ok(())
}

/// Refuses to detach orders that other parts of the program still need.
async fn refuse_unfinished(tx: &mut PgConnection, end: i64) -> Result<(), PartitionError> {
    let unfinished = sqlx::query!(
        "select (select min(id) from orders where id < $1 and created_at > now() - make_interval(days => $2)) as recent,
             (select min(id) from orders where id < $1 and status = 'PENDING') as pending,
             (select min(owed) from outbox cross join unnest(order_ids) owed where owed < $1) as outbox,
             (select min(order_id) from delivery where order_id < $1 and delivered_at is null) as undelivered,
             (select min(o.id) from orders o join order_item i on i.order_id = o.id
                  left join order_line_progress g on g.order_id = i.order_id and g.item_id = i.id
              where o.id < $1 and o.tracked
                  and i.quantity > coalesce(g.cancelled, 0) + coalesce(g.fulfilled, 0)) as committed",
        end,
        KEPT_DAYS
    )
    .fetch_one(tx)
    .await?;
    let reasons = [
        unfinished.recent.map(DetachError::Recent),
        unfinished.pending.map(DetachError::Pending),
        unfinished.outbox.map(DetachError::Outbox),
        unfinished.undelivered.map(DetachError::Undelivered),
        unfinished.committed.map(DetachError::Committed),
    ];
    match reasons.into_iter().flatten().next() {
        Some(reason) => Err(reason.into()),
        None => Ok(()),
    }
}

/// Notes the orders below `end`, and takes them out of the counters and out of the keys by which orders are found. Their
/// references stay taken.
async fn note_orders(tx: &mut PgConnection, end: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "with gone as (
             select store_id, status, count(*) as orders, sum(total_amount) as amount, max(created_at) as latest
             from orders where id < $1 group by store_id, status
         ), noted as (
             insert into detached_orders as noted (store_id, status, orders, amount)
             select store_id, status, orders, amount from gone
             on conflict (store_id, status) do update
                 set orders = noted.orders + excluded.orders, amount = noted.amount + excluded.amount
         ), counted as (
             insert into order_tally (store_id, status, orders, amount) select store_id, status, -orders, -amount from gone
         ), refunded as (
             insert into refund_tally (store_id, documents, amount)
             select store_id, 0, -sum(refunded_amount) from orders where id < $1 and refunded_amount is not null group by store_id
         ), unlisted as (
             delete from order_key where order_id < $1
         )
         update history_start set first_order_id = $1,
             detached_until = greatest(detached_until, (select max(latest) from gone))",
        end
    )
    .execute(tx)
    .await
    .map(drop)
}

/// The oldest partitions of movements, up to the first that has a recent movement or one of an order from `first_order` on.
async fn movements_before(tx: &mut PgConnection, first_order: i64) -> sqlx::Result<Vec<Range>> {
    let mut ranges = past(tx, MOVEMENTS, i64::MAX).await?;
    for (place, range) in ranges.iter().enumerate() {
        freeze(tx, std::slice::from_ref(range)).await?;
        let is_needed = sqlx::query_scalar!(
            r#"select exists (
                   select from stock_movement where id >= $1 and id < $2
                       and (order_id >= $3 or created_at > now() - make_interval(days => $4))
               ) as "exists!""#,
            range.first.unwrap_or(i64::MIN),
            range.end,
            first_order,
            KEPT_DAYS
        );
        if is_needed.fetch_one(&mut *tx).await? {
            ranges.truncate(place);
            break;
        }
    }
    Ok(ranges)
}

/// Notes the sums of the movements below `end` as opening balances.
async fn note_movements(tx: &mut PgConnection, end: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "with moved as (
             insert into opening_balance as noted (inventory_id, quantity, order_delta, committed)
             select inventory_id, sum(delta), coalesce(sum(delta) filter (where order_id is not null and reference_type is null), 0),
                 sum(coalesce(on_hand_delta - delta, 0))
             from stock_movement where id < $1 group by inventory_id
             on conflict (inventory_id) do update set quantity = noted.quantity + excluded.quantity,
                 order_delta = noted.order_delta + excluded.order_delta, committed = noted.committed + excluded.committed
         )
         update history_start set first_movement_id = $1,
             movements_until = greatest(movements_until, (select max(created_at) from stock_movement where id < $1))",
        end
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Detaches a partition, and drops its foreign keys: dropping the table later then locks nothing else.
async fn detach_one(tx: &mut PgConnection, table: Table, Range { name, .. }: &Range) -> sqlx::Result<()> {
    execute(tx, format!("alter table {} detach partition {name}", table.name)).await?;
    let keys = sqlx::query_scalar!(
        r#"select quote_ident(conname) as "name!" from pg_constraint where conrelid = to_regclass($1) and contype = 'f'"#,
        name
    )
    .fetch_all(&mut *tx)
    .await?;
    for key in keys {
        execute(tx, format!("alter table {name} drop constraint {key}")).await?;
    }
    Ok(())
}
