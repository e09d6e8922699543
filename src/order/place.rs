//! Atomic placement of orders: lock, allocate, write.
//!
//! Orders, items, stock, ledger and outbox commit together or not at all. Placing takes two statements, for any number of
//! orders. Redis is not involved.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use chrono::{DateTime, Utc};
use metrics::histogram;
use sqlx::PgConnection;

use super::{
    allocation::{Allocation, Decision, Stock, StockRow, allocate},
    audit_columns::AuditColumns,
    model::{NewOrder, OrderItem, Outcome, PlacedOrder, Status},
};
use crate::{money::Money, product::ProductSummary, store::StoreSummary, timestamp::Timestamp};

/// The result of a transaction that is not committed yet.
#[derive(Debug)]
pub struct Placed {
    /// One for each order, in the same sequence.
    pub outcomes: Vec<Outcome>,
    /// The id of the transaction in PostgreSQL.
    pub transaction: String,
}

/// Maps the id of an order to its time, for orders in the past.
pub type Times<'a> = &'a (dyn Fn(i64) -> Timestamp + Sync);

/// Places orders within a transaction, in the given sequence. Demo data brings its own times.
///
/// Prices are those at the start of the locking statement.
pub async fn place_at(
    tx: &mut PgConnection,
    orders: &[NewOrder],
    times: Option<Times<'_>>,
) -> sqlx::Result<Placed> {
    let began = Instant::now();
    let mut locked = lock(tx, orders).await?;
    histogram!("afforo_order_lock_seconds").record(began.elapsed());
    look_up_the_rest(tx, orders, &mut locked.stock).await?;
    let decisions = allocate(&mut locked.stock, orders);
    let mut rows = Rows::default();
    let outcomes = orders
        .iter()
        .zip(decisions)
        .map(|(order, decision)| rows.add(order, decision, &mut locked, times))
        .collect();
    rows.write(tx, times, locked.changed_at).await?;
    Ok(Placed {
        outcomes,
        transaction: locked.transaction,
    })
}

/// Locked stock, ids for new orders and items, and the transaction's id and time.
struct Locked {
    stock: Stock,
    transaction: String,
    order_ids: std::vec::IntoIter<i64>,
    item_ids: std::vec::IntoIter<i64>,
    now: Timestamp,
    /// The latest change of a locked row. No movement may be earlier.
    changed_at: Option<Timestamp>,
}

/// Locks all stock rows of the orders in the global lock order `(store_id, product_id)`, reads their active stores, and
/// takes ids from the sequences. After a wait for a lock, PostgreSQL returns the current quantity.
///
/// The statement has no condition on the quantity: PostgreSQL would evaluate it again after the wait and silently drop the
/// row. `allocate` compares quantities instead.
async fn lock(tx: &mut PgConnection, orders: &[NewOrder]) -> sqlx::Result<Locked> {
    let mut wanted: Vec<(i64, i64)> = orders.iter().flat_map(NewOrder::pairs).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let (store_ids, product_ids): (Vec<i64>, Vec<i64>) = wanted.into_iter().unzip();
    let item_count: usize = orders.iter().map(|order| order.items.len()).sum();
    let mut distinct_stores = store_ids.clone();
    distinct_stores.dedup();
    let rows = sqlx::query!(
        r#"with locked as materialized (
               select i.id, i.store_id, i.product_id, i.quantity, i.updated_at, p.title, p.price, p.is_active
               from unnest($1::bigint[], $2::bigint[]) as wanted (store_id, product_id)
                   join inventory i on i.store_id = wanted.store_id and i.product_id = wanted.product_id
                   join product p on p.id = i.product_id
               order by i.store_id, i.product_id
               for update of i
           )
           select null::bigint[] as "order_ids?", null::bigint[] as "item_ids?", null::timestamptz as "now?",
               null::text as "transaction?",
               id as "id?", store_id as "store_id?", product_id as "product_id?", quantity as "quantity?",
               updated_at as "updated_at?: Timestamp", title as "title?", price as "price?: Money", is_active as "is_active?",
               null::text as "name?", null::text as "location?"
           from locked
           union all
           select null, null, null, null, null, id, null, null, null, null, null, null, name, location
           from store where is_active and id = any($3)
           union all
           select array(select nextval('orders_id_seq') from generate_series(1, $4::integer)),
               array(select nextval('order_item_id_seq') from generate_series(1, $5::integer)), now(),
               pg_current_xact_id()::text, null, null, null, null, null, null, null, null, null, null"#,
        &store_ids,
        &product_ids,
        &distinct_stores,
        i32::try_from(orders.len()).unwrap_or(i32::MAX),
        i32::try_from(item_count).unwrap_or(i32::MAX),
    )
    .fetch_all(tx)
    .await?;

    let mut stock = Stock {
        rows: Vec::with_capacity(store_ids.len()),
        ..Stock::default()
    };
    let (mut order_ids, mut item_ids, mut now) = (Vec::new(), Vec::new(), DateTime::<Utc>::UNIX_EPOCH);
    let (mut transaction, mut changed_at) = (String::new(), None);
    for row in rows {
        if let (Some(orders), Some(items), Some(time), Some(number)) =
            (row.order_ids, row.item_ids, row.now, row.transaction)
        {
            (order_ids, item_ids, now, transaction) = (orders, items, time, number);
        } else if let (Some(id), Some(name), Some(location)) = (row.store_id, row.name, row.location) {
            stock.stores.insert(id, StoreSummary { id, name, location });
        } else if let (Some(id), Some(store_id), Some(product_id), Some(quantity), Some(title), Some(price)) = (
            row.id,
            row.store_id,
            row.product_id,
            row.quantity,
            row.title,
            row.price,
        ) {
            let is_active = row.is_active.unwrap_or_default();
            changed_at = changed_at.max(row.updated_at);
            stock.rows.push(StockRow {
                id,
                store_id,
                product_id,
                quantity,
                title,
                price,
                is_active,
            });
        }
    }
    // A row that was moved to another store while its lock was awaited is out of sequence.
    stock
        .rows
        .sort_unstable_by_key(|row| (row.store_id, row.product_id));
    let (order_ids, item_ids) = (order_ids.into_iter(), item_ids.into_iter());
    Ok(Locked {
        stock,
        transaction,
        order_ids,
        item_ids,
        now: Timestamp(now),
        changed_at,
    })
}

