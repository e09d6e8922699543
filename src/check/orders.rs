//! Orders, and by what they are found.

use sqlx::PgConnection;

use super::{Checked, check};

pub(super) async fn check_orders(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        [
            "the order of an item exists",
            "the order of a movement exists",
            "a confirmed or cancelled order's total equals the sum of its items",
            "a confirmed or cancelled order has a movement for each item",
            "a rejected order has no items and a total of zero",
            "a confirmed order has a confirmation or is in the outbox",
            "no pending or rejected order has a confirmation or is in the outbox",
            "only the confirmation of a cancelled order is withheld",
            "no order is in the outbox twice, or after its confirmation"
        ],
        "with item as (
             select order_id, count(*) as lines, sum(quantity) as units, sum(quantity * unit_price) as amount
             from order_item group by order_id
         ), moved as (
             select order_id, count(*) filter (where kind = 'ORDER') as lines, -sum(delta) as units
             from stock_movement where (order_id is not null or kind in ('ORDER', 'RETURN')) and reference_type is null
             group by order_id
         ), owed as (
             select order_id, count(*) as times from (select unnest(order_ids) as order_id from outbox) o group by order_id
         )
         select array[
                 o.id is null and item.lines is not null,
                 o.id is null and moved.lines is not null,
                 o.status in ('CONFIRMED', 'CANCELLED') and o.total_amount is distinct from item.amount,
                 o.status in ('CONFIRMED', 'CANCELLED') and (item.lines, item.units) is distinct from (moved.lines, moved.units),
                 o.status = 'REJECTED' and (item.lines is not null or o.total_amount <> 0),
                 o.status = 'CONFIRMED' and c.order_id is null and owed.times is null,
                 (o.status in ('CONFIRMED', 'CANCELLED')) is not true and (c.order_id is not null or owed.times is not null),
                 c.withheld and o.status is distinct from 'CANCELLED',
                 owed.times > 1 or c.order_id is not null and c.withheld is not true and owed.times is not null
             ], format('order %s', coalesce(o.id, item.order_id, moved.order_id, c.order_id, owed.order_id))
         from orders o full join item on item.order_id = o.id full join moved on moved.order_id = o.id
             full join order_confirmation c on c.order_id = o.id full join owed on owed.order_id = o.id
             cross join history_start h
         -- Detached orders may have movements and confirmations, but nothing else.
         where (coalesce(moved.order_id, c.order_id) < h.first_order_id
             and coalesce(o.id, item.order_id, owed.order_id) is null) is not true"
    );
    check!(
        tx,
        checked,
        ["a rejected order has returned its stock"],
        // Units taken from a stock row that was deleted since cannot be returned.
        "select distinct array[true], format('order %s', held.order_id)
         from (select m.order_id, m.inventory_id
               from stock_movement m join orders o on o.id = m.order_id
               where o.status = 'REJECTED' group by m.order_id, m.inventory_id having sum(m.delta) <> 0) held
             join inventory on inventory.id = held.inventory_id"
    );
    Ok(())
}

/// Compares what orders keep with the tables by which they are found.
pub(super) async fn check_keys(tx: &mut PgConnection, checked: &mut Vec<Checked>) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        ["an order that was not rejected, and no other, has its reference"],
        // The references of detached orders stay taken.
        "select array[true], format('order %s', coalesce(o.id, r.order_id))
         from (select id, store_id, external_reference as reference from orders
               where external_reference is not null and status <> 'REJECTED') o
             full join order_reference r on r.order_id = o.id and r.store_id = o.store_id and r.reference = o.reference
             cross join history_start h
         where o.id is null and r.order_id >= h.first_order_id or r.order_id is null"
    );
    check!(
        tx,
        checked,
        ["an order is found by its reference and its customer, and by nothing else"],
        "select distinct array[true], format('order %s', order_id)
         from (select o.id as order_id, k.kind, k.key from orders o
                   cross join lateral order_keys(o.external_reference, o.customer) k
               where o.external_reference is not null or o.customer is not null) kept
             full join order_key found using (kind, key, order_id)
         where kept.order_id is null or found.order_id is null"
    );
    Ok(())
}

pub(super) async fn check_what_follows(
    tx: &mut PgConnection,
    checked: &mut Vec<Checked>,
) -> sqlx::Result<()> {
    check!(
        tx,
        checked,
        ["a delivery belongs to a confirmation"],
        "select array[true], format('delivery %s', d.id)
         from delivery d left join order_confirmation c on c.order_id = d.order_id
         where c.order_id is null"
    );
    Ok(())
}
