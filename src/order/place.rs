//! Atomic placement of orders: lock, allocate, write.
//!
//! Orders, items, stock, ledger and outbox commit together or not at all. Placing takes two statements, for any number of
//! orders; more only if orders have references, name reservations or need units of expired ones. Redis is not involved.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use chrono::{DateTime, Utc};
use metrics::histogram;
use sqlx::PgConnection;

use super::{
    allocation::{Stock, StockRow, allocate},
    model::{NewOrder, Outcome},
    references::References,
    reservation::placement as reservation,
    rows::{Ids, Rows, Times},
};
use crate::{ledger, money::Money, store::StoreSummary, timestamp::Timestamp};

/// The result of a transaction that is not committed yet.
#[derive(Debug)]
pub struct Placed {
    /// One for each order, in the same sequence.
    pub outcomes: Vec<Outcome>,
    /// The id of the transaction in PostgreSQL.
    pub transaction: String,
}

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
    let Locked { stock, ids, .. } = &mut locked;
    look_up_the_rest(tx, orders, stock).await?;
    free_expired(tx, orders, stock).await?;
    stock.reservations = reservation::lock(tx, orders).await?;
    stock.references =
        References::claim(tx, orders, &ids.orders, |store| stock.stores.contains_key(&store)).await?;
    let decisions = allocate(stock, orders);
    std::mem::take(&mut stock.references)
        .settle(tx, &ids.orders)
        .await?;
    std::mem::take(&mut stock.reservations)
        .write(tx, &ids.orders)
        .await?;
    let mut rows = Rows::default();
    let outcomes = orders.iter().zip(decisions).enumerate();
    let outcomes = outcomes
        .map(|(index, (order, decision))| rows.add((index, order), decision, stock, ids, times))
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
    ids: Ids,
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
               select i.id, i.store_id, i.product_id, i.quantity, i.reserved, i.committed, i.updated_at, p.title, p.price, p.is_active
               from unnest($1::bigint[], $2::bigint[]) as wanted (store_id, product_id)
                   join inventory i on i.store_id = wanted.store_id and i.product_id = wanted.product_id
                   join product p on p.id = i.product_id
               order by i.store_id, i.product_id
               for update of i
           )
           select null::bigint[] as "order_ids?", null::bigint[] as "item_ids?", null::timestamptz as "now?",
               null::text as "transaction?",
               id as "id?", store_id as "store_id?", product_id as "product_id?", quantity as "quantity?", reserved as "reserved?",
               committed as "committed?", updated_at as "updated_at?: Timestamp", title as "title?", price as "price?: Money", is_active as "is_active?",
               null::text as "name?", null::text as "location?"
           from locked
           union all
           select null, null, null, null, null, id, null, null, null, null, null, null, null, fulfillment = 'TRACKED', name, location
           from store where is_active and id = any($3)
           union all
           select array(select nextval('orders_id_seq') from generate_series(1, $4::integer)),
               array(select nextval('order_item_id_seq') from generate_series(1, $5::integer)), now(),
               pg_current_xact_id()::text, null, null, null, null, null, null, null, null, null, null, null, null"#,
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
            if row.is_active == Some(true) {
                stock.tracked.insert(id);
            }
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
                reserved: row.reserved.unwrap_or_default(),
                committed: row.committed.unwrap_or_default(),
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
    Ok(Locked {
        stock,
        transaction,
        ids: Ids {
            orders: order_ids,
            items: item_ids.into_iter(),
            now: Timestamp(now),
        },
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

/// Frees what has expired of the reserved units of rows that have fewer units left than the orders name. Usually none has, and no
/// statement is sent.
async fn free_expired(tx: &mut PgConnection, orders: &[NewOrder], stock: &mut Stock) -> sqlx::Result<()> {
    if stock.rows.iter().all(|row| row.reserved == 0) {
        return Ok(());
    }
    let mut wanted: HashMap<(i64, i64), i64> = HashMap::new();
    for order in orders {
        for item in &order.items {
            let units = wanted.entry((order.store_id, item.product_id)).or_default();
            *units = units.saturating_add(item.quantity);
        }
    }
    let is_short = |row: &&StockRow| {
        let units = wanted.get(&(row.store_id, row.product_id)).copied().unwrap_or(0);
        row.reserved > 0 && units > i64::from(row.quantity - row.reserved)
    };
    let short: Vec<i64> = stock.rows.iter().filter(is_short).map(|row| row.id).collect();
    if short.is_empty() {
        return Ok(());
    }
    for freed in ledger::free_expired(tx, &short, false).await? {
        let rows = stock.rows.iter_mut().filter(|row| row.id == freed.inventory_id);
        rows.for_each(|row| row.reserved -= freed.units);
    }
    Ok(())
}