/// Looks up the active products among those without a stock row. Usually there are none, and no statement is sent.
async fn look_up_the_rest(tx: &mut PgConnection, orders: &[NewOrder], stock: &mut Stock) -> sqlx::Result<()> {
    let missing: Vec<i64> = orders
        .iter()
        .flat_map(NewOrder::pairs)
        .filter(|(store, product)| stock.position(*store, *product).is_none())
        .map(|(_, product)| product)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let products = sqlx::query_scalar!(
        "select id from product where is_active and id = any($1)",
        &missing
    );
    stock.stocked_elsewhere = HashSet::from_iter(products.fetch_all(tx).await?);
    Ok(())
}

/// The rows to write, column by column.
#[derive(Default)]
struct Rows {
    orders: OrderColumns,
    items: ItemColumns,
    signed: AuditColumns,
    /// The ids of the confirmed orders, for the outbox.
    outbox: Vec<i64>,
    /// Remaining quantity by stock row id.
    left: HashMap<i64, i32>,
}

#[derive(Default)]
struct OrderColumns {
    id: Vec<i64>,
    store_id: Vec<i64>,
    status: Vec<&'static str>,
    total_amount: Vec<Money>,
    rejection_reason: Vec<String>,
    rejections: Vec<Option<String>>,
}

#[derive(Default)]
struct ItemColumns {
    id: Vec<i64>,
    order_id: Vec<i64>,
    product_id: Vec<i64>,
    quantity: Vec<i32>,
    unit_price: Vec<Money>,
    inventory_id: Vec<i64>,
    quantity_after: Vec<i32>,
}

impl Rows {
    /// Adds the rows of an order, and returns its outcome.
    fn add(
        &mut self,
        order: &NewOrder,
        decision: Decision,
        locked: &mut Locked,
        times: Option<Times<'_>>,
    ) -> Outcome {
        let (allocations, total, reason, rejections) = match decision {
            Decision::NoStore => return Outcome::NoStore,
            Decision::TotalTooLarge => return Outcome::TotalTooLarge,
            Decision::Confirmed { allocations, total } => (allocations, total, String::new(), None),
            Decision::Rejected { reason, rejections } => (Vec::new(), Money::ZERO, reason, Some(rejections)),
        };
        let store = locked.stock.stores.get(&order.store_id);
        let store = store
            .cloned()
            .expect("an order without a known store is not allocated");
        let id = locked.order_ids.next().expect("there is an id for every order");
        let status = if rejections.is_none() {
            Status::Confirmed
        } else {
            Status::Rejected
        };
        if status == Status::Confirmed {
            self.outbox.push(id);
        }
        self.orders.id.push(id);
        self.orders.store_id.push(store.id);
        self.orders.status.push(status.as_str());
        self.orders.total_amount.push(total);
        self.orders.rejection_reason.push(reason.clone());
        self.orders.rejections.push(
            rejections
                .as_ref()
                .and_then(|rejections| serde_json::to_string(rejections).ok()),
        );
        self.signed.push(order.placed_by.as_ref(), allocations.len());
        let items = allocations.into_iter().zip(&mut locked.item_ids);
        let items = items
            .map(|(allocation, item_id)| self.add_item(id, item_id, allocation, &locked.stock))
            .collect();
        Outcome::Placed(PlacedOrder {
            id,
            store,
            status,
            total_amount: total,
            rejection_reason: reason,
            items,
            created_at: times.map_or(locked.now, |time_of| time_of(id)),
            rejections,
        })
    }

