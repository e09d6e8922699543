//! The rows that the placement of orders writes, in one statement.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{
    allocation::{Allocation, Decision, Stock},
    audit_columns::AuditColumns,
    model::{NewOrder, OrderItem, Outcome, PlacedOrder, Status},
    reservation::placement::ClaimRefusal,
};
use crate::{money::Money, product::ProductSummary, timestamp::Timestamp};

/// Maps the id of an order to its time, for orders in the past.
pub type Times<'a> = &'a (dyn Fn(i64) -> Timestamp + Sync);

/// Ids for new orders, one for each, and for their items; and the time of the transaction.
pub(super) struct Ids {
    pub orders: Vec<i64>,
    pub items: std::vec::IntoIter<i64>,
    pub now: Timestamp,
}

/// The rows to write, column by column.
#[derive(Default)]
pub(super) struct Rows {
    orders: OrderColumns,
    items: ItemColumns,
    signed: AuditColumns,
    /// The ids of the confirmed orders, for the outbox.
    outbox: Vec<i64>,
    /// Remaining quantity by stock row id.
    left: HashMap<i64, i32>,
    /// Committed units by stock row id, where there are any.
    committed: HashMap<i64, i32>,
}

#[derive(Default)]
struct OrderColumns {
    id: Vec<i64>,
    store_id: Vec<i64>,
    status: Vec<&'static str>,
    total_amount: Vec<Money>,
    rejection_reason: Vec<String>,
    rejections: Vec<Option<String>>,
    /// What clients keep with the orders, as JSON. Shorter than the other columns, because the last orders often have none.
    data: Vec<Option<String>>,
    /// Whether the store tracks fulfilments. As short.
    tracked: Vec<Option<bool>>,
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
    /// What the movement changes on hand, and what is on hand after it. Shorter than the other columns, because few stock rows
    /// have committed units.
    on_hand_delta: Vec<Option<i32>>,
    on_hand_after: Vec<Option<i32>>,
}

impl OrderColumns {
    /// Adds what the client keeps with the order that was added last.
    fn add_data(&mut self, order: &NewOrder) {
        if let Some(data) = order.data.as_deref() {
            self.data.resize(self.id.len() - 1, None);
            self.data.push(serde_json::to_string(data).ok());
        }
    }
}

impl Rows {
    /// Adds the rows of an order of the batch, and returns its outcome.
    pub fn add(
        &mut self,
        (index, order): (usize, &NewOrder),
        decision: Decision,
        stock: &Stock,
        ids: &mut Ids,
        times: Option<Times<'_>>,
    ) -> Outcome {
        let (allocations, total, reason, rejections) = match decision {
            Decision::NoStore => return Outcome::NoStore,
            Decision::TotalTooLarge => return Outcome::TotalTooLarge,
            Decision::Duplicate(holder) => return Outcome::Duplicate(holder.id(&ids.orders)),
            Decision::NotReserved(ClaimRefusal::Unknown) => return Outcome::NoReservation,
            Decision::NotReserved(ClaimRefusal::Ended(status, holder)) => {
                return Outcome::ReservationEnded(status, holder.map(|holder| holder.id(&ids.orders)));
            }
            Decision::Confirmed { allocations, total } => (allocations, total, String::new(), None),
            Decision::Rejected { reason, rejections } => (Vec::new(), Money::ZERO, reason, Some(rejections)),
        };
        let store = stock.stores.get(&order.store_id);
        let store = store
            .cloned()
            .expect("an order without a known store is not allocated");
        let id = ids.orders[index];
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
        self.orders.add_data(order);
        if stock.tracked.contains(&store.id) && status == Status::Confirmed {
            self.orders.tracked.resize(self.orders.id.len() - 1, None);
            self.orders.tracked.push(Some(true));
        }
        self.signed.push(order.placed_by.as_ref(), allocations.len());
        let items = allocations.into_iter().zip(&mut ids.items);
        let items = items
            .map(|(allocation, item_id)| self.add_item(id, item_id, allocation, stock))
            .collect();
        let data = order.data.as_deref().cloned().unwrap_or_default();
        Outcome::Placed(PlacedOrder {
            id,
            store,
            status,
            total_amount: total,
            rejection_reason: reason,
            items,
            created_at: times.map_or(ids.now, |time_of| time_of(id)),
            rejections,
            external_reference: data.external_reference,
            customer: data.customer,
            note: data.note,
            metadata: data.metadata,
        })
    }