    fn add_item(&mut self, order_id: i64, id: i64, allocation: Allocation, stock: &Stock) -> OrderItem {
        let row = &stock.rows[allocation.row];
        self.items.id.push(id);
        self.items.order_id.push(order_id);
        self.items.product_id.push(row.product_id);
        self.items.quantity.push(allocation.quantity);
        self.items.unit_price.push(row.price);
        self.items.inventory_id.push(row.id);
        self.items.quantity_after.push(allocation.remaining);
        self.left.insert(row.id, allocation.remaining);
        OrderItem {
            id,
            product: ProductSummary {
                id: row.product_id,
                title: row.title.clone(),
                price: row.price,
            },
            quantity: allocation.quantity,
            unit_price: row.price,
            subtotal: row.price.times(allocation.quantity).unwrap_or_default(),
            title_at_order: row.title.clone(),
        }
    }

    /// Writes all rows in one statement: sqlx has no pipelining, so each statement costs a round trip.
    ///
    /// Arrays of times are empty if the time is now, and the audit columns if no actor is known: `unnest` pads them with null.
    /// Movements have the time of this statement, which begins after the locks were taken, or `changed_at` if that is later.
    async fn write(
        self,
        tx: &mut PgConnection,
        times: Option<Times<'_>>,
        changed_at: Option<Timestamp>,
    ) -> sqlx::Result<()> {
        if self.orders.id.is_empty() {
            return Ok(());
        }
        let times_of = |ids: &[i64]| -> Vec<Timestamp> {
            times.map_or_else(Vec::new, |time_of| ids.iter().map(|id| time_of(*id)).collect())
        };
        let latest = times.and_then(|time_of| self.orders.id.iter().map(|id| time_of(*id)).max());
        let (inventory_ids, quantities): (Vec<i64>, Vec<i32>) = self.left.into_iter().unzip();
        let signed = self.signed.columns();
        sqlx::query!(
            "with placed as (
                 insert into orders
                     (id, store_id, status, total_amount, rejection_reason, rejections, created_at, updated_at)
                 overriding system value
                 select id, store_id, status, total_amount, reason, rejections::json,
                     coalesce(time, now()), coalesce(time, now())
                 from unnest($1::bigint[], $2::bigint[], $3::text[], $4::numeric[], $5::text[], $6::text[],
                         $17::timestamptz[])
                     as o (id, store_id, status, total_amount, reason, rejections, time)
             ), item as (
                 insert into order_item (id, order_id, product_id, quantity, unit_price)
                 overriding system value
                 select * from unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::integer[], $11::numeric[])
             ), movement as (
                 insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after, created_at, actor)
                 select inventory_id, order_id, 'ORDER', -quantity, quantity_after,
                     greatest(coalesce(time, statement_timestamp()), $24), actor
                 from unnest($12::bigint[], $8::bigint[], $10::integer[], $13::integer[], $18::timestamptz[], $19::text[])
                     as m (inventory_id, order_id, quantity, quantity_after, time, actor)
             ), logged as (
                 insert into audit_log (actor, actor_name, address, request_id, action, subject, after)
                 select actor, actor_name, address, request_id, 'order.placed', 'order:' || id,
                     json_build_object('store_id', store_id, 'status', status, 'total_amount', total_amount::numeric(12, 2)::text)
                 from unnest($20::text[], $21::text[], $22::text[], $23::text[], $1::bigint[], $2::bigint[], $3::text[],
                         $4::numeric[])
                     as s (actor, actor_name, address, request_id, id, store_id, status, total_amount)
                 where actor is not null
             ), owed as (
                 insert into outbox (order_ids) select $14::bigint[] where cardinality($14::bigint[]) > 0
             )
             update inventory set quantity = taken.quantity, ordered = true,
                 updated_at = greatest(coalesce($25, statement_timestamp()), $24)
             from unnest($15::bigint[], $16::integer[]) as taken (id, quantity)
             where inventory.id = taken.id",
            &self.orders.id,
            &self.orders.store_id,
            &self.orders.status as &[&str],
            &self.orders.total_amount as &[Money],
            &self.orders.rejection_reason,
            &self.orders.rejections as &[Option<String>],
            &self.items.id,
            &self.items.order_id,
            &self.items.product_id,
            &self.items.quantity,
            &self.items.unit_price as &[Money],
            &self.items.inventory_id,
            &self.items.quantity_after,
            &self.outbox,
            &inventory_ids,
            &quantities,
            &times_of(&self.orders.id) as &[Timestamp],
            &times_of(&self.items.order_id) as &[Timestamp],
            &signed.of_items as &[Option<String>],
            &signed.actor as &[Option<String>],
            &signed.actor_name as &[Option<String>],
            &signed.address as &[Option<String>],
            &signed.request_id as &[Option<String>],
            changed_at as Option<Timestamp>,
            latest as Option<Timestamp>,
        )
        .execute(tx)
        .await
        .map(drop)
    }
}