    fn add_item(&mut self, order_id: i64, id: i64, allocation: Allocation, stock: &Stock) -> OrderItem {
        let row = &stock.rows[allocation.row];
        self.items.id.push(id);
        self.items.order_id.push(order_id);
        self.items.product_id.push(row.product_id);
        self.items.quantity.push(allocation.quantity);
        self.items.unit_price.push(allocation.unit_price);
        self.items.inventory_id.push(row.id);
        self.items.quantity_after.push(allocation.remaining);
        self.left.insert(row.id, allocation.remaining);
        if let Some((on_hand_delta, committed)) = allocation.committed {
            let before = self.items.id.len() - 1;
            self.items.on_hand_delta.resize(before, None);
            self.items.on_hand_delta.push(Some(on_hand_delta));
            self.items.on_hand_after.resize(before, None);
            self.items
                .on_hand_after
                .push(Some(allocation.remaining.saturating_add(committed)));
            self.committed.insert(row.id, committed);
        }
        OrderItem {
            id,
            product: ProductSummary {
                id: row.product_id,
                title: row.title.clone(),
                price: row.price,
            },
            quantity: allocation.quantity,
            unit_price: allocation.unit_price,
            subtotal: allocation
                .unit_price
                .times(allocation.quantity)
                .unwrap_or_default(),
            title_at_order: row.title.clone(),
            progress: None,
        }
    }

    /// Writes all rows in one statement: sqlx has no pipelining, so each statement costs a round trip.
    ///
    /// Arrays of times are empty if the time is now, the audit columns if no actor is known, the data if no order has any, and those of
    /// committed units if no stock row has any: `unnest` pads them with null.
    /// Movements have the time of this statement, which begins after the locks were taken, or `changed_at` if that is later.
    pub async fn write(
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
        let committed: Vec<Option<i32>> = if self.committed.is_empty() {
            Vec::new()
        } else {
            inventory_ids
                .iter()
                .map(|id| self.committed.get(id).copied())
                .collect()
        };
        let signed = self.signed.columns();
        sqlx::query!(
            "with placed as (
                 insert into orders
                     (id, store_id, status, total_amount, rejection_reason, rejections, created_at, updated_at,
                      external_reference, customer, note, metadata, tracked)
                 overriding system value
                 select id, store_id, status, total_amount, reason, rejections::json,
                     coalesce(time, now()), coalesce(time, now()),
                     data ->> 'external_reference', data -> 'customer', data ->> 'note', data -> 'metadata', tracked
                 from unnest($1::bigint[], $2::bigint[], $3::text[], $4::numeric[], $5::text[], $6::text[],
                         $17::timestamptz[], $26::text[]::jsonb[], $27::boolean[])
                     as o (id, store_id, status, total_amount, reason, rejections, time, data, tracked)
             ), item as (
                 insert into order_item (id, order_id, product_id, quantity, unit_price)
                 overriding system value
                 select * from unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::integer[], $11::numeric[])
             ), movement as (
                 insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after, created_at, actor,
                     on_hand_delta, on_hand_after)
                 select inventory_id, order_id, 'ORDER', -quantity, quantity_after,
                     greatest(coalesce(time, statement_timestamp()), $24), actor, on_hand_delta, on_hand_after
                 from unnest($12::bigint[], $8::bigint[], $10::integer[], $13::integer[], $18::timestamptz[], $19::text[],
                         $28::integer[], $29::integer[])
                     as m (inventory_id, order_id, quantity, quantity_after, time, actor, on_hand_delta, on_hand_after)
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
             update inventory set quantity = taken.quantity, committed = coalesce(taken.committed, inventory.committed),
                 ordered = true, updated_at = greatest(coalesce($25, statement_timestamp()), $24)
             from unnest($15::bigint[], $16::integer[], $30::integer[]) as taken (id, quantity, committed)
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
            &self.orders.data as &[Option<String>],
            &self.orders.tracked as &[Option<bool>],
            &self.items.on_hand_delta as &[Option<i32>],
            &self.items.on_hand_after as &[Option<i32>],
            &committed as &[Option<i32>],
        )
        .execute(tx)
        .await
        .map(drop)
    }
}
